package io.github.edgeinfer

import io.github.edgeinfer.steps.Quality

/**
 * The answer for one picture.
 *
 * @property reason why there is no decision; null where there is one.
 * @property melanomaProbability calibrated, 0..1; null where the diagnosis ended before the classifier.
 * @property isMelanoma whether the probability reaches [threshold]; null unless there is a decision.
 * @property threshold of the operating point, 0..1.
 * @property band where the caller asked for abstention: probabilities between these two stay undecided.
 * @property probabilities by class, in the bundle's order; empty where [melanomaProbability] is null.
 * @property mask the cleaned lesion at the picture's size, where one was found.
 * @property lesionBox smallest rectangle around it, in pixels of the upright picture.
 * @property roiBox what was cropped, in the same pixels; may lie partly outside.
 * @property roi the crop that the classifier saw.
 * @property areaFraction lesion pixels over all pixels.
 * @property confidence the segmenter's mean probability inside its outline.
 * @property dermoscopy how much the picture looks like dermoscopy, where the bundle has a rule for it.
 * @property familiarity the segmenter's score of the same, where the bundle has a rule for that.
 * @property prior share of melanoma that the probabilities assume; null where nobody says.
 * @property warnings what a careful reader should know about this answer.
 */
class Diagnosis(
    val reason: Reason?,
    val height: Int,
    val width: Int,
    val quality: Quality,
    val operatingPoint: String,
    val threshold: Double,
    val band: Band?,
    val melanomaProbability: Double?,
    val isMelanoma: Boolean?,
    val probabilities: Map<String, Double>,
    val mask: Mask?,
    val lesionBox: Box?,
    val roiBox: Box?,
    val roi: Picture?,
    val areaFraction: Double?,
    val confidence: Double?,
    val dermoscopy: Double?,
    val familiarity: Double?,
    val prior: Double?,
    val provider: String,
    val bundle: String,
    val bundleVersion: String,
    val bundleSha256: String,
    val warnings: List<Warning>,
) {
    /** `ok` where there is a decision, `indeterminate` where there is none; an unusable picture is an [ImageError]. */
    val status: String get() = if (reason == null) "ok" else "indeterminate"
}

/** What a careful reader should know about an answer. */
enum class Warning {
    /** The lesion reaches the picture's edge; part of it may be missing. */
    LESION_AT_EDGE,

    /** The crop has fewer pixels than the classifier's input and was enlarged. */
    CROP_ENLARGED,
}
