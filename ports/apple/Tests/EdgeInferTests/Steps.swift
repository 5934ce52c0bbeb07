import Foundation

@testable import EdgeInfer

/// Both networks, where an engine for this machine is at hand.
struct Networks {
    let segmenter: Engine
    let classifier: Engine
}

/// What a step is given.
struct Given {
    let values: [String: Value]
    let bundle: ModelBundle
    let networks: Networks?
    let decoder: Decoder?

    func any(_ key: String) throws -> Value {
        guard let value = values[key] else { throw Mismatch("nothing given for \(key)") }
        return value
    }

    func number(_ key: String) throws -> Double {
        guard let value = try any(key).number else { throw Mismatch("\(key) is no number") }
        return value
    }

    func integer(_ key: String) throws -> Int { Int(try number(key)) }

    func text(_ key: String) throws -> String {
        guard let value = try any(key).text else { throw Mismatch("\(key) is no text") }
        return value
    }

    func file(_ key: String) throws -> [UInt8] {
        guard case .file(let data) = try any(key) else { throw Mismatch("\(key) is no file") }
        return data
    }

    func box(_ key: String) throws -> Box {
        guard let n = try any(key).numbers?.map({ Int($0) }), n.count == 4 else { throw Mismatch("\(key) is no box") }
        return Box(x0: n[0], y0: n[1], x1: n[2], y1: n[3])
    }

    func table(_ key: String) throws -> Given {
        guard case .table(let inner) = try any(key) else { throw Mismatch("\(key) is no table") }
        return Given(values: inner, bundle: bundle, networks: networks, decoder: decoder)
    }
}

/// How this port does a step; nil for a step that it does not know.
func result(_ step: String, _ given: Given) throws -> [String: Value]? {
    switch step {
    case "header":
        let header = try readHeader(try given.file("file"))
        return ["format": shown(header.format), "height": shown(header.height), "width": shown(header.width)]
    case "decode":
        let limit = given.values["max_pixels"]?.number.map { Int($0) } ?? defaultMaxPixels
        let picture = try given.decoder!.open(try given.file("file"), maxPixels: limit)
        guard let size = given.values["resized_to"]?.numbers else { return ["image": shown(picture)] }
        return ["image": shown(picture), "resized": shown(resize(picture, height: Int(size[0]), width: Int(size[1])))]
    case "resize":
        let (height, width) = (try given.integer("height"), try given.integer("width"))
        return ["image": shown(resize(try given.any("image").picture, height: height, width: width))]
    case "quality":
        let quality = measureQuality(try given.any("image").picture)
        return [
            "luminance": shown(quality.luminance), "contrast": shown(quality.contrast), "sharpness": shown(quality.sharpness),
        ]
    case "picture_problem":
        let quality = Quality(
            luminance: try given.number("luminance"), contrast: try given.number("contrast"),
            sharpness: try given.number("sharpness"))
        let (height, width) = (try given.integer("height"), try given.integer("width"))
        let limits = try limits(try given.table("limits"))
        return ["reason": shown(pictureProblem(height: height, width: width, quality: quality, limits: limits)?.rawValue)]
    case "appearance":
        let measures = measureAppearance(try given.any("image").picture)
        var found: [String: Value] = [
            "names": .list(appearanceMeasures.map { shown($0) }), "measures": .list(appearanceMeasures.map { shown(measures[$0]!) }),
        ]
        if given.values["rule"] != nil {
            found["score"] = shown(dermoscopyScore(measures, try dermoscopy(try given.table("rule"))))
        }
        return found
    case "appearance_problem":
        let refused = try given.number("score") < (try given.number("min_score"))
        return ["reason": shown(refused ? Reason.notDermoscopy.rawValue : nil)]
    case "clean_mask":
        return ["mask": shown(cleanMask(try given.any("probability_map").map, threshold: try given.number("threshold")))]
    case "confidence":
        let (map, mask) = (try given.any("probability_map").map, try given.any("mask").mask)
        return ["confidence": shown(lesionConfidence(map, mask))]
    case "restore_mask":
        let (height, width) = (try given.integer("height"), try given.integer("width"))
        return ["mask": shown(restoreMask(try given.any("mask").mask, height: height, width: width))]
    case "lesion_box": return ["box": shown(lesionBox(try given.any("mask").mask))]
    case "lesion_problem":
        let (area, confidence) = (try given.number("area_fraction"), try given.number("confidence"))
        let rule = try maskRule(try given.table("rule"))
        return ["reason": shown(lesionProblem(areaFraction: area, confidence: confidence, rule: rule)?.rawValue)]
    case "roi_box":
        let (height, width) = (try given.integer("height"), try given.integer("width"))
        let box = roiBox(
            try given.box("box"), height: height, width: width, margin: try given.number("margin"), outside: try outside(given))
        return ["box": shown(box)]
    case "crop":
        let rule = RoiRule(background: try background(given), margin: 0, outside: try outside(given))
        let roi = cropRoi(
            try given.any("image").picture, mask: try given.any("mask").mask, box: try given.box("box"), rule: rule,
            size: try given.integer("size"))
        return ["image": shown(roi)]
    case "path": return try path(given)
    case "decide": return try decide(given)
    case "segment":
        let picture = try given.any("image").picture
        let manifest = given.bundle.manifest
        let outputs = try given.networks!.segmenter.run(picture)
        let score = manifest.rules.familiarity.map { Double(outputs[$0.output]![0]) }
        return [
            "probability_map": .floats([picture.height, picture.width], outputs[manifest.segmenter.output]!),
            "familiarity": shown(score),
        ]
    case "classify":
        let row = try given.networks!.classifier.run(try given.any("image").picture)[given.bundle.manifest.classifier.output]!
        return ["probabilities": .floats([row.count], row)]
    case "diagnose": return try diagnose(given)
    default: return nil
    }
}

