"""`MODEL_CARD.md`, written from the manifest and the evaluation: nothing in it is typed by hand twice."""

from __future__ import annotations

from collections.abc import Sequence

from edge_infer.bundle.manifest import Manifest, Stage
from trainer.report.many import Several, card_sections
from trainer.report.markdown import to_markdown
from trainer.report.refusals import Refusals, refusal_tables
from trainer.report.summary import Summary

WATTS = (15.0, 60.0)
"""Assumed draw of the training machine while two of its cores train."""
CARBON = (50.0, 500.0)
"""Assumed grams of CO2 for each kWh: from mostly hydroelectric or nuclear to mostly fossil."""

_CHOSEN_ON = {
    "val": "the validation split",
    "out-of-fold": "pictures of train and val, each answered by a network that never saw its lesion",
}


def model_card(
    manifest: Manifest, summaries: Sequence[Summary], refused: Refusals, several: Several | None = None
) -> str:
    """The card's text. It does not depend on the manifest's list of files, which holds the card's own hash.

    Args:
        manifest: rules, provenance, operating points, parity.
        summaries: figures, one section each.
        refused: what gets no probability.
        several: figures by source, where there are several; then there are no summaries.
    """
    m, p = manifest, manifest.provenance
    chosen_on = _CHOSEN_ON.get(m.calibration.fitted_on, m.calibration.fitted_on)
    parts = [
        f"# Model card: {m.name}\n",
        "Written by `python -m trainer export`; do not edit.\n",
        f"{m.description}\n",
        "## Intended use, and misuse\n",
        f"{m.intended_use}\n",
        "It answers for one lesion per picture, taken with a dermatoscope. It has not been tested on photographs "
        "without a dermatoscope, on nails, mucosa or wounds, on lesions after treatment, or on diagnoses other than "
        f"these {len(m.labels)}: {', '.join(m.label_names[label] for label in m.labels)}. "
        "A picture without a probability (`indeterminate`) is no reassurance, and neither is a low probability: at "
        "every operating point below some melanomas are missed.\n",
        "## Data and licence\n",
        f"{p.data}. {p.citation}\n",
        f"**{p.license}.** {p.license_note}\n",
        _POPULATION if several is None else _population(several, m),
        "## The system\n",
        _stages(m),
        f"Mask: probability of at least {m.mask.threshold:g}, largest region, holes closed. "
        f"Crop: square, lesion's longer side plus {m.roi.margin:.0%} on each side, background "
        f"{'kept' if m.roi.background == 'keep' else 'set to black'}"
        f"{'' if m.roi.outside == 'pad' else f'; where it leaves the picture: {m.roi.outside}'}.{_style(m)}\n",
        f"Calibration: {m.calibration.method}, T = {m.calibration.temperature:g}"
        f"{f', bias {m.calibration.bias:g} on the logit of melanoma' if m.calibration.bias else ''}, "
        "inside the classifier's graph, "
        f"fitted on {chosen_on}{'' if several is None else _weighed(several, m)}.\n",
        _recipes(m),
        _compute(m),
        "## Operating points\n",
        f"Thresholds on the calibrated melanoma probability, fixed on {chosen_on}:\n",
        *(
            f"- **{point.name}**{' (default)' if point.name == m.default_operating_point else ''}, "
            f"{point.threshold:.4f}: {point.meaning}. Rule: {point.rule}.\n"
            for point in m.operating_points
        ),
        "## When it gives no answer\n",
        f"Shorter side below {m.quality.min_side} pixels; mean brightness outside {m.quality.min_luminance:g} to "
        f"{m.quality.max_luminance:g}; contrast below {m.quality.min_contrast:g}; sharpness below "
        f"{m.quality.min_sharpness:g}; no lesion found; mean probability inside the outline below "
        f"{m.mask.min_confidence:g}; lesion below {m.mask.min_area_fraction:.2%} or above "
        f"{m.mask.max_area_fraction:.1%} of the picture. {_look(m)}\n",
        "Of spoilt copies of test pictures, of skin without a lesion, and of other things it refuses:\n",
        refusal_tables(refused),
        _abstention(m, several is not None),
        *(to_markdown(summary, _title(summary), m.operating_points) for summary in summaries),
        *([] if several is None else card_sections(several, m)),
        "## What cannot be measured here\n",
        *(_UNMEASURED if several is None else _unmeasured(several)),
        "- **Use by people**: whether anybody decides better with these answers than without.\n",
        "## Parity of the files with the PyTorch model\n",
        *(f"- {g.artifact}: {g.measure} {g.value:.3g} (gate {g.relation} {g.limit:g})\n" for g in m.parity),
        *_variants(m),
        "## Made with\n",
        f"Trainer {p.trainer_version}, {', '.join(f'{name} {version}' for name, version in p.packages.items())}; "
        f"{p.created}.\n",
    ]
    return "\n".join(parts)


