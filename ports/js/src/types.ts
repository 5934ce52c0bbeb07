/** Pictures, boxes and answers: what goes in and what comes out. */

import type { EdgeInferError } from "./errors.js";
import type { Quality } from "./steps/quality.js";

/** An upright picture: RGB, 8 bits, rows first, without padding; `data.length` is `height * width * 3`. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** A lesion mask: 0 and 1, rows first; `data.length` is `height * width`. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Lesion probabilities, 0 to 1, rows first; `data.length` is `height * width`. */
export interface ProbabilityMap {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** A half-open rectangle in pixels: columns x0 to x1 - 1, rows y0 to y1 - 1. A region may reach outside the picture. */
export interface Box {
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** Why a picture gets no decision; all but `uncertain` leave it without a probability. */
export const REASONS = [
  "no_lesion",
  "lesion_uncertain",
  "lesion_too_small",
  "lesion_fills_frame",
  "picture_too_small",
  "blank",
  "uniform",
  "too_dark",
  "overexposed",
  "blurred",
  "not_dermoscopy",
  "uncertain",
] as const;
/** One of {@link REASONS}. */
export type Reason = (typeof REASONS)[number];

/** A reason and a sentence for people. */
export interface Problem {
  readonly reason: Reason;
  readonly message: string;
}

/** What a decision says. */
export type Label = "melanoma" | "not melanoma";

/**
 * The answer for one picture. Names are those of Python's `Diagnosis.to_dict()`, so that a stored record reads the same
 * whoever made it; `mask` and `roi` come on top.
 */
export interface Diagnosis {
  /** `ok`: there is a decision. `indeterminate`: there is none, and `reason` says why. */
  readonly status: "ok" | "indeterminate";
  readonly reason: Reason | null;
  /** The reason in one English sentence. */
  readonly message: string | null;
  /** Calibrated, 0 to 1; null unless `status` is `ok` or the reason is `uncertain`. */
  readonly melanoma_probability: number | null;
  /** Null unless `status` is `ok`. */
  readonly label: Label | null;
  /** The decision threshold that was used. */
  readonly threshold: number;
  readonly operating_point: string;
  /** Share of melanoma among pictures that the probabilities assume; null where the bundle does not say. */
  readonly prior: number | null;
  /** With abstention: the probabilities between which there is no decision. */
  readonly band: readonly [number, number] | null;
  /** By class, in the bundle's order; empty where `melanoma_probability` is null. */
  readonly probabilities: Readonly<Record<string, number>>;
  /** Height and width of the upright picture in pixels. */
  readonly image_size: readonly [number, number];
  /** At the picture's size; null where no lesion was found. */
  readonly mask: Mask | null;
  readonly lesion_box: Box | null;
  /** What was cropped: a square that may reach outside the picture, unless the bundle's rule says otherwise. */
  readonly roi_box: Box | null;
  /** The crop that the classifier saw. */
  readonly roi: RgbImage | null;
  /** Lesion pixels over all pixels. */
  readonly lesion_area_fraction: number | null;
  /** The segmenter's mean probability inside its outline. */
  readonly lesion_confidence: number | null;
  /** Luminance, contrast, sharpness, and the score `dermoscopy` or `familiarity` where the bundle has a rule for it. */
  readonly quality: Readonly<Quality & { dermoscopy?: number; familiarity?: number }>;
  /** Milliseconds of each step, and their sum as `total`. */
  readonly timings_ms: Readonly<Record<string, number>>;
  /** The execution providers that were asked for. */
  readonly provider: string;
  readonly bundle: string;
  readonly bundle_version: string;
  /** SHA-256 of `bundle.json`, which lists every file's hash: it identifies the whole bundle. */
  readonly bundle_sha256: string;
  /** What a careful reader should know about this answer. */
  readonly warnings: readonly string[];
}

/** One result of {@link Diagnoser.diagnoseMany}: an answer, or the typed error of a picture that could not be used. */
export type Result = { readonly diagnosis: Diagnosis } | { readonly error: EdgeInferError };

/** What a {@link Decoder} gives: the colours as they are stored, and the transparency that was taken off them. */
export interface Decoded extends RgbImage {
  /** A sample for each pixel, 0 transparent to 255 opaque; null where the file has none. */
  readonly alpha: Uint8Array | null;
}

/** Decodes an encoded picture to upright RGB at full size, or throws `ImageDecodeError`. See `bitmapDecoder`, `sharpDecoder`. */
export type Decoder = (data: Uint8Array, format: string) => Promise<Decoded>;

/** What `diagnose` takes: encoded bytes (JPEG, PNG, WebP, ...) or an upright RGB picture. */
export type ImageInput = Uint8Array | ArrayBuffer | Blob | RgbImage;
