package io.github.edgeinfer

/** A network's input: RGB uint8, one picture after the other (NHWC); normalisation is inside the graph. */
data class InputSpec(val name: String, val height: Int, val width: Int)

/**
 * How a probability map becomes a lesion, and when the lesion is refused.
 *
 * @property threshold a pixel is lesion where its probability is at least this.
 * @property minAreaFraction least share of the picture.
 * @property maxAreaFraction largest share of the picture.
 * @property minConfidence least mean probability inside the outline.
 */
data class MaskRule(
    val threshold: Double,
    val minAreaFraction: Double,
    val maxAreaFraction: Double,
    val minConfidence: Double,
)

/** What is done with the part of the picture that is not lesion. */
enum class Background(val value: String) { KEEP("keep"), ZERO("zero") }

/** What becomes of a square that is larger than the picture; see [io.github.edgeinfer.steps.roiBox]. */
enum class Outside(val value: String) { PAD("pad"), CLIP("clip"), CAP("cap"), REFLECT("reflect") }

/** How the lesion is cropped. `margin` is added on each side, as a fraction of the lesion's longer side. */
data class RoiRule(val background: Background, val margin: Double, val outside: Outside)

/** Limits of a usable picture, outside which there is no probability; measures: [io.github.edgeinfer.steps.Quality]. */
data class QualityLimits(
    val minSide: Int,
    val minContrast: Double,
    val minLuminance: Double,
    val maxLuminance: Double,
    val minSharpness: Double,
)

/** One measure in a score: weight * z + curve * z * z with z = (measure - centre) / scale, clipped. */
data class Term(val centre: Double, val scale: Double, val weight: Double, val curve: Double)

/** When a picture is no dermoscopy, by its measures; see [io.github.edgeinfer.steps.dermoscopyScore]. */
data class DermoscopyRule(val terms: Map<String, Term>, val clip: Double, val intercept: Double, val minScore: Double)

/**
 * When a picture is unlike those that the segmenter learnt from, so no dermoscopy.
 *
 * @property output name of the segmenter's output that holds the score; higher means more familiar.
 * @property threshold below it there is no probability.
 */
data class FamiliarityRule(val output: String, val threshold: Double)

/** What a threshold means where the user states another share of melanoma. */
enum class Basis(val value: String) {
    /** Chosen for a sensitivity, a specificity or a share of pictures: it moves with the probabilities. */
    RANKING("ranking"),

    /** A risk in itself, such as 10 %: it stays. */
    PROBABILITY("probability"),
}

/** A figure with its 95 % confidence interval, where there is one. */
data class Metric(val value: Double, val low: Double?, val high: Double?)

/** Probabilities too close to a threshold for a decision: low < p < high leaves the share `referred` undecided. */
data class Band(val referred: Double, val low: Double, val high: Double, val metrics: Map<String, Metric>)

/** A named decision threshold on the melanoma probability. */
data class OperatingPoint(
    val name: String,
    val threshold: Double,
    val rule: String,
    val meaning: String,
    val chosenOn: String,
    val metrics: Map<String, Metric>,
    val bands: List<Band>,
    val basis: Basis = Basis.RANKING,
) {
    /**
     * The band that leaves this share of pictures undecided.
     *
     * @throws BundleChoiceError there is none for this share.
     */
    fun band(referred: Double): Band =
        bands.firstOrNull { kotlin.math.abs(it.referred - referred) < 1e-6 }
            ?: throw BundleChoiceError(
                "Operating point '$name' has no band that leaves $referred of the pictures undecided.",
                if (bands.isEmpty()) "This bundle has none." else "Choose one of: ${bands.joinToString { "${it.referred}" }}.",
            )
}
