/** Typed errors with the same names and codes as in Python. Each says what is wrong and what to do about it. */

/** Base of every error that this package throws on purpose. */
export class EdgeInferError extends Error {
  /** Stable machine-readable name, in kebab-case. */
  readonly code: string = "error";
  /** What the caller can do about it, in one sentence. */
  readonly remedy: string;
  /** What is wrong, in one sentence. */
  readonly problem: string;

  constructor(problem: string, remedy = "", options?: ErrorOptions) {
    super(`${problem} ${remedy}`.trim(), options);
    this.name = new.target.name;
    this.problem = problem;
    this.remedy = remedy;
  }

  /** The error as JSON-ready strings, as in Python. */
  toJSON(): { code: string; message: string; remedy: string } {
    return { code: this.code, message: this.problem, remedy: this.remedy };
  }
}

/** The picture cannot be used; other pictures can. */
export class ImageError extends EdgeInferError {
  override readonly code: string = "image-error";
}
/** There is no file of this name, or it is a folder. */
export class ImageNotFoundError extends ImageError {
  override readonly code = "image-not-found";
}
/** The file exists and cannot be read. */
export class ImageAccessError extends ImageError {
  override readonly code = "image-access";
}
/** The bytes are no picture of a known format, or are damaged or cut short. */
export class ImageDecodeError extends ImageError {
  override readonly code: string = "image-decode";
}
/** A picture of a format that this platform cannot decode, such as HEIC outside Apple's. */
export class ImageUnsupportedError extends ImageDecodeError {
  override readonly code = "image-unsupported";
}
/** The picture has more pixels than the caller's limit; it was not decoded. */
export class ImageTooLargeError extends ImageError {
  override readonly code = "image-too-large";
}
/** The array is no RGB picture of 8 bits. */
export class ImageArrayError extends ImageError {
  override readonly code = "image-array";
}

/** The model bundle cannot be trusted or used. */
export class BundleError extends EdgeInferError {
  override readonly code: string = "bundle-error";
}
/** There is no bundle here. */
export class BundleNotFoundError extends BundleError {
  override readonly code = "bundle-not-found";
}
/** `bundle.json` is unreadable, incomplete, or of an unknown schema version. */
export class BundleSchemaError extends BundleError {
  override readonly code = "bundle-schema";
}
/** A file that the manifest lists is not there. */
export class BundleFileMissingError extends BundleError {
  override readonly code = "bundle-file-missing";
}
/** A file differs from the hash in the manifest. */
export class BundleTamperedError extends BundleError {
  override readonly code = "bundle-tampered";
}
/** Manifest and model disagree: input size or output shape. */
export class BundleMismatchError extends BundleError {
  override readonly code = "bundle-mismatch";
}

/** The share of melanoma that the caller states is no share between 0 and 1. */
export class PrevalenceError extends EdgeInferError {
  override readonly code = "prevalence";
}

/** The inference engine cannot be used. */
export class EngineError extends EdgeInferError {
  override readonly code: string = "engine-error";
}
/** An execution provider that was asked for did not start. */
export class ProviderUnavailableError extends EngineError {
  override readonly code = "provider-unavailable";
}
/** The engine failed while it ran, or returned values that are no probabilities. */
export class InferenceError extends EngineError {
  override readonly code = "inference";
}
/** The caller's signal ended the diagnosis. */
export class CancelledError extends EdgeInferError {
  override readonly code = "cancelled";
}
