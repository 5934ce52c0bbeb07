import EdgeInfer
import Foundation
import onnxruntime

/// A network in ONNX Runtime, through its Objective-C API.
public final class OnnxEngine: Engine {
    public let provider = "ONNX Runtime, CPU"
    /// The Objective-C API gives no metadata; the manifest's labels are those of the hashed file.
    public let labels: [String]? = nil
    private let environment: ORTEnv
    private let session: ORTSession
    private let input: String
    private let outputs: Set<String>

    /// - Parameters:
    ///   - file: the network; check it with `ModelBundle.read` first.
    ///   - input: name of its input.
    ///   - outputs: names of the outputs that are wanted.
    public init(file: URL, input: String, outputs: [String], threads: Int = 2) throws {
        do {
            environment = try ORTEnv(loggingLevel: .warning)
            let options = try ORTSessionOptions()
            try options.setIntraOpNumThreads(Int32(threads))
            session = try ORTSession(env: environment, modelPath: file.path, sessionOptions: options)
        } catch {
            throw EdgeInferError(
                .engineLoad, "ONNX Runtime cannot open the network: \(error.localizedDescription)", "Use the bundle's own files.")
        }
        self.input = input
        self.outputs = Set(outputs)
    }

    public func run(_ picture: Picture) throws -> [String: [Float]] {
        do {
            let data = NSMutableData(bytes: picture.pixels, length: picture.pixels.count)
            let shape: [NSNumber] = [1, NSNumber(value: picture.height), NSNumber(value: picture.width), 3]
            let tensor = try ORTValue(tensorData: data, elementType: .uInt8, shape: shape)
            let found = try session.run(withInputs: [input: tensor], outputNames: outputs, runOptions: nil)
            return try found.mapValues { value in
                let bytes = try value.tensorData() as Data
                return bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
            }
        } catch {
            throw EdgeInferError(.inference, "ONNX Runtime failed: \(error.localizedDescription)", "Restore the bundle.")
        }
    }
}
