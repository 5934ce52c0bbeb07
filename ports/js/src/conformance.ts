/** Replays conformance vectors: a table from step to function, a loader, and the comparison. Runs in Node and browsers. */

import type { BundleSource } from "./bundle.js";
import type { Diagnoser } from "./diagnoser.js";
import { bandOf, toRecord } from "./diagnoser.js";
import { EdgeInferError } from "./errors.js";
import { operatingPoint } from "./manifest.js";
import * as rules from "./rules.js";
import type { Check } from "./schema.js";
import { anything, integer, list, number, object, oneOf, optional, record, text } from "./schema.js";
import { APPEARANCE_MEASURES, appearanceProblem, dermoscopyScore, measureAppearance } from "./steps/appearance.js";
import { cropRoi, lesionBox, roiBox } from "./steps/crop.js";
import { decide } from "./steps/decide.js";
import { DEFAULT_MAX_PIXELS, readHeader } from "./steps/header.js";
import { cleanMask, lesionConfidence } from "./steps/mask.js";
import { correctClasses, knownRatio, move } from "./steps/prevalence.js";
import { lesionProblem, measureQuality, pictureProblem } from "./steps/quality.js";
import { resize, restoreMask } from "./steps/resize.js";
import type { Box, Decoder, Mask, Problem, ProbabilityMap, RgbImage } from "./types.js";
import { examine, locate, openPicture } from "./work.js";

/** An array of the vectors. */
export interface ArrayValue {
  readonly shape: readonly number[];
  readonly data: Uint8Array | Float32Array;
}

