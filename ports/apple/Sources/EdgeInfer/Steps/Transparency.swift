/// Refuses a picture of which pixels are wholly transparent: the colours that are stored there are nobody's picture. Transparency of
/// other pixels is dropped. A BMP's fourth channel is not looked at, as in the Python runtime.
///
/// - Parameters:
///   - hidden: how many pixels have an alpha of 0.
///   - pixels: of the whole picture.
/// - Throws: `EdgeInferError` (`image-decode`): there are some.
public func refuseHidden(_ hidden: Int, of pixels: Int, header: Header) throws {
    if hidden == 0 || header.format == "BMP" { return }
    let share = (10_000 * Double(hidden) / Double(pixels)).rounded() / 100
    throw EdgeInferError(
        .imageDecode,
        "The \(header.format) picture is transparent in \(share)% of its pixels: the colours that are stored there are not those of a "
            + "photograph.",
        "Save the picture without transparency, as JPEG for example.")
}
