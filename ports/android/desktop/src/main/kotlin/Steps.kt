package io.github.edgeinfer.desktop

import io.github.edgeinfer.Background
import io.github.edgeinfer.Box
import io.github.edgeinfer.DermoscopyRule
import io.github.edgeinfer.Diagnoser
import io.github.edgeinfer.Engine
import io.github.edgeinfer.FamiliarityRule
import io.github.edgeinfer.InputSpec
import io.github.edgeinfer.Mask
import io.github.edgeinfer.MaskRule
import io.github.edgeinfer.Outside
import io.github.edgeinfer.Picture
import io.github.edgeinfer.QualityLimits
import io.github.edgeinfer.Reason
import io.github.edgeinfer.RoiRule
import io.github.edgeinfer.Term
import io.github.edgeinfer.bundle.Bundle
import io.github.edgeinfer.open
import io.github.edgeinfer.steps.APPEARANCE_MEASURES
import io.github.edgeinfer.steps.DEFAULT_MAX_PIXELS
import io.github.edgeinfer.steps.Quality
import io.github.edgeinfer.steps.StepRules
import io.github.edgeinfer.steps.cleanMask
import io.github.edgeinfer.steps.correctClasses
import io.github.edgeinfer.steps.cropRoi
import io.github.edgeinfer.steps.dermoscopyScore
import io.github.edgeinfer.steps.examine
import io.github.edgeinfer.steps.isMelanoma
import io.github.edgeinfer.steps.lesionBox
import io.github.edgeinfer.steps.lesionConfidence
import io.github.edgeinfer.steps.lesionProblem
import io.github.edgeinfer.steps.locate
import io.github.edgeinfer.steps.measureAppearance
import io.github.edgeinfer.steps.measureQuality
import io.github.edgeinfer.steps.move
import io.github.edgeinfer.steps.oddsRatio
import io.github.edgeinfer.steps.pictureProblem
import io.github.edgeinfer.steps.readHeader
import io.github.edgeinfer.steps.resize
import io.github.edgeinfer.steps.restoreMask
import io.github.edgeinfer.steps.roiBox

/** What a step is given. */
class Given(private val values: Map<String, Any?>, val bundle: Bundle, val networks: Networks?) {
    operator fun contains(key: String): Boolean = key in values

    fun any(key: String): Any? = values.getValue(key)

    fun text(key: String): String = any(key) as String

    fun integer(key: String): Int = (any(key) as Long).toInt()

    fun number(key: String): Double = (any(key) as Number).toDouble()

    /** Null where it is null or not there. */
    fun numberOrNull(key: String): Double? = (values[key] as Number?)?.toDouble()

    fun array(key: String): Values = any(key) as Values

    fun picture(key: String): Picture = array(key).picture()

    fun mask(key: String): Mask = array(key).mask()

    fun file(key: String): ByteArray = (any(key) as FileBytes).data

    fun box(key: String): Box {
        val (x0, y0, x1, y1) = (any(key) as List<*>).map { (it as Long).toInt() }
        return Box(x0, y0, x1, y1)
    }

    @Suppress("UNCHECKED_CAST") // parseJson makes no map with other keys
    fun table(key: String) = Given(any(key) as Map<String, Any?>, bundle, networks)

    fun names(): Set<String> = values.keys
}

/** Both networks, where an engine for this machine is at hand. */
class Networks(val segmenter: Engine, val classifier: Engine)