interface StoredVector {
  readonly name: string;
  readonly step: string;
  readonly about: string;
  readonly given: Readonly<Record<string, unknown>>;
  readonly expect: Readonly<Record<string, unknown>>;
  readonly tolerance: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** The contents of `index.json`. */
export interface VectorIndex {
  readonly format: 1;
  readonly bundle: { readonly name: string; readonly version: string; readonly sha256: string };
  readonly steps: Readonly<Record<string, { readonly about: string; readonly needs: Needs }>>;
  readonly vectors: readonly StoredVector[];
}
/** What a step needs beside this package. */
export type Needs = "nothing" | "decoder" | "manifest" | "networks";

/** How one vector went. */
export interface Outcome {
  readonly name: string;
  readonly step: string;
  readonly status: "passed" | "failed" | "skipped";
  /** What is off, or why it was left out. */
  readonly detail: string;
  /** Measured deviations, by `<result>.<measure>`. */
  readonly deviations: Readonly<Record<string, number>>;
}

/** How all vectors of a folder went, as every port reports it. */
export interface Report {
  readonly port: string;
  readonly runtime: string;
  readonly engine: string | null;
  readonly bundle: string;
  readonly bundle_sha256: string;
  readonly vectors: readonly Outcome[];
}

/** What the vectors are run with; steps that need something absent are skipped. */
export interface ConformanceOptions {
  readonly vectors: BundleSource;
  readonly decoder?: Decoder;
  readonly diagnoser?: Diagnoser;
}

type Values = Readonly<Record<string, unknown>>;
type Step = (given: Given, options: Required<Pick<ConformanceOptions, "decoder" | "diagnoser">>) => Promise<Values> | Values;

const index: Check<VectorIndex> = object<VectorIndex>({
  format: oneOf(1),
  bundle: object<VectorIndex["bundle"]>({ name: text, version: text, sha256: text }),
  steps: record(
    object<{ about: string; needs: Needs }>({
      about: text,
      needs: oneOf("nothing", "decoder", "manifest", "networks"),
    }),
  ),
  vectors: list(
    object<StoredVector>({
      name: text,
      step: text,
      about: text,
      given: record(anything),
      expect: record(anything),
      tolerance: optional(record(record(number)), {}),
    }),
  ),
});

/** Runs all vectors of a folder. `port` and `runtime` say where: such as `node` and `Node 20.1`. */
export async function conformanceReport(
  options: ConformanceOptions & { readonly diagnoser: Diagnoser; readonly port: string; readonly runtime: string },
): Promise<Report> {
  const { diagnoser, port, runtime } = options;
  const vectors: Outcome[] = [];
  for await (const outcome of replayVectors(options)) vectors.push(outcome);
  const { provider: engine, sha256 } = diagnoser;
  return { port, runtime, engine, bundle: diagnoser.manifest.name, bundle_sha256: sha256, vectors };
}

/** Runs all vectors of a folder; yields one outcome each. */
export async function* replayVectors(options: ConformanceOptions): AsyncGenerator<Outcome> {
  const { diagnoser, decoder } = options;
  const stored = index(JSON.parse(new TextDecoder().decode(await options.vectors.read("index.json"))), "index.json");
  if (diagnoser && diagnoser.sha256 !== stored.bundle.sha256) {
    throw new Error(`The vectors are of bundle ${stored.bundle.sha256}, not of ${diagnoser.sha256}.`);
  }
  for (const vector of stored.vectors) {
    const [step, needs] = [STEPS[vector.step], stored.steps[vector.step]?.needs];
    const named = { name: vector.name, step: vector.step, deviations: {} };
    if (!step) {
      yield { ...named, status: "failed", detail: `unknown step ${vector.step}` };
      continue;
    }
    const absent =
      (needs === "decoder" && !decoder) ||
      ((needs === "manifest" || needs === "networks") && !diagnoser) ||
      (needs === "networks" && "file" in vector.given && !decoder);
    if (absent) {
      yield { ...named, status: "skipped", detail: `needs ${needs}` };
      continue;
    }
    const given = new Given((await resolve(vector.given, options.vectors)) as Values);
    const expect = (await resolve(vector.expect, options.vectors)) as Values;
    let found: Values;
    try {
      found = await step(given, options as Required<ConformanceOptions>);
    } catch (error) {
      if (!(error instanceof EdgeInferError)) throw error;
      found = { error: error.code };
    }
    yield { ...named, ...compare(expect, found, vector.tolerance) };
  }
}

/** Holds results against expectations. */
export function compare(
  expect: Values,
  found: Values,
  tolerance: StoredVector["tolerance"],
): Pick<Outcome, "status" | "detail" | "deviations"> {
  const failures: string[] = [];
  const deviations: Record<string, number> = {};
  for (const [key, wanted] of Object.entries(expect)) {
    const value = found[key];
    if (!(key in found)) {
      failures.push(`${key}: missing; found ${short(found)}`);
      continue;
    }
    const bounds = tolerance[key];
    if (!bounds || wanted === null || value === null) {
      if (!equal(wanted, value)) failures.push(`${key}: ${short(value)}, expected ${short(wanted)}`);
      continue;
    }
    const [a, b] = [flat(wanted), flat(value)];
    if (!equal(shapeOf(wanted), shapeOf(value))) {
      failures.push(`${key}: shape ${short(shapeOf(value))}, expected ${short(shapeOf(wanted))}`);
      continue;
    }
    for (const [measure, bound] of Object.entries(bounds)) {
      const deviation = MEASURES[measure]?.(a, b) ?? Number.NaN;
      deviations[`${key}.${measure}`] = deviation;
      const holds = measure.startsWith("min") ? deviation >= bound : deviation <= bound;
      if (!holds) failures.push(`${key}: ${measure} ${String(deviation)}, bound ${String(bound)}`);
    }
  }
  return { status: failures.length ? "failed" : "passed", detail: failures.join("; "), deviations };
}

type Numbers = ArrayLike<number>;
const MEASURES: Readonly<Record<string, (a: Numbers, b: Numbers) => number>> = {
  max_abs: (a, b) => fold(a, b, (worst, x, y) => Math.max(worst, Math.abs(x - y))),
  mean_abs: (a, b) => (a.length ? fold(a, b, (sum, x, y) => sum + Math.abs(x - y)) / a.length : 0),
  max_relative: (a, b) =>
    fold(a, b, (worst, x, y) => Math.max(worst, Math.abs(x - y) / Math.max(Math.abs(x), 1e-12))),
  max_share: (a, b) => (a.length ? fold(a, b, (sum, x, y) => sum + (x === y ? 0 : 1)) / a.length : 0),
  min_iou: (a, b) => {
    const union = fold(a, b, (sum, x, y) => sum + Math.max(x, y));
    return union ? fold(a, b, (sum, x, y) => sum + Math.min(x, y)) / union : 1;
  },
};

function fold(a: Numbers, b: Numbers, add: (sum: number, x: number, y: number) => number): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum = add(sum, a[i] ?? Number.NaN, b[i] ?? Number.NaN);
  return sum;
}

function isArray(value: unknown): value is ArrayValue {
  return typeof value === "object" && value !== null && "shape" in value && "data" in value;
}

function flat(value: unknown): Numbers {
  if (isArray(value)) return value.data;
  return Array.isArray(value) ? (value as number[]) : [value as number];
}

