/// Turns stored pixels upright (step 1), for decoders that leave EXIF's orientation to the caller.
///
/// - Parameter orientation: 1 to 8; anything else counts as 1.
public func upright(_ stored: Picture, orientation: Int) -> Picture {
    if !(2...8).contains(orientation) { return stored }
    let turned = orientation >= 5
    let height = turned ? stored.width : stored.height
    let width = turned ? stored.height : stored.width
    let lastRow = stored.height - 1
    let lastColumn = stored.width - 1
    var pixels = [UInt8](repeating: 0, count: stored.pixels.count)
    for y in 0..<height {
        for x in 0..<width {
            let (row, column): (Int, Int)
            switch orientation {
            case 2: (row, column) = (y, lastColumn - x)
            case 3: (row, column) = (lastRow - y, lastColumn - x)
            case 4: (row, column) = (lastRow - y, x)
            case 5: (row, column) = (x, y)
            case 6: (row, column) = (lastRow - x, y)
            case 7: (row, column) = (lastRow - x, lastColumn - y)
            default: (row, column) = (x, lastColumn - y)
            }
            let from = 3 * (row * stored.width + column)
            let to = 3 * (y * width + x)
            for c in 0..<3 { pixels[to + c] = stored.pixels[from + c] }
        }
    }
    return Picture(checked: height, width, pixels)
}
