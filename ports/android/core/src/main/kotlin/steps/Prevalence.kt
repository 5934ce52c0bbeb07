package io.github.edgeinfer.steps

import io.github.edgeinfer.Basis
import io.github.edgeinfer.BundleChoiceError
import io.github.edgeinfer.OperatingPoint
import io.github.edgeinfer.PrevalenceError

/**
 * By what the odds of melanoma are multiplied where its share among the pictures is `prevalence` and not the `prior` that the
 * bundle's probabilities assume (Saerens, Latinne and Decaestecker, Neural Computation 2002); 1 where no prevalence is stated.
 *
 * @throws PrevalenceError it is not between 0 and 1.
 * @throws BundleChoiceError the bundle does not state its prior.
 */
fun oddsRatio(prior: Double?, prevalence: Double?): Double {
    if (prevalence == null) return 1.0
    if (!(prevalence > 0 && prevalence < 1)) {
        throw PrevalenceError("A prevalence of $prevalence is no share between 0 and 1.", "Two in a hundred are 0.02.")
    }
    if (prior == null) {
        throw BundleChoiceError(
            "This bundle does not state the share of melanoma that its probabilities assume.",
            "Leave the prevalence out, or use a bundle whose manifest states calibration.prior.",
        )
    }
    return prevalence / (1 - prevalence) * (1 - prior) / prior
}

/** A probability of melanoma with its odds multiplied; 0 and 1 stay. */
fun correct(probability: Double, ratio: Double): Double = ratio * probability / (ratio * probability + (1 - probability))

/** The same for all classes: those other than melanoma keep their proportions, and the sum stays. */
fun correctClasses(probabilities: DoubleArray, melanoma: Int, ratio: Double): DoubleArray {
    val p = probabilities[melanoma]
    val whole = ratio * p + (1 - p)
    // As thresholds are moved: rounded otherwise, a probability at its threshold could end on the other side.
    return DoubleArray(probabilities.size) { if (it == melanoma) correct(p, ratio) else probabilities[it] / whole }
}

/** The operating point for corrected probabilities; one that is a risk in itself stays. */
fun move(point: OperatingPoint, ratio: Double): OperatingPoint {
    if (point.basis == Basis.PROBABILITY || ratio == 1.0) return point
    val bands = point.bands.map { it.copy(low = correct(it.low, ratio), high = correct(it.high, ratio)) }
    return point.copy(threshold = correct(point.threshold, ratio), bands = bands)
}
