package io.github.edgeinfer

import io.github.edgeinfer.bundle.Bundle
import io.github.edgeinfer.steps.DEFAULT_MAX_PIXELS
import io.github.edgeinfer.steps.Quality
import io.github.edgeinfer.steps.checkPixels
import io.github.edgeinfer.steps.cleanMask
import io.github.edgeinfer.steps.correctClasses
import io.github.edgeinfer.steps.cropRoi
import io.github.edgeinfer.steps.dermoscopyScore
import io.github.edgeinfer.steps.isMelanoma
import io.github.edgeinfer.steps.lesionBox
import io.github.edgeinfer.steps.lesionConfidence
import io.github.edgeinfer.steps.lesionProblem
import io.github.edgeinfer.steps.measureAppearance
import io.github.edgeinfer.steps.measureQuality
import io.github.edgeinfer.steps.move
import io.github.edgeinfer.steps.oddsRatio
import io.github.edgeinfer.steps.pictureProblem
import io.github.edgeinfer.steps.readHeader
import io.github.edgeinfer.steps.resize
import io.github.edgeinfer.steps.restoreMask
import io.github.edgeinfer.steps.roiBox
import io.github.edgeinfer.steps.upright

/**
 * Picture in, diagnosis out: the order of the steps in `exported/README.md`, and nothing else.
 *
 * Holds nothing of a picture after it was diagnosed. Use it from one thread at a time.
 *
 * @param operatingPoint name of the decision threshold; null takes the bundle's default.
 * @param abstain share of least certain pictures to leave undecided, one that the operating point has a band for.
 * @param prevalence share of melanoma among the pictures to come, such as 0.02; null takes the one that the bundle assumes.
 * @param maxPixels larger pictures are refused before they are decoded.
 * @throws BundleMismatchError the classifier was exported for other labels.
 * @throws BundleChoiceError there is no such operating point or band, or no prior to correct.
 * @throws PrevalenceError the prevalence is not between 0 and 1.
 */
