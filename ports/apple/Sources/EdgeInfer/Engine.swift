import Foundation

/// One loaded network. Core ML, ONNX Runtime and stored outputs in tests stand behind it; one picture at a time.
public protocol Engine: AnyObject {
    /// What really runs it, as the engine reports it.
    var provider: String { get }
    /// Labels stored in the model file (`edge_infer.labels`), or nil where the file or the engine gives none.
    var labels: [String]? { get }

    /// Runs the network.
    ///
    /// - Parameter picture: of the network's input size.
    /// - Returns: each output by name, flattened without the batch axis.
    /// - Throws: `EdgeInferError` (`inference`): the engine failed.
    func run(_ picture: Picture) throws -> [String: [Float]]
}

/// Turns an encoded picture into pixels; the platform's own, because no two platforms share one.
public protocol Decoder {
    /// Decodes at full size, to 8-bit RGB without applying colour profiles, **as stored**: the caller turns it upright. A JPEG comes
    /// without its profile. A picture with transparent pixels is refused: see `refuseHidden`, which every decoder calls.
    ///
    /// - Parameters:
    ///   - header: what the file says about itself.
    ///   - maxPixels: for formats whose header does not tell their size: refuse larger ones.
    func decode(_ data: [UInt8], header: Header, maxPixels: Int) throws -> Picture
}

extension Decoder {
    /// Step 1 whole: header, limit, decoding, upright.
    public func open(_ data: [UInt8], maxPixels: Int = defaultMaxPixels) throws -> Picture {
        let header = try readHeader(data)
        try checkPixels(height: header.height, width: header.width, maxPixels: maxPixels)
        try checkComplete(data, header)
        let stored = try decode(withoutProfile(data, header), header: header, maxPixels: maxPixels)
        return upright(stored, orientation: header.orientation)
    }
}
