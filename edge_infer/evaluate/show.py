"""A report in words, as JSON, and as a page with its curves as SVG: no plotting library, nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape

from edge_infer import __version__
from edge_infer.bundle.store import Bundle
from edge_infer.evaluate.figures import Figures, Report
from edge_infer.evaluate.labels import Labels
from edge_infer.evaluate.metrics import CALIBRATION_BINS, show
from edge_infer.output.html import STYLE
from edge_infer.output.wording import DISCLAIMER
from edge_infer.schema import dump

INTERVALS = "95 % intervals by bootstrap over {groups}; figures of probabilities are over the answered pictures."
_RANKING = {
    "auc": "AUC",
    "auc_all_pictures": "AUC with refused pictures at their worst",
    "sensitivity_at_95_specificity": "sensitivity at 95 % specificity",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity",
    "specificity_at_95_sensitivity": "specificity at 95 % sensitivity",
    "specificity_at_90_sensitivity": "specificity at 90 % sensitivity",
    "calibration_error": f"expected calibration error, {CALIBRATION_BINS} bins",
    "brier": "Brier score",
}
_DECISION = ("sensitivity", "specificity", "precision", "balanced_accuracy")
Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]


def to_json(report: Report, labels: Labels, bundle: Bundle) -> str:
    """Everything, for programs."""
    data = {
        "edge_infer": __version__,
        "bundle": {"name": bundle.manifest.name, "version": bundle.manifest.version, "sha256": bundle.sha256},
        "columns": dump(labels.columns),
        "labels": [{"label": v, "melanoma": m, "rows": n} for (v, m), n in sorted(labels.values.items())],
        "unlabelled": labels.unlabelled,
        **dump(report),
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def to_text(report: Report, labels: Labels, bundle: Bundle) -> str:
    """For a terminal."""
    lines = [*_preface(report, labels, bundle), ""]
    for title, head, rows in tables(report):
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines += [
            title,
            *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]),
        ]
        lines.append("")
    return "\n".join(lines)


def to_html(report: Report, labels: Labels, bundle: Bundle) -> str:
    """A self-contained page."""
    body = "".join(f"<p>{escape(line)}</p>\n" for line in _preface(report, labels, bundle))
    body += f"<h2>Calibration</h2>\n{reliability_svg(report)}\n<h2>ROC curve</h2>\n{roc_svg(report)}\n"
    for title, head, rows in tables(report):
        names = "".join(f"<th>{escape(name)}</th>" for name in head)
        lines = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>\n" for row in rows)
        body += f"<h2>{escape(title)}</h2>\n<table><tr>{names}</tr>\n{lines}</table>\n"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>edge-infer evaluation</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{_STYLE}</style></head><body>\n'
        f"<h1>Evaluation of {escape(bundle.manifest.name)}</h1>\n<p class='notice'>{escape(DISCLAIMER)}</p>\n"
        f"{body}</body></html>\n"
    )


_STYLE = """
h2 { margin-top: 1.5rem; } td, th { text-align: left; padding: .15rem 1rem .15rem 0; }
svg { max-width: 26rem; width: 100%; } svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
svg .frame, svg .ideal { fill: none; stroke: #8888; } svg .ideal { stroke-dasharray: 4; }
svg .curve { fill: none; stroke: var(--calm); stroke-width: 2; } svg .spot { fill: var(--alarm); }
svg .spread { stroke: var(--calm); }
"""


def tables(report: Report) -> Iterator[Table]:
    """Every table: title, head, rows."""
    measured = [[name, show(report.melanoma[key])] for key, name in _RANKING.items() if key in report.melanoma]
    yield "Probability of melanoma", ("figure", "value"), measured
    decisions = [
        [name, f"{report.thresholds[name]:.3f}", *(_cell(figures, key) for key in _DECISION)]
        for name, figures in report.points.items()
    ]
    yield "Operating points", ("point", "threshold", *(name.replace("_", " ") for name in _DECISION)), decisions
    bins = [[_edges(b.index), str(b.pictures), f"{b.predicted:.3f}", show(b.observed)] for b in report.reliability]
    yield "Calibration", ("probability", "pictures", "mean", "share of melanoma"), bins
    if report.refusals:
        refused = [[name, str(r.pictures), str(r.melanomas)] for name, r in report.refusals.items()]
        yield "Refused pictures", ("reason", "pictures", "melanomas"), refused
    if report.failed:
        failed = [[name, str(count)] for name, count in report.failed.items()]
        yield "Pictures that could not be used", ("error", "pictures"), failed
    for attribute, groups in report.subgroups.items():
        rows = [
            [
                value,
                str(g.pictures),
                str(g.melanomas),
                *(_cell(g.figures, k) for k in ("auc", "sensitivity", "specificity")),
            ]
            for value, g in groups.items()
        ]
        head = (attribute, "pictures", "melanomas", "AUC", "sensitivity", "specificity")
        yield f"By {attribute}, at {report.default_point}", head, rows


def _edges(index: int) -> str:
    return f"{index / CALIBRATION_BINS:.2f}-{(index + 1) / CALIBRATION_BINS:.2f}"


def _cell(figures: Figures, key: str) -> str:
    return show(figures.get(key))


def _preface(report: Report, labels: Labels, bundle: Bundle) -> list[str]:
    manifest, group = bundle.manifest, labels.columns.group
    taken = [f"'{v}' ({n})" for (v, melanoma), n in sorted(labels.values.items()) if melanoma]
    other = [f"'{v}' ({n})" for (v, melanoma), n in sorted(labels.values.items()) if not melanoma]
    lines = [
        f"Bundle {manifest.name} {manifest.version} ({bundle.sha256[:12]}), edge-infer {__version__}.",
        f"{report.pictures} pictures of {report.groups} {group or 'pictures'}, {report.melanomas} melanomas; "
        f"{report.answered} answered ({100 * report.answered / report.pictures:.1f} %).",
        f"Column '{labels.columns.label}': melanoma is {', '.join(taken) or 'nothing'}; none is {', '.join(other)}.",
        INTERVALS.format(groups=f"'{group}'" if group else "pictures, as the table names neither lesion nor patient"),
    ]
    return lines + ([f"{labels.unlabelled} rows without a label were left out."] if labels.unlabelled else [])


def _svg(body: str, x: str, y: str) -> str:
    ticks = "".join(
        f'<text x="{40 + 300 * t:.0f}" y="356" text-anchor="middle">{t:g}</text>'
        f'<text x="34" y="{344 - 300 * t:.0f}" text-anchor="end">{t:g}</text>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        '<svg viewBox="0 0 360 376" role="img"><rect class="frame" x="40" y="40" width="300" height="300"/>'
        f'{ticks}<text x="190" y="372" text-anchor="middle">{x}</text><text x="40" y="30">{y}</text>{body}</svg>'
    )


def _at(x: float, y: float) -> str:
    return f"{40 + 300 * x:.1f},{340 - 300 * y:.1f}"


def reliability_svg(report: Report) -> str:
    """Observed share of melanoma against the mean probability of each bin, with intervals."""
    body = f'<polyline class="ideal" points="{_at(0, 0)} {_at(1, 1)}"/>'
    body += (
        f'<polyline class="curve" points="{" ".join(_at(b.predicted, b.observed.value) for b in report.reliability)}"/>'
    )
    for b in report.reliability:
        if b.observed.low is not None and b.observed.high is not None:
            ends = f"{_at(b.predicted, b.observed.low)} {_at(b.predicted, b.observed.high)}"
            body += f'<polyline class="spread" points="{ends}"/>'
        x, y = _at(b.predicted, b.observed.value).split(",")
        body += f'<circle class="spot" cx="{x}" cy="{y}" r="3"><title>{b.pictures} pictures</title></circle>'
    return _svg(body, "predicted probability", "share of melanoma")


def roc_svg(report: Report) -> str:
    """The ROC curve with a spot for every operating point."""
    body = f'<polyline class="ideal" points="{_at(0, 0)} {_at(1, 1)}"/>'
    body += f'<polyline class="curve" points="{" ".join(_at(*spot) for spot in report.roc)}"/>'
    for name, figures in report.points.items():
        if {"sensitivity", "specificity"} <= figures.keys():
            x, y = _at(1 - figures["specificity"].value, figures["sensitivity"].value).split(",")
            body += f'<circle class="spot" cx="{x}" cy="{y}" r="3"/>'
            body += f'<text x="{float(x) + 6:.1f}" y="{float(y) + 10:.1f}">{escape(name)}</text>'
    return _svg(body, "1 - specificity", "sensitivity")
