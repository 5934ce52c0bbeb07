import Foundation

/// Measures of a picture at the segmenter's input size (step 3).
public struct Quality: Equatable, Sendable {
    /// Mean grey value, 0 (black) to 255 (white).
    public let luminance: Double
    /// Standard deviation of the grey values.
    public let contrast: Double
    /// Variance of the Laplacian over the variance of the grey values; 0 for a uniform picture.
    public let sharpness: Double

    public init(luminance: Double, contrast: Double, sharpness: Double) {
        self.luminance = luminance
        self.contrast = contrast
        self.sharpness = sharpness
    }
}

/// Grey values 0..255: round(0.299 R + 0.587 G + 0.114 B).
func grey(_ picture: Picture) -> [Int] {
    (0..<picture.height * picture.width).map {
        let red = Int(picture.pixels[3 * $0])
        let green = Int(picture.pixels[3 * $0 + 1])
        let blue = Int(picture.pixels[3 * $0 + 2])
        return (299 * red + 587 * green + 114 * blue + 500) / 1000
    }
}

/// Measures a resized picture.
public func measureQuality(_ picture: Picture) -> Quality {
    let values = grey(picture)
    let (mean, variance) = meanAndVariance(values)
    if variance == 0 { return Quality(luminance: mean, contrast: 0, sharpness: 0) }
    let edges = meanAndVariance(laplacian(values, picture.height, picture.width)).variance
    return Quality(luminance: mean, contrast: variance.squareRoot(), sharpness: edges / variance)
}

/// The four neighbours less four times the pixel; outside, the neighbour is mirrored without repeating the edge.
private func laplacian(_ grey: [Int], _ height: Int, _ width: Int) -> [Int] {
    func mirrored(_ i: Int, _ size: Int) -> Int {
        if size == 1 { return 0 }
        return i < 0 ? -i : i >= size ? 2 * size - 2 - i : i
    }
    return grey.indices.map { i in
        let y = i / width
        let x = i % width
        let rows = grey[mirrored(y - 1, height) * width + x] + grey[mirrored(y + 1, height) * width + x]
        let columns = grey[y * width + mirrored(x - 1, width)] + grey[y * width + mirrored(x + 1, width)]
        return rows + columns - 4 * grey[i]
    }
}

/// Mean, and variance divided by n. Sums of whole numbers are exact; so a uniform picture has variance 0.
func meanAndVariance(_ values: [Int]) -> (mean: Double, variance: Double) {
    var sum = 0
    var squares = 0
    for value in values {
        sum += value
        squares += value * value
    }
    let n = Double(values.count)
    return (Double(sum) / n, Double(squares * values.count - sum * sum) / (n * n))
}

/// The first limit that a picture of this original size breaks, or nil.
public func pictureProblem(height: Int, width: Int, quality: Quality, limits: QualityLimits) -> Reason? {
    min(height, width) < limits.minSide ? .pictureTooSmall : qualityProblem(quality, limits)
}

/// The first limit that the measures break, or nil.
public func qualityProblem(_ quality: Quality, _ limits: QualityLimits) -> Reason? {
    if quality.contrast == 0 { return .blank }
    if quality.luminance > limits.maxLuminance { return .overexposed }
    if quality.luminance < limits.minLuminance { return .tooDark }
    if quality.contrast < limits.minContrast { return .uniform }
    return quality.sharpness < limits.minSharpness ? .blurred : nil
}

/// Why a lesion is refused, or nil.
///
/// - Parameters:
///   - areaFraction: lesion pixels over all pixels; 0 where none was found.
///   - confidence: see `lesionConfidence`.
public func lesionProblem(areaFraction: Double, confidence: Double, rule: MaskRule) -> Reason? {
    if areaFraction == 0 { return .noLesion }
    if confidence < rule.minConfidence { return .lesionUncertain }
    if areaFraction < rule.minAreaFraction { return .lesionTooSmall }
    return areaFraction > rule.maxAreaFraction ? .lesionFillsFrame : nil
}
