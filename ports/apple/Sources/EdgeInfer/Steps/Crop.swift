import Foundation

/// The smallest rectangle around the lesion, or nil for an empty mask (step 6).
public func lesionBox(_ mask: Mask) -> Box? {
    var (x0, x1, y0, y1) = (mask.width, 0, mask.height, 0)
    for y in 0..<mask.height {
        for x in 0..<mask.width where mask.values[y * mask.width + x] != 0 {
            x0 = min(x0, x)
            x1 = max(x1, x + 1)
            y0 = min(y0, y)
            y1 = y + 1
        }
    }
    return x1 == 0 ? nil : Box(x0: x0, y0: y0, x1: x1, y1: y1)
}

/// The region that the classifier sees, in pixels of a picture of the given size (step 6): a square around the lesion, shifted back
/// inside where it crosses an edge. One that is larger than the picture stays partly outside (`pad`, `reflect`), is cut at the
/// edges (`clip`), or gets the picture's shorter side (`cap`).
///
/// - Parameter margin: added on each side, as a fraction of the lesion's longer side.
public func roiBox(_ lesion: Box, height: Int, width: Int, margin: Double, outside: Outside = .pad) -> Box {
    let longer = Double(max(lesion.width, lesion.height)) * (1 + 2 * margin)
    // Rounding to six decimals keeps 130.00000000000003 from becoming 131.
    var side = Int(((longer * 1e6 + 0.5).rounded(.down) / 1e6).rounded(.up))
    if outside == .cap { side = min(side, height, width) }
    func place(_ low: Int, _ high: Int, _ limit: Int) -> Int {
        let slack = limit - side
        let start = (low + high - side) >> 1  // towards minus infinity, also where negative
        return min(max(start, min(0, slack)), max(0, slack))
    }
    let x0 = place(lesion.x0, lesion.x1, width)
    let y0 = place(lesion.y0, lesion.y1, height)
    let box = Box(x0: x0, y0: y0, x1: x0 + side, y1: y0 + side)
    return outside == .clip ? inside(box, height, width) : box
}

private func inside(_ box: Box, _ height: Int, _ width: Int) -> Box {
    Box(x0: max(box.x0, 0), y0: max(box.y0, 0), x1: min(box.x1, width), y1: min(box.y1, height))
}

/// Cuts the region and resizes it to the classifier's input (step 7).
///
/// - Parameters:
///   - mask: the cleaned lesion mask, of the picture's size; used where the rule's background is `zero`.
///   - box: from `roiBox` for this picture's size and the rule's `outside`.
///   - size: side of the result.
public func cropRoi(_ picture: Picture, mask: Mask, box: Box, rule: RoiRule, size: Int) -> Picture {
    let mirror = rule.outside == .reflect
    let shown = inside(box, picture.height, picture.width)
    let columns = (box.x0..<box.x1).map { source($0, shown.x0, shown.x1, mirror) }
    var cut = [UInt8](repeating: 0, count: 3 * box.width * box.height)
    for y in 0..<box.height {
        guard let row = source(box.y0 + y, shown.y0, shown.y1, mirror) else { continue }
        for x in 0..<box.width {
            guard let column = columns[x] else { continue }
            let pixel = row * picture.width + column
            if rule.background == .zero && mask.values[pixel] == 0 { continue }
            for c in 0..<3 { cut[3 * (y * box.width + x) + c] = picture.pixels[3 * pixel + c] }
        }
    }
    return resize(Picture(checked: box.height, box.width, cut), height: size, width: size)
}

/// The row or column of the picture that is shown at `position`, or nil for black. Mirroring repeats the edge: b a | a b.
private func source(_ position: Int, _ low: Int, _ high: Int, _ mirror: Bool) -> Int? {
    if position >= low && position < high { return position }
    if !mirror { return nil }
    let size = high - low
    let remainder = (position - low) % (2 * size)
    let within = remainder < 0 ? remainder + 2 * size : remainder
    return low + (within < size ? within : 2 * size - 1 - within)
}
