"""`edge-infer evaluate`: figures of a bundle on your own labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_infer.cli.grouped import RUNNING, SAVING
from edge_infer.cli.options import BundleOption, ProviderOption, SiteOption, ThreadsOption, VariantOption
from edge_infer.cli.terminal import limit_opencv, note, progress

if TYPE_CHECKING:
    from edge_infer.bundle.site import Site
    from edge_infer.bundle.store import Bundle
    from edge_infer.evaluate.answers import Case
    from edge_infer.evaluate.labels import Labels

TABLE = "The table"

LabelsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS.csv", help="A CSV with a header: one labelled picture a row.", show_default=False, exists=True
    ),
]
PicturesOption = Annotated[
    Path | None,
    typer.Option(
        "--pictures",
        metavar="DIR",
        help="Folder that names in the table are relative to; names need no suffix.",
        show_default="the table's own",
        rich_help_panel=TABLE,
    ),
]
PictureColumnOption = Annotated[
    str | None,
    typer.Option(
        "--picture-column",
        metavar="NAME",
        show_default="image, image_id, isic_id, path, file, ...",
        rich_help_panel=TABLE,
    ),
]
LabelColumnOption = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        metavar="NAME",
        show_default="melanoma, dx, diagnosis, label or target",
        rich_help_panel=TABLE,
    ),
]
MelanomaOption = Annotated[
    list[str] | None,
    typer.Option(
        "--melanoma",
        metavar="LABEL",
        help="Label that means melanoma; repeat it. All others mean none; rows without a label are left out.",
        show_default="1, true, yes, mel, melanoma",
        rich_help_panel=TABLE,
    ),
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        "--group-column",
        metavar="NAME",
        help="Lesion or patient: pictures of one count together in intervals.",
        show_default="patient_id, patient, lesion_id or lesion; otherwise each picture for itself",
        rich_help_panel=TABLE,
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="COLUMN=VALUE",
        help="Use these rows alone; repeat it for more conditions.",
        show_default="all rows",
        rich_help_panel=TABLE,
    ),
]
AnswersOption = Annotated[
    Path | None,
    typer.Option(
        "--answers",
        metavar="FILE",
        help="Take the answers of `batch merge` (.csv, .parquet) or `diagnose --format csv`; no network runs.",
        show_default="the pictures are diagnosed now",
        rich_help_panel=RUNNING,
    ),
]


def evaluate(
    labels: LabelsArgument,
    pictures: PicturesOption = None,
    picture_column: PictureColumnOption = None,
    label_column: LabelColumnOption = None,
    melanoma: MelanomaOption = None,
    group_column: GroupOption = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="NAME",
            help="Column for subgroups; repeat it. Ages are put into bands.",
            show_default="sex, age, localization, site, skin_type, dx_type, device, ... as far as they are there",
            rich_help_panel=TABLE,
        ),
    ] = None,
    where: WhereOption = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Save all figures (JSON).", rich_help_panel=SAVING),
    ] = None,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--save-report",
            metavar="FILE",
            help="Save a page with calibration plot and ROC curve (HTML).",
            rich_help_panel=SAVING,
        ),
    ] = None,
    answers: AnswersOption = None,
    site: SiteOption = None,
    bundle: BundleOption = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Measure a bundle on your own labelled pictures.

    AUC, sensitivity and specificity at every operating point, calibration, refusals and subgroups, with 95 % intervals
    that respect lesions or patients. Measure on pictures that the bundle did not learn from; its model card names its
    data.
    """
    from edge_infer.bundle.site import read_site
    from edge_infer.bundle.store import load_bundle
    from edge_infer.evaluate.figures import evaluate as compute
    from edge_infer.evaluate.show import to_html, to_json, to_text
    from edge_infer.files import write_atomically

    table = read_table(labels, pictures, picture_column, label_column, melanoma, group_column, where, by)
    loaded = load_bundle(bundle)
    overlay = None if site is None else read_site(site, loaded)
    cases = answer(table, loaded, answers, overlay, provider, variant, threads)
    manifest = loaded.manifest
    points = [point if overlay is None else overlay.at_site(point) for point in manifest.operating_points]
    report = compute(cases, points, manifest.default_operating_point)
    for file, text in ((json_file, to_json), (report_file, to_html)):
        if file is not None:
            write_atomically(file, text(report, table, loaded).encode("utf-8"))
    typer.echo(to_text(report, table, loaded))


def read_table(
    labels: Path,
    pictures: Path | None,
    picture_column: str | None,
    label_column: str | None,
    melanoma: list[str] | None,
    group_column: str | None,
    where: list[str] | None,
    by: list[str] | None,
) -> Labels:
    """`read_labels` with a command's options."""
    from edge_infer.evaluate.labels import MELANOMA_VALUES, Columns, read_labels

    conditions = {}
    for text in where or ():
        name, separator, value = text.partition("=")
        if not separator:
            raise typer.BadParameter(f"'{text}' is no COLUMN=VALUE.", param_hint="--where")
        conditions[name] = value
    found = read_labels(
        labels,
        pictures=pictures,
        columns=Columns(picture_column, label_column, group_column, None if by is None else tuple(by)),
        melanoma=melanoma or MELANOMA_VALUES,
        where=conditions,
    )
    if found.unlabelled:
        note(f"rows without a label were left out: {found.unlabelled}")
    return found


def answer(
    table: Labels,
    bundle: Bundle,
    answers: Path | None,
    site: Site | None,
    provider: list[str] | None,
    variant: str | None,
    threads: int | None,
) -> list[Case]:
    """Every labelled picture's answer: from an earlier run's file, or diagnosed now."""
    from edge_infer.evaluate.answers import diagnosed, remembered

    if answers is not None:
        return remembered(table.pictures, answers, bundle.sha256, None if site is None else site.sha256)

    from edge_infer.diagnoser import Diagnoser
    from edge_infer.engines.loading import start_loading

    limit_opencv(threads)
    loading = start_loading(bundle.path, providers=provider or None, threads=threads, variant=variant)
    with (
        Diagnoser(*loading.wait(), variant=loading.variant, site=site) as diagnoser,
        progress(len(table.pictures), streams=False) as advance,
    ):
        return diagnosed(table.pictures, diagnoser, advance)
