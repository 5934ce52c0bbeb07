/** Probabilities for pictures among which melanoma is rarer or more frequent than a bundle assumes. */

import { BundleError, PrevalenceError } from "../errors.js";
import type { Calibration } from "../manifest.js";
import type { OperatingPoint } from "../rules.js";

/**
 * By what the odds of melanoma are multiplied (Saerens, Latinne and Decaestecker, Neural Computation 2002).
 *
 * @param prior - share of melanoma that the probabilities assume, between 0 and 1.
 * @param prevalence - the share for which they are wanted, between 0 and 1.
 */
export function oddsRatio(prior: number, prevalence: number): number {
  return ((prevalence / (1 - prevalence)) * (1 - prior)) / prior;
}

/**
 * {@link oddsRatio} for a bundle's calibration; 1 where no prevalence is asked for.
 *
 * @throws PrevalenceError - the prevalence is not between 0 and 1.
 * @throws BundleError - the bundle does not state its prior.
 */
export function knownRatio({ prior }: Pick<Calibration, "prior">, prevalence: number | undefined): number {
  if (prevalence === undefined) return 1;
  if (!(prevalence > 0 && prevalence < 1)) {
    throw new PrevalenceError(
      `A prevalence of ${String(prevalence)} is no share between 0 and 1.`,
      "Two melanomas in a hundred are 0.02.",
    );
  }
  if (prior === null) {
    throw new BundleError(
      "This bundle does not state the share of melanoma that its probabilities assume, so they cannot be corrected for another.",
      "Leave the prevalence out, or use a bundle whose manifest states calibration.prior.",
    );
  }
  return oddsRatio(prior, prevalence);
}

/** A probability of melanoma, 0 to 1, with its odds multiplied; 0 and 1 stay. */
export function correct(probability: number, ratio: number): number {
  return (ratio * probability) / (ratio * probability + (1 - probability));
}

/** The same for all classes: those other than melanoma keep their proportions, and the sum stays. */
export function correctClasses(probabilities: ArrayLike<number>, melanoma: number, ratio: number): Float64Array {
  const p = probabilities[melanoma] ?? Number.NaN;
  const whole = ratio * p + (1 - p);
  const result = Float64Array.from(probabilities, (value) => value / whole);
  // As thresholds are moved: rounded otherwise, a probability at its threshold could end on the other side.
  result[melanoma] = correct(p, ratio);
  return result;
}

/** The operating point for corrected probabilities; one that is a probability in itself stays. */
export function move(point: OperatingPoint, ratio: number): OperatingPoint {
  if (point.basis === "probability") return point;
  const bands = point.bands.map((band) => ({ ...band, low: correct(band.low, ratio), high: correct(band.high, ratio) }));
  return { ...point, threshold: correct(point.threshold, ratio), bands };
}
