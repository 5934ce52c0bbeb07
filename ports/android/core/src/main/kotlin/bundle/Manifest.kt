package io.github.edgeinfer.bundle

import io.github.edgeinfer.BundleChoiceError
import io.github.edgeinfer.DermoscopyRule
import io.github.edgeinfer.FamiliarityRule
import io.github.edgeinfer.InputSpec
import io.github.edgeinfer.MaskRule
import io.github.edgeinfer.OperatingPoint
import io.github.edgeinfer.QualityLimits
import io.github.edgeinfer.RoiRule
import io.github.edgeinfer.steps.StepRules

/** How far a replay of the golden examples may deviate; see `exported/README.md`. */
data class Tolerance(
    val maxMap: Double,
    val minMaskIou: Double,
    val maxProbability: Double,
    val maxEndToEnd: Double,
    val maxFamiliarity: Double? = null,
)

/** How one file compares with the model that it came from. */
data class ParityGate(val artifact: String, val measure: String, val relation: String, val limit: Double, val value: Double) {
    /** Whether the gate holds. */
    val passed: Boolean get() = if (relation == "<=") value <= limit else value >= limit
}

/** One more form of a stage's network. */
data class Variant(
    val format: String,
    val file: String,
    val precision: String,
    val meantFor: String,
    val scheme: String,
    val parity: List<ParityGate>,
    val tolerance: Tolerance,
)

/** One network of the bundle; `files` by format, `variants` by name. */
data class Stage(
    val architecture: String,
    val parameters: Long,
    val input: InputSpec,
    val output: String,
    val files: Map<String, String>,
    val variants: Map<String, Variant>,
)

/** One file of the bundle: lower-case hex SHA-256 and size in bytes. */
data class FileEntry(val sha256: String, val bytes: Long)

/** Where the weights come from and what may be done with them. */
data class Provenance(val data: String, val citation: String, val license: String, val licenseNote: String)

/** Stored examples with every intermediate result, and how far a replay of the float32 files may deviate from them. */
data class Golden(val file: String, val tolerance: Tolerance)

/**
 * What `bundle.json` says, of any schema version that this library reads; what an older one does not say has its default.
 *
 * Figures and recipes that change no decision are checked and not kept.
 *
 * @property dermoscopy what is refused by measures outside the networks; never together with [familiarity].
 * @property familiarity what is refused by the segmenter's second output.
 * @property prior share of melanoma that the probabilities assume, 0..1; null where the bundle does not say.
 */
data class Manifest(
    val schemaVersion: Int,
    val name: String,
    val version: String,
    val minOnnxruntime: String?,
    val description: String,
    val intendedUse: String,
    val labels: List<String>,
    val labelNames: Map<String, String>,
    val melanomaLabel: String,
    val segmenter: Stage,
    val classifier: Stage,
    val mask: MaskRule,
    val roi: RoiRule,
    val quality: QualityLimits,
    val dermoscopy: DermoscopyRule?,
    val familiarity: FamiliarityRule?,
    val prior: Double?,
    val operatingPoints: List<OperatingPoint>,
    val defaultOperatingPoint: String,
    val golden: Golden,
    val provenance: Provenance,
    val files: Map<String, FileEntry>,
) {
    /** What the steps outside the networks need to know. */
    val rules: StepRules
        get() = StepRules(segmenter.input, classifier.input, quality, dermoscopy, mask, roi, familiarity)

    /** Column of the melanoma probability in the classifier's output. */
    val melanomaIndex: Int get() = labels.indexOf(melanomaLabel)

    /**
     * The operating point of this name, or the default one.
     *
     * @throws BundleChoiceError the bundle has no such operating point.
     */
    fun operatingPoint(name: String? = null): OperatingPoint {
        val wanted = name ?: defaultOperatingPoint
        return operatingPoints.firstOrNull { it.name == wanted } ?: throw BundleChoiceError(
            "Bundle '${this.name}' has no operating point '$wanted'.",
            "Choose one of: ${operatingPoints.joinToString { it.name }}.",
        )
    }

    /**
     * Path inside the bundle of a stage's file for ONNX Runtime: the float32 one, or a variant such as `int8-arm`.
     *
     * @throws BundleChoiceError the bundle has no such file.
     */
    fun onnxFile(stage: Stage, variant: String? = null): String {
        val known = stage.variants.filterValues { it.format == "onnx" }.mapValues { it.value.file } +
            listOfNotNull(stage.files["onnx"]?.let { "float32" to it })
        return known[variant ?: "float32"] ?: throw BundleChoiceError(
            "Bundle '$name' has no variant '${variant ?: "float32"}' for ONNX Runtime.",
            "It has: ${known.keys.joinToString()}.",
        )
    }
}
