"""Peers as engines: the same `Diagnoser` with another library inside, and the way a user would write it without us."""

from __future__ import annotations

import importlib
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.networks import CLASSIFIER_SIDE, SEGMENTER_SIDE
from edge_infer.benchmark.runners import Sample, Segment
from edge_infer.errors import EngineNotInstalledError, InferenceError

_ONE = ("probabilities",)


class _OneOutput:
    """A peer's engine, of networks with a single output."""

    provider: str

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        raise NotImplementedError

    def run_named(self, batch: NDArray[np.uint8], names: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
        """See `Engine.run_named`; peers give a bundle's first output alone."""
        if len(names) != 1:
            raise InferenceError(
                f"{self.provider} gives one output here, and {len(names)} were asked for.",
                "Compare a bundle without the output `familiarity`.",
            )
        return (self.run(batch),)


class TorchEngine(_OneOutput):
    """A serving network in PyTorch; see `edge_infer.engines.base.Engine`."""

    def __init__(self, network: Any, labels: str | None, mode: str) -> None:
        """Prepares it.

        Args:
            network: a `ServingSegmenter` or `ServingClassifier`.
            labels: JSON of a classifier's labels.
            mode: "eager", "compile" (float32 with frozen weights) or "compile-bf16" (the same under bfloat16 autocast).
        """
        import torch

        self.provider = f"PyTorch {torch.__version__}, {mode}"
        self.metadata: Mapping[str, str] = {} if labels is None else {"edge_infer.labels": labels}
        self.input_shape: tuple[int | None, int | None, int | None] = (None, None, 3)
        self.warnings: tuple[str, ...] = ()
        self.outputs = _ONE
        self._torch, self._bf16 = torch, mode == "compile-bf16"
        self._network = network
        if mode != "eager":
            import torch._inductor.config as inductor

            inductor.freezing = True
            self._network = torch.compile(network, dynamic=False)

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        torch = self._torch
        try:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
                result: NDArray[np.float32] = self._network(torch.from_numpy(batch)).float().numpy()
        except Exception as error:
            raise InferenceError(f"{self.provider} failed: {error}", "See the message.") from error
        return result

    def close(self) -> None:
        """See `Engine.close`."""
        self._network = None


class OpenVinoEngine(_OneOutput):
    """An ONNX file in OpenVINO's own runtime; see `edge_infer.engines.base.Engine`."""

    def __init__(self, path: Path, labels: str | None, threads: int) -> None:
        """For the CPU, latency first, in the precision of the file. Each batch size is compiled for itself: OpenVINO
        is slower where a size is left open.

        Raises:
            EngineNotInstalledError: OpenVINO is not installed.
        """
        try:
            ov = importlib.import_module("openvino")
        except ImportError as error:
            raise EngineNotInstalledError("OpenVINO is not installed.", "Run: pip install openvino") from error
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": "1",
        }
        self.provider = f"OpenVINO {ov.__version__.partition('-')[0]}"
        self.metadata: Mapping[str, str] = {} if labels is None else {"edge_infer.labels": labels}
        self.input_shape: tuple[int | None, int | None, int | None] = (None, None, 3)
        self.warnings: tuple[str, ...] = ()
        self.outputs = _ONE
        core = ov.Core()

        def compiled(pictures: int) -> Any:
            model = core.read_model(str(path))
            shape = model.inputs[0].get_partial_shape()
            shape[0] = pictures
            model.reshape(shape)
            return core.compile_model(model, "CPU", options).create_infer_request()

        self._compiled, self._requests = compiled, {1: compiled(1)}

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        request = self._requests.get(len(batch))
        if request is None:
            request = self._requests[len(batch)] = self._compiled(len(batch))
        return np.array(request.infer([batch])[0], np.float32)

    def close(self) -> None:
        """See `Engine.close`."""
        self._requests = {}


class PillowRunner:
    """The usual script: Pillow, torchvision transforms, PyTorch eager, OpenCV contours. See `runners.Runner`."""

    def __init__(self, name: str, networks: tuple[Any, Any], pictures: Sequence[bytes]) -> None:
        """Takes the two serving networks; their inner networks get normalised tensors, as such scripts do."""
        import torch
        from PIL import Image
        from torchvision.transforms import v2

        self.name = name
        self._torch, self._image, self._pictures = torch, Image, pictures
        self._segmenter, self._classifier = (serving.network.eval() for serving in networks)

        def transform(side: int) -> Any:
            return v2.Compose(
                [
                    v2.Resize((side, side), antialias=True),
                    v2.ToImage(),
                    v2.ToDtype(torch.float32, scale=True),
                    v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                ]
            )

        self._for_segmenter, self._for_classifier = transform(SEGMENTER_SIDE), transform(CLASSIFIER_SIDE)

    def query(self, first: int, size: int) -> Sample:
        """See `Runner.query`."""
        cpu, start = time.process_time(), time.perf_counter()
        self.diagnose([self._pictures[(first + i) % len(self._pictures)] for i in range(size)])
        return Sample((time.perf_counter() - start) * 1000, (time.process_time() - cpu) * 1000, {})

    def diagnose(self, encoded: Sequence[bytes]) -> list[NDArray[np.float32] | None]:
        """Class probabilities of each picture, None where no lesion was found."""
        torch = self._torch
        images = [self._image.open(io.BytesIO(data)).convert("RGB") for data in encoded]
        with torch.inference_mode():
            maps = torch.sigmoid(self._segmenter(torch.stack([self._for_segmenter(image) for image in images])))
            crops = [self._crop(image, found[0].numpy()) for image, found in zip(images, maps, strict=True)]
            found = [self._for_classifier(crop) for crop in crops if crop is not None]
            rows = iter(torch.softmax(self._classifier(torch.stack(found)), 1).numpy() if found else ())
        return [None if crop is None else next(rows) for crop in crops]

    def segment(self, seconds: float, batch_size: int, workers: int) -> Segment:
        """See `Runner.segment`; one worker only."""
        cpu, start, count = time.process_time(), time.perf_counter(), 0
        while time.perf_counter() < start + seconds:
            self.query(count, batch_size)
            count += batch_size
        return Segment(count, time.perf_counter() - start, time.process_time() - cpu)

    def statuses(self) -> dict[str, int]:
        """See `Runner.statuses`."""
        found = [row is not None for data in self._pictures for row in self.diagnose([data])]
        counts = {"ok": sum(found), "indeterminate": len(found) - sum(found)}
        return {status: count for status, count in counts.items() if count}

    @staticmethod
    def _crop(image: Any, probability: NDArray[np.float32]) -> Any:
        mask = cv2.resize((probability > 0.5).astype(np.uint8), image.size, interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if not contours:
            return None
        x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
        side = 1.3 * max(width, height)
        left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
        return image.crop((round(left), round(top), round(left + side), round(top + side)))