_POPULATION = (
    "HAM10000 was collected in Austria and Australia, mostly from patients with light skin; skin tone is not "
    "recorded, so performance on darker skin is unknown and cannot be measured here. Pictures shown to other "
    "dermatoscopes, and populations with another share of melanoma, need their own calibration: about one picture "
    "in nine shows melanoma here, far more than in screening.\n"
)
_UNMEASURED = (
    "- **Skin tone**: HAM10000 does not record it, and nearly all its patients have light skin.\n",
    "- **Another clinic, camera or dermatoscope**: one data set, split by lesion; no picture from elsewhere.\n",
)


def _population(several: Several, manifest: Manifest) -> str:
    shares = ", ".join(f"{name} {row.melanomas / row.pictures:.0%}" for name, row in several.test.rows.items())
    prior = manifest.calibration.prior
    assumed = "" if prior is None else f" Its probabilities assume that {prior:.0%} of the pictures show melanoma."
    return (
        "Skin tone is recorded in none of the sources, and nearly all their patients have light skin; it is estimated "
        f"from the pictures below. The share of melanoma differs between the sources' test pictures: {shares}."
        f"{assumed} Where it is another, far lower in screening, state it (`--prevalence`): the odds are then "
        "corrected by the ratio.\n"
    )


def _weighed(several: Several, manifest: Manifest) -> str:
    prior = manifest.calibration.prior
    shared = "" if prior is None else f"weighed to a share of melanoma of {prior:.0%}"
    sources = list(several.chosen.rows)
    alike = f"{', '.join(sources)} count the same there" if len(sources) > 1 else ""
    return "".join(f"; {part}" for part in (alike, shared) if part)


def _unmeasured(several: Several) -> tuple[str, ...]:
    external = [name for name, row in several.test.rows.items() if row.external]
    elsewhere = (
        f"{', '.join(external)} is external, all else is split by lesion within its source"
        if external
        else "every source here was learnt from, split by lesion; a source that was not is no part of this table"
    )
    return (
        "- **Darker skin**: skin tone is estimated from the pictures, and few of them show darker skin.\n",
        f"- **Another clinic, camera or dermatoscope**: {elsewhere}.\n",
    )


def _variants(manifest: Manifest) -> list[str]:
    names = list(dict.fromkeys((*manifest.segmenter.variants, *manifest.classifier.variants)))
    if not names and not manifest.variants_left_out:
        return []
    parts = [
        "## Variants\n",
        "The same networks in other forms, compared with the PyTorch float32 model on real pictures in the same way. "
        "All figures above are those of the float32 ONNX files.\n",
    ]
    for name in names:
        parts.append(f"**{name}**\n")
        for stage in (manifest.segmenter, manifest.classifier):
            if name in stage.variants:
                variant = stage.variants[name]
                parts.append(f"- `{variant.file}`: {variant.scheme}\n")
                parts += [f"  - {g.measure} {g.value:.3g} (gate {g.relation} {g.limit:g})\n" for g in variant.parity]
    parts += [f"**{name}** was left out. {reason}\n" for name, reason in manifest.variants_left_out.items()]
    return parts


def _title(summary: Summary) -> str:
    roi = "" if summary.segmentation else ", crops from the true masks"
    return f"Figures on `{summary.split}`{roi}"


_STORED = {
    "float16": "float16, which halves",
    "int8": "int8 in the largest layers and to float16 in the others, which takes nearly three quarters off",
}


def _style(manifest: Manifest) -> str:
    """Whose masks the outlines follow, where the recipe says so."""
    data = manifest.provenance.recipes.get("segmenter", {}).get("data", {})
    styles, sources = data.get("styles") or (), list(data.get("sources") or ())
    if styles:
        others = ", ".join(styles[1:])
        return (
            f" Outlines are drawn in the style of {styles[0]}'s masks; those of {others} are drawn in another, which "
            "an offset that was learnt for each source kept apart in training."
        )
    return f" Outlines are drawn in the style of {sources[0]}'s masks." if len(sources) == 1 else ""


