/// An upright picture: RGB, 8 bits a channel, rows from the top; channel c of column x in row y is
/// `pixels[(y * width + x) * 3 + c]`.
public struct Picture: Sendable {
    public let height: Int
    public let width: Int
    public let pixels: [UInt8]

    /// - Throws: `EdgeInferError` (`image-array`) where the size is empty, or does not fit the pixels.
    public init(height: Int, width: Int, pixels: [UInt8]) throws {
        guard height > 0, width > 0, pixels.count == 3 * height * width else {
            throw EdgeInferError(
                .imageArray, "\(pixels.count) bytes are no RGB picture of \(width) x \(height) pixels.",
                "Give 3 bytes a pixel, red first, and the picture's own size.")
        }
        self.init(checked: height, width, pixels)
    }

    /// For sizes that were made here.
    init(checked height: Int, _ width: Int, _ pixels: [UInt8]) {
        self.height = height
        self.width = width
        self.pixels = pixels
    }
}

/// Which pixels are lesion: 1, and which are not: 0; column x of row y is `values[y * width + x]`.
public struct Mask: Sendable {
    public let height: Int
    public let width: Int
    public let values: [UInt8]

    public init(height: Int, width: Int, values: [UInt8]) {
        precondition(values.count == height * width, "no mask of this size")
        self.height = height
        self.width = width
        self.values = values
    }

    /// Pixels of the lesion.
    public var count: Int { values.reduce(0) { $0 + ($1 == 0 ? 0 : 1) } }
}

/// The segmenter's answer: lesion probability, 0..1, of each pixel of its input.
public struct ProbabilityMap: Sendable {
    public let height: Int
    public let width: Int
    public let values: [Float]

    public init(height: Int, width: Int, values: [Float]) {
        precondition(values.count == height * width, "no map of this size")
        self.height = height
        self.width = width
        self.values = values
    }
}

/// A half-open rectangle in pixels: columns x0 to x1 - 1, rows y0 to y1 - 1. A region of interest may lie partly outside.
public struct Box: Equatable, Sendable {
    public let x0: Int
    public let y0: Int
    public let x1: Int
    public let y1: Int

    public init(x0: Int, y0: Int, x1: Int, y1: Int) {
        self.x0 = x0
        self.y0 = y0
        self.x1 = x1
        self.y1 = y1
    }

    public var width: Int { x1 - x0 }
    public var height: Int { y1 - y0 }
}
