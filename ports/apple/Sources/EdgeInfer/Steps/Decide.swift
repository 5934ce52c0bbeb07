/// Step 8: what the melanoma probability means at an operating point; nil where a band leaves it open.
public func isMelanoma(_ probability: Double, _ point: OperatingPoint, _ band: Band?) -> Bool? {
    if let band, band.low < probability, probability < band.high { return nil }
    return probability >= point.threshold
}

/// By what the odds of melanoma are multiplied where its share among the pictures is `prevalence` and not the `prior` that the
/// bundle's probabilities assume (Saerens, Latinne and Decaestecker, Neural Computation 2002); 1 where no prevalence is stated.
public func oddsRatio(prior: Double?, prevalence: Double?) throws -> Double {
    guard let prevalence else { return 1 }
    guard prevalence > 0 && prevalence < 1 else {
        throw EdgeInferError(
            .prevalence, "A prevalence of \(prevalence) is no share between 0 and 1.", "Two in a hundred are 0.02.")
    }
    guard let prior else {
        throw EdgeInferError(
            .bundleChoice, "This bundle does not state the share of melanoma that its probabilities assume.",
            "Leave the prevalence out, or use a bundle whose manifest states calibration.prior.")
    }
    return prevalence / (1 - prevalence) * (1 - prior) / prior
}

/// A probability of melanoma with its odds multiplied; 0 and 1 stay.
public func correct(_ probability: Double, ratio: Double) -> Double {
    ratio * probability / (ratio * probability + (1 - probability))
}

/// The same for all classes: those other than melanoma keep their proportions, and the sum stays.
public func correctClasses(_ probabilities: [Double], melanoma: Int, ratio: Double) -> [Double] {
    let p = probabilities[melanoma]
    let whole = ratio * p + (1 - p)
    // As thresholds are moved: rounded otherwise, a probability at its threshold could end on the other side.
    return probabilities.enumerated().map { $0 == melanoma ? correct(p, ratio: ratio) : $1 / whole }
}

/// The operating point for corrected probabilities; one that is a risk in itself stays.
public func move(_ point: OperatingPoint, ratio: Double) -> OperatingPoint {
    if point.basis == .probability || ratio == 1 { return point }
    var moved = point
    moved.threshold = correct(point.threshold, ratio: ratio)
    for i in moved.bands.indices {
        moved.bands[i].low = correct(moved.bands[i].low, ratio: ratio)
        moved.bands[i].high = correct(moved.bands[i].high, ratio: ratio)
    }
    return moved
}
