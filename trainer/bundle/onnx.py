"""One way to ONNX: `torch.export`, then torch's own exporter, checked and stripped of this machine's traces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import nn

import edge_infer
from edge_infer.bundle.manifest import OutputSpec, Stage
from edge_infer.schema import dump
from trainer.bundle.errors import ExportError
from trainer.bundle.storage import MAX_OPSET, Store, narrow, save_onnx

OPSET = MAX_OPSET


def export_onnx(
    model: nn.Module,
    stage: Stage,
    path: Path,
    labels: Sequence[str] | None = None,
    more_outputs: Sequence[OutputSpec] = (),
    store: Store = "float32",
) -> None:
    """Writes a serving graph as an ONNX file that explains itself.

    Batch normalisation is folded into the convolutions before and constants are folded; the batch is dynamic. The
    file's metadata holds the stage as JSON (`edge_infer.stage`), the labels of a classifier (`edge_infer.labels`) and
    the versions that wrote it.

    Args:
        model: a `ServingSegmenter`, `ServingClassifier` or `ServingJoint` in eval mode.
        stage: names and sizes of input and output.
        path: file to write.
        labels: of a classifier.
        more_outputs: after the stage's own, of a `ServingJoint`; a segmenter's score of familiarity needs none.
        store: anything but "float32" stores weights in fewer bits where that is exact, see
            `trainer.bundle.storage.narrow`.

    Raises:
        ExportError: torch cannot export the model, or the result fails ONNX's checker or keeps a fixed batch.
    """
    example = torch.zeros(2, stage.input.height, stage.input.width, 3, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[stage.input.name],
            output_names=[
                *(output.name for output in (stage.output, *more_outputs)),
                *getattr(model, "further_outputs", ()),
            ],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
            optimize=True,
            verbose=False,
        )
        if program is None:
            raise ExportError("torch.onnx.export returned no program.", "Check the installed torch version.")
        proto = program.model_proto
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ExportError(
            f"{stage.architecture} cannot be exported to ONNX: {str(error).partition(chr(10))[0]}",
            "Avoid data-dependent control flow and fixed batch sizes in the model.",
        ) from error
    _strip(proto)
    if store != "float32":
        narrow(proto)
    metadata = {
        "edge_infer.stage": json.dumps(dump(stage)),
        "edge_infer.trainer": edge_infer.__version__,
        "edge_infer.torch": torch.__version__.split("+")[0],
    }
    if labels is not None:
        metadata["edge_infer.labels"] = json.dumps(list(labels))
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0]
    if not batch.dim_param:
        raise ExportError(
            f"{stage.architecture} exports with a fixed batch of {batch.dim_value}.",
            "Make the model independent of the batch size.",
        )
    save_onnx(proto, path)


def _strip(proto: onnx.ModelProto) -> None:
    """Removes stack traces and source paths, so that the bytes depend on the model alone."""
    del proto.metadata_props[:]
    proto.doc_string = ""
    proto.graph.doc_string = ""
    del proto.graph.metadata_props[:]
    values = (proto.graph.input, proto.graph.output, proto.graph.value_info, proto.graph.initializer, proto.graph.node)
    for group in values:
        for item in group:
            item.doc_string = ""
            del item.metadata_props[:]
    del proto.graph.value_info[:]
