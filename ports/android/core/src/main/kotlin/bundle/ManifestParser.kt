package io.github.edgeinfer.bundle

import io.github.edgeinfer.Background
import io.github.edgeinfer.Band
import io.github.edgeinfer.Basis
import io.github.edgeinfer.BundleSchemaError
import io.github.edgeinfer.DermoscopyRule
import io.github.edgeinfer.FamiliarityRule
import io.github.edgeinfer.InputSpec
import io.github.edgeinfer.MaskRule
import io.github.edgeinfer.Metric
import io.github.edgeinfer.OperatingPoint
import io.github.edgeinfer.Outside
import io.github.edgeinfer.QualityLimits
import io.github.edgeinfer.RoiRule
import io.github.edgeinfer.Term
import io.github.edgeinfer.json.JsonException
import io.github.edgeinfer.json.SchemaException
import io.github.edgeinfer.json.Table
import io.github.edgeinfer.json.parseJson

/** Newest schema version that this library reads; it reads all from 1 on. */
const val SCHEMA_VERSION: Int = 3

private const val REMEDY = "Use the bundle that belongs to this version of the app, or export it again."

/**
 * Reads and checks the text of a `bundle.json`.
 *
 * @throws BundleSchemaError no JSON, an unknown schema version, an unknown or missing key, or values that contradict each other.
 */
fun parseManifest(text: String): Manifest {
    val manifest = try {
        val table = Table.asTable(parseJson(text), "")
        val version = table.entries["schema_version"]
        if (version !is Long || version !in 1..SCHEMA_VERSION) {
            throw SchemaException("schema version is $version; this library reads 1 to $SCHEMA_VERSION")
        }
        ManifestReader(version.toInt()).manifest(table)
    } catch (error: JsonException) {
        throw BundleSchemaError("bundle.json is not valid JSON: ${error.message}.", REMEDY, error)
    } catch (error: SchemaException) {
        throw BundleSchemaError("bundle.json: ${error.message}.", REMEDY, error)
    }
    contradiction(manifest)?.let { throw BundleSchemaError("bundle.json: $it.", REMEDY) }
    return manifest
}

/** Reads the keys of one schema version; one that is new to a later version is an unknown key here. */
private class ManifestReader(private val schema: Int) {
    fun manifest(table: Table): Manifest {
        val provenance = table.table("provenance")
        table.tables("parity").forEach { gate(it) }
        table.tables("evaluations").forEach { evaluation(it) }
        val prior = prior(table.table("calibration"))
        if (table.has("variants_left_out")) table.namedTexts("variants_left_out")
        return table.done(
            Manifest(
                schemaVersion = table.integer("schema_version"),
                name = table.text("name"),
                version = if (schema >= 2) table.text("version") else "0.0.0",
                minOnnxruntime = if (schema >= 2) table.textOrNull("min_onnxruntime") else null,
                description = table.text("description"),
                intendedUse = table.text("intended_use"),
                labels = table.texts("labels"),
                labelNames = table.namedTexts("label_names"),
                melanomaLabel = table.text("melanoma_label"),
                segmenter = stage(table.table("segmenter"), "probability_map"),
                classifier = stage(table.table("classifier"), "probabilities"),
                mask = maskRule(table.table("mask")),
                roi = roiRule(table.table("roi")),
                quality = qualityLimits(table.table("quality")),
                dermoscopy = dermoscopyRule(table),
                familiarity = familiarityRule(table),
                prior = prior,
                operatingPoints = table.tables("operating_points").map { operatingPoint(it) },
                defaultOperatingPoint = table.text("default_operating_point"),
                golden = golden(table.table("golden")),
                provenance = provenance(provenance),
                files = table.named("files") { FileEntry(it.text("sha256"), it.long("bytes")).let(it::done) },
            ),
        )
    }

    private fun stage(table: Table, kind: String): Stage {
        if (table.has("gflops")) table.numberOrNull("gflops")
        return table.done(
            Stage(
                architecture = table.text("architecture"),
                parameters = table.long("parameters"),
                input = input(table.table("input")),
                output = output(table.table("output"), kind),
                files = table.namedTexts("files"),
                variants = if (table.has("variants")) table.named("variants") { variant(it) } else emptyMap(),
            ),
        )
    }

    private fun input(table: Table): InputSpec {
        val fixed = mapOf("channels" to 3L, "dtype" to "uint8", "layout" to "NHWC", "color" to "RGB")
        fixed.forEach { (key, value) -> if (table.has(key)) table.constant(key, value) }
        return table.done(InputSpec(table.text("name"), table.integer("height"), table.integer("width")))
    }

    private fun output(table: Table, kind: String): String {
        table.constant("kind", kind)
        if (table.has("dtype")) table.constant("dtype", "float32")
        return table.done(table.text("name"))
    }

    private fun variant(table: Table): Variant = table.done(
        Variant(
            format = table.choice("format", listOf("onnx", "coreml")) { it },
            file = table.text("file"),
            precision = table.choice("precision", listOf("float32", "float16", "int8")) { it },
            meantFor = table.choice("meant_for", listOf("any", "x86", "arm", "apple")) { it },
            scheme = table.text("scheme"),
            parity = table.tables("parity").map { gate(it) },
            tolerance = tolerance(table.table("tolerance")),
        ),
    )