private func path(_ given: Given) throws -> [String: Value] {
    let rules = try given.table("rules")
    let roi = try rules.table("roi")
    let known = StepRules(
        segmenter: try input(try rules.table("segmenter")), classifier: try input(try rules.table("classifier")),
        quality: try limits(try rules.table("quality")),
        dermoscopy: try rules.any("dermoscopy").isNull ? nil : try dermoscopy(try rules.table("dermoscopy")),
        mask: try maskRule(try rules.table("mask")),
        roi: RoiRule(background: try background(roi), margin: try roi.number("margin"), outside: try outside(roi)),
        familiarity: try familiarity(rules))
    var work = examine(try given.any("image").picture, known)
    let score = given.values["familiarity"]?.number
    if work.reason == nil { locate(&work, try given.any("probability_map").map, known, score: score) }
    return [
        "segmenter_input": shown(work.segmenterInput), "reason": shown(work.reason?.rawValue),
        "mask": work.mask.map { shown($0) } ?? .json(.null), "lesion_box": shown(work.lesionBox),
        "lesion_area_fraction": shown(work.areaFraction), "lesion_confidence": shown(work.confidence),
        "roi_box": shown(work.roiBox), "roi": work.roi.map { shown($0) } ?? .json(.null),
    ]
}

private func decide(_ given: Given) throws -> [String: Value] {
    let manifest = given.bundle.manifest
    let ratio = try oddsRatio(prior: manifest.prior, prevalence: given.values["prevalence"]?.number)
    let point = move(try manifest.operatingPoint(try given.text("operating_point")), ratio: ratio)
    let band = try given.any("abstain").number.map(point.band)
    guard let row = try given.any("probabilities").numbers else { throw Mismatch("no probabilities") }
    let probability = correctClasses(row, melanoma: manifest.melanomaIndex, ratio: ratio)[manifest.melanomaIndex]
    let answer = isMelanoma(probability, point, band)
    return [
        "melanoma_probability": shown(probability), "threshold": shown(point.threshold), "label": shown(answer.map { label($0) }),
        "reason": shown(answer == nil ? Reason.uncertain.rawValue : nil),
    ]
}

