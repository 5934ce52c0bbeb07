/// A JSON value. Foundation's own parsers hide whether a number was written as `true` and accept a key that occurs twice.
public enum Json: Equatable, Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case list([Json])
    case table([String: Json])
}

/// The text is no JSON; the message says where.
struct JsonError: Error {
    let message: String
}

/// Reads JSON (RFC 8259) strictly: no duplicate key, nothing after the value, no deeper than 64 levels.
func parseJson(_ text: String) throws -> Json {
    var reader = JsonReader(bytes: Array(text.utf8))
    return try reader.document()
}

private struct JsonReader {
    let bytes: [UInt8]
    var at = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func document() throws -> Json {
        let value = try value(depth: 0)
        space()
        if at != bytes.count { throw fail("unexpected text after the value") }
        return value
    }

    private mutating func value(depth: Int) throws -> Json {
        if depth > 64 { throw fail("nested too deeply") }
        space()
        switch try peek() {
        case UInt8(ascii: "{"): return .table(try table(depth))
        case UInt8(ascii: "["): return .list(try list(depth))
        case UInt8(ascii: "\""): return .text(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func table(_ depth: Int) throws -> [String: Json] {
        var entries: [String: Json] = [:]
        at += 1
        space()
        if try peek() == UInt8(ascii: "}") {
            at += 1
            return entries
        }
        while true {
            space()
            if try peek() != UInt8(ascii: "\"") { throw fail("expected a key") }
            let key = try string()
            space()
            try expect(UInt8(ascii: ":"))
            let value = try value(depth: depth + 1)
            if entries.updateValue(value, forKey: key) != nil { throw fail("the key '\(key)' occurs twice") }
            space()
            if try peek() == UInt8(ascii: "}") {
                at += 1
                return entries
            }
            try expect(UInt8(ascii: ","))
        }
    }

    private mutating func list(_ depth: Int) throws -> [Json] {
        var items: [Json] = []
        at += 1
        space()
        if try peek() == UInt8(ascii: "]") {
            at += 1
            return items
        }
        while true {
            items.append(try value(depth: depth + 1))
            space()
            if try peek() == UInt8(ascii: "]") {
                at += 1
                return items
            }
            try expect(UInt8(ascii: ","))
        }
    }

    private mutating func string() throws -> String {
        at += 1
        var result: [UInt8] = []
        while true {
            let byte = try peek()
            at += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: result, as: UTF8.self)
            case 0..<0x20: throw fail("a control character in a string")
            case UInt8(ascii: "\\"): result.append(contentsOf: String(try escape()).utf8)
            default: result.append(byte)
            }
        }
    }

    private mutating func escape() throws -> Character {
        let byte = try peek()
        at += 1
        switch byte {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let first = try hex()
            if first < 0xD800 || first > 0xDFFF, let scalar = Unicode.Scalar(first) { return Character(scalar) }
            guard first < 0xDC00, at + 1 < bytes.count, bytes[at] == UInt8(ascii: "\\"), bytes[at + 1] == UInt8(ascii: "u")
            else { throw fail("half a surrogate pair") }
            at += 2
            let second = try hex()
            guard (0xDC00...0xDFFF).contains(second),
                let scalar = Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
            else { throw fail("half a surrogate pair") }
            return Character(scalar)
        default: throw fail("a bad escape")
        }
    }

    private mutating func hex() throws -> UInt32 {
        guard at + 4 <= bytes.count, bytes[at] != UInt8(ascii: "+"), bytes[at] != UInt8(ascii: "-"),
            let value = UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
        else { throw fail("a bad escape") }
        at += 4
        return value
    }

    private mutating func number() throws -> Json {
        let start = at
        func digits(_ reader: inout JsonReader) throws {
            let from = reader.at
            while reader.at < reader.bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(reader.bytes[reader.at]) {
                reader.at += 1
            }
            if reader.at == from { throw reader.fail("a bad number") }
        }
        if try peek() == UInt8(ascii: "-") { at += 1 }
        if try peek() == UInt8(ascii: "0") { at += 1 } else { try digits(&self) }
        var whole = true
        if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
            whole = false
            at += 1
            try digits(&self)
        }
        if at < bytes.count, bytes[at] == UInt8(ascii: "e") || bytes[at] == UInt8(ascii: "E") {
            whole = false
            at += 1
            if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") { at += 1 }
            try digits(&self)
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if whole {
            guard let value = Int(text) else { throw fail("a number too large") }
            return .integer(value)
        }
        guard let value = Double(text), value.isFinite else { throw fail("a number too large") }
        return .number(value)
    }

    private mutating func word(_ word: String, _ value: Json) throws -> Json {
        let letters = Array(word.utf8)
        guard at + letters.count <= bytes.count, Array(bytes[at..<at + letters.count]) == letters else {
            throw fail("unexpected text")
        }
        at += letters.count
        return value
    }

    private mutating func space() {
        while at < bytes.count, [0x20, 0x09, 0x0D, 0x0A].contains(bytes[at]) { at += 1 }
    }

    private func peek() throws -> UInt8 {
        if at >= bytes.count { throw fail("the text ends too early") }
        return bytes[at]
    }

    private mutating func expect(_ byte: UInt8) throws {
        if try peek() != byte { throw fail("expected '\(Character(Unicode.Scalar(byte)))'") }
        at += 1
    }

    fileprivate func fail(_ what: String) -> JsonError {
        let line = bytes[0..<min(at, bytes.count)].filter { $0 == 0x0A }.count + 1
        return JsonError(message: "line \(line): \(what)")
    }
}