def _stages(manifest: Manifest) -> str:
    def row(role: str, stage: Stage) -> str:
        size = f"{stage.input.width}x{stage.input.height}"
        cost = "-" if stage.gflops is None else f"{stage.gflops:.2f}"
        return f"| {role} | {stage.architecture} | {stage.parameters / 1e6:.2f} M | {size} | {cost} |"

    head = ["| stage | architecture | parameters | input | GFLOP |", "| --- | --- | --- | --- | --- |"]
    rows = [*head, row("segmenter", manifest.segmenter), row("classifier", manifest.classifier)]
    stored = {recipe.get("weights_stored_as") for recipe in manifest.provenance.recipes.values()}
    for store, how in _STORED.items():
        if store in stored:
            rows.append(
                f"\nWeights are rounded to {how} the files; all arithmetic is float32. Every figure here is of the "
                "rounded networks."
            )
    return "\n".join(rows) + "\n"


def _look(manifest: Manifest) -> str:
    rule = manifest.dermoscopy
    if manifest.familiarity is not None:
        return (
            "A picture unlike those that the segmenter learnt from: a score that its own encoder gives, below "
            f"{manifest.familiarity.threshold:.3g}. It tells photographs, documents and drawings from dermoscopy; a "
            "photograph of skin through no dermatoscope may pass."
        )
    if rule is None:
        return "Pictures that are no dermoscopy are not recognised as such."
    return (
        f"A picture that does not look like dermoscopy: a score from {len(rule.terms)} measures of colour and texture "
        f"below {rule.min_score:.2f}. It tells photographs, documents and drawings from dermoscopy; stained tissue "
        "under a microscope, fur and faces come close, and a photograph of skin through no dermatoscope may pass."
    )


def _abstention(manifest: Manifest, elsewhere: bool) -> str:
    if not any(point.bands for point in manifest.operating_points):
        return ""
    return (
        "On request (`--abstain`), and never by itself, it also leaves pictures undecided whose probability is close "
        "to the threshold; the probability is still given. What that gains stands under *Abstention as it ships*"
        f"{' in the results that `report` writes beside the predictions' if elsewhere else ''}.\n"
    )


def _compute(manifest: Manifest) -> str:
    """Energy and carbon of the training, as a range from stated assumptions."""
    known = [recipe.get("training_hours") for recipe in manifest.provenance.recipes.values()]
    hours = [value for value in known if value is not None]
    if not hours:
        return "## Energy and carbon\n\nThe hours of training are not known, so neither is its energy.\n"
    total = sum(hours)
    low, high = (total * watts / 1000 for watts in WATTS)
    grams = [energy * carbon for energy, carbon in zip((low, high), CARBON, strict=True)]
    missing = "" if len(hours) == len(known) else " The hours of a stage are not known and left out."
    return (
        "## Energy and carbon\n\n"
        f"{total:.1f} hours of training, for the weights that ship and those that they start from: {low:.2f} to "
        f"{high:.2f} kWh and {grams[0] / 1000:.2f} to {grams[1] / 1000:.2f} kg of CO2, if the machine drew "
        f"{WATTS[0]:g} to {WATTS[1]:g} W (two shared cores of a server, or a small desktop) and a kWh costs "
        f"{CARBON[0]:g} to {CARBON[1]:g} g. Both are assumptions, not measurements; trials before are not counted."
        f"{missing}\n"
    )


def _recipes(manifest: Manifest) -> str:
    lines = ["## Training\n"]
    for stage, recipe in manifest.provenance.recipes.items():
        optim, loss = recipe.get("optim", {}), recipe.get("loss", {})
        hours, folds = recipe.get("training_hours"), recipe.get("folds")
        time = "" if hours is None else f" {hours:.1f} hours of wall time, all of it counted."
        if recipe.get("starts_from"):
            time += f" It went on from the weights of `{recipe['starts_from']}`."
        if folds:
            time += f" It learnt from train and val; networks that each leave one of {folds} folds out calibrate it."
        if recipe.get("members", 1) > 1:
            of = "weights is this network" if recipe.get("joined_by") == "weights" else "logits answers"
            time += f" {recipe['members']} networks were trained apart; the mean of their {of}."
        last = folds or optim.get("keep") == "last"
        kept = "the last one" if last else f"{recipe.get('epoch')} chosen on the validation split"
        lines.append(
            f"- {stage}: recipe `{recipe.get('name')}`, {optim.get('epochs')} epochs of batch "
            f"{optim.get('batch_size')}, AdamW at {optim.get('learning_rate')}, {loss.get('name')} loss; epoch kept: "
            f"{kept}.{time} The whole recipe is in `bundle.json`.\n"
        )
    return "\n".join(lines)
