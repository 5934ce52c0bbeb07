package io.github.edgeinfer

/**
 * Base of every error that this library raises on purpose.
 *
 * @property code stable machine-readable name, the same in every port.
 * @property problem what is wrong, in one sentence.
 * @property remedy what the caller can do about it, in one sentence.
 */
sealed class EdgeInferError(
    val code: String,
    val problem: String,
    val remedy: String,
    cause: Throwable?,
) : Exception("$problem $remedy".trim(), cause)

/** The picture cannot be used; other pictures can. */
sealed class ImageError(code: String, problem: String, remedy: String, cause: Throwable?) :
    EdgeInferError(code, problem, remedy, cause)

/** The bytes are no picture of a known format, or are damaged or cut short. */
class ImageDecodeError(problem: String, remedy: String, cause: Throwable? = null) :
    ImageError("image-decode", problem, remedy, cause)

/** A picture of a known format, such as HEIC, that this platform does not decode. */
class ImageUnsupportedError(problem: String, remedy: String, cause: Throwable? = null) :
    ImageError("image-unsupported", problem, remedy, cause)

/** The picture has more pixels than the caller's limit; it was not decoded. */
class ImageTooLargeError(problem: String, remedy: String, cause: Throwable? = null) :
    ImageError("image-too-large", problem, remedy, cause)

/** The pixels given are no RGB picture of the size that was stated. */
class ImageArrayError(problem: String, remedy: String, cause: Throwable? = null) :
    ImageError("image-array", problem, remedy, cause)

/** The bundle cannot be trusted or used. */
sealed class BundleError(code: String, problem: String, remedy: String, cause: Throwable?) :
    EdgeInferError(code, problem, remedy, cause)

/** There is no manifest where one was looked for. */
class BundleNotFoundError(problem: String, remedy: String, cause: Throwable? = null) :
    BundleError("bundle-not-found", problem, remedy, cause)

/** The manifest is unreadable, incomplete, contradicts itself, or is of an unknown schema version. */
class BundleSchemaError(problem: String, remedy: String, cause: Throwable? = null) :
    BundleError("bundle-schema", problem, remedy, cause)

/** A file that the manifest lists is not there. */
class BundleFileMissingError(problem: String, remedy: String, cause: Throwable? = null) :
    BundleError("bundle-file-missing", problem, remedy, cause)

/** A file differs from the hash in the manifest. */
class BundleTamperedError(problem: String, remedy: String, cause: Throwable? = null) :
    BundleError("bundle-tampered", problem, remedy, cause)

/** The bundle has no operating point, band, variant or file of this name. */
class BundleChoiceError(problem: String, remedy: String, cause: Throwable? = null) :
    BundleError("bundle-error", problem, remedy, cause)

/** Manifest and network disagree: input size, labels, or the names of outputs. */
class BundleMismatchError(problem: String, remedy: String, cause: Throwable? = null) :
    BundleError("bundle-mismatch", problem, remedy, cause)

/** The share of melanoma that the caller states is no share between 0 and 1. */
class PrevalenceError(problem: String, remedy: String, cause: Throwable? = null) :
    EdgeInferError("prevalence", problem, remedy, cause)

/** The engine that runs the networks cannot be used. */
sealed class EngineError(code: String, problem: String, remedy: String, cause: Throwable?) :
    EdgeInferError(code, problem, remedy, cause)

/** The engine did not open a network. */
class EngineLoadError(problem: String, remedy: String, cause: Throwable? = null) :
    EngineError("engine-error", problem, remedy, cause)

/** The engine is older than the bundle needs. */
class EngineVersionError(problem: String, remedy: String, cause: Throwable? = null) :
    EngineError("engine-version", problem, remedy, cause)

/** The execution provider that was asked for did not become active. */
class ProviderUnavailableError(problem: String, remedy: String, cause: Throwable? = null) :
    EngineError("provider-unavailable", problem, remedy, cause)

/** The engine failed while it ran, or returned values that are no probabilities. */
class InferenceError(problem: String, remedy: String, cause: Throwable? = null) :
    EngineError("inference", problem, remedy, cause)
