/// Refuses a JPEG that was cut short: many platforms' decoders give the rest as grey, without a word.
///
/// - Throws: `EdgeInferError` (`image-decode`): no end of the picture follows its beginning.
public func checkComplete(_ data: [UInt8], _ header: Header) throws {
    if header.format != "JPEG" { return }
    if let scan = segments(data).first(where: { $0.marker == 0xDA }) {
        var at = data.count - 2
        while at >= scan.end {
            if data[at] == 0xFF && data[at + 1] == 0xD9 { return }
            at -= 1
        }
    }
    throw EdgeInferError(
        .imageDecode, "The JPEG picture is damaged or cut short.",
        "Check that it was copied or downloaded completely, or export it again.")
}

/// A JPEG without its colour profile, for decoders that would apply it; anything else as it is. Networks were trained on pixels as
/// they are stored (step 1).
public func withoutProfile(_ data: [UInt8], _ header: Header) -> [UInt8] {
    if header.format != "JPEG" { return data }
    let name = Array("ICC_PROFILE".utf8)
    var kept: [UInt8] = []
    var from = 0
    for segment in segments(data) where segment.marker == 0xE2 && data[(segment.start + 4)..<segment.end].starts(with: name) {
        kept += data[from..<segment.start]
        from = segment.end
    }
    return kept + data[from...]
}

/// From its 0xFF at `start` to before `end`.
private struct Segment {
    let marker: UInt8
    let start: Int
    let end: Int
}

/// Up to the first scan, after which there is no length to go by.
private func segments(_ data: [UInt8]) -> [Segment] {
    var found: [Segment] = []
    var at = 2
    while at + 4 <= data.count && data[at] == 0xFF {
        let marker = data[at + 1]
        if marker == 0xFF {
            at += 1
            continue
        }
        if marker == 0x01 || (0xD0...0xD8).contains(marker) {
            at += 2
            continue
        }
        let end = at + 2 + (Int(data[at + 2]) << 8 | Int(data[at + 3]))
        if end > data.count || end < at + 4 { break }
        found.append(Segment(marker: marker, start: at, end: end))
        if marker == 0xDA { break }
        at = end
    }
    return found
}
