/// Picture in, diagnosis out: the order of the steps in `exported/README.md`, and nothing else.
///
/// Holds nothing of a picture after it was diagnosed. Use it from one thread at a time.
public final class Diagnoser {
    private let bundle: ModelBundle
    private let segmenter: Engine
    private let classifier: Engine
    private let decoder: Decoder
    private let maxPixels: Int
    private let rules: StepRules
    private let ratio: Double
    private let prior: Double?
    private let point: OperatingPoint
    private let band: Band?

    /// - Parameters:
    ///   - operatingPoint: name of the decision threshold; nil takes the bundle's default.
    ///   - abstain: share of least certain pictures to leave undecided, one that the operating point has a band for.
    ///   - prevalence: share of melanoma among the pictures to come, such as 0.02; nil takes the one that the bundle assumes.
    ///   - maxPixels: larger pictures are refused before they are decoded.
    /// - Throws: `EdgeInferError`: other labels, no such operating point or band, no prior to correct, no share.
    public init(
        bundle: ModelBundle, segmenter: Engine, classifier: Engine, decoder: Decoder, operatingPoint: String? = nil,
        abstain: Double? = nil, prevalence: Double? = nil, maxPixels: Int = defaultMaxPixels
    ) throws {
        let manifest = bundle.manifest
        if let stored = classifier.labels, stored != manifest.labels {
            throw EdgeInferError(
                .bundleMismatch, "The classifier was exported for the labels \(stored), the manifest says \(manifest.labels).",
                "Do not mix files of different bundles.")
        }
        self.bundle = bundle
        self.segmenter = segmenter
        self.classifier = classifier
        self.decoder = decoder
        self.maxPixels = maxPixels
        rules = manifest.rules
        ratio = try oddsRatio(prior: manifest.prior, prevalence: prevalence)
        prior = prevalence ?? manifest.prior
        point = move(try manifest.operatingPoint(operatingPoint), ratio: ratio)
        band = try abstain.map(point.band)
    }

    /// Diagnoses an encoded picture.
    ///
    /// - Throws: `EdgeInferError`: the picture cannot be used, or the engine failed.
    public func diagnose(_ data: [UInt8]) throws -> Diagnosis { try diagnose(try decoder.open(data, maxPixels: maxPixels)) }

    /// Diagnoses an upright picture. Throws as the other one does.
    public func diagnose(_ picture: Picture) throws -> Diagnosis {
        try checkPixels(height: picture.height, width: picture.width, maxPixels: maxPixels)
        var work = examine(picture, rules)
        if work.reason == nil { try segment(&work) }
        return finish(work, try work.roi.map(classify))
    }

    private func segment(_ work: inout Work) throws {
        let input = work.segmenterInput
        let outputs = try segmenter.run(input)
        let values = try probabilities("segmenter", outputs, bundle.manifest.segmenter.output, input.height * input.width)
        let score = try rules.familiarity.map { try score(outputs, $0.output) }
        locate(&work, ProbabilityMap(height: input.height, width: input.width, values: values), rules, score: score)
    }

    private func classify(_ roi: Picture) throws -> [Double] {
        let manifest = bundle.manifest
        let row = try probabilities("classifier", try classifier.run(roi), manifest.classifier.output, manifest.labels.count)
        return correctClasses(row.map(Double.init), melanoma: manifest.melanomaIndex, ratio: ratio)
    }

    private func finish(_ work: Work, _ row: [Double]?) -> Diagnosis {
        let manifest = bundle.manifest
        let melanoma = row.map { $0[manifest.melanomaIndex] }
        let answer = melanoma.flatMap { isMelanoma($0, point, band) }
        return Diagnosis(
            reason: work.reason ?? (answer == nil ? .uncertain : nil),
            height: work.picture.height, width: work.picture.width, quality: work.quality,
            operatingPoint: point.name, threshold: point.threshold, band: band, prior: prior,
            melanomaProbability: melanoma, isMelanoma: answer,
            probabilities: row.map { Dictionary(uniqueKeysWithValues: zip(manifest.labels, $0)) } ?? [:],
            mask: work.mask, lesionBox: work.lesionBox, roiBox: work.roiBox, roi: work.roi,
            areaFraction: work.areaFraction, confidence: work.confidence,
            dermoscopy: work.dermoscopy, familiarity: work.familiarity, provider: segmenter.provider,
            bundle: manifest.name, bundleVersion: manifest.version, bundleSha256: bundle.sha256, warnings: work.warnings)
    }
}

private func output(_ stage: String, _ outputs: [String: [Float]], _ name: String, _ size: Int) throws -> [Float] {
    guard let values = outputs[name] else {
        throw EdgeInferError(
            .bundleMismatch, "The \(stage) has no output '\(name)', only \(outputs.keys.sorted().joined(separator: ", ")).",
            "Do not mix files of different bundles.")
    }
    if values.count != size {
        throw EdgeInferError(.inference, "The \(stage) returned \(values.count) values, not \(size).", "Restore the bundle.")
    }
    return values
}

private func score(_ outputs: [String: [Float]], _ name: String) throws -> Double {
    let value = Double(try output("segmenter", outputs, name, 1)[0])
    if !value.isFinite { throw EdgeInferError(.inference, "The segmenter returned no score of familiarity.", "Restore the bundle.") }
    return value
}

/// A network's output of this name, clipped to 0..1.
private func probabilities(_ stage: String, _ outputs: [String: [Float]], _ name: String, _ size: Int) throws -> [Float] {
    let values = try output(stage, outputs, name, size)
    // NaN fails the comparison, so it is caught here too.
    if !values.allSatisfy({ $0 >= -1e-4 && $0 <= 1 + 1e-4 }) {
        throw EdgeInferError(.inference, "The \(stage) returned values that are no probabilities.", "Try the CPU alone.")
    }
    return values.map { min(max($0, 0), 1) }
}
