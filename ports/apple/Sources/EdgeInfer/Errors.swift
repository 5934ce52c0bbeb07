/// Base of every error that this library throws on purpose.
public struct EdgeInferError: Error, Equatable, CustomStringConvertible {
    /// What went wrong; raw values are the stable names that every port shares.
    public enum Code: String, Sendable {
        /// The bytes are no picture of a known format, or are damaged or cut short.
        case imageDecode = "image-decode"
        /// A picture of a known format, such as HEIC, that this platform does not decode.
        case imageUnsupported = "image-unsupported"
        /// The picture has more pixels than the caller's limit; it was not decoded.
        case imageTooLarge = "image-too-large"
        /// The pixels given are no RGB picture of the size that was stated.
        case imageArray = "image-array"
        /// There is no manifest where one was looked for.
        case bundleNotFound = "bundle-not-found"
        /// The manifest is unreadable, incomplete, contradicts itself, or is of an unknown schema version.
        case bundleSchema = "bundle-schema"
        /// A file that the manifest lists is not there.
        case bundleFileMissing = "bundle-file-missing"
        /// A file differs from the hash in the manifest.
        case bundleTampered = "bundle-tampered"
        /// The bundle has no operating point, band, variant or file of this name.
        case bundleChoice = "bundle-error"
        /// Manifest and network disagree: input size, labels, or the names of outputs.
        case bundleMismatch = "bundle-mismatch"
        /// The share of melanoma that the caller states is no share between 0 and 1.
        case prevalence
        /// The engine did not open a network.
        case engineLoad = "engine-error"
        /// The execution provider that was asked for did not become active.
        case providerUnavailable = "provider-unavailable"
        /// The engine failed while it ran, or returned values that are no probabilities.
        case inference
    }

    public let code: Code
    /// What is wrong, in one sentence.
    public let problem: String
    /// What the caller can do about it, in one sentence.
    public let remedy: String

    public init(_ code: Code, _ problem: String, _ remedy: String = "") {
        self.code = code
        self.problem = problem
        self.remedy = remedy
    }

    public var description: String { "\(code.rawValue): \(problem) \(remedy)" }

    /// Whether another picture may do.
    public var isOfPicture: Bool {
        [.imageDecode, .imageUnsupported, .imageTooLarge, .imageArray].contains(code)
    }
}
