/// How far a replay of the golden examples may deviate; see `exported/README.md`.
public struct Tolerance: Sendable {
    public let maxMap: Double
    public let minMaskIou: Double
    public let maxProbability: Double
    public let maxEndToEnd: Double
    public let maxFamiliarity: Double?
}

/// How one file compares with the model that it came from.
public struct ParityGate: Sendable {
    public let artifact: String
    public let measure: String
    public let relation: String
    public let limit: Double
    public let value: Double

    /// Whether the gate holds.
    public var passed: Bool { relation == "<=" ? value <= limit : value >= limit }
}

/// One more form of a stage's network.
public struct Variant: Sendable {
    public let format: String
    public let file: String
    public let precision: String
    public let meantFor: String
    public let scheme: String
    public let parity: [ParityGate]
    public let tolerance: Tolerance
}

/// One network of the bundle; `files` by format, `variants` by name.
public struct Stage: Sendable {
    public let architecture: String
    public let parameters: Int
    public let gflops: Double?
    public let input: InputSpec
    public let output: String
    public let files: [String: String]
    public let variants: [String: Variant]
}

/// One file of the bundle: lower-case hex SHA-256 and size in bytes.
public struct FileEntry: Sendable {
    public let sha256: String
    public let bytes: Int
}

/// Where the weights come from and what may be done with them.
public struct Provenance: Sendable {
    public let data: String
    public let citation: String
    public let license: String
    public let licenseNote: String
}

/// Stored examples with every intermediate result, and how far a replay of the float32 files may deviate from them.
public struct Golden: Sendable {
    public let file: String
    public let tolerance: Tolerance
}

/// What `bundle.json` says, of any schema version that this library reads; what an older one does not say has its default.
///
/// Figures and recipes that change no decision are checked and not kept.
public struct Manifest: Sendable {
    public let schemaVersion: Int
    public let name: String
    public let version: String
    public let minOnnxruntime: String?
    public let description: String
    public let intendedUse: String
    public let labels: [String]
    public let labelNames: [String: String]
    public let melanomaLabel: String
    public let segmenter: Stage
    public let classifier: Stage
    public let mask: MaskRule
    public let roi: RoiRule
    public let quality: QualityLimits
    /// What is refused by measures outside the networks; never together with `familiarity`.
    public let dermoscopy: DermoscopyRule?
    /// What is refused by the segmenter's second output.
    public let familiarity: FamiliarityRule?
    /// Share of melanoma that the probabilities assume, 0..1; nil where the bundle does not say.
    public let prior: Double?
    public let operatingPoints: [OperatingPoint]
    public let defaultOperatingPoint: String
    public let golden: Golden
    public let provenance: Provenance
    public let files: [String: FileEntry]

    /// What the steps outside the networks need to know.
    public var rules: StepRules {
        StepRules(
            segmenter: segmenter.input, classifier: classifier.input, quality: quality, dermoscopy: dermoscopy, mask: mask,
            roi: roi, familiarity: familiarity)
    }

    /// Column of the melanoma probability in the classifier's output.
    public var melanomaIndex: Int { labels.firstIndex(of: melanomaLabel)! }

    /// The operating point of this name, or the default one.
    public func operatingPoint(_ name: String? = nil) throws -> OperatingPoint {
        let wanted = name ?? defaultOperatingPoint
        guard let found = operatingPoints.first(where: { $0.name == wanted }) else {
            throw EdgeInferError(
                .bundleChoice, "Bundle '\(self.name)' has no operating point '\(wanted)'.",
                "Choose one of: \(operatingPoints.map(\.name).joined(separator: ", ")).")
        }
        return found
    }

    /// Path inside the bundle of a stage's form for an engine (`onnx` or `coreml`): of this variant, or the plain one.
    public func file(_ stage: Stage, format: String, variant: String? = nil) throws -> String {
        let named = variant.flatMap { stage.variants[$0] }.flatMap { $0.format == format ? $0.file : nil }
        guard let found = variant == nil ? stage.files[format] : named else {
            throw EdgeInferError(
                .bundleChoice, "Bundle '\(name)' has no \(format) file\(variant.map { " of variant '\($0)'" } ?? "").",
                "It has: \(stage.variants.keys.sorted().joined(separator: ", ")).")
        }
        return found
    }
}
