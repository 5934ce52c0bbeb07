/// A network's input: RGB uint8; normalisation is inside the graph.
public struct InputSpec: Sendable {
    public let name: String
    public let height: Int
    public let width: Int
}

/// How a probability map becomes a lesion, and when the lesion is refused.
public struct MaskRule: Sendable {
    /// A pixel is lesion where its probability is at least this.
    public let threshold: Double
    /// Least and largest share of the picture.
    public let minAreaFraction: Double
    public let maxAreaFraction: Double
    /// Least mean probability inside the outline.
    public let minConfidence: Double
}

/// What is done with the part of the picture that is not lesion.
public enum Background: String, CaseIterable, Sendable { case keep, zero }

/// What becomes of a square that is larger than the picture; see `roiBox`.
public enum Outside: String, CaseIterable, Sendable { case pad, clip, cap, reflect }

/// How the lesion is cropped. `margin` is added on each side, as a fraction of the lesion's longer side.
public struct RoiRule: Sendable {
    public let background: Background
    public let margin: Double
    public let outside: Outside
}

/// Limits of a usable picture, outside which there is no probability.
public struct QualityLimits: Sendable {
    public let minSide: Int
    public let minContrast: Double
    public let minLuminance: Double
    public let maxLuminance: Double
    public let minSharpness: Double
}

/// One measure in a score: weight * z + curve * z * z with z = (measure - centre) / scale, clipped.
public struct Term: Sendable {
    public let centre: Double
    public let scale: Double
    public let weight: Double
    public let curve: Double
}

/// When a picture is no dermoscopy, by its measures; see `dermoscopyScore`.
public struct DermoscopyRule: Sendable {
    public let terms: [String: Term]
    public let clip: Double
    public let intercept: Double
    public let minScore: Double
}

/// When a picture is unlike those that the segmenter learnt from, so no dermoscopy: its output of this name is below the threshold.
public struct FamiliarityRule: Sendable {
    public let output: String
    public let threshold: Double
}

/// What a threshold means where the user states another share of melanoma.
public enum Basis: String, CaseIterable, Sendable {
    /// Chosen for a sensitivity, a specificity or a share of pictures: it moves with the probabilities.
    case ranking
    /// A risk in itself, such as 10 %: it stays.
    case probability
}

/// A figure with its 95 % confidence interval, where there is one.
public struct Metric: Sendable {
    public let value: Double
    public let low: Double?
    public let high: Double?
}

/// Probabilities too close to a threshold for a decision: low < p < high leaves the share `referred` undecided.
public struct Band: Sendable {
    public let referred: Double
    public var low: Double
    public var high: Double
    public let metrics: [String: Metric]
}

/// A named decision threshold on the melanoma probability.
public struct OperatingPoint: Sendable {
    public let name: String
    public var threshold: Double
    public let rule: String
    public let meaning: String
    public let chosenOn: String
    public let metrics: [String: Metric]
    public var bands: [Band]
    public let basis: Basis

    /// The band that leaves this share of pictures undecided.
    public func band(_ referred: Double) throws -> Band {
        guard let found = bands.first(where: { abs($0.referred - referred) < 1e-6 }) else {
            throw EdgeInferError(
                .bundleChoice, "Operating point '\(name)' has no band that leaves \(referred) of the pictures undecided.",
                "It has: \(bands.map { "\($0.referred)" }.joined(separator: ", ")).")
        }
        return found
    }
}
