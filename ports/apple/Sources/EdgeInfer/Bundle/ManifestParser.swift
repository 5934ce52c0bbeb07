/// Newest schema version that this library reads; it reads all from 1 on.
public let newestSchemaVersion = 3

private let remedy = "Use the bundle that belongs to this version of the app, or export it again."

/// Reads and checks the text of a `bundle.json`.
///
/// - Throws: `EdgeInferError` (`bundle-schema`): no JSON, an unknown schema version, an unknown or missing key, or values that
///   contradict each other.
public func parseManifest(_ text: String) throws -> Manifest {
    let manifest: Manifest
    do {
        let table = try Table(try parseJson(text))
        guard case .integer(let version)? = table.entries["schema_version"], (1...newestSchemaVersion).contains(version) else {
            throw SchemaError(message: "another schema version than 1 to \(newestSchemaVersion)")
        }
        manifest = try ManifestReader(schema: version).manifest(table)
    } catch let error as JsonError {
        throw EdgeInferError(.bundleSchema, "bundle.json is not valid JSON: \(error.message).", remedy)
    } catch let error as SchemaError {
        throw EdgeInferError(.bundleSchema, "bundle.json: \(error.message).", remedy)
    }
    if let problem = contradiction(manifest) { throw EdgeInferError(.bundleSchema, "bundle.json: \(problem).", remedy) }
    return manifest
}

/// Reads the keys of one schema version; one that is new to a later version is an unknown key here.
private struct ManifestReader {
    let schema: Int

    func manifest(_ table: Table) throws -> Manifest {
        try table.tables("parity").forEach { _ = try gate($0) }
        try table.tables("evaluations").forEach(evaluation)
        if table.has("variants_left_out") { _ = try table.namedTexts("variants_left_out") }
        return try table.done(
            Manifest(
                schemaVersion: try table.integer("schema_version"),
                name: try table.text("name"),
                version: schema >= 2 ? try table.text("version") : "0.0.0",
                minOnnxruntime: schema >= 2 ? try table.textOrNull("min_onnxruntime") : nil,
                description: try table.text("description"),
                intendedUse: try table.text("intended_use"),
                labels: try table.texts("labels"),
                labelNames: try table.namedTexts("label_names"),
                melanomaLabel: try table.text("melanoma_label"),
                segmenter: try stage(try table.table("segmenter"), "probability_map"),
                classifier: try stage(try table.table("classifier"), "probabilities"),
                mask: try maskRule(try table.table("mask")),
                roi: try roiRule(try table.table("roi")),
                quality: try qualityLimits(try table.table("quality")),
                dermoscopy: try dermoscopyRule(table),
                familiarity: try familiarityRule(table),
                prior: try prior(try table.table("calibration")),
                operatingPoints: try table.tables("operating_points").map(operatingPoint),
                defaultOperatingPoint: try table.text("default_operating_point"),
                golden: try golden(try table.table("golden")),
                provenance: try provenance(try table.table("provenance")),
                files: try table.named("files") {
                    try $0.done(FileEntry(sha256: try $0.text("sha256"), bytes: try $0.integer("bytes")))
                }
            ))
    }

    private func stage(_ table: Table, _ kind: String) throws -> Stage {
        try table.done(
            Stage(
                architecture: try table.text("architecture"),
                parameters: try table.integer("parameters"),
                gflops: table.has("gflops") ? try table.numberOrNull("gflops") : nil,
                input: try input(try table.table("input")),
                output: try output(try table.table("output"), kind),
                files: try table.namedTexts("files"),
                variants: table.has("variants") ? try table.named("variants", variant) : [:]
            ))
    }

    private func input(_ table: Table) throws -> InputSpec {
        let fixed: [(String, Json)] = [
            ("channels", .integer(3)), ("dtype", .text("uint8")), ("layout", .text("NHWC")), ("color", .text("RGB")),
        ]
        for (key, value) in fixed where table.has(key) { try table.constant(key, value) }
        return try table.done(
            InputSpec(name: try table.text("name"), height: try table.integer("height"), width: try table.integer("width")))
    }

    private func output(_ table: Table, _ kind: String) throws -> String {
        try table.constant("kind", .text(kind))
        if table.has("dtype") { try table.constant("dtype", .text("float32")) }
        return try table.done(try table.text("name"))
    }

    private func variant(_ table: Table) throws -> Variant {
        try table.done(
            Variant(
                format: try table.choice("format", ["onnx", "coreml"]),
                file: try table.text("file"),
                precision: try table.choice("precision", ["float32", "float16", "int8"]),
                meantFor: try table.choice("meant_for", ["any", "x86", "arm", "apple"]),
                scheme: try table.text("scheme"),
                parity: try table.tables("parity").map(gate),
                tolerance: try tolerance(try table.table("tolerance"))
            ))
    }

    private func tolerance(_ table: Table) throws -> Tolerance {
        try table.done(
            Tolerance(
                maxMap: try table.number("max_map"),
                minMaskIou: try table.number("min_mask_iou"),
                maxProbability: try table.number("max_probability"),
                maxEndToEnd: try table.number("max_end_to_end"),
                maxFamiliarity: try newer(table, "max_familiarity")
            ))
    }

