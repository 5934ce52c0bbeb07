"""`edge-infer calibrate`: an overlay for one bundle from your own labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_infer.cli.evaluate import (
    AnswersOption,
    GroupOption,
    LabelColumnOption,
    LabelsArgument,
    MelanomaOption,
    PictureColumnOption,
    PicturesOption,
    WhereOption,
    answer,
    read_table,
)
from edge_infer.cli.grouped import DECIDING
from edge_infer.cli.options import BundleOption, ProviderOption, ThreadsOption, VariantOption

if TYPE_CHECKING:
    from edge_infer.evaluate.calibration import Aim


def calibrate(
    labels: LabelsArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The overlay, such as site.json.", show_default=False)
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Of the site; answers say it.", show_default="the table's file name")
    ] = None,
    aim: Annotated[
        list[str] | None,
        typer.Option(
            "--aim",
            metavar="POINT=FIGURE:LEAST",
            help="Choose an operating point's threshold anew for your pictures, such as screening=sensitivity:0.95 or "
            "specialist=specificity:0.9; repeat it.",
            show_default="thresholds move with the probabilities, and no decision changes",
            rich_help_panel=DECIDING,
        ),
    ] = None,
    pictures: PicturesOption = None,
    picture_column: PictureColumnOption = None,
    label_column: LabelColumnOption = None,
    melanoma: MelanomaOption = None,
    group_column: GroupOption = None,
    where: WhereOption = None,
    answers: AnswersOption = None,
    bundle: BundleOption = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Fit a bundle's probabilities to your own labelled pictures.

    Writes a small overlay: a temperature and a shift of the log-odds, your share of melanoma, and thresholds. It is
    bound to the bundle's hash, and `diagnose --site` uses it. The pictures must be like those to come: the shift takes
    their share of melanoma for the truth. Fewer than 50 lesions or patients with a melanoma, or without, are refused.
    Measure it on other pictures than these with `edge-infer evaluate --site`.
    """
    from edge_infer.bundle.store import load_bundle
    from edge_infer.evaluate.calibration import calibrate as compute
    from edge_infer.files import write_atomically

    aims = _aims(aim)
    table = read_table(labels, pictures, picture_column, label_column, melanoma, group_column, where, [])
    loaded = load_bundle(bundle)
    cases = answer(table, loaded, answers, None, provider, variant, threads)
    site = compute(cases, loaded, name or labels.stem, table.columns.group, aims)
    write_atomically(output, site.to_json().encode("utf-8"))
    fit = site.fit
    typer.echo(f"{output}: {site.sentence}")
    typer.echo(f"temperature {site.temperature:.3g}, shift {site.shift:+.3g}, share of melanoma {site.prevalence:.3g}")
    typer.echo(
        f"log loss {fit.log_loss_before:.4f} -> {fit.log_loss_after:.4f}, calibration error "
        f"{fit.calibration_error_before:.4f} -> {fit.calibration_error_after:.4f} (each picture by a fit without it)"
    )
    for point, threshold in site.thresholds.items():
        note = "moved, its decisions stay" if threshold.moved else threshold.rule
        typer.echo(f"{point}: threshold {threshold.threshold:.3g} ({note})")
    if fit.log_loss_after >= fit.log_loss_before:
        typer.echo("The overlay is no better than the bundle as it is: do not use it.")


def _aims(texts: list[str] | None) -> dict[str, Aim]:
    from edge_infer.evaluate.calibration import Aim

    found = {}
    for text in texts or ():
        point, _, rest = text.partition("=")
        figure, _, least = rest.partition(":")
        try:
            value = float(least)
        except ValueError:
            value = -1.0
        if figure == "sensitivity" and 0 < value <= 1:
            found[point] = Aim("sensitivity", value)
        elif figure == "specificity" and 0 < value <= 1:
            found[point] = Aim("specificity", value)
        else:
            raise typer.BadParameter(f"'{text}' is not like screening=sensitivity:0.95.", param_hint="--aim")
    return found
