package io.github.edgeinfer.bundle

import io.github.edgeinfer.DermoscopyRule
import io.github.edgeinfer.FamiliarityRule
import io.github.edgeinfer.OperatingPoint
import io.github.edgeinfer.steps.APPEARANCE_MEASURES

private val VERSION = Regex("""(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}""")
private val RELEASE = Regex("""\d+(\.\d+){1,2}""")

/** The first thing that the types alone do not rule out, or null. */
internal fun contradiction(manifest: Manifest): String? = sequence {
    if (!VERSION.matches(manifest.version)) yield("version '${manifest.version}' is not three numbers such as 1.0.0")
    if (manifest.minOnnxruntime?.let { RELEASE.matches(it) } == false) {
        yield("min_onnxruntime '${manifest.minOnnxruntime}' is no version such as 1.20")
    }
    labels(manifest)
    points(manifest)
    with(manifest.mask) {
        if (!(threshold > 0 && threshold < 1)) yield("mask.threshold $threshold is not between 0 and 1")
        if (!(0 <= minAreaFraction && minAreaFraction < maxAreaFraction && maxAreaFraction <= 1)) {
            yield("mask area fractions must satisfy 0 <= min < max <= 1")
        }
        if (minConfidence !in 0.0..1.0) yield("mask.min_confidence $minConfidence is not between 0 and 1")
    }
    manifest.dermoscopy?.let { dermoscopy(it) }
    manifest.familiarity?.let { familiarity(it, manifest) }
    manifest.prior?.let { if (!(it > 0 && it < 1)) yield("calibration.prior $it is not between 0 and 1") }
    if (manifest.roi.margin !in 0.0..4.0) yield("roi.margin ${manifest.roi.margin} is not between 0 and 4")
    stage("segmenter", manifest.segmenter, manifest)
    stage("classifier", manifest.classifier, manifest)
    if (manifest.classifier.input.height != manifest.classifier.input.width) yield("classifier.input must be square")
    if (manifest.golden.file !in manifest.files) yield("golden.file '${manifest.golden.file}' is not listed in files")
    for (file in manifest.files.keys) {
        if (!isInside(file)) yield("files: '$file' leaves the bundle's folder")
    }
}.firstOrNull()

/** Whether a path of a manifest stays inside the bundle's folder. */
internal fun isInside(file: String): Boolean =
    file.isNotEmpty() && !file.startsWith("/") && '\\' !in file && ':' !in file && ".." !in file.split('/')

private suspend fun SequenceScope<String>.labels(manifest: Manifest) {
    val labels = manifest.labels
    if (manifest.melanomaLabel !in labels) yield("melanoma_label '${manifest.melanomaLabel}' is not among the labels")
    if (labels.toSet().size != labels.size || labels.size < 2) yield("labels must be at least two different names")
    if (manifest.labelNames.keys != labels.toSet()) yield("label_names must name exactly the labels")
}

private suspend fun SequenceScope<String>.points(manifest: Manifest) {
    val names = manifest.operatingPoints.map { it.name }
    if (names.toSet().size != names.size) yield("two operating points share a name")
    if (manifest.defaultOperatingPoint !in names) {
        yield("default_operating_point '${manifest.defaultOperatingPoint}' is not among the operating points")
    }
    manifest.operatingPoints.forEach { point(it) }
}

private suspend fun SequenceScope<String>.point(point: OperatingPoint) {
    if (!(point.threshold > 0 && point.threshold < 1)) {
        yield("operating point '${point.name}': threshold ${point.threshold} is not between 0 and 1")
    }
    for (band in point.bands) {
        if (!(0 <= band.low && band.low < point.threshold && point.threshold < band.high && band.high <= 1)) {
            yield("operating point '${point.name}': band ${band.low} to ${band.high} is not around the threshold")
        }
        if (!(band.referred > 0 && band.referred < 1)) {
            yield("operating point '${point.name}': a band refers ${band.referred}, not a share between 0 and 1")
        }
    }
}

private suspend fun SequenceScope<String>.dermoscopy(rule: DermoscopyRule) {
    for ((name, term) in rule.terms) {
        if (name !in APPEARANCE_MEASURES) yield("dermoscopy.terms.$name: unknown measure")
        if (!(term.scale > 0)) yield("dermoscopy.terms.$name.scale ${term.scale} is not positive")
    }
    if (!(rule.clip > 0)) yield("dermoscopy.clip ${rule.clip} is not positive")
}

private suspend fun SequenceScope<String>.familiarity(rule: FamiliarityRule, manifest: Manifest) {
    if (manifest.dermoscopy != null) yield("familiarity and dermoscopy: a bundle has one of the two rules")
    if (rule.output.isEmpty() || rule.output == manifest.segmenter.output) {
        yield("familiarity.output '${rule.output}' is no second output of the segmenter")
    }
    if (manifest.golden.tolerance.maxFamiliarity == null) {
        yield("golden.max_familiarity is missing, and the bundle has a score to replay")
    }
    for ((name, variant) in manifest.segmenter.variants) {
        if (variant.tolerance.maxFamiliarity == null) yield("segmenter.variants.$name.tolerance.max_familiarity is missing")
    }
}

private suspend fun SequenceScope<String>.stage(name: String, stage: Stage, manifest: Manifest) {
    val input = stage.input
    if (input.height !in 8..4096 || input.width !in 8..4096) {
        yield("$name.input size ${input.height}x${input.width} is not within 8..4096")
    }
    for (file in stage.files.values + stage.variants.values.map { it.file }) {
        if (manifest.files.keys.none { it == file || it.startsWith("$file/") }) yield("$name: '$file' is not listed in files")
    }
    if ("float32" in stage.variants) yield("$name.variants.float32: this name stands for files.onnx")
    for ((variant, entry) in stage.variants) {
        if (entry.parity.isEmpty()) yield("$name.variants.$variant has no parity gate")
    }
}
