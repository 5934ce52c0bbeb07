import Foundation

@testable import EdgeInfer

/// What a vector gives or expects, with arrays and files read.
indirect enum Value {
    case json(Json)
    case bytes([Int], [UInt8])
    case floats([Int], [Float])
    case file([UInt8])
    case list([Value])
    case table([String: Value])

    var picture: Picture {
        get throws {
            guard case .bytes(let shape, let values) = self else { throw Mismatch("no picture") }
            return try Picture(height: shape[0], width: shape[1], pixels: values)
        }
    }

    var mask: Mask {
        get throws {
            guard case .bytes(let shape, let values) = self else { throw Mismatch("no mask") }
            return Mask(height: shape[0], width: shape[1], values: values)
        }
    }

    var map: ProbabilityMap {
        get throws {
            guard case .floats(let shape, let values) = self else { throw Mismatch("no map") }
            return ProbabilityMap(height: shape[0], width: shape[1], values: values)
        }
    }

    var isNull: Bool { if case .json(.null) = self { return true } else { return false } }

    var number: Double? {
        switch self {
        case .json(.integer(let value)): return Double(value)
        case .json(.number(let value)): return value
        default: return nil
        }
    }

    var text: String? { if case .json(.text(let value)) = self { return value } else { return nil } }

    /// All numbers in it, in order.
    var numbers: [Double]? {
        switch self {
        case .bytes(_, let values): return values.map(Double.init)
        case .floats(_, let values): return values.map(Double.init)
        case .list(let items):
            let all = items.compactMap(\.numbers)
            return all.count == items.count ? all.flatMap { $0 } : nil
        default: return number.map { [$0] }
        }
    }

    var shape: [Int] {
        switch self {
        case .bytes(let shape, _), .floats(let shape, _): return shape
        case .list(let items): return [items.count] + (items.first?.shape ?? [])
        default: return []
        }
    }
}

struct Mismatch: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// One check of one step; see `exported/conformance/README.md`.
struct Vector {
    let name: String
    let step: String
    let given: [String: Value]
    let expect: [String: Value]
    let tolerance: [String: [String: Double]]
}

/// The vectors of a folder, the bundle that they belong to, and what each step needs.
struct Index {
    let bundleSha256: String
    let needs: [String: String]
    let vectors: [Vector]

    init(_ folder: URL) throws {
        let text = try String(contentsOf: folder.appendingPathComponent("index.json"), encoding: .utf8)
        let table = try Table(try parseJson(text))
        guard try table.integer("format") == 1 else { throw Mismatch("these vectors are of another format than 1") }
        bundleSha256 = try table.table("bundle").text("sha256")
        needs = try table.named("steps") { try $0.text("needs") }
        vectors = try table.tables("vectors").map { entry in
            Vector(
                name: try entry.text("name"),
                step: try entry.text("step"),
                given: try entry.table("given").entries.mapValues { try resolve($0, folder) },
                expect: try entry.table("expect").entries.mapValues { try resolve($0, folder) },
                tolerance: try entry.named("tolerance") { bound in
                    try Dictionary(uniqueKeysWithValues: bound.entries.keys.map { ($0, try bound.number($0)) })
                })
        }
    }
}

private func resolve(_ value: Json, _ folder: URL) throws -> Value {
    switch value {
    case .list(let items): return .list(try items.map { try resolve($0, folder) })
    case .table(let entries):
        if Set(entries.keys) == ["file"], case .text(let path)? = entries["file"] {
            return .file([UInt8](try Data(contentsOf: folder.appendingPathComponent(path))))
        }
        if Set(entries.keys) == ["array", "dtype", "shape"] { return try array(try Table(value), folder) }
        return .table(try entries.mapValues { try resolve($0, folder) })
    default: return .json(value)
    }
}

private func array(_ table: Table, _ folder: URL) throws -> Value {
    let raw = [UInt8](try Data(contentsOf: folder.appendingPathComponent(try table.text("array"))))
    let shape = try table.list("shape").map { size -> Int in
        guard case .integer(let value) = size else { throw Mismatch("a shape of whole numbers") }
        return value
    }
    if try table.text("dtype") == "uint8" { return .bytes(shape, raw) }
    let floats = stride(from: 0, to: raw.count, by: 4).map { at -> Float in
        let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(raw[at + $1]) << (8 * UInt32($1)) }
        return Float(bitPattern: bits)
    }
    return .floats(shape, floats)
}

/// A sentence for each result that is off: within the bounds where there are some, otherwise equal.
func compare(_ vector: Vector, _ found: [String: Value]) -> [String] {
    var failures: [String] = []
    for (key, wanted) in vector.expect.sorted(by: { $0.key < $1.key }) {
        guard let value = found[key] else {
            failures.append("\(key): missing")
            continue
        }
        guard let bounds = vector.tolerance[key], !wanted.isNull, !value.isNull else {
            if !same(wanted, value) { failures.append("\(key): \(short(value)), expected \(short(wanted))") }
            continue
        }
        guard let a = wanted.numbers, let b = value.numbers, wanted.shape == value.shape else {
            failures.append("\(key): another shape")
            continue
        }
        for (measure, bound) in bounds {
            let deviation = measured(measure, a, b)
            let holds = measure.hasPrefix("min") ? deviation >= bound : deviation <= bound
            if !holds { failures.append("\(key): \(measure) \(deviation), bound \(bound)") }
        }
    }
    return failures
}

private func measured(_ measure: String, _ a: [Double], _ b: [Double]) -> Double {
    let off = zip(a, b).map { abs($0 - $1) }
    switch measure {
    case "max_abs": return off.max() ?? 0
    case "mean_abs": return off.isEmpty ? 0 : off.reduce(0, +) / Double(off.count)
    case "max_relative": return zip(off, a).map { $0 / max(abs($1), 1e-12) }.max() ?? 0
    case "max_share": return off.isEmpty ? 0 : Double(off.filter { $0 != 0 }.count) / Double(off.count)
    case "min_iou":
        let union = zip(a, b).reduce(0) { $0 + max($1.0, $1.1) }
        return union == 0 ? 1 : zip(a, b).reduce(0) { $0 + min($1.0, $1.1) } / union
    default: return .nan
    }
}

private func same(_ a: Value, _ b: Value) -> Bool {
    if let first = a.numbers, let second = b.numbers { return a.shape == b.shape && first == second }
    switch (a, b) {
    case (.json(let first), .json(let second)): return first == second
    case (.list(let first), .list(let second)): return first.count == second.count && zip(first, second).allSatisfy(same)
    default: return false
    }
}

private func short(_ value: Value) -> String { value.shape.isEmpty ? "\(value)" : "array \(value.shape)" }
