package io.github.edgeinfer.steps

import io.github.edgeinfer.Box
import io.github.edgeinfer.DermoscopyRule
import io.github.edgeinfer.FamiliarityRule
import io.github.edgeinfer.InputSpec
import io.github.edgeinfer.Mask
import io.github.edgeinfer.MaskRule
import io.github.edgeinfer.Picture
import io.github.edgeinfer.ProbabilityMap
import io.github.edgeinfer.QualityLimits
import io.github.edgeinfer.Reason
import io.github.edgeinfer.RoiRule
import io.github.edgeinfer.Warning

/** What a bundle fixes for the steps outside its networks: both networks' inputs, and the rules in order. */
data class StepRules(
    val segmenter: InputSpec,
    val classifier: InputSpec,
    val quality: QualityLimits,
    val dermoscopy: DermoscopyRule?,
    val mask: MaskRule,
    val roi: RoiRule,
    val familiarity: FamiliarityRule? = null,
)

/**
 * One picture on its way, and what is known of it so far; properties of one name mean what they mean in
 * [io.github.edgeinfer.Diagnosis].
 *
 * @property reason why it gets no probability; the steps after the one that found it are left out.
 */
class Work internal constructor(val picture: Picture, val segmenterInput: Picture, val quality: Quality) {
    var reason: Reason? = null
        internal set
    var dermoscopy: Double? = null
        internal set
    var familiarity: Double? = null
        internal set
    var mask: Mask? = null
        internal set
    var lesionBox: Box? = null
        internal set
    var roiBox: Box? = null
        internal set
    var roi: Picture? = null
        internal set
    var areaFraction: Double? = null
        internal set
    var confidence: Double? = null
        internal set
    val warnings: MutableList<Warning> = ArrayList()
}

/** Before the networks: resizes, and judges quality and appearance. */
fun examine(picture: Picture, rules: StepRules): Work {
    val input = resize(picture, rules.segmenter.height, rules.segmenter.width)
    val work = Work(picture, input, measureQuality(input))
    work.reason = pictureProblem(picture.height, picture.width, work.quality, rules.quality)
    if (rules.dermoscopy != null) {
        val score = dermoscopyScore(measureAppearance(input), rules.dermoscopy)
        work.dermoscopy = score
        if (work.reason == null && score < rules.dermoscopy.minScore) work.reason = Reason.NOT_DERMOSCOPY
    }
    return work
}

/**
 * Between the networks: mask, box and crop from the segmenter's map, or the reason why there are none. An outline is kept where
 * there is one, even if the picture is refused.
 *
 * @param work without a reason; gets the results.
 * @param map lesion probabilities at the segmenter's input size.
 * @param score how familiar the picture is, where the bundle has a rule for it.
 */
fun locate(work: Work, map: ProbabilityMap, rules: StepRules, score: Double? = null) {
    val picture = work.picture
    val small = cleanMask(map, rules.mask.threshold)
    val mask = restoreMask(small, picture.height, picture.width)
    val box = lesionBox(mask)
    val area = mask.count.toDouble() / mask.values.size
    val confidence = lesionConfidence(map, small)
    work.familiarity = score
    if (rules.familiarity != null && score != null && score < rules.familiarity.threshold) work.reason = Reason.NOT_DERMOSCOPY
    work.reason = work.reason ?: lesionProblem(area, confidence, rules.mask)
    if (box == null) return
    work.mask = mask
    work.lesionBox = box
    work.areaFraction = area
    work.confidence = confidence
    if (work.reason == null) crop(work, mask, box, rules)
}

private fun crop(work: Work, mask: Mask, box: Box, rules: StepRules) {
    val picture = work.picture
    val size = rules.classifier.height
    val roiBox = roiBox(box, picture.height, picture.width, rules.roi.margin, rules.roi.outside)
    work.roiBox = roiBox
    work.roi = cropRoi(picture, mask, roiBox, rules.roi, size)
    val atEdge = box.x0 == 0 || box.y0 == 0 || box.x1 == picture.width || box.y1 == picture.height
    if (atEdge) work.warnings += Warning.LESION_AT_EDGE
    if (minOf(roiBox.width, roiBox.height) < size) work.warnings += Warning.CROP_ENLARGED
}
