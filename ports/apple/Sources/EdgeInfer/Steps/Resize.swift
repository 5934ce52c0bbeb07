/// Resizes a picture by the one rule that training and serving share (step 2): area average where no axis grows, bilinear
/// otherwise, unchanged where the size already fits. The aspect ratio is not kept.
///
/// The written rule leaves open how halves are rounded. This is OpenCV's arithmetic, operation by operation, so that the bytes are
/// those of the Python runtime: a grey level more or less moves an outline, and an outline moves the crop.
public func resize(_ picture: Picture, height: Int, width: Int) -> Picture {
    if picture.height == height && picture.width == width { return picture }
    let bytes = resizeBytes(picture.pixels, rows: picture.height, columns: picture.width, channels: 3, height: height, width: width)
    return Picture(checked: height, width, bytes)
}

/// See `resize`; `channels` bytes a pixel, interleaved.
func resizeBytes(_ source: [UInt8], rows: Int, columns: Int, channels: Int, height: Int, width: Int) -> [UInt8] {
    if rows == height && columns == width { return source }
    let raster = Raster(bytes: source, rows: rows, columns: columns, channels: channels)
    if height > rows || width > columns { return bilinear(raster, height, width) }
    if rows % height == 0 && columns % width == 0 { return wholeArea(raster, height, width) }
    return area(raster, height, width)
}

private struct Raster {
    let bytes: [UInt8]
    let rows: Int
    let columns: Int
    let channels: Int
}

/// Both factors are whole numbers: a sum of whole numbers. Exact halving rounds halves up, all else to even.
private func wholeArea(_ source: Raster, _ height: Int, _ width: Int) -> [UInt8] {
    let tall = source.rows / height
    let wide = source.columns / width
    let channels = source.channels
    let share = Float(1) / Float(tall * wide)
    var result = [UInt8](repeating: 0, count: height * width * channels)
    for i in result.indices {
        let y = i / channels / width * tall
        let x = i / channels % width * wide
        var sum = 0
        for row in y..<y + tall {
            for column in x..<x + wide { sum += Int(source.bytes[(row * source.columns + column) * channels + i % channels]) }
        }
        result[i] = tall == 2 && wide == 2 ? UInt8((sum + 2) >> 2) : UInt8(rounded(Float(sum) * share))
    }
    return result
}

private func area(_ source: Raster, _ height: Int, _ width: Int) -> [UInt8] {
    let down = AreaTaps(source.rows, height)
    let across = AreaTaps(source.columns, width)
    let samples = width * source.channels
    var sums = [Float](repeating: 0, count: samples)
    var line = [Float](repeating: 0, count: samples)
    var lineOf = -1
    var result = [UInt8](repeating: 0, count: height * samples)
    for y in 0..<height {
        for i in 0..<samples { sums[i] = 0 }
        for k in down.starts[y]..<down.starts[y + 1] {
            if down.indices[k] != lineOf {
                lineOf = down.indices[k]
                weigh(source, lineOf, across, &line)
            }
            for i in 0..<samples { sums[i] += down.weights[k] * line[i] }
        }
        for i in 0..<samples { result[y * samples + i] = UInt8(rounded(sums[i])) }
    }
    return result
}

private func weigh(_ source: Raster, _ row: Int, _ across: AreaTaps, _ line: inout [Float]) {
    let channels = source.channels
    for i in line.indices {
        var sum = Float(0)
        for k in across.starts[i / channels]..<across.starts[i / channels + 1] {
            let sample = source.bytes[(row * source.columns + across.indices[k]) * channels + i % channels]
            sum += Float(sample) * across.weights[k]
        }
        line[i] = sum
    }
}

/// To the nearest whole number, halves to the even one.
private func rounded(_ value: Float) -> Int { Int(value.rounded(.toNearestOrEven)) }

/// Along one axis: output i covers the source from i * n / size to (i + 1) * n / size and is the sum of the source pixels
/// `indices[k]` times `weights[k]`, k from `starts[i]`; less than a thousandth of a pixel does not count.
struct AreaTaps {
    var starts = [0]
    var indices: [Int] = []
    var weights: [Float] = []

    init(_ n: Int, _ size: Int) {
        let scale = 1.0 / (Double(size) / Double(n))
        for i in 0..<size {
            let low = Double(i) * scale
            let high = low + scale
            let cell = min(scale, Double(n) - low)
            let last = min(Int(high.rounded(.down)), n - 1)
            let first = min(Int(low.rounded(.up)), last)
            if Double(first) - low > 1e-3 { add(first - 1, (Double(first) - low) / cell) }
            for pixel in first..<max(first, last) { add(pixel, 1.0 / cell) }
            if high - Double(last) > 1e-3 { add(last, min(min(high - Double(last), 1.0), cell) / cell) }
            starts.append(indices.count)
        }
    }

    private mutating func add(_ index: Int, _ weight: Double) {
        indices.append(index)
        weights.append(Float(weight))
    }
}

private let one = 2048

/// Output i reads the source at (i + 0.5) * n / size - 0.5, between two pixels, with weights in 2048ths.
private struct LinearTaps {
    var low: [Int] = []
    var high: [Int] = []
    var lowWeight: [Int] = []
    var highWeight: [Int] = []

    init(_ n: Int, _ size: Int, clamped: Bool) {
        let scale = 1.0 / (Double(size) / Double(n))
        for i in 0..<size {
            let position = Float((Double(i) + 0.5) * scale - 0.5)
            var pixel = Int(position.rounded(.down))
            var share = position - Float(pixel)
            if clamped && (pixel < 0 || pixel >= n - 1) {
                pixel = min(max(pixel, 0), n - 1)
                share = 0
            }
            low.append(min(max(pixel, 0), n - 1))
            high.append(min(max(pixel + 1, 0), n - 1))
            lowWeight.append(rounded((1 - share) * Float(one)))
            highWeight.append(rounded(share * Float(one)))
        }
    }
}

private func bilinear(_ source: Raster, _ height: Int, _ width: Int) -> [UInt8] {
    // OpenCV clamps columns before it weighs and rows after; the bytes at the upper and lower edge show it.
    let down = LinearTaps(source.rows, height, clamped: false)
    let across = LinearTaps(source.columns, width, clamped: true)
    var lines: [Int: [Int]] = [:]
    var result: [UInt8] = []
    result.reserveCapacity(height * width * source.channels)
    for y in 0..<height {
        lines = lines.filter { $0.key >= down.low[y] }
        for row in [down.low[y], down.high[y]] where lines[row] == nil { lines[row] = blend(source, row, across, width) }
        let upper = lines[down.low[y]]!
        let lower = lines[down.high[y]]!
        for i in upper.indices {
            let a = (down.lowWeight[y] * (upper[i] >> 4)) >> 16
            let b = (down.highWeight[y] * (lower[i] >> 4)) >> 16
            result.append(UInt8((a + b + 2) >> 2))
        }
    }
    return result
}

private func blend(_ source: Raster, _ row: Int, _ across: LinearTaps, _ width: Int) -> [Int] {
    let channels = source.channels
    let start = row * source.columns
    return (0..<width * channels).map { i in
        let x = i / channels
        let c = i % channels
        return Int(source.bytes[(start + across.low[x]) * channels + c]) * across.lowWeight[x]
            + Int(source.bytes[(start + across.high[x]) * channels + c]) * across.highWeight[x]
    }
}