class Diagnoser(
    private val bundle: Bundle,
    private val segmenter: Engine,
    private val classifier: Engine,
    private val decoder: Decoder,
    operatingPoint: String? = null,
    abstain: Double? = null,
    prevalence: Double? = null,
    private val maxPixels: Long = DEFAULT_MAX_PIXELS,
) : AutoCloseable {
    private val manifest = bundle.manifest
    private val ratio = oddsRatio(manifest.prior, prevalence)
    private val prior = prevalence ?: manifest.prior
    private val point = move(manifest.operatingPoint(operatingPoint), ratio)
    private val band = abstain?.let { point.band(it) }

    init {
        val stored = classifier.labels
        if (stored != null && stored != manifest.labels) {
            throw BundleMismatchError(
                "The classifier was exported for the labels $stored, the manifest says ${manifest.labels}.",
                "Do not mix files of different bundles.",
            )
        }
    }

    /**
     * Diagnoses an encoded picture.
     *
     * @throws ImageError the picture cannot be used.
     * @throws EngineError the engine failed.
     */
    fun diagnose(data: ByteArray): Diagnosis {
        val header = readHeader(data)
        checkPixels(header.height, header.width, maxPixels)
        return diagnose(upright(decoder.decode(data, maxPixels), header.orientation))
    }

    /** Diagnoses an upright picture. Throws as the other one does. */
    fun diagnose(picture: Picture): Diagnosis {
        checkPixels(picture.height, picture.width, maxPixels)
        val input = resize(picture, manifest.segmenter.input.height, manifest.segmenter.input.width)
        val work = Work(picture, measureQuality(input))
        work.reason = pictureProblem(picture.height, picture.width, work.quality, manifest.quality)
        manifest.dermoscopy?.let { rule ->
            val score = dermoscopyScore(measureAppearance(input), rule)
            work.dermoscopy = score
            if (work.reason == null && score < rule.minScore) work.reason = Reason.NOT_DERMOSCOPY
        }
        if (work.reason == null) locate(work, segmenter.run(input), input)
        work.roi?.let { decide(work, classify(it)) }
        return work.finish()
    }

    override fun close() {
        segmenter.close()
        classifier.close()
    }

    private fun classify(roi: Picture): FloatArray =
        checked("classifier", classifier.run(roi), manifest.classifier.output, manifest.labels.size)

    private fun locate(work: Work, outputs: Map<String, FloatArray>, input: Picture) {
        val picture = work.picture
        val values = checked("segmenter", outputs, manifest.segmenter.output, input.height * input.width)
        val map = ProbabilityMap(input.height, input.width, values)
        val small = cleanMask(map, manifest.mask.threshold)
        val mask = restoreMask(small, picture.height, picture.width)
        val box = lesionBox(mask)
        val area = mask.count.toDouble() / mask.values.size
        val confidence = lesionConfidence(map, small)
        manifest.familiarity?.let { rule ->
            val score = score(outputs, rule.output)
            work.familiarity = score
            if (score < rule.threshold) work.reason = Reason.NOT_DERMOSCOPY
        }
        work.reason = work.reason ?: lesionProblem(area, confidence, manifest.mask)
        if (box == null) return
        work.mask = mask
        work.lesionBox = box
        work.area = area
        work.confidence = confidence
        if (work.reason == null) crop(work, mask, box)
    }

    private fun crop(work: Work, mask: Mask, box: Box) {
        val picture = work.picture
        val size = manifest.classifier.input.height
        val roiBox = roiBox(box, picture.height, picture.width, manifest.roi.margin, manifest.roi.outside)
        work.roiBox = roiBox
        work.roi = cropRoi(picture, mask, roiBox, manifest.roi, size)
        if (box.x0 == 0 || box.y0 == 0 || box.x1 == picture.width || box.y1 == picture.height) {
            work.warnings += Warning.LESION_AT_EDGE
        }
        if (minOf(roiBox.width, roiBox.height) < size) work.warnings += Warning.CROP_ENLARGED
    }

    private fun decide(work: Work, probabilities: FloatArray) {
        val row = DoubleArray(probabilities.size) { probabilities[it].toDouble() }
        val corrected = correctClasses(row, manifest.melanomaIndex, ratio)
        work.probabilities = manifest.labels.zip(corrected.toList()).toMap()
        val melanoma = work.probabilities.getValue(manifest.melanomaLabel)
        work.probability = melanoma
        work.isMelanoma = isMelanoma(melanoma, point, band)
        if (work.isMelanoma == null) work.reason = Reason.UNCERTAIN
    }

    /** One picture on its way: what is known of it so far. */
    private inner class Work(val picture: Picture, val quality: Quality) {
        var reason: Reason? = null
        var dermoscopy: Double? = null
        var familiarity: Double? = null
        var mask: Mask? = null
        var lesionBox: Box? = null
        var roiBox: Box? = null
        var roi: Picture? = null
        var area: Double? = null
        var confidence: Double? = null
        var probability: Double? = null
        var isMelanoma: Boolean? = null
        var probabilities: Map<String, Double> = emptyMap()
        val warnings = ArrayList<Warning>()

        fun finish() = Diagnosis(
            reason = reason, height = picture.height, width = picture.width, quality = quality,
            operatingPoint = point.name, threshold = point.threshold, band = band,
            melanomaProbability = probability, isMelanoma = isMelanoma, probabilities = probabilities,
            mask = mask, lesionBox = lesionBox, roiBox = roiBox, roi = roi, areaFraction = area, confidence = confidence,
            dermoscopy = dermoscopy, familiarity = familiarity, prior = prior, provider = segmenter.provider,
            bundle = manifest.name, bundleVersion = manifest.version, bundleSha256 = bundle.sha256, warnings = warnings,
        )
    }
}

private fun output(stage: String, outputs: Map<String, FloatArray>, name: String, size: Int): FloatArray {
    val values = outputs[name] ?: throw BundleMismatchError(
        "The $stage has no output '$name', only ${outputs.keys.joinToString()}.",
        "Do not mix files of different bundles.",
    )
    if (values.size != size) {
        throw InferenceError("The $stage returned ${values.size} values, not $size.", "Restore the bundle.")
    }
    return values
}

private fun score(outputs: Map<String, FloatArray>, name: String): Double {
    val value = output("segmenter", outputs, name, 1)[0].toDouble()
    if (!value.isFinite()) throw InferenceError("The segmenter returned no score of familiarity.", "Restore the bundle.")
    return value
}

/** A network's output of this name, clipped to 0..1. */
private fun checked(stage: String, outputs: Map<String, FloatArray>, name: String, size: Int): FloatArray {
    val values = output(stage, outputs, name, size)
    // NaN fails the comparison, so it is caught here too.
    if (!values.all { it >= -1e-4f && it <= 1 + 1e-4f }) {
        throw InferenceError("The $stage returned values that are no probabilities.", "Try the CPU provider.")
    }
    return FloatArray(size) { values[it].coerceIn(0f, 1f) }
}
