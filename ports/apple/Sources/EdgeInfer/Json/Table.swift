/// A value does not fit; the message names the key's full path.
struct SchemaError: Error {
    let message: String
}

/// A JSON object that is read key by key. `done` refuses the keys that nobody asked for, so a misspelt key is an error and not a
/// default.
final class Table {
    let path: String
    let entries: [String: Json]
    private var known: Set<String> = []

    init(_ value: Json, _ path: String = "") throws {
        guard case .table(let entries) = value else { throw Table.expected(path, "a table") }
        self.path = path
        self.entries = entries
    }

    func has(_ key: String) -> Bool {
        known.insert(key)
        return entries[key] != nil
    }

    func any(_ key: String) throws -> Json {
        known.insert(key)
        guard let value = entries[key] else { throw SchemaError(message: "\(place(key)): missing") }
        return value
    }

    func isNull(_ key: String) throws -> Bool { try any(key) == .null }

    func text(_ key: String) throws -> String {
        guard case .text(let value) = try any(key) else { throw Table.expected(place(key), "text") }
        return value
    }

    func textOrNull(_ key: String) throws -> String? { try isNull(key) ? nil : try text(key) }

    func integer(_ key: String) throws -> Int {
        guard case .integer(let value) = try any(key) else { throw Table.expected(place(key), "a whole number") }
        return value
    }

    func number(_ key: String) throws -> Double {
        switch try any(key) {
        case .integer(let value): return Double(value)
        case .number(let value): return value
        default: throw Table.expected(place(key), "a number")
        }
    }

    func numberOrNull(_ key: String) throws -> Double? { try isNull(key) ? nil : try number(key) }

    func table(_ key: String) throws -> Table { try Table(try any(key), place(key)) }

    func list(_ key: String) throws -> [Json] {
        guard case .list(let items) = try any(key) else { throw Table.expected(place(key), "a list") }
        return items
    }

    func tables(_ key: String) throws -> [Table] {
        try list(key).enumerated().map { try Table($1, "\(place(key))[\($0)]") }
    }

    func texts(_ key: String) throws -> [String] {
        try list(key).map {
            guard case .text(let value) = $0 else { throw Table.expected(place(key), "a list of texts") }
            return value
        }
    }

    /// Each entry of a table by its own name.
    func named<T>(_ key: String, _ read: (Table) throws -> T) throws -> [String: T] {
        let inner = try table(key)
        var found: [String: T] = [:]
        for (name, value) in inner.entries { found[name] = try read(try Table(value, inner.place(name))) }
        return found
    }

    func namedTexts(_ key: String) throws -> [String: String] {
        let inner = try table(key)
        return try inner.entries.mapValues {
            guard case .text(let value) = $0 else { throw Table.expected(inner.path, "texts") }
            return value
        }
    }

    /// One of the cases of an enumeration, by its raw value.
    func choice<T: RawRepresentable & CaseIterable>(_ key: String, _: T.Type) throws -> T where T.RawValue == String {
        guard let value = T(rawValue: try text(key)) else {
            throw Table.expected(place(key), "one of \(T.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return value
    }

    func choice(_ key: String, _ options: [String]) throws -> String {
        let value = try text(key)
        if !options.contains(value) { throw Table.expected(place(key), "one of \(options.joined(separator: ", "))") }
        return value
    }

    /// Checks a key that can only have one value.
    func constant(_ key: String, _ value: Json) throws {
        if try any(key) != value { throw Table.expected(place(key), "\(value)") }
    }

    /// Refuses every key that was not read, and gives `value` back.
    func done<T>(_ value: T) throws -> T {
        if let unknown = entries.keys.sorted().first(where: { !known.contains($0) }) {
            throw SchemaError(
                message: "\(place(unknown)): unknown key; known keys: \(known.sorted().joined(separator: ", "))")
        }
        return value
    }

    func place(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    private static func expected(_ place: String, _ what: String) -> SchemaError {
        SchemaError(message: "\(place.isEmpty ? "document" : place): expected \(what)")
    }
}
