/// Thresholds a probability map and keeps its largest region, with the holes closed (step 4).
///
/// - Parameter threshold: a pixel belongs to the lesion where its probability is at least this; compared as 32-bit floats.
/// - Returns: of the map's size; all zero where no pixel reaches the threshold.
public func cleanMask(_ map: ProbabilityMap, threshold: Double) -> Mask {
    let limit = Float(threshold)
    return largestRegion(Mask(height: map.height, width: map.width, values: map.values.map { $0 >= limit ? 1 : 0 }))
}

/// Keeps the largest 8-connected region, filled. A region's area is that of the polygon through the centres of its outer border
/// pixels, so a line has area 0. On a tie the region stays whose first pixel in reading order comes last.
public func largestRegion(_ mask: Mask) -> Mask {
    var grid = Grid(mask)
    var best = -1
    var bestLabel = 0
    for (index, start) in grid.label().enumerated() {
        let area = grid.doubledArea(from: start)
        if area >= best {
            best = area
            bestLabel = index + 1
        }
    }
    if bestLabel == 0 { return Mask(height: mask.height, width: mask.width, values: mask.values.map { _ in 0 }) }
    return grid.filled(bestLabel)
}

/// How sure the segmenter is of its outline: the mean probability over the cleaned lesion, 0 for an empty one.
public func lesionConfidence(_ map: ProbabilityMap, _ mask: Mask) -> Double {
    var sum = 0.0
    var count = 0
    for i in mask.values.indices where mask.values[i] == 1 {
        sum += Double(map.values[i])
        count += 1
    }
    return count == 0 ? 0 : sum / Double(count)
}

/// Brings a mask to another size with a smooth border (step 5): resize 0/255, then keep values of at least 128.
public func restoreMask(_ mask: Mask, height: Int, width: Int) -> Mask {
    let grey = mask.values.map { $0 == 0 ? UInt8(0) : 255 }
    let resized = resizeBytes(grey, rows: mask.height, columns: mask.width, channels: 1, height: height, width: width)
    return Mask(height: height, width: width, values: resized.map { $0 >= 128 ? 1 : 0 })
}

/// A mask with a border of background around it, so that no neighbour lies outside the array.
private struct Grid {
    let height: Int
    let width: Int
    let stride: Int
    var labels: [Int]
    /// East, then clockwise (rows grow downwards).
    let around: [Int]
    let sides: [Int]

    init(_ mask: Mask) {
        height = mask.height
        width = mask.width
        stride = width + 2
        labels = [Int](repeating: 0, count: (height + 2) * stride)
        around = [1, stride + 1, stride, stride - 1, -1, -stride - 1, -stride, -stride + 1]
        sides = [1, stride, -1, -stride]
        for y in 0..<height {
            for x in 0..<width { labels[(y + 1) * stride + x + 1] = -Int(mask.values[y * width + x]) }
        }
    }

    /// Labels every 8-connected region from 1 on, in reading order; gives the first pixel of each.
    mutating func label() -> [Int] {
        var found: [Int] = []
        for start in labels.indices where labels[start] == -1 {
            found.append(start)
            spread(from: start, steps: around, over: -1, as: found.count)
        }
        return found
    }

    /// Twice the area of the polygon through the centres of the outer border (Suzuki and Abe 1985; shoelace).
    func doubledArea(from start: Int) -> Int {
        // The pixel to the west of the first one in reading order is background: look clockwise from there.
        guard let first = (5...11).map({ $0 % 8 }).first(where: { labels[start + around[$0]] > 0 }) else { return 0 }
        let stop = start + around[first]
        var sum = 0
        var current = start
        var from = first
        while true {
            var direction = from
            repeat { direction = (direction + 7) % 8 } while labels[current + around[direction]] <= 0
            let next = current + around[direction]
            sum += (current % stride) * (next / stride) - (next % stride) * (current / stride)
            if next == start && current == stop { return abs(sum) }
            current = next
            from = (direction + 4) % 8
        }
    }

    /// Everything that the outside cannot reach, by steps along rows and columns, without crossing the region.
    mutating func filled(_ label: Int) -> Mask {
        labels = labels.map { $0 == label ? 1 : 0 }
        spread(from: 0, steps: sides, over: 0, as: 2)
        var values: [UInt8] = []
        for y in 1...height {
            for x in 1...width { values.append(labels[y * stride + x] == 2 ? 0 : 1) }
        }
        return Mask(height: height, width: width, values: values)
    }

    private mutating func spread(from start: Int, steps: [Int], over old: Int, as new: Int) {
        var stack = [start]
        labels[start] = new
        while let pixel = stack.popLast() {
            for step in steps where labels.indices.contains(pixel + step) && labels[pixel + step] == old {
                labels[pixel + step] = new
                stack.append(pixel + step)
            }
        }
    }
}
