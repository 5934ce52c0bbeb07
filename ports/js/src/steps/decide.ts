/** Step 8: from a calibrated probability to the answer. */

import type { Band, OperatingPoint } from "../rules.js";
import type { Label, Problem } from "../types.js";

/**
 * The label that a melanoma probability gets at an operating point, or why it gets none.
 *
 * @param band - between its limits nothing is decided; null decides always.
 */
export function decide(
  probability: number,
  point: OperatingPoint,
  band: Band | null,
): { readonly label: Label | null; readonly problem: Problem | null } {
  if (band === null || !(band.low < probability && probability < band.high)) {
    return { label: probability >= point.threshold ? "melanoma" : "not melanoma", problem: null };
  }
  const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;
  return {
    label: null,
    problem: {
      reason: "uncertain",
      message:
        `The probability of melanoma, ${percent(probability)}, is too close to the threshold: between ` +
        `${percent(band.low)} and ${percent(band.high)} nothing is decided.`,
    },
  };
}
