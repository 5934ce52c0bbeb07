import Foundation
import XCTest

@testable import EdgeInfer

/// Where things lie in the repository; the bundle and its vectors may be others.
enum Place {
    static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    static let bundle = chosen("EDGE_INFER_BUNDLE", "exported/mobile")
    static let vectors = chosen("EDGE_INFER_VECTORS", "exported/conformance")

    private static func chosen(_ variable: String, _ usual: String) -> URL {
        ProcessInfo.processInfo.environment[variable].map { URL(fileURLWithPath: $0) } ?? repository.appendingPathComponent(usual)
    }
}

final class VectorTests: XCTestCase {
    func testEveryVector() throws {
        let bundle = try ModelBundle(folder: Place.bundle)
        let index = try Index(Place.vectors)
        XCTAssertEqual(index.bundleSha256, bundle.sha256, "run: edge-infer vectors BUNDLE -o DIR")
        let decoder = platformDecoder()
        let networks = try platformNetworks(bundle)
        var left: [String: Int] = [:]
        for vector in index.vectors {
            let needs = index.needs[vector.step] ?? ""
            if needs == "decoder" && decoder == nil || needs == "networks" && (networks == nil || decoder == nil) {
                left[vector.step, default: 0] += 1
                continue
            }
            let given = Given(values: vector.given, bundle: bundle, networks: networks, decoder: decoder)
            let found: [String: Value]
            do {
                guard let values = try result(vector.step, given) else {
                    XCTFail("\(vector.name): unknown step")
                    continue
                }
                found = values
            } catch let error as EdgeInferError {
                if error.code == .imageUnsupported && vector.expect["error"]?.text != error.code.rawValue {
                    left[vector.step, default: 0] += 1
                    continue
                }
                found = ["error": .json(.text(error.code.rawValue))]
            }
            for failure in compare(widened(vector, bundle), found) { XCTFail("\(vector.name): \(failure)") }
        }
        print("left out: \(left)")
    }

    func testBundlesOfEverySchemaVersion() throws {
        let folder = Place.repository.appendingPathComponent("tests/fixtures/bundles")
        for bundle in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            XCTAssertNoThrow(try ModelBundle(folder: bundle), bundle.lastPathComponent)
        }
    }

    func testBundlesThatCannotBeTrusted() throws {
        let folder = Place.repository.appendingPathComponent("tests/fixtures/bundles/schema-2")
        let text = try String(contentsOf: folder.appendingPathComponent("bundle.json"), encoding: .utf8)
        let changes = [
            ("\"schema_version\": 2", "\"schema_version\": 99"), ("\"schema_version\": 2", "\"schema_version\": true"),
            ("\"min_side\"", "\"min_sid\""), ("\"threshold\": ", "\"threshold\": 7"),
            ("\"melanoma_label\": \"mel\"", "\"melanoma_label\": \"x\""),
        ]
        for (old, new) in changes {
            let changed = text.replacingOccurrences(of: old, with: new)
            XCTAssertNotEqual(changed, text, old)
            XCTAssertThrowsError(try parseManifest(changed), new) { XCTAssertEqual(($0 as? EdgeInferError)?.code, .bundleSchema) }
        }
        XCTAssertThrowsError(try parseManifest(text + "!"))
    }

    func testTamperedAndMissingFiles() throws {
        let copy = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: copy) }
        try FileManager.default.copyItem(at: Place.repository.appendingPathComponent("tests/fixtures/bundles/schema-2"), to: copy)
        let file = copy.appendingPathComponent("segmenter.onnx")
        try (try Data(contentsOf: file) + Data([33])).write(to: file)
        XCTAssertThrowsError(try ModelBundle(folder: copy)) { XCTAssertEqual(($0 as? EdgeInferError)?.code, .bundleTampered) }
        try FileManager.default.removeItem(at: file)
        XCTAssertThrowsError(try ModelBundle(folder: copy)) { XCTAssertEqual(($0 as? EdgeInferError)?.code, .bundleFileMissing) }
    }

    /// Vectors have the float32 files' bounds; the Core ML packages are a variant with bounds of their own.
    private func widened(_ vector: Vector, _ bundle: ModelBundle) -> Vector {
        guard let variant = bundle.manifest.segmenter.variants["coreml-float16"],
            let other = bundle.manifest.classifier.variants["coreml-float16"]
        else { return vector }
        var tolerance = vector.tolerance
        func widen(_ key: String, _ measure: String, _ bound: Double) {
            if let old = tolerance[key]?[measure] { tolerance[key]?[measure] = max(old, bound) }
        }
        switch vector.step {
        case "segment": widen("probability_map", "mean_abs", variant.tolerance.maxMap)
        case "classify": widen("probabilities", "max_abs", other.tolerance.maxProbability)
        case "diagnose": widen("melanoma_probability", "max_abs", other.tolerance.maxEndToEnd)
        default: break
        }
        return Vector(
            name: vector.name, step: vector.step, given: vector.given, expect: vector.expect, tolerance: tolerance)
    }
}

/// Apple's decoder where there is one.
func platformDecoder() -> Decoder? {
    #if canImport(ImageIO)
        return ImageIODecoder()
    #else
        return nil
    #endif
}

/// Core ML where there is it and the bundle has packages.
func platformNetworks(_ bundle: ModelBundle) throws -> Networks? {
    #if canImport(CoreML)
        let manifest = bundle.manifest
        guard manifest.segmenter.files["coreml"] != nil, manifest.classifier.files["coreml"] != nil else { return nil }
        func open(_ stage: Stage) throws -> Engine {
            try CoreMLEngine(package: bundle.folder.appendingPathComponent(try manifest.file(stage, format: "coreml")))
        }
        return Networks(segmenter: try open(manifest.segmenter), classifier: try open(manifest.classifier))
    #else
        return nil
    #endif
}
