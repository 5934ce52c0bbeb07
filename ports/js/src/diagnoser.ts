/** `Diagnoser`: picture in, diagnosis out. The order of the steps, and nothing else. */

import type { BundleSource } from "./bundle.js";
import { loadBundle } from "./bundle.js";
import type { Engine, EngineFactory } from "./engine.js";
import { BundleError, BundleMismatchError, CancelledError, EdgeInferError, EngineError, InferenceError } from "./errors.js";
import type { Manifest } from "./manifest.js";
import { operatingPoint } from "./manifest.js";
import type { Band, OperatingPoint } from "./rules.js";
import { decide } from "./steps/decide.js";
import { DEFAULT_MAX_PIXELS } from "./steps/header.js";
import { correctClasses, knownRatio, move } from "./steps/prevalence.js";
import type { Decoder, Diagnosis, ImageInput, Label, ProbabilityMap, Result, RgbImage } from "./types.js";
import type { StepRules, Work } from "./work.js";
import { checkPicture, examine, locate, openPicture } from "./work.js";

/** How a {@link Diagnoser} is made. */
export interface DiagnoserOptions {
  /** Runs the networks: `ortEngine(ort)` with `onnxruntime-web` or `onnxruntime-node`. */
  readonly engine: EngineFactory;
  /** Decodes pictures: `bitmapDecoder()` in a browser, `sharpDecoder(sharp)` in Node. Without one only arrays are taken. */
  readonly decoder?: Decoder;
  /** Name of the decision threshold; left out, the bundle's default. */
  readonly operatingPoint?: string;
  /** Share of least certain pictures to leave undecided, one that the operating point has a band for. */
  readonly abstain?: number;
  /**
   * Share of melanoma among the pictures to come, such as 0.02: probabilities are corrected for it, and thresholds with
   * them. Left out, the share that the bundle's probabilities assume.
   */
  readonly prevalence?: number;
  /** Larger pictures are refused before they are decoded; left out, 100 million. */
  readonly maxPixels?: number;
  /** Another ONNX form of both networks, such as `int8`. */
  readonly variant?: string;
  /** Also check the hashes of files that are not used. */
  readonly everyFile?: boolean;
}

/** Options of one diagnosis. */
export interface DiagnoseOptions {
  /** Ends it between two steps with a `CancelledError`. */
  readonly signal?: AbortSignal;
}

/**
 * Diagnoses dermoscopic pictures with one bundle. Immutable after loading. Networks run one picture at a time.
 *
 * @example
 * ```ts
 * import * as ort from "onnxruntime-web";
 * import { Diagnoser, fromUrl, ortEngine } from "edge-infer";
 * import { bitmapDecoder } from "edge-infer/browser";
 *
 * const diagnoser = await Diagnoser.load(fromUrl("/bundles/mobile"), {
 *   engine: ortEngine(ort),
 *   decoder: bitmapDecoder(),
 * });
 * const diagnosis = await diagnoser.diagnose(file);
 * ```
 */
export class Diagnoser {
  readonly manifest: Manifest;
  /** SHA-256 of the bundle's manifest. */
  readonly sha256: string;
  /** What runs the networks. */
  readonly provider: string;
  readonly #segmenter: Engine;
  readonly #classifier: Engine;
  readonly #options: DiagnoserOptions;
  readonly #point: OperatingPoint;
  readonly #band: Band | null;
  readonly #rules: StepRules;
  readonly #ratio: number;
  readonly #shared: Shared;

  private constructor(
    manifest: Manifest,
    sha256: string,
    engines: readonly [Engine, Engine],
    point: OperatingPoint,
    options: DiagnoserOptions,
    shared: Shared = { closed: false, queue: Promise.resolve() },
  ) {
    this.#shared = shared;
    this.manifest = manifest;
    this.sha256 = sha256;
    [this.#segmenter, this.#classifier] = engines;
    this.provider = this.#segmenter.provider;
    this.#options = options;
    this.#ratio = knownRatio(manifest.calibration, options.prevalence);
    this.#point = options.prevalence === undefined ? point : move(point, this.#ratio);
    this.#band = options.abstain === undefined ? null : bandOf(this.#point, options.abstain);
    this.#rules = {
      segmenter: manifest.segmenter.input,
      classifier: manifest.classifier.input,
      quality: manifest.quality,
      dermoscopy: manifest.dermoscopy,
      mask: manifest.mask,
      roi: manifest.roi,
      familiarity: manifest.familiarity,
    };
  }

