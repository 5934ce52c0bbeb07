/** The networks: one small interface, and ONNX Runtime behind it. */

import { BundleMismatchError, InferenceError, ProviderUnavailableError } from "./errors.js";
import type { StageManifest } from "./manifest.js";

/** A loaded network: RGB uint8 `(1, height, width, 3)` in, float32 outputs by name. */
export interface Engine {
  /** What runs it, for the record. */
  readonly provider: string;
  /** Names of its outputs, where the engine knows them. */
  readonly outputs?: readonly string[];
  /** Runs it on one picture. Throws `InferenceError`. */
  run(pixels: Uint8Array, height: number, width: number): Promise<Readonly<Record<string, Float32Array>>>;
  /** Frees it. */
  close(): Promise<void>;
}

/** Makes a network from the bytes of its ONNX file. */
export type EngineFactory = (model: Uint8Array, stage: StageManifest) => Promise<Engine>;

/** The part of `onnxruntime-web` and `onnxruntime-node` that is used; either module fits. */
export interface OrtModule {
  readonly InferenceSession: {
    create(model: Uint8Array, options?: OrtSessionOptions): Promise<OrtSession>;
  };
  readonly Tensor: new (type: "uint8", data: Uint8Array, dims: readonly number[]) => unknown;
}
/** A session of either module. */
export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the two modules' own types differ
  run(feeds: any): Promise<Record<string, { readonly data: unknown }>>;
  release(): Promise<void>;
}
/** Options that are passed on. */
export interface OrtSessionOptions {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the two modules name different providers
  executionProviders?: any[];
  intraOpNumThreads?: number;
  graphOptimizationLevel?: "disabled" | "basic" | "extended" | "all";
}

/**
 * Networks run by ONNX Runtime.
 *
 * @param ort - the module `onnxruntime-web` or `onnxruntime-node`.
 * @param options - execution providers (default: `["wasm"]` in a browser and `["cpu"]` in Node) and threads.
 */
export function ortEngine(ort: OrtModule, options: OrtSessionOptions = {}): EngineFactory {
  const providers: unknown[] = options.executionProviders ?? [inNode() ? "cpu" : "wasm"];
  return async (model, stage) => {
    let session: OrtSession;
    try {
      session = await ort.InferenceSession.create(model, { ...options, executionProviders: providers });
    } catch (error) {
      throw new ProviderUnavailableError(
        `ONNX Runtime cannot open the ${stage.architecture} network: ${words(error)}.`,
        "Check the execution providers, and that the runtime's WebAssembly files are served.",
        { cause: error },
      );
    }
    if (session.inputNames.length !== 1 || session.inputNames[0] !== stage.input.name) {
      throw new BundleMismatchError(
        `The network takes ${session.inputNames.join(", ")}, the manifest says ${stage.input.name}.`,
        "Restore the bundle from its source.",
      );
    }
    return {
      outputs: session.outputNames,
      provider: providers.map((each) => providerName(each)).join(", "),
      async run(pixels, height, width) {
        let outputs: Record<string, { readonly data: unknown }>;
        try {
          const tensor = new ort.Tensor("uint8", pixels, [1, height, width, 3]);
          outputs = await session.run({ [stage.input.name]: tensor });
        } catch (error) {
          throw new InferenceError(`ONNX Runtime failed: ${words(error)}.`, "Close other applications, or try again.", {
            cause: error,
          });
        }
        const found: Record<string, Float32Array> = {};
        for (const [name, tensor] of Object.entries(outputs)) {
          if (tensor.data instanceof Float32Array) found[name] = tensor.data;
        }
        return found;
      },
      close: () => session.release(),
    };
  };
}

function inNode(): boolean {
  return "process" in globalThis && !("window" in globalThis) && !("importScripts" in globalThis);
}

function providerName(provider: unknown): string {
  return typeof provider === "object" && provider !== null && "name" in provider
    ? String(provider.name)
    : String(provider);
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