    private fun tolerance(table: Table): Tolerance = table.done(
        Tolerance(
            table.number("max_map"),
            table.number("min_mask_iou"),
            table.number("max_probability"),
            table.number("max_end_to_end"),
            newer(table, "max_familiarity"),
        ),
    )

    private fun gate(table: Table): ParityGate {
        val relation = table.choice("relation", listOf("<=", ">=")) { it }
        val gate = ParityGate(
            table.text("artifact"), table.text("measure"), relation, table.number("limit"), table.number("value"),
        )
        if (!gate.passed) throw SchemaException("parity gate failed: ${gate.artifact} ${gate.measure} ${gate.value}")
        return table.done(gate)
    }

    private fun maskRule(table: Table): MaskRule = table.done(
        MaskRule(
            threshold = table.number("threshold"),
            minAreaFraction = table.number("min_area_fraction"),
            maxAreaFraction = table.number("max_area_fraction"),
            minConfidence = if (table.has("min_confidence")) table.number("min_confidence") else 0.0,
        ),
    )

    private fun roiRule(table: Table): RoiRule = table.done(
        RoiRule(
            background = table.choice("background", Background.entries) { it.value },
            margin = table.number("margin"),
            outside = if (table.has("outside")) table.choice("outside", Outside.entries) { it.value } else Outside.PAD,
        ),
    )

    private fun qualityLimits(table: Table): QualityLimits = table.done(
        QualityLimits(
            minSide = table.integer("min_side"),
            minContrast = table.number("min_contrast"),
            minLuminance = table.number("min_luminance"),
            maxLuminance = table.number("max_luminance"),
            minSharpness = table.number("min_sharpness"),
        ),
    )

    private fun dermoscopyRule(manifest: Table): DermoscopyRule? {
        if (!manifest.has("dermoscopy") || manifest.entries["dermoscopy"] == null) return null
        val table = manifest.table("dermoscopy")
        return table.done(
            DermoscopyRule(
                terms = table.named("terms") {
                    it.done(Term(it.number("centre"), it.number("scale"), it.number("weight"), it.number("curve")))
                },
                clip = table.number("clip"),
                intercept = table.number("intercept"),
                minScore = table.number("min_score"),
            ),
        )
    }

    private fun familiarityRule(manifest: Table): FamiliarityRule? {
        if (schema < 3 || !manifest.has("familiarity") || manifest.entries["familiarity"] == null) return null
        val table = manifest.table("familiarity")
        return table.done(FamiliarityRule(table.text("output"), table.number("threshold")))
    }

    private fun operatingPoint(table: Table): OperatingPoint = table.done(
        OperatingPoint(
            name = table.text("name"),
            threshold = table.number("threshold"),
            rule = table.text("rule"),
            meaning = table.text("meaning"),
            chosenOn = table.text("chosen_on"),
            metrics = if (table.has("metrics")) metrics(table) else emptyMap(),
            bands = if (table.has("bands")) table.tables("bands").map { band(it) } else emptyList(),
            basis = if (schema >= 3 && table.has("basis")) table.choice("basis", Basis.entries) { it.value } else Basis.RANKING,
        ),
    )

    private fun band(table: Table): Band = table.done(
        Band(
            table.number("referred"),
            table.number("low"),
            table.number("high"),
            if (table.has("metrics")) metrics(table) else emptyMap(),
        ),
    )

    private fun metrics(table: Table): Map<String, Metric> = table.named("metrics") {
        it.done(
            Metric(
                it.number("value"),
                if (it.has("low")) it.numberOrNull("low") else null,
                if (it.has("high")) it.numberOrNull("high") else null,
            ),
        )
    }

    private fun golden(table: Table): Golden {
        val probability = table.number("max_probability")
        val tolerance = Tolerance(
            table.number("max_map"),
            table.number("min_mask_iou"),
            probability,
            probability,
            newer(table, "max_familiarity"),
        )
        return table.done(Golden(table.text("file"), tolerance))
    }

    private fun provenance(table: Table): Provenance {
        listOf("trainer_version", "created").forEach { table.text(it) }
        table.namedTexts("packages")
        val optional = listOf("recipes", "bundle_recipe") + if (schema >= 3) listOf("familiarity") else emptyList()
        optional.forEach { if (table.has(it)) table.skipTable(it) }
        return table.done(
            Provenance(table.text("data"), table.text("citation"), table.text("license"), table.text("license_note")),
        )
    }

    private fun prior(calibration: Table): Double? {
        calibration.choice("method", listOf("none", "temperature", "platt")) { it }
        calibration.number("temperature")
        calibration.text("fitted_on")
        newer(calibration, "bias") // already inside the classifier, as the temperature is
        return calibration.done(newer(calibration, "prior"))
    }

    /** A number that schema version 3 brought, null where it is absent. */
    private fun newer(table: Table, key: String): Double? =
        if (schema >= 3 && table.has(key)) table.numberOrNull(key) else null

    private fun evaluation(table: Table) {
        listOf("data", "split", "command").forEach { table.text(it) }
        listOf("images", "lesions").forEach { table.integer(it) }
        metrics(table)
        table.done(Unit)
    }
}