private func diagnose(_ given: Given) throws -> [String: Value] {
    let networks = given.networks!
    let diagnoser = try Diagnoser(
        bundle: given.bundle, segmenter: networks.segmenter, classifier: networks.classifier, decoder: given.decoder!,
        prevalence: given.values["prevalence"]?.number)
    let fromFile = given.values["file"] != nil
    let found = try fromFile ? diagnoser.diagnose(try given.file("file")) : diagnoser.diagnose(try given.any("image").picture)
    return [
        "status": shown(found.status), "reason": shown(found.reason?.rawValue), "label": shown(found.isMelanoma.map { label($0) }),
        "melanoma_probability": shown(found.melanomaProbability), "image_size": .list([shown(found.height), shown(found.width)]),
        "lesion_box": shown(found.lesionBox), "roi_box": shown(found.roiBox),
        "lesion_area_fraction": shown(found.areaFraction), "lesion_confidence": shown(found.confidence),
        "familiarity": shown(found.familiarity), "threshold": shown(found.threshold), "prior": shown(found.prior),
    ]
}

private func familiarity(_ rules: Given) throws -> FamiliarityRule? {
    guard let rule = rules.values["familiarity"], !rule.isNull else { return nil }
    let table = try rules.table("familiarity")
    return FamiliarityRule(output: try table.text("output"), threshold: try table.number("threshold"))
}

private func label(_ isMelanoma: Bool) -> String { isMelanoma ? "melanoma" : "not melanoma" }

private func background(_ given: Given) throws -> Background { Background(rawValue: try given.text("background"))! }

private func outside(_ given: Given) throws -> Outside { Outside(rawValue: try given.text("outside"))! }

private func input(_ given: Given) throws -> InputSpec {
    InputSpec(name: "image", height: try given.integer("height"), width: try given.integer("width"))
}

private func limits(_ given: Given) throws -> QualityLimits {
    QualityLimits(
        minSide: try given.integer("min_side"), minContrast: try given.number("min_contrast"),
        minLuminance: try given.number("min_luminance"), maxLuminance: try given.number("max_luminance"),
        minSharpness: try given.number("min_sharpness"))
}

private func maskRule(_ given: Given) throws -> MaskRule {
    MaskRule(
        threshold: try given.number("threshold"), minAreaFraction: try given.number("min_area_fraction"),
        maxAreaFraction: try given.number("max_area_fraction"), minConfidence: try given.number("min_confidence"))
}

private func dermoscopy(_ given: Given) throws -> DermoscopyRule {
    let terms = try given.table("terms")
    var found: [String: Term] = [:]
    for name in terms.values.keys {
        let term = try terms.table(name)
        found[name] = Term(
            centre: try term.number("centre"), scale: try term.number("scale"), weight: try term.number("weight"),
            curve: try term.number("curve"))
    }
    return DermoscopyRule(
        terms: found, clip: try given.number("clip"), intercept: try given.number("intercept"),
        minScore: try given.number("min_score"))
}

private func shown(_ value: Double?) -> Value { .json(value.map(Json.number) ?? .null) }

private func shown(_ value: Int) -> Value { .json(.integer(value)) }

private func shown(_ value: String?) -> Value { .json(value.map(Json.text) ?? .null) }

private func shown(_ picture: Picture) -> Value { .bytes([picture.height, picture.width, 3], picture.pixels) }

private func shown(_ mask: Mask) -> Value { .bytes([mask.height, mask.width], mask.values) }

private func shown(_ box: Box?) -> Value {
    box.map { .list([$0.x0, $0.y0, $0.x1, $0.y1].map { Value.json(.integer($0)) }) } ?? .json(.null)
}