  /**
   * Reads a bundle, checks its files' hashes and opens both networks.
   *
   * @throws BundleError - missing, tampered with, or of another schema; see its subclasses. Also without a
   * prior to correct, or with networks that do not fit the manifest.
   * @throws PrevalenceError - the prevalence is not between 0 and 1.
   * @throws EngineError - the engine does not start.
   */
  static async load(source: BundleSource, options: DiagnoserOptions): Promise<Diagnoser> {
    const bundle = await loadBundle(source, options);
    const point = operatingPoint(bundle.manifest, options.operatingPoint);
    if (options.abstain !== undefined) bandOf(point, options.abstain);
    knownRatio(bundle.manifest.calibration, options.prevalence);
    const first = await options.engine(bundle.segmenter, bundle.manifest.segmenter);
    let second: Engine;
    try {
      checkScore(first, bundle.manifest);
      second = await options.engine(bundle.classifier, bundle.manifest.classifier);
    } catch (error) {
      await first.close();
      throw error;
    }
    return new Diagnoser(bundle.manifest, bundle.sha256, [first, second], point, options);
  }

  /**
   * The same networks for pictures with another share of melanoma. Both take turns, and closing one closes both.
   *
   * @throws PrevalenceError - the prevalence is not between 0 and 1.
   * @throws BundleError - the bundle does not state its prior.
   */
  withPrevalence(prevalence: number): Diagnoser {
    const engines = [this.#segmenter, this.#classifier] as const;
    const point = operatingPoint(this.manifest, this.#options.operatingPoint);
    return new Diagnoser(this.manifest, this.sha256, engines, point, { ...this.#options, prevalence }, this.#shared);
  }

  /** The rules of the steps outside the networks. */
  get rules(): StepRules {
    return this.#rules;
  }

  /** The operating point in use, moved where a prevalence was given. */
  get operatingPoint(): OperatingPoint {
    return this.#point;
  }

  /** Share of melanoma that the probabilities assume: the one that was stated, otherwise the bundle's. */
  get prior(): number | null {
    return this.#options.prevalence ?? this.manifest.calibration.prior;
  }

  /**
   * Diagnoses one picture. Calls may overlap; the networks take turns.
   *
   * @throws ImageError - the picture cannot be used; see its subclasses.
   * @throws EngineError - the engine failed.
   * @throws CancelledError - the signal ended it.
   */
  async diagnose(input: ImageInput, options: DiagnoseOptions = {}): Promise<Diagnosis> {
    const clock = new Clock();
    const { signal } = options;
    const { picture, notes } = await this.#open(input);
    clock.lap("decode");
    stopIfAborted(signal);
    const work = examine(picture, this.#rules, notes);
    clock.lap("preprocess");
    let probabilities: Float32Array | null = null;
    if (work.problem === null) {
      const { map, score } = await this.segmentAndScore(work.segmenterInput, options);
      clock.lap("segment");
      const roi = locate(work, map, this.#rules, score);
      clock.lap("postprocess");
      if (roi !== null) {
        probabilities = await this.classify(roi, options);
        clock.lap("classify");
      }
    }
    return this.#finish(work, probabilities, clock);
  }

  /**
   * Diagnoses pictures one after the other, lazily and in order. A picture that cannot be used becomes a typed error; the
   * others go on. A failing engine ends it.
   */
  async *diagnoseMany(
    inputs: Iterable<ImageInput> | AsyncIterable<ImageInput>,
    options: DiagnoseOptions = {},
  ): AsyncGenerator<Result> {
    for await (const input of inputs) {
      try {
        yield { diagnosis: await this.diagnose(input, options) };
      } catch (error) {
        if (!(error instanceof EdgeInferError) || error instanceof EngineError || error instanceof CancelledError) {
          throw error;
        }
        yield { error };
      }
    }
  }

  /** The segmenter alone: a picture of its input size to a lesion probability map. */
  async segment(image: RgbImage, options: DiagnoseOptions = {}): Promise<ProbabilityMap> {
    return (await this.segmentAndScore(image, options)).map;
  }

  /** As {@link Diagnoser.segment}, with the score of familiarity of the same run: null where the bundle has none. */
  async segmentAndScore(
    image: RgbImage,
    options: DiagnoseOptions = {},
  ): Promise<{ readonly map: ProbabilityMap; readonly score: number | null }> {
    const { input, output } = this.manifest.segmenter;
    const outputs = await this.#run(this.#segmenter, image, options.signal);
    const data = checkProbabilities("segmenter", outputs[output.name], input.height * input.width);
    const map = { height: input.height, width: input.width, data };
    const rule = this.manifest.familiarity;
    return { map, score: rule && scoreOf(outputs[rule.output]) };
  }

  /** The classifier alone: a crop of its input size to calibrated probabilities, in the order of `manifest.labels`. */
  async classify(image: RgbImage, options: DiagnoseOptions = {}): Promise<Float32Array> {
    const outputs = await this.#run(this.#classifier, image, options.signal);
    const found = outputs[this.manifest.classifier.output.name];
    return checkProbabilities("classifier", found, this.manifest.labels.length);
  }

  /** Runs both networks once, so that the first diagnosis does not pay for lazy initialisation. */
  async warmup(): Promise<void> {
    const blank = ({ height, width }: { height: number; width: number }): RgbImage => ({
      height,
      width,
      data: new Uint8Array(height * width * 3),
    });
    await this.segment(blank(this.manifest.segmenter.input));
    await this.classify(blank(this.manifest.classifier.input));
  }

  /** Frees the networks. Later calls throw `EngineError`; closing twice is harmless. */
  async close(): Promise<void> {
    if (this.#shared.closed) return;
    this.#shared.closed = true;
    await this.#shared.queue;
    await Promise.all([this.#segmenter.close(), this.#classifier.close()]);
  }

  async #open(input: ImageInput): Promise<{ readonly picture: RgbImage; readonly notes: readonly string[] }> {
    const maxPixels = this.#options.maxPixels ?? DEFAULT_MAX_PIXELS;
    if (typeof input === "object" && "data" in input) return { picture: checkPicture(input, maxPixels), notes: [] };
    const data = input instanceof Uint8Array ? input : new Uint8Array(await bytesOf(input));
    if (!this.#options.decoder) {
      throw new EngineError("This Diagnoser has no decoder.", "Give one: bitmapDecoder() or sharpDecoder(sharp).");
    }
    return openPicture(data, this.#options.decoder, maxPixels);
  }

  #run(
    engine: Engine,
    image: RgbImage,
    signal: AbortSignal | undefined,
  ): Promise<Readonly<Record<string, Float32Array>>> {
    const turn = this.#shared.queue.then(() => {
      if (this.#shared.closed) throw new EngineError("This Diagnoser is closed.", "Load a new one.");
      stopIfAborted(signal);
      return engine.run(image.data, image.height, image.width);
    });
    this.#shared.queue = turn.catch(() => undefined);
    return turn;
  }

  #finish(work: Work, row: Float32Array | null, clock: Clock): Diagnosis {
    const { manifest } = this;
    const probabilities: Record<string, number> = {};
    let [probability, label]: [number | null, Label | null] = [null, null];
    let problem = work.problem;
    if (row !== null) {
      const corrected =
        this.#ratio === 1 ? row : correctClasses(row, manifest.labels.indexOf(manifest.melanoma_label), this.#ratio);
      manifest.labels.forEach((name, i) => {
        probabilities[name] = corrected[i] ?? Number.NaN;
      });
      probability = probabilities[manifest.melanoma_label] ?? Number.NaN;
      ({ label, problem } = decide(probability, this.#point, this.#band));
    }
    const scores = {
      ...(work.dermoscopy === null ? {} : { dermoscopy: work.dermoscopy }),
      ...(work.familiarity === null ? {} : { familiarity: work.familiarity }),
    };
    return {
      status: problem === null ? "ok" : "indeterminate",
      reason: problem?.reason ?? null,
      message: problem?.message ?? null,
      melanoma_probability: probability,
      label,
      threshold: this.#point.threshold,
      operating_point: this.#point.name,
      prior: this.prior,
      band: this.#band && [this.#band.low, this.#band.high],
      probabilities,
      image_size: [work.picture.height, work.picture.width],
      mask: work.mask,
      lesion_box: work.lesionBox,
      roi_box: work.roiBox,
      roi: work.roi,
      lesion_area_fraction: work.area,
      lesion_confidence: work.confidence,
      quality: { ...work.quality, ...scores },
      timings_ms: clock.timings(),
      provider: this.provider,
      bundle: manifest.name,
      bundle_version: manifest.version,
      bundle_sha256: this.sha256,
      warnings: work.warnings,
    };
  }
}

/** A diagnosis as the JSON that Python writes: boxes as lists, without the pictures. */
export function toRecord(diagnosis: Diagnosis): Record<string, unknown> {
  const { mask: _mask, roi: _roi, lesion_box: lesion, roi_box: region, ...rest } = diagnosis;
  return {
    ...rest,
    lesion_box: lesion && [lesion.x0, lesion.y0, lesion.x1, lesion.y1],
    roi_box: region && [region.x0, region.y0, region.x1, region.y1],
  };
}

/** The band of an operating point that leaves this share of pictures undecided. */
export function bandOf(point: OperatingPoint, referred: number): Band {
  const found = point.bands.find((band) => Math.abs(band.referred - referred) < 1e-6);
  if (found) return found;
  const known = point.bands.map((band) => String(band.referred)).join(", ");
  throw new BundleError(
    `Operating point '${point.name}' has no band that leaves ${String(referred)} of the pictures undecided.`,
    known ? `Choose one of: ${known}.` : "This bundle has none: leave it out, or use another bundle.",
  );
}

/** What diagnosers of the same networks share. */
interface Shared {
  closed: boolean;
  queue: Promise<unknown>;
}

class Clock {
  readonly #steps: Record<string, number> = {};
  #start = performance.now();

  lap(step: string): void {
    const now = performance.now();
    this.#steps[step] = now - this.#start;
    this.#start = now;
  }

  timings(): Record<string, number> {
    return { ...this.#steps, total: Object.values(this.#steps).reduce((sum, each) => sum + each, 0) };
  }
}

function stopIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new CancelledError("The diagnosis was cancelled.", "Start it again.");
}

async function bytesOf(input: ArrayBuffer | Blob): Promise<ArrayBuffer> {
  return input instanceof ArrayBuffer ? input : input.arrayBuffer();
}

function checkScore(segmenter: Engine, { familiarity }: Manifest): void {
  if (familiarity && segmenter.outputs && !segmenter.outputs.includes(familiarity.output)) {
    throw new BundleMismatchError(
      `The segmenter has no output '${familiarity.output}', only ${segmenter.outputs.join(", ")}.`,
      "Restore the bundle from its source.",
    );
  }
}

function scoreOf(values: Float32Array | undefined): number {
  const [score] = values ?? [];
  if (values?.length !== 1 || score === undefined || !Number.isFinite(score)) {
    throw new InferenceError("The segmenter gave no score of familiarity.", "Restore the bundle from its source.");
  }
  return score;
}

const ROUNDING = 1e-4;

/** A network's output, clipped to 0..1: ONNX Runtime's sigmoid gives 1.0000001 where it is sure. */
function checkProbabilities(stage: string, values: Float32Array | undefined, count: number): Float32Array {
  if (values?.length !== count) {
    throw new BundleMismatchError(
      `The ${stage} gave ${String(values?.length ?? 0)} values, not ${String(count)}.`,
      "Restore the bundle from its source.",
    );
  }
  for (const value of values) {
    if (!(value >= -ROUNDING && value <= 1 + ROUNDING)) {
      throw new InferenceError(
        `The ${stage} gave a value that is no probability: ${String(value)}.`,
        "Use another execution provider, or report the device.",
      );
    }
  }
  return values.map((value) => Math.min(Math.max(value, 0), 1));
}