/** How this port does a step, by name. */
val STEPS: Map<String, (Given) -> Map<String, Any?>> = mapOf(
    "header" to { given ->
        val header = readHeader(given.file("file"))
        mapOf("format" to header.format, "height" to header.height, "width" to header.width)
    },
    "decode" to { given ->
        val limit = if ("max_pixels" in given) given.integer("max_pixels").toLong() else DEFAULT_MAX_PIXELS
        val picture = ImageIoDecoder().open(given.file("file"), limit)
        val found = mutableMapOf<String, Any?>("image" to shown(picture))
        if ("resized_to" in given) {
            val (height, width) = (given.any("resized_to") as List<*>).map { (it as Long).toInt() }
            found["resized"] = shown(resize(picture, height, width))
        }
        found
    },
    "resize" to { given ->
        mapOf("image" to shown(resize(given.picture("image"), given.integer("height"), given.integer("width"))))
    },
    "quality" to { given ->
        val quality = measureQuality(given.picture("image"))
        mapOf("luminance" to quality.luminance, "contrast" to quality.contrast, "sharpness" to quality.sharpness)
    },
    "picture_problem" to { given ->
        val quality = Quality(given.number("luminance"), given.number("contrast"), given.number("sharpness"))
        val reason = pictureProblem(given.integer("height"), given.integer("width"), quality, limits(given.table("limits")))
        mapOf("reason" to reason?.value)
    },
    "appearance" to { given ->
        val measures = measureAppearance(given.picture("image"))
        val found = mutableMapOf<String, Any?>(
            "names" to APPEARANCE_MEASURES.toList(),
            "measures" to APPEARANCE_MEASURES.map { measures[it] },
        )
        if ("rule" in given) found["score"] = dermoscopyScore(measures, dermoscopy(given.table("rule")))
        found
    },
    "appearance_problem" to { given ->
        mapOf("reason" to Reason.NOT_DERMOSCOPY.value.takeIf { given.number("score") < given.number("min_score") })
    },
    "clean_mask" to { given -> mapOf("mask" to shown(cleanMask(given.array("probability_map").map(), given.number("threshold")))) },
    "confidence" to { given ->
        mapOf("confidence" to lesionConfidence(given.array("probability_map").map(), given.mask("mask")))
    },
    "restore_mask" to { given ->
        mapOf("mask" to shown(restoreMask(given.mask("mask"), given.integer("height"), given.integer("width"))))
    },
    "lesion_box" to { given -> mapOf("box" to lesionBox(given.mask("mask"))?.let { shown(it) }) },
    "lesion_problem" to { given ->
        val reason = lesionProblem(given.number("area_fraction"), given.number("confidence"), maskRule(given.table("rule")))
        mapOf("reason" to reason?.value)
    },
    "roi_box" to { given ->
        val outside = outside(given)
        val height = given.integer("height")
        mapOf("box" to shown(roiBox(given.box("box"), height, given.integer("width"), given.number("margin"), outside)))
    },
    "crop" to { given ->
        val rule = RoiRule(background(given), 0.0, outside(given))
        mapOf("image" to shown(cropRoi(given.picture("image"), given.mask("mask"), given.box("box"), rule, given.integer("size"))))
    },
    "path" to { given -> path(given) },
    "decide" to { given -> decide(given) },
    "diagnose" to { given -> diagnose(given) },
    "segment" to { given ->
        val picture = given.picture("image")
        val manifest = given.bundle.manifest
        val outputs = given.networks!!.segmenter.run(picture)
        mapOf(
            "probability_map" to Values(listOf(picture.height, picture.width), null, outputs.getValue(manifest.segmenter.output)),
            "familiarity" to manifest.familiarity?.let { outputs.getValue(it.output)[0].toDouble() },
        )
    },
    "classify" to { given ->
        val row = given.networks!!.classifier.run(given.picture("image")).getValue(given.bundle.manifest.classifier.output)
        mapOf("probabilities" to Values(listOf(row.size), null, row))
    },
)

private fun diagnose(given: Given): Map<String, Any?> {
    val networks = given.networks!!
    val diagnoser = Diagnoser(
        given.bundle, networks.segmenter, networks.classifier, ImageIoDecoder(), prevalence = given.numberOrNull("prevalence"),
    )
    val found = if ("file" in given) diagnoser.diagnose(given.file("file")) else diagnoser.diagnose(given.picture("image"))
    return mapOf(
        "status" to found.status,
        "reason" to found.reason?.value,
        "label" to found.isMelanoma?.let { label(it) },
        "melanoma_probability" to found.melanomaProbability,
        "image_size" to listOf(found.height, found.width),
        "lesion_box" to found.lesionBox?.let { shown(it) },
        "roi_box" to found.roiBox?.let { shown(it) },
        "lesion_area_fraction" to found.areaFraction,
        "lesion_confidence" to found.confidence,
        "familiarity" to found.familiarity,
        "threshold" to found.threshold,
        "prior" to found.prior,
    )
}

