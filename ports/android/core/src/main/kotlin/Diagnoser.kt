package io.github.edgeinfer

import io.github.edgeinfer.bundle.Bundle
import io.github.edgeinfer.steps.DEFAULT_MAX_PIXELS
import io.github.edgeinfer.steps.Work
import io.github.edgeinfer.steps.checkPixels
import io.github.edgeinfer.steps.correctClasses
import io.github.edgeinfer.steps.examine
import io.github.edgeinfer.steps.isMelanoma
import io.github.edgeinfer.steps.locate
import io.github.edgeinfer.steps.move
import io.github.edgeinfer.steps.oddsRatio

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
    private val rules = manifest.rules
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
    fun diagnose(data: ByteArray): Diagnosis = diagnose(decoder.open(data, maxPixels))

    /** Diagnoses an upright picture. Throws as the other one does. */
    fun diagnose(picture: Picture): Diagnosis {
        checkPixels(picture.height, picture.width, maxPixels)
        val work = examine(picture, rules)
        if (work.reason == null) segment(work)
        return finish(work, work.roi?.let { classify(it) })
    }

    override fun close() {
        segmenter.close()
        classifier.close()
    }

    private fun segment(work: Work) {
        val input = work.segmenterInput
        val outputs = segmenter.run(input)
        val values = probabilities("segmenter", outputs, manifest.segmenter.output, input.height * input.width)
        val score = rules.familiarity?.let { score(outputs, it.output) }
        locate(work, ProbabilityMap(input.height, input.width, values), rules, score)
    }

    private fun classify(roi: Picture): DoubleArray {
        val row = probabilities("classifier", classifier.run(roi), manifest.classifier.output, manifest.labels.size)
        return correctClasses(DoubleArray(row.size) { row[it].toDouble() }, manifest.melanomaIndex, ratio)
    }

    private fun finish(work: Work, row: DoubleArray?): Diagnosis {
        val melanoma = row?.get(manifest.melanomaIndex)
        val answer = melanoma?.let { isMelanoma(it, point, band) }
        return Diagnosis(
            reason = work.reason ?: if (answer == null) Reason.UNCERTAIN else null,
            height = work.picture.height, width = work.picture.width, quality = work.quality,
            operatingPoint = point.name, threshold = point.threshold, band = band, prior = prior,
            melanomaProbability = melanoma, isMelanoma = answer,
            probabilities = row?.let { manifest.labels.zip(it.toList()).toMap() } ?: emptyMap(),
            mask = work.mask, lesionBox = work.lesionBox, roiBox = work.roiBox, roi = work.roi,
            areaFraction = work.areaFraction, confidence = work.confidence,
            dermoscopy = work.dermoscopy, familiarity = work.familiarity, provider = segmenter.provider,
            bundle = manifest.name, bundleVersion = manifest.version, bundleSha256 = bundle.sha256,
            warnings = work.warnings,
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
private fun probabilities(stage: String, outputs: Map<String, FloatArray>, name: String, size: Int): FloatArray {
    val values = output(stage, outputs, name, size)
    // NaN fails the comparison, so it is caught here too.
    if (!values.all { it >= -1e-4f && it <= 1 + 1e-4f }) {
        throw InferenceError("The $stage returned values that are no probabilities.", "Try the CPU provider.")
    }
    return FloatArray(size) { values[it].coerceIn(0f, 1f) }
}
