"""A site's overlay: what `edge-infer calibrate` fitted on a site's own labelled pictures, bound to one bundle."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from edge_infer.bundle.store import Bundle
from edge_infer.errors import BundleMismatchError, InputError
from edge_infer.rules import OperatingPoint
from edge_infer.schema import SchemaError, dump, parse
from edge_infer.steps.recalibrate import recalibrated

SITE_SCHEMA = 1


@dataclass(frozen=True)
class SiteThreshold:
    """An operating point at this site: its threshold on the new scale, how it was chosen, and whether it only moved."""

    threshold: float
    rule: str
    moved: bool


@dataclass(frozen=True)
class SiteFit:
    """How well probabilities fit the site's labels, before and after, each picture by a fit without its group.

    Mean negative log-likelihood in nats, and expected calibration error, 0..1.
    """

    log_loss_before: float
    log_loss_after: float
    calibration_error_before: float
    calibration_error_after: float


@dataclass(frozen=True)
class Site:
    """The contents of `site.json`.

    Attributes:
        schema: of this file.
        name: of the site, for people.
        bundle_name, bundle_version, bundle_sha256: the only bundle that it is for.
        edge_infer: version that fitted it.
        pictures, groups, melanomas: that it rests on; groups are lesions or patients, see `group_column`.
        group_column: of the table; None where each picture counted for itself.
        prevalence: share of melanoma among these pictures.
        temperature, shift: see `edge_infer.steps.recalibrate`.
        thresholds: by operating point.
        fit: see `SiteFit`.
    """

    schema: int
    name: str
    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    edge_infer: str
    pictures: int
    groups: int
    melanomas: int
    group_column: str | None
    prevalence: float
    temperature: float
    shift: float
    thresholds: dict[str, SiteThreshold]
    fit: SiteFit

    def to_json(self) -> str:
        """The text of `site.json`."""
        return json.dumps(dump(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def sha256(self) -> str:
        """Hash of `to_json`: what answers name the overlay by."""
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()

    @property
    def sentence(self) -> str:
        """What every answer that used it says."""
        return (
            f"Re-calibrated for '{self.name}' ({self.sha256[:12]}) on {self.pictures} pictures, "
            f"{self.melanomas} of them melanomas."
        )

    def at_site(self, point: OperatingPoint) -> OperatingPoint:
        """An operating point of the bundle with the site's threshold; bands move too, or go where it was chosen."""
        own = self.thresholds[point.name]
        bands = (
            replace(
                band,
                low=recalibrated(band.low, self.temperature, self.shift),
                high=recalibrated(band.high, self.temperature, self.shift),
            )
            for band in point.bands
        )
        return replace(point, threshold=own.threshold, rule=own.rule, bands=tuple(bands) if own.moved else ())


def read_site(file: str | os.PathLike[str], bundle: Bundle) -> Site:
    """Reads an overlay for this bundle.

    Raises:
        InputError: it cannot be read, is of another schema, or was edited into something impossible.
        BundleMismatchError: it is for another bundle.
    """
    path = Path(file)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("schema") != SITE_SCHEMA:
            raise InputError(f"'{path}' is of site schema {data.get('schema')}.", f"This version reads {SITE_SCHEMA}.")
        site = parse(Site, data)
    except (OSError, ValueError, SchemaError) as error:
        raise InputError(
            f"The overlay '{path}' cannot be read: {error}.", "Make it with `edge-infer calibrate`."
        ) from error
    if site.bundle_sha256 != bundle.sha256:
        raise BundleMismatchError(
            f"'{path}' is for bundle {site.bundle_name} {site.bundle_version} ({site.bundle_sha256[:12]}), not for "
            f"{bundle.manifest.name} {bundle.manifest.version} ({bundle.sha256[:12]}).",
            "Calibrate again with this bundle, or use the one that it was made for.",
        )
    names = {point.name for point in bundle.manifest.operating_points}
    if site.temperature <= 0 or set(site.thresholds) != names:
        raise InputError(f"The overlay '{path}' does not fit its bundle.", "Make it again with `edge-infer calibrate`.")
    return site
