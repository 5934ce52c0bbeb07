/** Step 3: is the picture usable, and is the lesion? */

import { significant } from "../wording.js";
import type { MaskRule, QualityLimits } from "../rules.js";
import type { Problem, Reason, RgbImage } from "../types.js";
import { greyOf, moments } from "./grey.js";

/** Measures of a resized picture. */
export interface Quality {
  /** Mean grey value, 0 to 255. */
  readonly luminance: number;
  /** Standard deviation of grey. */
  readonly contrast: number;
  /** Variance of the Laplacian over variance of grey; 0 for a uniform picture. */
  readonly sharpness: number;
}

/** Measures a resized picture. */
export function measureQuality(image: RgbImage): Quality {
  const { width, height } = image;
  const grey = greyOf(image);
  const { mean, variance } = moments(grey);
  if (variance === 0) return { luminance: mean, contrast: 0, sharpness: 0 };
  const laplacian = new Float64Array(grey.length);
  for (let y = 0; y < height; y++) {
    const [up, down] = [mirror(y - 1, height) * width, mirror(y + 1, height) * width];
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      const sides = (grey[y * width + mirror(x - 1, width)] ?? 0) + (grey[y * width + mirror(x + 1, width)] ?? 0);
      laplacian[i] = sides + (grey[up + x] ?? 0) + (grey[down + x] ?? 0) - 4 * (grey[i] ?? 0);
    }
  }
  return { luminance: mean, contrast: Math.sqrt(variance), sharpness: moments(laplacian).variance / variance };
}

/** Mirrored without repeating the edge: -1 is 1. */
function mirror(i: number, size: number): number {
  if (size === 1) return 0;
  if (i < 0) return -i;
  return i < size ? i : 2 * size - 2 - i;
}

/** The first limit that a picture of this original size breaks, or null. */
export function pictureProblem(
  height: number,
  width: number,
  quality: Quality,
  limits: QualityLimits,
): Problem | null {
  const side = Math.min(height, width);
  if (side < limits.min_side) {
    return problem(
      "picture_too_small",
      `The picture is too small: its shorter side has ${String(side)} pixels, at least ${String(limits.min_side)} needed.`,
    );
  }
  const { luminance, contrast, sharpness } = quality;
  if (contrast === 0) return problem("blank", "The picture is blank: all pixels have the same brightness.");
  if (luminance > limits.max_luminance) {
    const most = significant(limits.max_luminance, 3);
    return problem(
      "overexposed",
      `The picture is overexposed: mean brightness ${significant(luminance, 3)}, at most ${most} allowed.`,
    );
  }
  const floors: readonly [Reason, string, string, number, number][] = [
    ["too_dark", "too dark", "mean brightness", luminance, limits.min_luminance],
    ["uniform", "nearly uniform", "contrast", contrast, limits.min_contrast],
    ["blurred", "blurred", "sharpness", sharpness, limits.min_sharpness],
  ];
  for (const [reason, adjective, measure, value, floor] of floors) {
    if (value < floor) {
      const [found, least] = [significant(value, 3), significant(floor, 3)];
      return problem(reason, `The picture is ${adjective}: ${measure} ${found}, at least ${least} needed.`);
    }
  }
  return null;
}

/**
 * Why a lesion is refused, or null.
 *
 * @param areaFraction - lesion pixels over all pixels; 0 where none was found.
 * @param confidence - see `lesionConfidence`.
 */
export function lesionProblem(areaFraction: number, confidence: number, rule: MaskRule): Problem | null {
  const percent = (value: number, digits: number): string => `${(value * 100).toFixed(digits)}%`;
  if (areaFraction === 0) return problem("no_lesion", "No lesion was found.");
  if (confidence < rule.min_confidence) {
    return problem(
      "lesion_uncertain",
      `The outline is uncertain, as on bare skin: its mean probability is ${confidence.toFixed(2)}, ` +
        `at least ${rule.min_confidence.toFixed(2)} needed.`,
    );
  }
  if (areaFraction < rule.min_area_fraction) {
    const least = percent(rule.min_area_fraction, 2);
    return problem(
      "lesion_too_small",
      `The lesion covers ${percent(areaFraction, 2)} of the picture; at least ${least} needed.`,
    );
  }
  if (areaFraction > rule.max_area_fraction) {
    const most = percent(rule.max_area_fraction, 0);
    return problem(
      "lesion_fills_frame",
      `The lesion covers ${percent(areaFraction, 0)} of the picture; at most ${most} allowed.`,
    );
  }
  return null;
}

function problem(reason: Reason, message: string): Problem {
  return { reason, message };
}
