/// The answer for one picture.
public struct Diagnosis: Sendable {
    /// Why there is no decision; nil where there is one.
    public let reason: Reason?
    /// Of the upright picture, in pixels.
    public let height: Int
    public let width: Int
    public let quality: Quality
    public let operatingPoint: String
    /// Of the operating point, 0..1.
    public let threshold: Double
    /// Where the caller asked for abstention: probabilities between its limits stay undecided.
    public let band: Band?
    /// Share of melanoma that the probabilities assume; nil where nobody says.
    public let prior: Double?
    /// Calibrated, 0..1; nil where the diagnosis ended before the classifier.
    public let melanomaProbability: Double?
    /// Whether the probability reaches the threshold; nil unless there is a decision.
    public let isMelanoma: Bool?
    /// By class; empty where there is no probability.
    public let probabilities: [String: Double]
    /// The cleaned lesion at the picture's size, where one was found, and the smallest rectangle around it.
    public let mask: Mask?
    public let lesionBox: Box?
    /// What was cropped, in the same pixels, may lie partly outside; and the crop that the classifier saw.
    public let roiBox: Box?
    public let roi: Picture?
    /// Lesion pixels over all pixels.
    public let areaFraction: Double?
    /// The segmenter's mean probability inside its outline.
    public let confidence: Double?
    /// How much the picture looks like dermoscopy, by measures or by the segmenter, where the bundle has a rule for it.
    public let dermoscopy: Double?
    public let familiarity: Double?
    public let provider: String
    public let bundle: String
    public let bundleVersion: String
    public let bundleSha256: String
    public let warnings: [Warning]

    /// `ok` where there is a decision, `indeterminate` where there is none; an unusable picture is an error.
    public var status: String { reason == nil ? "ok" : "indeterminate" }
}
