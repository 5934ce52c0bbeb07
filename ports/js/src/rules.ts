/** What a bundle fixes and the steps obey. Keys are those of `bundle.json`. */

import type { Check } from "./schema.js";
import { integer, list, number, object, oneOf, optional, record, text } from "./schema.js";

/** A network's input: RGB uint8 in NHWC layout; normalisation is inside the graph. */
export interface InputSpec {
  readonly name: string;
  readonly height: number;
  readonly width: number;
  readonly channels: 3;
  readonly dtype: "uint8";
  readonly layout: "NHWC";
  readonly color: "RGB";
}

/** How a probability map becomes a lesion, and when the lesion is refused. */
export interface MaskRule {
  readonly threshold: number;
  readonly min_area_fraction: number;
  readonly max_area_fraction: number;
  readonly min_confidence: number;
}

/** What becomes of a square that is larger than the picture. */
export type Outside = "pad" | "clip" | "cap" | "reflect";
/** Whether what surrounds the lesion is kept or set to black. */
export type Background = "keep" | "zero";

/** How the lesion is cropped. */
export interface RoiRule {
  readonly background: Background;
  readonly margin: number;
  readonly outside: Outside;
}

/** Limits of a usable picture. */
export interface QualityLimits {
  readonly min_side: number;
  readonly min_contrast: number;
  readonly min_luminance: number;
  readonly max_luminance: number;
  readonly min_sharpness: number;
}

/** One measure in a score: weight * z + curve * z^2 with z = (measure - centre) / scale, clipped. */
export interface Term {
  readonly centre: number;
  readonly scale: number;
  readonly weight: number;
  readonly curve: number;
}

/** When a picture is no dermoscopy. */
export interface DermoscopyRule {
  readonly terms: Readonly<Record<string, Term>>;
  readonly clip: number;
  readonly intercept: number;
  readonly min_score: number;
}

/** When a picture is unlike those that the segmenter learnt from, so no dermoscopy. */
export interface FamiliarityRule {
  /** Name of the segmenter's output that holds the score: float32, one a picture, higher means more familiar. */
  readonly output: string;
  /** Below it there is no probability. */
  readonly threshold: number;
}

/** A figure with its 95 % interval. */
export interface Metric {
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
}

/** Probabilities too close to a threshold for a decision: low < p < high. */
export interface Band {
  /** Share of pictures that it was chosen to leave undecided. */
  readonly referred: number;
  readonly low: number;
  readonly high: number;
  readonly metrics: Readonly<Record<string, Metric>>;
}

/** A named decision threshold on the melanoma probability. */
export interface OperatingPoint {
  readonly name: string;
  readonly threshold: number;
  readonly rule: string;
  readonly meaning: string;
  readonly chosen_on: string;
  readonly metrics: Readonly<Record<string, Metric>>;
  readonly bands: readonly Band[];
  /**
   * What becomes of the threshold where the user states another share of melanoma: one chosen by `ranking` moves with the
   * probabilities, one that is a `probability` in itself stays.
   */
  readonly basis: "ranking" | "probability";
}

const maybe: Check<number | null> = (value, where) => (value === null ? null : number(value, where));

export const inputSpec: Check<InputSpec> = object<InputSpec>({
  name: text,
  height: integer,
  width: integer,
  channels: optional<3>(oneOf(3), 3),
  dtype: optional<"uint8">(oneOf("uint8"), "uint8"),
  layout: optional<"NHWC">(oneOf("NHWC"), "NHWC"),
  color: optional<"RGB">(oneOf("RGB"), "RGB"),
});
export const maskRule: Check<MaskRule> = object<MaskRule>({
  threshold: number,
  min_area_fraction: number,
  max_area_fraction: number,
  min_confidence: optional(number, 0),
});
export const roiRule: Check<RoiRule> = object<RoiRule>({
  background: oneOf("keep", "zero"),
  margin: number,
  outside: optional<Outside>(oneOf("pad", "clip", "cap", "reflect"), "pad"),
});
export const qualityLimits: Check<QualityLimits> = object<QualityLimits>({
  min_side: integer,
  min_contrast: number,
  min_luminance: number,
  max_luminance: number,
  min_sharpness: number,
});
export const dermoscopyRule: Check<DermoscopyRule> = object<DermoscopyRule>({
  terms: record(object<Term>({ centre: number, scale: number, weight: number, curve: number })),
  clip: number,
  intercept: number,
  min_score: number,
});
export const familiarityRule: Check<FamiliarityRule> = object<FamiliarityRule>({ output: text, threshold: number });
export const metrics: Check<Readonly<Record<string, Metric>>> = record(
  object<Metric>({ value: number, low: optional(maybe, null), high: optional(maybe, null) }),
);
export const operatingPoint: Check<OperatingPoint> = object<OperatingPoint>({
  name: text,
  threshold: number,
  rule: text,
  meaning: text,
  chosen_on: text,
  metrics: optional(metrics, {}),
  bands: optional(
    list(object<Band>({ referred: number, low: number, high: number, metrics: optional(metrics, {}) })),
    [],
  ),
  basis: optional<"ranking" | "probability">(oneOf("ranking", "probability"), "ranking"),
});
