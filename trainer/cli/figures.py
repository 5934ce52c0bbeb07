"""`python -m trainer figures ...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli.readings import Reason, note_reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.data.ham10000 import Record
    from trainer.figures.cases import Seer

figures_app = typer.Typer(
    no_args_is_help=True,
    help="Draw figures: cases side by side, curves, Grad-CAM++ maps. Those with photos belong to nobody's repository.",
)

Data = Annotated[Path, typer.Option(help="Folder of the data set.")]
Sources = Annotated[list[Path], typer.Option("--data", help="Folder of a data set; may be repeated.")]
Out = Annotated[Path, typer.Option(help="PNG file to write.")]
Split = Annotated[str, typer.Option(help="train, val or test; a look at test is entered, and must decide nothing.")]
Images = Annotated[list[str] | None, typer.Option("--image", help="Image id; may be given several times.")]
Bundle = Annotated[str | None, typer.Option(help="Bundle by path or name: both stages.")]
Segmenter = Annotated[str | None, typer.Option(help="Instead of --bundle: a segmenter's best.pt, or a bundle.")]
Classifier = Annotated[Path | None, typer.Option(help="With --segmenter: a classifier's best.pt.")]
BY_HAND = "drawn by hand"


@figures_app.command()
def panels(
    data: Data,
    out: Out,
    bundle: Bundle = None,
    segmenter: Segmenter = None,
    classifier: Classifier = None,
    image: Images = None,
    split: Split = "val",
    count: Annotated[int, typer.Option(min=1, help="Pictures, spread over the split, where none is named.")] = 5,
    reason: Reason = BY_HAND,
) -> None:
    """Picture, ground truth, prediction, region of interest and decision, one line a picture."""
    from trainer.data.isic import read_dataset
    from trainer.figures.cases import look
    from trainer.figures.panels import draw_panels

    seer, known = _seer(bundle, segmenter, classifier), read_dataset(data)
    chosen = _records(known, split, image, count)
    note_reading("figures panels", seer.what, seer.identity, known, chosen, reason)
    draw_panels(out, [("", look(record, seer)) for record in chosen], seer)
    typer.echo(out)


@figures_app.command()
def extremes(
    data: Data,
    out: Out,
    predictions: Annotated[Path, typer.Option(help="Parquet file of per-image predictions of the same networks.")],
    bundle: Bundle = None,
    segmenter: Segmenter = None,
    classifier: Classifier = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures of each kind.")] = 2,
    reason: Reason = BY_HAND,
) -> None:
    """The best, the median and the worst cases by Dice after clean-up, as stored in a predictions file."""
    from trainer.data.isic import read_dataset
    from trainer.figures.cases import extremes as choose
    from trainer.figures.cases import look
    from trainer.figures.panels import draw_panels
    from trainer.scoring.predictions import read_predictions

    seer, known = _seer(bundle, segmenter, classifier), read_dataset(data)
    kinds = choose(read_predictions(predictions), count)
    chosen = [(kind, record) for kind, ids in kinds.items() for record in _named(known, ids)]
    note_reading("figures extremes", seer.what, seer.identity, known, [record for _, record in chosen], reason)
    draw_panels(out, [(kind, look(record, seer)) for kind, record in chosen], seer)
    typer.echo(out)


@figures_app.command()
def mistakes(
    data: Sources,
    out: Out,
    predictions: Annotated[Path, typer.Option(help="Parquet file of per-image predictions of the same bundle.")],
    bundle: Annotated[str, typer.Option(help="Bundle by path or name.")],
    source: Annotated[str | None, typer.Option(help="Only pictures of this source.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures of each kind.")] = 3,
    reason: Reason = BY_HAND,
) -> None:
    """What a bundle gets most wrong: missed melanomas, false alarms, outlines, refusals of good pictures."""
    from trainer.data.sources import read_sources
    from trainer.figures.cases import look, open_bundle
    from trainer.figures.cases import mistakes as choose
    from trainer.figures.panels import draw_panels
    from trainer.scoring.predictions import read_predictions

    found = [p for p in read_predictions(predictions) if source is None or p.source == source]
    seer, known = open_bundle(bundle), read_sources(data)
    chosen = [(kind, record) for kind, ids in choose(found, count).items() for record in _named(known, ids)]
    note_reading("figures mistakes", seer.what, seer.identity, known, [record for _, record in chosen], reason)
    draw_panels(out, [(kind, look(record, seer)) for kind, record in chosen], seer)
    typer.echo(out)


@figures_app.command()
def curves(
    predictions: Annotated[list[Path], typer.Argument(help="Parquet files of per-image predictions.")],
    out: Annotated[Path, typer.Option(help="Folder: roc.png and reliability.png are written there.")],
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap by lesion; 0 draws no intervals.")] = 1000,
) -> None:
    """ROC and reliability curves of melanoma, from stored predictions: no picture and no network is needed."""
    from trainer.errors import DataError
    from trainer.scoring.metrics import lesion_weights
    from trainer.scoring.plots import Answers, reliability_plot, roc_curve_plot
    from trainer.scoring.predictions import read_predictions
    from trainer.scoring.scores import scores_of

    found: list[Answers] = []
    for path in predictions:
        answered = [p for p in read_predictions(path) if p.probabilities and not p.reason]
        if not answered or "mel" not in answered[0].probabilities:
            raise DataError(f"'{path}' holds no probabilities of melanoma.", "Give a classifier's predictions.")
        scores = scores_of(answered, list(answered[0].probabilities))
        weights = lesion_weights(scores.lesions, resamples) if resamples else None
        name = path.stem if path.stem not in [one.name for one in found] else f"{path.parent.name}/{path.stem}"
        found.append(Answers(name, scores.score, scores.positive, weights))
    roc_curve_plot(out / "roc.png", found)
    reliability_plot(out / "reliability.png", found)
    typer.echo(f"{out / 'roc.png'}\n{out / 'reliability.png'}")


@figures_app.command(name="grad-cam")
def grad_cam(
    classifier: Annotated[Path, typer.Option(help="Checkpoint of a network that classifies (best.pt).")],
    data: Data,
    out: Out,
    label: Annotated[str | None, typer.Option(help="Class whose evidence is shown; default: melanoma.")] = None,
    image: Images = None,
    split: Split = "val",
    count: Annotated[int, typer.Option(min=1, help="Pictures, spread over the split, where none is named.")] = 5,
    reason: Reason = BY_HAND,
) -> None:
    """Grad-CAM++: where the evidence for a class was, on the crops (true masks) or pictures that the network takes."""
    from trainer.data.isic import read_dataset
    from trainer.errors import DataError
    from trainer.figures.attention import attention_maps, draw_attention
    from trainer.figures.cases import view_of
    from trainer.scoring.networks import TorchNetwork
    from trainer.scoring.origin import digest_files
    from trainer.training.checkpoint import class_names, load_checkpoint

    checkpoint = load_checkpoint(classifier)
    labels = class_names(checkpoint.recipe)
    wanted = label or next((name for name in ("mel", "bkl") if name in labels), "")
    if wanted not in labels:
        raise DataError(
            f"'{checkpoint.recipe.name}' has no class '{wanted}'.", f"It has: {', '.join(labels) or 'none'}."
        )
    known = read_dataset(data)
    records = _records(known, split, image, count)
    note_reading("figures grad-cam", str(classifier), digest_files((classifier,)), known, records, reason)
    crops = [view_of(record, checkpoint.recipe) for record in records]
    maps = attention_maps(checkpoint, crops, labels.index(wanted))
    scores = TorchNetwork(checkpoint, "cpu").probabilities(crops)[:, labels.index(wanted)]
    notes = [
        f"{record.image_id}\ndiagnosis {record.dx}, p({wanted}) {score:.2f}"
        for record, score in zip(records, scores, strict=True)
    ]
    draw_attention(out, crops, maps, notes, f"Grad-CAM++ of {checkpoint.recipe.name} for '{wanted}'")
    typer.echo(out)


def _seer(bundle: str | None, segmenter: str | None, classifier: Path | None) -> Seer:
    from trainer.errors import TrainerError
    from trainer.figures.cases import open_bundle, open_checkpoints

    if bundle is not None and segmenter is None and classifier is None:
        return open_bundle(bundle)
    if bundle is None and segmenter is not None:
        return open_checkpoints(segmenter, classifier)
    raise TrainerError("It is not clear whose figures to draw.", "Give --bundle, or --segmenter (and --classifier).")


def _records(known: Sequence[Record], split: str, ids: list[str] | None, count: int) -> list[Record]:
    """The named records in this order, or some of a split."""
    from trainer.scoring.predict import select

    return _named(known, ids) if ids else select(known, split, count)


def _named(known: Sequence[Record], ids: Sequence[str]) -> list[Record]:
    """The records of these ids, in this order.

    Raises:
        DataError: there is none of an id.
    """
    from trainer.errors import DataError

    by_id = {record.image_id: record for record in known}
    if missing := [name for name in ids if name not in by_id]:
        raise DataError(f"The data set has no picture {', '.join(missing)}.", "Name pictures by their image id.")
    return [by_id[name] for name in ids]
