#if canImport(CoreML)
    import CoreML
    import CoreVideo
    import Foundation

    /// A network in Core ML: one of a bundle's `.mlpackage` folders, which take an RGB image.
    public final class CoreMLEngine: Engine {
        public let provider: String
        public let labels: [String]?
        private let model: MLModel
        private let input: String

        /// Compiles and opens a package whose files were checked against the manifest.
        ///
        /// - Parameters:
        ///   - package: the `.mlpackage` folder, or a `.mlmodelc` that Xcode compiled of it.
        ///   - computeUnits: what Core ML may use. It does not say which of them ran, so nothing more is claimed.
        /// - Throws: `EdgeInferError` (`engine-error`).
        public init(package: URL, computeUnits: MLComputeUnits = .all) throws {
            let configuration = MLModelConfiguration()
            configuration.computeUnits = computeUnits
            do {
                let compiled = package.pathExtension == "mlmodelc" ? package : try MLModel.compileModel(at: package)
                model = try MLModel(contentsOf: compiled, configuration: configuration)
            } catch {
                throw EdgeInferError(
                    .engineLoad, "Core ML cannot open '\(package.lastPathComponent)': \(error.localizedDescription)",
                    "Restore the bundle; the packages need iOS 16 or macOS 13.")
            }
            let description = model.modelDescription
            guard let name = description.inputDescriptionsByName.first(where: { $0.value.type == .image })?.key else {
                throw EdgeInferError(.engineLoad, "'\(package.lastPathComponent)' takes no picture.", "Use the bundle's own files.")
            }
            input = name
            provider = "CoreML:\(CoreMLEngine.name(computeUnits))"
            let stored = description.metadata[.creatorDefinedKey] as? [String: String]
            labels = stored?["edge_infer.labels"].flatMap { text in
                guard case .list(let items)? = try? parseJson(text) else { return nil }
                return items.compactMap { if case .text(let label) = $0 { return label } else { return nil } }
            }
        }

        public func run(_ picture: Picture) throws -> [String: [Float]] {
            do {
                let value = MLFeatureValue(pixelBuffer: try buffer(picture))
                let outputs = try model.prediction(from: try MLDictionaryFeatureProvider(dictionary: [input: value]))
                var found: [String: [Float]] = [:]
                for name in outputs.featureNames {
                    if let array = outputs.featureValue(for: name)?.multiArrayValue {
                        found[name] = (0..<array.count).map { array[$0].floatValue }
                    }
                }
                return found
            } catch let error as EdgeInferError {
                throw error
            } catch {
                throw EdgeInferError(.inference, "Core ML failed: \(error.localizedDescription)", "Try the CPU alone.")
            }
        }

        /// 32-bit BGRA, which Core ML takes for an RGB image.
        private func buffer(_ picture: Picture) throws -> CVPixelBuffer {
            var made: CVPixelBuffer?
            let status = CVPixelBufferCreate(
                kCFAllocatorDefault, picture.width, picture.height, kCVPixelFormatType_32BGRA, nil, &made)
            guard status == kCVReturnSuccess, let made else {
                throw EdgeInferError(.inference, "There is no memory for a picture (\(status)).", "Close other apps.")
            }
            CVPixelBufferLockBaseAddress(made, [])
            defer { CVPixelBufferUnlockBaseAddress(made, []) }
            let stride = CVPixelBufferGetBytesPerRow(made)
            let bytes = CVPixelBufferGetBaseAddress(made)!.assumingMemoryBound(to: UInt8.self)
            for y in 0..<picture.height {
                for x in 0..<picture.width {
                    let from = 3 * (y * picture.width + x)
                    let to = y * stride + 4 * x
                    bytes[to] = picture.pixels[from + 2]
                    bytes[to + 1] = picture.pixels[from + 1]
                    bytes[to + 2] = picture.pixels[from]
                    bytes[to + 3] = 255
                }
            }
            return made
        }

        private static func name(_ units: MLComputeUnits) -> String {
            switch units {
            case .all: return "ALL"
            case .cpuOnly: return "CPU_ONLY"
            case .cpuAndGPU: return "CPU_AND_GPU"
            case .cpuAndNeuralEngine: return "CPU_AND_NE"
            @unknown default: return "unknown"
            }
        }
    }
#endif
