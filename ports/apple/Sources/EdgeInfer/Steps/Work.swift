/// What a bundle fixes for the steps outside its networks: both networks' inputs, and the rules in order.
public struct StepRules: Sendable {
    public let segmenter: InputSpec
    public let classifier: InputSpec
    public let quality: QualityLimits
    public let dermoscopy: DermoscopyRule?
    public let mask: MaskRule
    public let roi: RoiRule
    public let familiarity: FamiliarityRule?
}

/// What a careful reader should know about an answer.
public enum Warning: Sendable {
    /// The lesion reaches the picture's edge; part of it may be missing.
    case lesionAtEdge
    /// The crop has fewer pixels than the classifier's input and was enlarged.
    case cropEnlarged
}

/// One picture on its way, and what is known of it so far; properties of one name mean what they mean in `Diagnosis`.
public struct Work: Sendable {
    public let picture: Picture
    public let segmenterInput: Picture
    public let quality: Quality
    /// Why it gets no probability; the steps after the one that found it are left out.
    public internal(set) var reason: Reason?
    public internal(set) var dermoscopy: Double?
    public internal(set) var familiarity: Double?
    public internal(set) var mask: Mask?
    public internal(set) var lesionBox: Box?
    public internal(set) var roiBox: Box?
    public internal(set) var roi: Picture?
    public internal(set) var areaFraction: Double?
    public internal(set) var confidence: Double?
    public internal(set) var warnings: [Warning] = []

    init(picture: Picture, segmenterInput: Picture, quality: Quality) {
        self.picture = picture
        self.segmenterInput = segmenterInput
        self.quality = quality
    }
}

/// Before the networks: resizes, and judges quality and appearance.
public func examine(_ picture: Picture, _ rules: StepRules) -> Work {
    let input = resize(picture, height: rules.segmenter.height, width: rules.segmenter.width)
    var work = Work(picture: picture, segmenterInput: input, quality: measureQuality(input))
    work.reason = pictureProblem(height: picture.height, width: picture.width, quality: work.quality, limits: rules.quality)
    if let rule = rules.dermoscopy {
        let score = dermoscopyScore(measureAppearance(input), rule)
        work.dermoscopy = score
        if work.reason == nil && score < rule.minScore { work.reason = .notDermoscopy }
    }
    return work
}

/// Between the networks: mask, box and crop from the segmenter's map, or the reason why there are none. An outline is kept where
/// there is one, even if the picture is refused.
///
/// - Parameters:
///   - work: without a reason; gets the results.
///   - map: lesion probabilities at the segmenter's input size.
///   - score: how familiar the picture is, where the bundle has a rule for it.
public func locate(_ work: inout Work, _ map: ProbabilityMap, _ rules: StepRules, score: Double? = nil) {
    let picture = work.picture
    let small = cleanMask(map, threshold: rules.mask.threshold)
    let mask = restoreMask(small, height: picture.height, width: picture.width)
    let area = Double(mask.count) / Double(mask.values.count)
    let confidence = lesionConfidence(map, small)
    work.familiarity = score
    if let rule = rules.familiarity, let score, score < rule.threshold { work.reason = .notDermoscopy }
    work.reason = work.reason ?? lesionProblem(areaFraction: area, confidence: confidence, rule: rules.mask)
    guard let box = lesionBox(mask) else { return }
    work.mask = mask
    work.lesionBox = box
    work.areaFraction = area
    work.confidence = confidence
    if work.reason == nil { crop(&work, mask, box, rules) }
}

private func crop(_ work: inout Work, _ mask: Mask, _ box: Box, _ rules: StepRules) {
    let picture = work.picture
    let size = rules.classifier.height
    let roi = roiBox(box, height: picture.height, width: picture.width, margin: rules.roi.margin, outside: rules.roi.outside)
    work.roiBox = roi
    work.roi = cropRoi(picture, mask: mask, box: roi, rule: rules.roi, size: size)
    if box.x0 == 0 || box.y0 == 0 || box.x1 == picture.width || box.y1 == picture.height { work.warnings.append(.lesionAtEdge) }
    if min(roi.width, roi.height) < size { work.warnings.append(.cropEnlarged) }
}
