import Foundation
import XCTest

@testable import EdgeInfer

#if canImport(CoreML)
    import CoreML

    /// Measures whole diagnoses of the example pictures on this Mac and writes a result file that `python -m benchmarks report`
    /// reads. Its keys are those of `benchmark-template.json`, which Python's tests hold against the reader.
    final class BenchmarkTests: XCTestCase {
        private static let runs = 100
        private static let block = 10
        private static let targets: [(name: String, title: String, units: MLComputeUnits)] = [
            ("coreml-all", "Core ML, Swift, all units", .all),
            ("coreml-cpu-only", "Core ML, Swift, CPU", .cpuOnly),
        ]

        func testBenchmark() throws {
            let begin = Date()
            let before = conditions()
            let bundle = try ModelBundle(folder: Place.bundle)
            let pictures = try examples()
            var series = try Self.targets.map { try Series($0.name, $0.title, $0.units, bundle) }
            for i in series.indices {
                for picture in pictures.prefix(5) { try series[i].measure(picture, round: nil) }
            }
            for round in 0..<Self.runs / Self.block {
                for i in series.indices {
                    for k in 0..<Self.block { try series[i].measure(pictures[(round * Self.block + k) % pictures.count], round: round) }
                }
            }
            let file = try filled(template(), bundle, pictures, series, begin, before)
            let place = ProcessInfo.processInfo.environment["EDGE_INFER_BENCHMARK"] ?? "edge-infer-benchmark.json"
            try text(file).write(to: URL(fileURLWithPath: place), atomically: true, encoding: .utf8)
            print("wrote \(place): python -m benchmarks report \(place)")
        }

        private func examples() throws -> [[UInt8]] {
            let folder = Place.repository.appendingPathComponent("examples")
            let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            return try files.filter { $0.pathExtension == "jpg" }.sorted { $0.path < $1.path }.map { [UInt8](try Data(contentsOf: $0)) }
        }

        private func template() throws -> [String: Json] {
            let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("benchmark-template.json")
            guard case .table(let entries) = try parseJson(String(contentsOf: path, encoding: .utf8)) else {
                throw Mismatch("no template")
            }
            return entries
        }

        private func filled(
            _ template: [String: Json], _ bundle: ModelBundle, _ pictures: [[UInt8]], _ series: [Series], _ begin: Date,
            _ before: Json
        ) throws -> Json {
            var file = template
            let manifest = bundle.manifest
            let size = try pictures.reduce(into: [String: Int]()) {
                let header = try readHeader($1)
                $0["\(header.width)x\(header.height)", default: 0] += 1
            }
            file["created"] = .text(ISO8601DateFormatter().string(from: begin))
            file["seconds"] = .number(Date().timeIntervalSince(begin))
            file["machine"] = merged(template["machine"], machine(before))
            file["bundle"] = merged(
                template["bundle"],
                [
                    "name": .text(manifest.name), "sha256": .text(bundle.sha256),
                    "segmenter": .text(manifest.segmenter.architecture), "classifier": .text(manifest.classifier.architecture),
                    "segmenter_input": .list([.integer(manifest.segmenter.input.height), .integer(manifest.segmenter.input.width)]),
                    "classifier_input": .list([.integer(manifest.classifier.input.height), .integer(manifest.classifier.input.width)]),
                    "gflops": both(manifest.segmenter.gflops, manifest.classifier.gflops),
                ])
            file["pictures"] = merged(
                template["pictures"],
                [
                    "count": .integer(pictures.count), "sizes": .list(size.sorted { $0.key < $1.key }.map { .text("\($0.key): \($0.value)") }),
                    "sha256": .text(sha256Of(Data(pictures.flatMap { $0 }))),
                ])
            guard case .list(let rows)? = template["rows"], let row = rows.first else { throw Mismatch("no row") }
            file["rows"] = .list(series.map { merged(row, $0.row) })
            return .table(file)
        }

        private func machine(_ before: Json) -> [String: Json] {
            let info = ProcessInfo.processInfo
            return [
                "device": .text(system("hw.model")), "processor": .text(system("machdep.cpu.brand_string")),
                "architecture": .text(system("hw.machine")), "logical_processors": .integer(info.processorCount),
                "usable_processors": .integer(info.activeProcessorCount), "memory_bytes": .integer(Int(info.physicalMemory)),
                "system": .text(info.operatingSystemVersionString), "before": before, "after": conditions(),
            ]
        }

        private func conditions() -> Json {
            let states: [ProcessInfo.ThermalState: String] = [.nominal: "nominal", .fair: "fair", .serious: "serious", .critical: "critical"]
            var loads = [Double](repeating: 0, count: 3)
            return .table([
                "load_average": getloadavg(&loads, 3) == 3 ? .number(loads[0]) : .null,
                "power_source": .text("unknown: this test does not ask"),
                "thermal_state": .text(states[ProcessInfo.processInfo.thermalState] ?? "unknown"),
                "temperature_celsius": .null, "processor_mhz": .null, "available_memory_bytes": .null,
            ])
        }
    }

    /// Samples of one target.
    private struct Series {
        let name: String
        let title: String
        let diagnoser: Diagnoser
        var provider = ""
        var wall: [Double] = []
        var cpu: [Double] = []
        var rounds: [Int] = []
        var statuses: [String: Int] = [:]

        init(_ name: String, _ title: String, _ units: MLComputeUnits, _ bundle: ModelBundle) throws {
            let manifest = bundle.manifest
            func open(_ stage: Stage) throws -> Engine {
                let package = bundle.folder.appendingPathComponent(try manifest.file(stage, format: "coreml"))
                return try CoreMLEngine(package: package, computeUnits: units)
            }
            self.name = name
            self.title = title
            diagnoser = try Diagnoser(
                bundle: bundle, segmenter: try open(manifest.segmenter), classifier: try open(manifest.classifier),
                decoder: ImageIODecoder())
        }

        /// - Parameter round: nil warms up.
        mutating func measure(_ picture: [UInt8], round: Int?) throws {
            let (wallStart, cpuStart) = (milliseconds(CLOCK_MONOTONIC), milliseconds(CLOCK_PROCESS_CPUTIME_ID))
            let found = try diagnoser.diagnose(picture)
            let (wallEnd, cpuEnd) = (milliseconds(CLOCK_MONOTONIC), milliseconds(CLOCK_PROCESS_CPUTIME_ID))
            provider = found.provider
            guard let round else { return }
            wall.append(wallEnd - wallStart)
            cpu.append(cpuEnd - cpuStart)
            rounds.append(round)
            statuses[found.status, default: 0] += 1
        }

        var row: [String: Json] {
            var percentiles: [String: Json] = [:]
            for percent in [50, 90, 99] { percentiles["p\(percent)"] = interval(wall, Double(percent) / 100) }
            return [
                "target": .text(name), "title": .text(title), "provider": .text(provider), "variant": .text("coreml-float16"),
                "statuses": .table(statuses.mapValues { .integer($0) }),
                "single": .table([
                    "size": .integer(1), "wall_ms": .list(wall.map { .number($0) }), "cpu_ms": .list(cpu.map { .number($0) }),
                    "rounds": .list(rounds.map { .integer($0) }), "stages_ms": .table([:]), "percentiles": .table(percentiles),
                ]),
            ]
        }
    }

    private func milliseconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) * 1000 + Double(time.tv_nsec) / 1e6
    }

    /// A quantile with its distribution-free 95 % interval, nil where the samples are too few: as `edge_infer/benchmark/stats.py`.
    private func interval(_ samples: [Double], _ quantile: Double) -> Json? {
        let n = Double(samples.count)
        let spread = 1.959964 * (n * quantile * (1 - quantile)).squareRoot()
        let low = Int((n * quantile - spread).rounded(.down))
        let high = Int((n * quantile + spread).rounded(.up))
        if low < 1 || high > samples.count - 1 { return nil }
        let ordered = samples.sorted()
        let position = quantile * (n - 1)
        let below = Int(position.rounded(.down))
        let above = min(below + 1, samples.count - 1)
        let value = ordered[below] + (ordered[above] - ordered[below]) * (position - Double(below))
        return .table(["value": .number(value), "low": .number(ordered[low - 1]), "high": .number(ordered[high])])
    }

    private func merged(_ old: Json?, _ new: [String: Json]) -> Json {
        guard case .table(let entries)? = old else { return .table(new) }
        return .table(entries.merging(new) { $1 })
    }

    private func both(_ a: Double?, _ b: Double?) -> Json {
        if let a, let b { return .number(a + b) }
        return .null
    }

    private func system(_ name: String) -> String {
        var size = 0
        sysctlbyname(name, nil, &size, nil, 0)
        var value = [CChar](repeating: 0, count: max(size, 1))
        sysctlbyname(name, &value, &size, nil, 0)
        return String(cString: value)
    }

    private func text(_ json: Json) -> String {
        switch json {
        case .null: return "null"
        case .bool(let value): return "\(value)"
        case .integer(let value): return "\(value)"
        case .number(let value): return "\(value)"
        case .text(let value):
            let escaped = value.unicodeScalars.map { scalar -> String in
                if scalar == "\"" || scalar == "\\" { return "\\\(scalar)" }
                return scalar.value < 32 ? String(format: "\\u%04x", scalar.value) : String(scalar)
            }
            return "\"\(escaped.joined())\""
        case .list(let items): return "[\(items.map(text).joined(separator: ","))]"
        case .table(let entries):
            let parts = entries.sorted { $0.key < $1.key }.map { "\(text(.text($0.key))):\(text($0.value))" }
            return "{\(parts.joined(separator: ","))}"
        }
    }
#endif
