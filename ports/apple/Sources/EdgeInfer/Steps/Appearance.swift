import Foundation

private let octaves = 5
private let logs = (0..<256).map { log(Double($0) + 8) }

/// What a bundle's `dermoscopy.terms` may name.
public let appearanceMeasures = [
    "red_green", "red_green_spread", "green_blue", "green_blue_spread", "shading", "brightness", "contrast",
    "octave_1", "octave_2", "octave_3", "octave_4", "octave_5", "flat", "peaked",
]

/// Colour and texture of a picture at the segmenter's input size (step 3), by name. Only bundles of schema versions 1 and 2 use
/// them.
public func measureAppearance(_ picture: Picture) -> [String: Double] {
    var found = colours(picture)
    let values = grey(picture)
    let (brightness, variance) = meanAndVariance(values)
    found["brightness"] = brightness
    found["contrast"] = variance.squareRoot()
    found.merge(octaves(values, picture.height, picture.width, variance)) { $1 }
    found.merge(neighbours(values, picture.height, picture.width)) { $1 }
    return found
}

/// The log odds of the bundle's regression: higher is more like dermoscopy.
public func dermoscopyScore(_ measures: [String: Double], _ rule: DermoscopyRule) -> Double {
    rule.terms.sorted { $0.key < $1.key }.reduce(rule.intercept) { score, entry in
        let (name, term) = entry
        let z = min(max((measures[name]! - term.centre) / term.scale, -rule.clip), rule.clip)
        return score + term.weight * z + term.curve * z * z
    }
}

private func colours(_ picture: Picture) -> [String: Double] {
    let n = picture.height * picture.width
    func channel(_ c: Int) -> [Double] { (0..<n).map { logs[Int(picture.pixels[3 * $0 + c])] } }
    let (red, green, blue) = (channel(0), channel(1), channel(2))
    let redGreen = zip(red, green).map { $0 - $1 }
    let greenBlue = zip(green, blue).map { $0 - $1 }
    return [
        "red_green": average(redGreen),
        "red_green_spread": covariance(redGreen, redGreen).squareRoot(),
        "green_blue": average(greenBlue),
        "green_blue_spread": covariance(greenBlue, greenBlue).squareRoot(),
        "shading": covariance(redGreen, green) / (covariance(green, green) + 1e-4),
    ]
}

private func average(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

private func covariance(_ a: [Double], _ b: [Double]) -> Double {
    let (meanA, meanB) = (average(a), average(b))
    return zip(a, b).reduce(0) { $0 + ($1.0 - meanA) * ($1.1 - meanB) } / Double(a.count)
}

private func octaves(_ grey: [Int], _ rows: Int, _ columns: Int, _ variance: Double) -> [String: Double] {
    var found: [String: Double] = [:]
    var current = grey.map(Double.init)
    var (height, width, left) = (rows, columns, variance)
    for octave in 1...octaves where height >= 2 && width >= 2 {
        current = halve(current, height, width)
        height /= 2
        width /= 2
        let smaller = covariance(current, current)
        found["octave_\(octave)"] = log((max(left - smaller, 0) + 0.05) / (variance + 1))
        left = smaller
    }
    return found
}

private func halve(_ values: [Double], _ rows: Int, _ columns: Int) -> [Double] {
    let down = AreaTaps(rows, rows / 2)
    let across = AreaTaps(columns, columns / 2)
    var result: [Double] = []
    for y in 0..<rows / 2 {
        for x in 0..<columns / 2 {
            var sum = 0.0
            for i in down.starts[y]..<down.starts[y + 1] {
                for j in across.starts[x]..<across.starts[x + 1] {
                    let value = values[down.indices[i] * columns + across.indices[j]]
                    sum += Double(down.weights[i]) * Double(across.weights[j]) * value
                }
            }
            result.append(sum)
        }
    }
    return result
}

private func neighbours(_ grey: [Int], _ height: Int, _ width: Int) -> [String: Double] {
    var (equal, count, sum, squares) = (0, 0, 0, 0)
    func compare(_ a: Int, _ b: Int) {
        let step = abs(grey[a] - grey[b])
        equal += step == 0 ? 1 : 0
        count += 1
        sum += step
        squares += step * step
    }
    for y in 0..<height {
        for x in 0..<width {
            let i = y * width + x
            if x + 1 < width { compare(i, i + 1) }
            if y + 1 < height { compare(i, i + width) }
        }
    }
    let mean = Double(sum) / Double(count)
    return [
        "flat": Double(equal) / Double(count),
        "peaked": log(Double(squares) / Double(count) + 1e-3) - log(mean * mean + 1e-3),
    ]
}
