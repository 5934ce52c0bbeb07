/// What a picture file says about itself before anything is decoded.
public struct Header: Equatable, Sendable {
    /// JPEG, PNG, WebP, BMP, TIFF or HEIC; whether it can be decoded is the decoder's affair.
    public let format: String
    /// Stored columns and rows, before any rotation; 0 where the format hides them (HEIC).
    public let width: Int
    public let height: Int
    /// EXIF orientation, 1 to 8; 1 where there is none.
    public var orientation = 1
}

/// As in the Python runtime.
public let defaultMaxPixels = 100_000_000

/// Reads the header of an encoded picture.
///
/// - Throws: `EdgeInferError` (`image-decode`): empty, of no known format, or damaged before the size is known.
public func readHeader(_ data: [UInt8]) throws -> Header {
    if data.isEmpty { throw cut("The picture is empty (0 bytes).") }
    let bytes = Bytes(data: data)
    let header: Header
    do {
        if bytes.starts([0xFF, 0xD8, 0xFF]) {
            header = try jpeg(bytes)
        } else if bytes.starts([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
            header = try png(bytes)
        } else if bytes.starts("RIFF") && bytes.starts("WEBP", at: 8) {
            header = try webp(bytes)
        } else if bytes.starts("BM") {
            header = try bmp(bytes)
        } else if bytes.starts([0x49, 0x49, 0x2A, 0]) || bytes.starts([0x4D, 0x4D, 0, 0x2A]) {
            let tags = try tags(bytes, 0)
            header = Header(format: "TIFF", width: tags[256] ?? 0, height: tags[257] ?? 0, orientation: valid(tags[274]))
        } else if bytes.starts("ftyp", at: 4) {
            return try heic(bytes)
        } else {
            throw EdgeInferError(
                .imageDecode, "This is no picture of a supported format (JPEG, PNG, WebP, BMP, TIFF).",
                "Convert the picture to JPEG or PNG first.")
        }
    } catch is PastEnd {
        throw cut("The picture file ends before its size is known.")
    }
    if header.width < 1 || header.height < 1 { throw damaged("The \(header.format) header gives an empty size.") }
    return header
}

/// Refuses a picture before it is decoded, by what its header says.
///
/// - Throws: `EdgeInferError` (`image-too-large`).
public func checkPixels(height: Int, width: Int, maxPixels: Int) throws {
    let (pixels, overflow) = height.multipliedReportingOverflow(by: width)
    if overflow || pixels > maxPixels {
        throw EdgeInferError(
            .imageTooLarge, "The picture has \(width) x \(height) pixels, more than the limit of \(maxPixels).",
            "Make it smaller, or raise maxPixels.")
    }
}

private func damaged(_ what: String) -> EdgeInferError { EdgeInferError(.imageDecode, what, "Export the picture again.") }

private func cut(_ what: String) -> EdgeInferError {
    EdgeInferError(.imageDecode, what, "Check that it was copied or downloaded completely.")
}

private struct PastEnd: Error {}

/// Unsigned reading at a place.
private struct Bytes {
    let data: [UInt8]

    func byte(_ at: Int) throws -> Int {
        guard at >= 0, at < data.count else { throw PastEnd() }
        return Int(data[at])
    }

    func starts(_ wanted: [UInt8], at: Int = 0) -> Bool {
        at >= 0 && at + wanted.count <= data.count && Array(data[at..<at + wanted.count]) == wanted
    }

    func starts(_ text: String, at: Int = 0) -> Bool { starts(Array(text.utf8), at: at) }

    func short(_ at: Int, little: Bool = false) throws -> Int {
        let (first, second) = (try byte(at), try byte(at + 1))
        return little ? first | second << 8 : first << 8 | second
    }

    func int(_ at: Int, little: Bool = false) throws -> Int {
        let (first, second) = (try short(at, little: little), try short(at + 2, little: little))
        return little ? first | second << 16 : first << 16 | second
    }
}

private func jpeg(_ data: Bytes) throws -> Header {
    var at = 2
    var orientation = 1
    while true {
        if try data.byte(at) != 0xFF { throw damaged("The JPEG header is damaged.") }
        let marker = try data.byte(at + 1)
        if marker == 0xFF {
            at += 1
            continue
        }
        if marker == 0x01 || (0xD0...0xD8).contains(marker) {
            at += 2
            continue
        }
        let length = try data.short(at + 2)
        if (0xC0...0xCF).contains(marker) && ![0xC4, 0xC8, 0xCC].contains(marker) {
            return Header(
                format: "JPEG", width: try data.short(at + 7), height: try data.short(at + 5), orientation: orientation)
        }
        if marker == 0xD9 || marker == 0xDA || length < 2 { throw damaged("The JPEG header is damaged: it gives no size.") }
        if marker == 0xE1 && data.starts("Exif\0\0", at: at + 4) { orientation = exif(data, at + 10) }
        at += 2 + length
    }
}

private func png(_ data: Bytes) throws -> Header {
    var header = Header(format: "PNG", width: try data.int(16), height: try data.int(20))
    var at = 8
    while at + 8 <= data.data.count {
        if data.starts("eXIf", at: at + 4) {
            header.orientation = exif(data, at + 8)
            break
        }
        at += 12 + (try data.int(at))
    }
    return header
}

private func webp(_ data: Bytes) throws -> Header {
    if data.starts("VP8 ", at: 12) {
        return Header(
            format: "WebP", width: try data.short(26, little: true) & 0x3FFF, height: try data.short(28, little: true) & 0x3FFF)
    }
    if data.starts("VP8L", at: 12) {
        let bits = try data.int(21, little: true)
        return Header(format: "WebP", width: (bits & 0x3FFF) + 1, height: (bits >> 14 & 0x3FFF) + 1)
    }
    if !data.starts("VP8X", at: 12) { throw damaged("The WebP header is damaged.") }
    let width = 1 + (try data.short(24, little: true) | data.byte(26) << 16)
    let height = 1 + (try data.short(27, little: true) | data.byte(29) << 16)
    var header = Header(format: "WebP", width: width, height: height)
    var at = 12
    while at + 8 <= data.data.count {
        if data.starts("EXIF", at: at) {
            header.orientation = exif(data, data.starts("Exif\0\0", at: at + 8) ? at + 14 : at + 8)
            break
        }
        let length = try data.int(at + 4, little: true)
        at += 8 + length + length % 2
    }
    return header
}

private func bmp(_ data: Bytes) throws -> Header {
    if try data.int(14, little: true) == 12 {
        return Header(format: "BMP", width: try data.short(18, little: true), height: try data.short(20, little: true))
    }
    func signed(_ at: Int) throws -> Int {
        Int(Int32(truncatingIfNeeded: try data.int(at, little: true)).magnitude)
    }
    return Header(format: "BMP", width: try signed(18), height: try signed(22))
}

private func heic(_ data: Bytes) throws -> Header {
    let brands = ["heic", "heix", "heim", "heis", "mif1", "msf1", "hevc", "avif"]
    if !brands.contains(where: { data.starts($0, at: 8) }) {
        throw EdgeInferError(.imageDecode, "This is a film or another file, no picture.", "Give a JPEG, PNG or HEIC picture.")
    }
    return Header(format: "HEIC", width: 0, height: 0)
}

private func valid(_ orientation: Int?) -> Int { orientation.flatMap { (1...8).contains($0) ? $0 : nil } ?? 1 }

/// EXIF is a small TIFF file; a damaged one means that nothing is said.
private func exif(_ data: Bytes, _ start: Int) -> Int { valid((try? tags(data, start))?[274]) }

/// Tags of the first directory that hold one whole number.
private func tags(_ data: Bytes, _ start: Int) throws -> [Int: Int] {
    let little = data.starts("II", at: start)
    if !little && !data.starts("MM", at: start) { return [:] }
    let directory = start + (try data.int(start + 4, little: little))
    var found: [Int: Int] = [:]
    for i in 0..<(try data.short(directory, little: little)) {
        let entry = directory + 2 + 12 * i
        if try data.int(entry + 4, little: little) != 1 { continue }
        let tag = try data.short(entry, little: little)
        switch try data.short(entry + 2, little: little) {
        case 3: found[tag] = try data.short(entry + 8, little: little)
        case 4: found[tag] = try data.int(entry + 8, little: little)
        default: break
        }
    }
    return found
}
