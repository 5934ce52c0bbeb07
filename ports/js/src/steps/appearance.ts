/** Step 3, second part: does the picture look like dermoscopy? Colour and texture measures, weighed by the bundle. */

import type { DermoscopyRule, FamiliarityRule } from "../rules.js";
import type { Problem, RgbImage } from "../types.js";
import { greyOf, moments } from "./grey.js";
import { areaRows, rowsOf } from "./resize.js";

/** What `dermoscopy.terms` may name, in order; `exported/README.md` defines each. */
export const APPEARANCE_MEASURES = [
  "red_green",
  "red_green_spread",
  "green_blue",
  "green_blue_spread",
  "shading",
  "brightness",
  "contrast",
  "octave_1",
  "octave_2",
  "octave_3",
  "octave_4",
  "octave_5",
  "flat",
  "peaked",
] as const;
/** One of {@link APPEARANCE_MEASURES}. */
export type AppearanceMeasure = (typeof APPEARANCE_MEASURES)[number];
/** All measures of one picture. */
export type Appearance = Readonly<Record<AppearanceMeasure, number>>;

const OCTAVES = ["octave_1", "octave_2", "octave_3", "octave_4", "octave_5"] as const;
const LOG = Float64Array.from({ length: 256 }, (_, value) => Math.log(value + 8));

/** Measures a resized picture of at least 64 x 64 pixels. */
export function measureAppearance(image: RgbImage): Appearance {
  const count = image.width * image.height;
  const [rg, gb, green] = [new Float64Array(count), new Float64Array(count), new Float64Array(count)];
  for (let i = 0, p = 0; i < count; i++, p += 3) {
    const [r, g, b] = [logOf(image.data[p]), logOf(image.data[p + 1]), logOf(image.data[p + 2])];
    rg[i] = r - g;
    gb[i] = g - b;
    green[i] = g;
  }
  const [redGreen, greenBlue, greenOnly] = [moments(rg), moments(gb), moments(green)];
  let covariance = 0;
  for (let i = 0; i < count; i++) {
    covariance += ((rg[i] ?? 0) - redGreen.mean) * ((green[i] ?? 0) - greenOnly.mean);
  }
  const grey = greyOf(image);
  const { mean, variance } = moments(grey);
  return {
    red_green: redGreen.mean,
    red_green_spread: Math.sqrt(redGreen.variance),
    green_blue: greenBlue.mean,
    green_blue_spread: Math.sqrt(greenBlue.variance),
    shading: covariance / count / (greenOnly.variance + 1e-4),
    brightness: mean,
    contrast: Math.sqrt(variance),
    ...octaves(grey, image.height, image.width, variance),
    ...neighbours(grey, image.height, image.width),
  };
}

/** How much a picture looks like dermoscopy: the log odds of the bundle's regression, higher is more. */
export function dermoscopyScore(appearance: Appearance, rule: DermoscopyRule): number {
  let score = rule.intercept;
  for (const [name, term] of Object.entries(rule.terms)) {
    const z = (appearance[name as AppearanceMeasure] - term.centre) / term.scale;
    const clipped = Math.min(Math.max(z, -rule.clip), rule.clip);
    score += term.weight * clipped + term.curve * clipped * clipped;
  }
  return score;
}

/** Why a picture with this score gets no probability, or null. */
export function appearanceProblem(score: number, rule: Pick<DermoscopyRule, "min_score">): Problem | null {
  if (score >= rule.min_score) return null;
  return {
    reason: "not_dermoscopy",
    message:
      `The picture does not look like dermoscopy: score ${score.toFixed(1)}, ` +
      `at least ${rule.min_score.toFixed(1)} needed.`,
  };
}

/** Why a picture whose segmenter gave this score gets no probability, or null. */
export function familiarityProblem(score: number, rule: Pick<FamiliarityRule, "threshold">): Problem | null {
  if (score >= rule.threshold) return null;
  return {
    reason: "not_dermoscopy",
    message:
      `The picture does not look like dermoscopy: familiarity ${score.toFixed(1)}, ` +
      `at least ${rule.threshold.toFixed(1)} needed.`,
  };
}

function logOf(value: number | undefined): number {
  return LOG[value ?? 0] ?? 0;
}

/** Variance that each halving of the picture takes away, as a logarithm of its share. */
function octaves(
  grey: Uint8Array,
  height: number,
  width: number,
  variance: number,
): Record<(typeof OCTAVES)[number], number> {
  const found = { octave_1: 0, octave_2: 0, octave_3: 0, octave_4: 0, octave_5: 0 };
  let current: Uint8Array | Float32Array = grey;
  let left = variance;
  for (const octave of OCTAVES) {
    const [rows, columns] = [Math.floor(height / 2), Math.floor(width / 2)];
    const halved = new Float32Array(rows * columns);
    areaRows(rowsOf(current, height, width, 1), rows, columns, (y, row) => {
      halved.set(row, y * columns);
    });
    const smaller = moments(halved).variance;
    found[octave] = Math.log((Math.max(left - smaller, 0) + 0.05) / (variance + 1));
    [current, height, width, left] = [halved, rows, columns, smaller];
  }
  return found;
}

/** Shares and sizes of differences between horizontal and vertical neighbours. */
function neighbours(grey: Uint8Array, height: number, width: number): { flat: number; peaked: number } {
  let [equal, sum, squares] = [0, 0, 0];
  const count = height * (width - 1) + (height - 1) * width;
  const add = (difference: number): void => {
    const size = Math.abs(difference);
    if (size === 0) equal++;
    sum += size;
    squares += size * size;
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      const here = grey[i] ?? 0;
      if (x + 1 < width) add(here - (grey[i + 1] ?? 0));
      if (y + 1 < height) add(here - (grey[i + width] ?? 0));
    }
  }
  const [mean, square] = [sum / count, squares / count];
  return { flat: equal / count, peaked: Math.log(square + 1e-3) - Math.log(mean ** 2 + 1e-3) };
}