/** What results call the answer. */
fun label(isMelanoma: Boolean): String = if (isMelanoma) "melanoma" else "not melanoma"

private fun decide(given: Given): Map<String, Any?> {
    val manifest = given.bundle.manifest
    val ratio = oddsRatio(manifest.prior, given.numberOrNull("prevalence"))
    val point = move(manifest.operatingPoint(given.text("operating_point")), ratio)
    val band = given.numberOrNull("abstain")?.let { point.band(it) }
    val row = (given.any("probabilities") as List<*>).map { (it as Number).toDouble() }.toDoubleArray()
    val probability = correctClasses(row, manifest.melanomaIndex, ratio)[manifest.melanomaIndex]
    val answer = isMelanoma(probability, point, band)
    return mapOf(
        "melanoma_probability" to probability,
        "threshold" to point.threshold,
        "label" to answer?.let { label(it) },
        "reason" to if (answer == null) Reason.UNCERTAIN.value else null,
    )
}

private fun limits(given: Given) = QualityLimits(
    given.integer("min_side"),
    given.number("min_contrast"),
    given.number("min_luminance"),
    given.number("max_luminance"),
    given.number("min_sharpness"),
)

private fun maskRule(given: Given) = MaskRule(
    given.number("threshold"),
    given.number("min_area_fraction"),
    given.number("max_area_fraction"),
    given.number("min_confidence"),
)

private fun background(given: Given) = Background.entries.first { it.value == given.text("background") }

private fun outside(given: Given) = Outside.entries.first { it.value == given.text("outside") }

private fun input(given: Given) = InputSpec("image", given.integer("height"), given.integer("width"))

private fun stepRules(given: Given): StepRules {
    val roi = given.table("roi")
    return StepRules(
        input(given.table("segmenter")),
        input(given.table("classifier")),
        limits(given.table("quality")),
        if (given.any("dermoscopy") == null) null else dermoscopy(given.table("dermoscopy")),
        maskRule(given.table("mask")),
        RoiRule(background(roi), roi.number("margin"), outside(roi)),
        if ("familiarity" in given && given.any("familiarity") != null) familiarity(given.table("familiarity")) else null,
    )
}

private fun path(given: Given): Map<String, Any?> {
    val rules = stepRules(given.table("rules"))
    val work = examine(given.picture("image"), rules)
    if (work.reason == null) locate(work, given.array("probability_map").map(), rules, given.numberOrNull("familiarity"))
    return mapOf(
        "segmenter_input" to shown(work.segmenterInput),
        "reason" to work.reason?.value,
        "mask" to work.mask?.let { shown(it) },
        "lesion_box" to work.lesionBox?.let { shown(it) },
        "lesion_area_fraction" to work.areaFraction,
        "lesion_confidence" to work.confidence,
        "roi_box" to work.roiBox?.let { shown(it) },
        "roi" to work.roi?.let { shown(it) },
    )
}

private fun familiarity(given: Given) = FamiliarityRule(given.text("output"), given.number("threshold"))

private fun dermoscopy(given: Given): DermoscopyRule {
    val terms = given.table("terms")
    return DermoscopyRule(
        terms.names().associateWith {
            val term = terms.table(it)
            Term(term.number("centre"), term.number("scale"), term.number("weight"), term.number("curve"))
        },
        given.number("clip"),
        given.number("intercept"),
        given.number("min_score"),
    )
}

private fun shown(picture: Picture) = Values(listOf(picture.height, picture.width, 3), picture.pixels, null)

private fun shown(mask: Mask) = Values(listOf(mask.height, mask.width), mask.values, null)

private fun shown(box: Box) = listOf(box.x0, box.y0, box.x1, box.y1)
