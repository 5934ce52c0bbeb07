// swift-tools-version: 5.9
import Foundation
import PackageDescription

// `swift test` needs nothing but this folder. EDGE_INFER_ONNX=1 adds the backend for ONNX Runtime, which is downloaded then.
let withOnnx = ProcessInfo.processInfo.environment["EDGE_INFER_ONNX"] == "1"

let package = Package(
    name: "EdgeInfer",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "EdgeInfer", targets: ["EdgeInfer"])]
        + (withOnnx ? [.library(name: "EdgeInferOnnx", targets: ["EdgeInferOnnx"])] : []),
    dependencies: withOnnx
        ? [.package(url: "https://github.com/microsoft/onnxruntime-swift-package-manager", from: "1.20.0")] : [],
    targets: [
        .target(name: "EdgeInfer"),
        .testTarget(name: "EdgeInferTests", dependencies: ["EdgeInfer"]),
    ]
        + (withOnnx
            ? [
                .target(
                    name: "EdgeInferOnnx",
                    dependencies: [
                        "EdgeInfer",
                        .product(name: "onnxruntime", package: "onnxruntime-swift-package-manager"),
                    ]
                )
            ] : [])
)
