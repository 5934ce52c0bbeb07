"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge_infer.cli.grouped import DECIDING, RUNNING


class Format(StrEnum):
    """How `diagnose` writes its results."""

    CARD = "card"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


BundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle",
        metavar="NAME|DIR",
        help="Bundle to use.",
        show_default="the one in the package",
        rich_help_panel=RUNNING,
    ),
]


BundleArgument = Annotated[
    str | None,
    typer.Argument(metavar="[BUNDLE]", help="Name or folder of a bundle; the default one if left out."),
]


PrevalenceOption = Annotated[
    float | None,
    typer.Option(
        "--prevalence",
        metavar="SHARE",
        help="Share of melanoma among your pictures, such as 0.02: probabilities are corrected for it, and thresholds "
        "that were chosen for a sensitivity or specificity move with them, so that their decisions stay.",
        show_default="the share that the bundle assumes",
        rich_help_panel=DECIDING,
    ),
]


SiteOption = Annotated[
    Path | None,
    typer.Option(
        "--site",
        metavar="FILE",
        help="Overlay that `edge-infer calibrate` made for this bundle from your own labelled pictures; every answer "
        "names it.",
        show_default="the bundle as it is",
        rich_help_panel=DECIDING,
    ),
]


ProviderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="Execution provider (cpu, cuda, coreml, directml, openvino, ...); repeat it for an order of preference. "
        "The first must start, or it is an error. On macOS coreml-all, coreml-cpu-and-ne, coreml-cpu-and-gpu or "
        "coreml-cpu-only is Core ML itself; ne is the Neural Engine. openvino-native is OpenVINO itself.",
        show_default="the best installed one",
        rich_help_panel=RUNNING,
    ),
]


PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="With --provider openvino-native: bfloat16 computes in 16 bits what the file has in float32, where the "
        "processor can. It is quicker and moves the answers; `edge-infer verify` says whether they stay in bounds.",
        show_default="float32",
        rich_help_panel=RUNNING,
    ),
]


SignatureOption = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        metavar="KEY",
        help="Use the bundle only if the owner of this public key (Ed25519, PEM) signed it; see `edge-infer sign`.",
        show_default="hashes are checked, the publisher is not",
        rich_help_panel=RUNNING,
    ),
]


VariantOption = Annotated[
    str | None,
    typer.Option(
        "--variant",
        metavar="NAME",
        help="Form of the networks, such as int8 or coreml-float16; `edge-infer inspect` lists what the bundle has.",
        show_default="float32",
        rich_help_panel=RUNNING,
    ),
]


ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="Threads per network.",
        show_default="all that this process may use",
        rich_help_panel=RUNNING,
    ),
]