function shapeOf(value: unknown): readonly number[] {
  if (isArray(value)) return value.shape;
  return Array.isArray(value) ? [value.length] : [];
}

function equal(a: unknown, b: unknown): boolean {
  if (isArray(a) && isArray(b)) {
    return equal(a.shape, b.shape) && MEASURES.max_share?.(a.data, b.data) === 0;
  }
  return JSON.stringify(a) === JSON.stringify(b);
}

function short(value: unknown): string {
  if (isArray(value)) return `array ${value.shape.join("x")}`;
  if (value === undefined) return "nothing";
  return JSON.stringify(value, (_, each: unknown) => (isArray(each) ? "array" : each)).slice(0, 100);
}

async function resolve(value: unknown, source: BundleSource): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map((item) => resolve(item, source)));
  if (typeof value !== "object" || value === null) return value;
  const table = value as Record<string, unknown>;
  if (typeof table.array === "string" && Array.isArray(table.shape)) {
    const raw = await source.read(table.array);
    const shape = table.shape as number[];
    return { shape, data: table.dtype === "float32" ? floats(raw) : raw } satisfies ArrayValue;
  }
  if (typeof table.file === "string" && Object.keys(table).length === 1) return source.read(table.file);
  const entries = Object.entries(table).map(async ([key, item]) => [key, await resolve(item, source)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

function floats(raw: Uint8Array): Float32Array {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return Float32Array.from({ length: raw.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** Typed access to a vector's arguments. */
class Given {
  constructor(readonly values: Values) {}

  get<T>(name: string, check: Check<T>): T {
    return check(this.values[name], name);
  }
  number(name: string): number {
    return this.get(name, number);
  }
  prevalence(): number | undefined {
    return "prevalence" in this.values ? this.number("prevalence") : undefined;
  }
  #array(name: string): ArrayValue {
    const value = this.values[name];
    if (!isArray(value)) throw new Error(`${name} is no array`);
    return value;
  }
  image(): RgbImage {
    const { shape, data } = this.#array("image");
    return { height: shape[0] ?? 0, width: shape[1] ?? 0, data: data as Uint8Array };
  }
  mask(): Mask {
    const { shape, data } = this.#array("mask");
    return { height: shape[0] ?? 0, width: shape[1] ?? 0, data: data as Uint8Array };
  }
  map(): ProbabilityMap {
    const { shape, data } = this.#array("probability_map");
    return { height: shape[0] ?? 0, width: shape[1] ?? 0, data: data as Float32Array };
  }
  box(): Box {
    const [x0, y0, x1, y1] = this.get("box", list(integer));
    return { x0: x0 ?? 0, y0: y0 ?? 0, x1: x1 ?? 0, y1: y1 ?? 0 };
  }
  file(): Uint8Array {
    const value = this.values.file;
    if (!(value instanceof Uint8Array)) throw new Error("file is missing");
    return value;
  }
}

function picture(image: RgbImage | null): ArrayValue | null {
  return image && { shape: [image.height, image.width, 3], data: image.data };
}
function plane(mask: Mask | ProbabilityMap | null): ArrayValue | null {
  return mask && { shape: [mask.height, mask.width], data: mask.data };
}
function boxed(box: Box | null): number[] | null {
  return box && [box.x0, box.y0, box.x1, box.y1];
}
function reason(problem: Problem | null): string | null {
  return problem?.reason ?? null;
}

const outside = oneOf("pad", "clip", "cap", "reflect");
const background = oneOf("keep", "zero");

const STEPS: Readonly<Record<string, Step>> = {
  header: (given) => {
    const { format, height, width } = readHeader(given.file());
    return { format, height, width };
  },
  decode: async (given, { decoder }) => {
    const most = (given.values.max_pixels as number | undefined) ?? DEFAULT_MAX_PIXELS;
    const opened = (await openPicture(given.file(), decoder, most)).picture;
    const size = given.values.resized_to as [number, number] | undefined;
    return { image: picture(opened), ...(size ? { resized: picture(resize(opened, ...size)) } : {}) };
  },
  resize: (given) => ({ image: picture(resize(given.image(), given.number("height"), given.number("width"))) }),
  quality: (given) => ({ ...measureQuality(given.image()) }),
  picture_problem: (given) => {
    const measures = {
      luminance: given.number("luminance"),
      contrast: given.number("contrast"),
      sharpness: given.number("sharpness"),
    };
    const limits = given.get("limits", rules.qualityLimits);
    return { reason: reason(pictureProblem(given.number("height"), given.number("width"), measures, limits)) };
  },
  appearance: (given) => {
    const found = measureAppearance(given.image());
    const score = "rule" in given.values ? { score: dermoscopyScore(found, given.get("rule", rules.dermoscopyRule)) } : {};
    return { measures: APPEARANCE_MEASURES.map((name) => found[name]), names: [...APPEARANCE_MEASURES], ...score };
  },
  appearance_problem: (given) => ({
    reason: reason(appearanceProblem(given.number("score"), { min_score: given.number("min_score") })),
  }),
  clean_mask: (given) => ({ mask: plane(cleanMask(given.map(), given.number("threshold"))) }),
  confidence: (given) => ({ confidence: lesionConfidence(given.map(), given.mask()) }),
  restore_mask: (given) => ({
    mask: plane(restoreMask(given.mask(), given.number("height"), given.number("width"))),
  }),
  lesion_box: (given) => ({ box: boxed(lesionBox(given.mask())) }),
  lesion_problem: (given) => {
    const rule = given.get("rule", rules.maskRule);
    return { reason: reason(lesionProblem(given.number("area_fraction"), given.number("confidence"), rule)) };
  },
  roi_box: (given) => {
    const [height, width, margin] = [given.number("height"), given.number("width"), given.number("margin")];
    return { box: boxed(roiBox(given.box(), height, width, margin, given.get("outside", outside))) };
  },
  crop: (given) => {
    const rule = { background: given.get("background", background), outside: given.get("outside", outside) };
    return { image: picture(cropRoi(given.image(), given.mask(), given.box(), rule, given.number("size"))) };
  },
  path: (given) => {
    const size = object<{ height: number; width: number }>({ height: integer, width: integer });
    const table = given.get("rules", record(anything));
    const stepRules = {
      segmenter: size(table.segmenter, "segmenter"),
      classifier: size(table.classifier, "classifier"),
      quality: rules.qualityLimits(table.quality, "quality"),
      dermoscopy: table.dermoscopy === null ? null : rules.dermoscopyRule(table.dermoscopy, "dermoscopy"),
      mask: rules.maskRule(table.mask, "mask"),
      roi: rules.roiRule(table.roi, "roi"),
      familiarity: table.familiarity == null ? null : rules.familiarityRule(table.familiarity, "familiarity"),
    };
    const score = "familiarity" in given.values ? given.number("familiarity") : null;
    const work = examine(given.image(), stepRules);
    if (work.problem === null) locate(work, given.map(), stepRules, score);
    return {
      segmenter_input: picture(work.segmenterInput),
      reason: reason(work.problem),
      mask: plane(work.mask),
      lesion_box: boxed(work.lesionBox),
      lesion_area_fraction: work.area,
      lesion_confidence: work.confidence,
      roi_box: boxed(work.roiBox),
      roi: picture(work.roi),
    };
  },
  segment: async (given, { diagnoser }) => {
    const { map, score } = await diagnoser.segmentAndScore(given.image());
    return { probability_map: plane(map), familiarity: score };
  },
  classify: async (given, { diagnoser }) => {
    const data = await diagnoser.classify(given.image());
    return { probabilities: { shape: [data.length], data } };
  },
  decide: (given, { diagnoser }) => {
    const { manifest } = diagnoser;
    const ratio = knownRatio(manifest.calibration, given.prevalence());
    const known = operatingPoint(manifest, given.get("operating_point", text));
    const point = given.prevalence() === undefined ? known : move(known, ratio);
    const share = given.values.abstain as number | null;
    const plain = given.get("probabilities", list(number));
    const melanoma = manifest.labels.indexOf(manifest.melanoma_label);
    const row = given.prevalence() === undefined ? plain : correctClasses(plain, melanoma, ratio);
    const probability = row[melanoma] ?? Number.NaN;
    const { label, problem } = decide(probability, point, share === null ? null : bandOf(point, share));
    return { melanoma_probability: probability, threshold: point.threshold, label, reason: reason(problem) };
  },
  diagnose: async (given, { diagnoser }) => {
    const prevalence = given.prevalence();
    const asked = prevalence === undefined ? diagnoser : diagnoser.withPrevalence(prevalence);
    const found = await asked.diagnose("file" in given.values ? given.file() : given.image());
    const familiarity = found.quality.familiarity ?? null;
    return { ...toRecord(found), familiarity, mask: plane(found.mask), roi: picture(found.roi) };
  },
};