    private func gate(_ table: Table) throws -> ParityGate {
        let gate = ParityGate(
            artifact: try table.text("artifact"), measure: try table.text("measure"),
            relation: try table.choice("relation", ["<=", ">="]), limit: try table.number("limit"),
            value: try table.number("value"))
        if !gate.passed { throw SchemaError(message: "parity gate failed: \(gate.artifact) \(gate.measure) \(gate.value)") }
        return try table.done(gate)
    }

    private func maskRule(_ table: Table) throws -> MaskRule {
        try table.done(
            MaskRule(
                threshold: try table.number("threshold"),
                minAreaFraction: try table.number("min_area_fraction"),
                maxAreaFraction: try table.number("max_area_fraction"),
                minConfidence: table.has("min_confidence") ? try table.number("min_confidence") : 0
            ))
    }

    private func roiRule(_ table: Table) throws -> RoiRule {
        try table.done(
            RoiRule(
                background: try table.choice("background", Background.self),
                margin: try table.number("margin"),
                outside: table.has("outside") ? try table.choice("outside", Outside.self) : .pad
            ))
    }

    private func qualityLimits(_ table: Table) throws -> QualityLimits {
        try table.done(
            QualityLimits(
                minSide: try table.integer("min_side"),
                minContrast: try table.number("min_contrast"),
                minLuminance: try table.number("min_luminance"),
                maxLuminance: try table.number("max_luminance"),
                minSharpness: try table.number("min_sharpness")
            ))
    }

    private func dermoscopyRule(_ manifest: Table) throws -> DermoscopyRule? {
        guard manifest.has("dermoscopy"), try !manifest.isNull("dermoscopy") else { return nil }
        let table = try manifest.table("dermoscopy")
        return try table.done(
            DermoscopyRule(
                terms: try table.named("terms") {
                    try $0.done(
                        Term(
                            centre: try $0.number("centre"), scale: try $0.number("scale"),
                            weight: try $0.number("weight"), curve: try $0.number("curve")))
                },
                clip: try table.number("clip"),
                intercept: try table.number("intercept"),
                minScore: try table.number("min_score")
            ))
    }

    private func familiarityRule(_ manifest: Table) throws -> FamiliarityRule? {
        guard schema >= 3, manifest.has("familiarity"), try !manifest.isNull("familiarity") else { return nil }
        let table = try manifest.table("familiarity")
        return try table.done(FamiliarityRule(output: try table.text("output"), threshold: try table.number("threshold")))
    }

    private func operatingPoint(_ table: Table) throws -> OperatingPoint {
        try table.done(
            OperatingPoint(
                name: try table.text("name"),
                threshold: try table.number("threshold"),
                rule: try table.text("rule"),
                meaning: try table.text("meaning"),
                chosenOn: try table.text("chosen_on"),
                metrics: table.has("metrics") ? try metrics(table) : [:],
                bands: table.has("bands") ? try table.tables("bands").map(band) : [],
                basis: schema >= 3 && table.has("basis") ? try table.choice("basis", Basis.self) : .ranking
            ))
    }

    private func band(_ table: Table) throws -> Band {
        try table.done(
            Band(
                referred: try table.number("referred"), low: try table.number("low"), high: try table.number("high"),
                metrics: table.has("metrics") ? try metrics(table) : [:]))
    }

    private func metrics(_ table: Table) throws -> [String: Metric] {
        try table.named("metrics") {
            try $0.done(
                Metric(
                    value: try $0.number("value"),
                    low: $0.has("low") ? try $0.numberOrNull("low") : nil,
                    high: $0.has("high") ? try $0.numberOrNull("high") : nil))
        }
    }

    private func golden(_ table: Table) throws -> Golden {
        let probability = try table.number("max_probability")
        let tolerance = Tolerance(
            maxMap: try table.number("max_map"), minMaskIou: try table.number("min_mask_iou"), maxProbability: probability,
            maxEndToEnd: probability, maxFamiliarity: try newer(table, "max_familiarity"))
        return try table.done(Golden(file: try table.text("file"), tolerance: tolerance))
    }

    private func provenance(_ table: Table) throws -> Provenance {
        for key in ["trainer_version", "created"] { _ = try table.text(key) }
        _ = try table.namedTexts("packages")
        let optional = ["recipes", "bundle_recipe"] + (schema >= 3 ? ["familiarity"] : [])
        for key in optional where table.has(key) { _ = try table.table(key) }
        return try table.done(
            Provenance(
                data: try table.text("data"), citation: try table.text("citation"), license: try table.text("license"),
                licenseNote: try table.text("license_note")))
    }

    private func prior(_ calibration: Table) throws -> Double? {
        _ = try calibration.choice("method", ["none", "temperature", "platt"])
        _ = try calibration.number("temperature")
        _ = try calibration.text("fitted_on")
        _ = try newer(calibration, "bias")  // already inside the classifier, as the temperature is
        return try calibration.done(try newer(calibration, "prior"))
    }

    /// A number that schema version 3 brought, nil where it is absent.
    private func newer(_ table: Table, _ key: String) throws -> Double? {
        schema >= 3 && table.has(key) ? try table.numberOrNull(key) : nil
    }

    private func evaluation(_ table: Table) throws {
        for key in ["data", "split", "command"] { _ = try table.text(key) }
        for key in ["images", "lesions"] { _ = try table.integer(key) }
        _ = try metrics(table)
        _ = try table.done(true)
    }
}
