/** The manifest's schema: the contents of `bundle.json`, read strictly. */

import { BundleError, BundleSchemaError } from "./errors.js";
import * as rules from "./rules.js";
import type {
  DermoscopyRule,
  FamiliarityRule,
  InputSpec,
  MaskRule,
  Metric,
  OperatingPoint,
  QualityLimits,
  RoiRule,
} from "./rules.js";
import type { Check } from "./schema.js";
import { SchemaError, anything, integer, list, nullable, number, object, oneOf, optional, record, text } from "./schema.js";
import { APPEARANCE_MEASURES } from "./steps/appearance.js";

/** The newest schema version that is read; all from 1 on are. */
export const SCHEMA_VERSION = 3;
/** The version of a bundle that was written before bundles had one. */
export const UNVERSIONED = "0.0.0";
/** Keys that came after schema version 1: the version that brought them, and what older ones mean. */
const SINCE: Readonly<Record<string, readonly [number, unknown]>> = {
  version: [2, UNVERSIONED],
  min_onnxruntime: [2, null],
  familiarity: [3, null],
};
/** The same for keys further inside, `*` standing for any; in older versions they have their defaults. */
const INNER_SINCE: Readonly<Record<string, number>> = {
  "calibration.bias": 3,
  "calibration.prior": 3,
  "operating_points.*.basis": 3,
  "golden.max_familiarity": 3,
  "provenance.familiarity": 3,
  "segmenter.variants.*.tolerance.max_familiarity": 3,
  "classifier.variants.*.tolerance.max_familiarity": 3,
};

/** A network's output, float32 in 0 to 1. */
export interface OutputSpec {
  readonly name: string;
  readonly kind: "probability_map" | "probabilities";
  readonly dtype: "float32";
}
/** How one file compares with what it came from. */
export interface ParityGate {
  readonly artifact: string;
  readonly measure: string;
  readonly relation: "<=" | ">=";
  readonly limit: number;
  readonly value: number;
}
/** How far a replay may deviate. */
export interface Tolerance {
  readonly max_map: number;
  readonly min_mask_iou: number;
  readonly max_probability: number;
  readonly max_end_to_end: number;
  /** Of the score of familiarity, where there is one. */
  readonly max_familiarity: number | null;
}
/** Another form of a network. */
export interface Variant {
  readonly format: "onnx" | "coreml";
  readonly file: string;
  readonly precision: "float32" | "float16" | "int8";
  readonly meant_for: "any" | "x86" | "arm" | "apple";
  readonly scheme: string;
  readonly parity: readonly ParityGate[];
  readonly tolerance: Tolerance;
}
/** One network of the bundle. */
export interface StageManifest {
  readonly architecture: string;
  readonly parameters: number;
  readonly input: InputSpec;
  readonly output: OutputSpec;
  /** Path inside the bundle by format: `onnx` is the float32 file. */
  readonly files: Readonly<Record<string, string>>;
  readonly gflops: number | null;
  readonly variants: Readonly<Record<string, Variant>>;
}
/** Post-hoc calibration, already inside the classifier. */
export interface Calibration {
  readonly method: "none" | "temperature" | "platt";
  readonly temperature: number;
  readonly fitted_on: string;
  /** Share of melanoma that the probabilities assume; null where the bundle does not say. */
  readonly prior: number | null;
  /** Added to the logit of melanoma after the temperature. */
  readonly bias: number;
}
/** What was measured, on what, and the command that measures it again. */
export interface Evaluation {
  readonly data: string;
  readonly split: string;
  readonly images: number;
  readonly lesions: number;
  readonly command: string;
  readonly metrics: Readonly<Record<string, Metric>>;
}
/** The bundle's stored examples. */
export interface Golden {
  readonly file: string;
  readonly max_map: number;
  readonly min_mask_iou: number;
  readonly max_probability: number;
  readonly max_familiarity: number | null;
}
/** Where the weights come from and what may be done with them. */
export interface Provenance {
  readonly data: string;
  readonly citation: string;
  readonly license: string;
  readonly license_note: string;
  readonly trainer_version: string;
  readonly created: string;
  readonly packages: Readonly<Record<string, string>>;
  readonly recipes: Readonly<Record<string, unknown>>;
  readonly bundle_recipe: Readonly<Record<string, unknown>>;
  /** What the segmenter's score was fitted on; empty where it has none. */
  readonly familiarity: Readonly<Record<string, unknown>>;
}
/** One file of the bundle. */
export interface FileEntry {
  readonly sha256: string;
  readonly bytes: number;
}
/** The contents of `bundle.json`. One of an older schema is read as one of the newest. */
export interface Manifest {
  readonly schema_version: number;
  readonly name: string;
  readonly version: string;
  readonly min_onnxruntime: string | null;
  readonly description: string;
  readonly intended_use: string;
  readonly labels: readonly string[];
  readonly label_names: Readonly<Record<string, string>>;
  readonly melanoma_label: string;
  readonly segmenter: StageManifest;
  readonly classifier: StageManifest;
  readonly mask: MaskRule;
  readonly roi: RoiRule;
  readonly quality: QualityLimits;
  readonly calibration: Calibration;
  readonly operating_points: readonly OperatingPoint[];
  readonly default_operating_point: string;
  readonly golden: Golden;
  readonly parity: readonly ParityGate[];
  readonly evaluations: readonly Evaluation[];
  readonly provenance: Provenance;
  readonly files: Readonly<Record<string, FileEntry>>;
  readonly variants_left_out: Readonly<Record<string, string>>;
  /** What does not look like dermoscopy is refused by one of these two rules, or by none. */
  readonly dermoscopy: DermoscopyRule | null;
  readonly familiarity: FamiliarityRule | null;
}

const gate: Check<ParityGate> = object<ParityGate>({
  artifact: text,
  measure: text,
  relation: oneOf("<=", ">="),
  limit: number,
  value: number,
});
const variant: Check<Variant> = object<Variant>({
  format: oneOf("onnx", "coreml"),
  file: text,
  precision: oneOf("float32", "float16", "int8"),
  meant_for: oneOf("any", "x86", "arm", "apple"),
  scheme: text,
  parity: list(gate),
  tolerance: object<Tolerance>({
    max_map: number,
    min_mask_iou: number,
    max_probability: number,
    max_end_to_end: number,
    max_familiarity: optional<number | null>(nullable(number), null),
  }),
});
const stage: Check<StageManifest> = object<StageManifest>({
  architecture: text,
  parameters: integer,
  input: rules.inputSpec,
  output: object<OutputSpec>({
    name: text,
    kind: oneOf("probability_map", "probabilities"),
    dtype: optional<"float32">(oneOf("float32"), "float32"),
  }),
  files: record(text),
  gflops: optional<number | null>(nullable(number), null),
  variants: optional(record(variant), {}),
});
const manifest: Check<Manifest> = object<Manifest>({
  schema_version: integer,
  name: text,
  version: text,
  min_onnxruntime: nullable(text),
  description: text,
  intended_use: text,
  labels: list(text),
  label_names: record(text),
  melanoma_label: text,
  segmenter: stage,
  classifier: stage,
  mask: rules.maskRule,
  roi: rules.roiRule,
  quality: rules.qualityLimits,
  calibration: object<Calibration>({
    method: oneOf("none", "temperature", "platt"),
    temperature: number,
    fitted_on: text,
    prior: optional<number | null>(nullable(number), null),
    bias: optional(number, 0),
  }),
  operating_points: list(rules.operatingPoint),
  default_operating_point: text,
  golden: object<Golden>({
    file: text,
    max_map: number,
    min_mask_iou: number,
    max_probability: number,
    max_familiarity: optional<number | null>(nullable(number), null),
  }),
  parity: list(gate),
  evaluations: list(
    object<Evaluation>({
      data: text,
      split: text,
      images: integer,
      lesions: integer,
      command: text,
      metrics: rules.metrics,
    }),
  ),
  provenance: object<Provenance>({
    data: text,
    citation: text,
    license: text,
    license_note: text,
    trainer_version: text,
    created: text,
    packages: record(text),
    recipes: optional(record(anything), {}),
    bundle_recipe: optional(record(anything), {}),
    familiarity: optional(record(anything), {}),
  }),
  files: record(object<FileEntry>({ sha256: text, bytes: integer })),
  variants_left_out: optional(record(text), {}),
  dermoscopy: optional<DermoscopyRule | null>(nullable(rules.dermoscopyRule), null),
  familiarity: optional<FamiliarityRule | null>(nullable(rules.familiarityRule), null),
});

/**
 * Reads and checks the text of a `bundle.json`, of schema version {@link SCHEMA_VERSION} or an older one.
 *
 * @throws BundleSchemaError - no JSON, an unknown schema version, an unknown or missing key, or a contradiction.
 */
export function parseManifest(source: string): Manifest {
  const remedy = "Export the bundle again with this version of the trainer, or install the matching edge-infer.";
  let data: unknown;
  try {
    data = JSON.parse(source);
  } catch (error) {
    throw new BundleSchemaError("bundle.json is not valid JSON.", "Restore the bundle from its source.", {
      cause: error,
    });
  }
  const table = typeof data === "object" && data !== null ? (data as Record<string, unknown>) : {};
  const version = table.schema_version;
  if (typeof version !== "number" || !Number.isInteger(version) || version < 1 || version > SCHEMA_VERSION) {
    throw new BundleSchemaError(
      `bundle.json has schema version ${JSON.stringify(version)}; this runtime reads 1 to ${String(SCHEMA_VERSION)}.`,
      remedy,
    );
  }
  const filled: Record<string, unknown> = { ...table, schema_version: SCHEMA_VERSION };
  for (const [key, [since, meaning]] of Object.entries(SINCE)) {
    if (since <= version) continue;
    if (Object.hasOwn(table, key)) {
      throw new BundleSchemaError(`bundle.json: ${key}: unknown key in schema version ${String(version)}.`, remedy);
    }
    filled[key] = meaning;
  }
  for (const [path, since] of Object.entries(INNER_SINCE)) {
    if (since <= version) continue;
    for (const key of present(table, path.split("."))) {
      throw new BundleSchemaError(`bundle.json: ${key}: unknown key in schema version ${String(version)}.`, remedy);
    }
  }
  let parsed: Manifest;
  try {
    parsed = manifest(filled, "");
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    throw new BundleSchemaError(`bundle.json: ${error.message}.`, remedy, { cause: error });
  }
  for (const problem of contradictions(parsed)) throw new BundleSchemaError(`bundle.json: ${problem}.`, remedy);
  return parsed;
}

/** Every place that a path leads to; `*` goes into every entry of a table or a list. */
function* present(data: unknown, path: readonly string[], where = ""): Generator<string> {
  const [first, ...rest] = path;
  if (first === undefined) {
    yield where;
    return;
  }
  if (typeof data !== "object" || data === null) return;
  for (const [key, value] of Object.entries(data)) {
    if (first === "*" || (first === key && !Array.isArray(data))) yield* present(value, rest, where ? `${where}.${key}` : key);
  }
}

/**
 * The operating point of this name, or the default one.
 *
 * @throws BundleError - there is none of this name.
 */
export function operatingPoint(manifest: Manifest, name?: string | null): OperatingPoint {
  const wanted = name ?? manifest.default_operating_point;
  const found = manifest.operating_points.find((point) => point.name === wanted);
  if (found) return found;
  throw new BundleError(
    `Bundle '${manifest.name}' has no operating point '${wanted}'.`,
    `Choose one of: ${manifest.operating_points.map((point) => point.name).join(", ")}.`,
  );
}

/** What the types alone do not rule out. */
function* contradictions(m: Manifest): Generator<string> {
  if (!/^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}$/.test(m.version)) yield `version '${m.version}' is not three numbers`;
  if (m.min_onnxruntime !== null && !/^\d+(\.\d+){1,2}$/.test(m.min_onnxruntime)) {
    yield `min_onnxruntime '${m.min_onnxruntime}' is no version such as 1.20`;
  }
  if (!m.labels.includes(m.melanoma_label)) yield `melanoma_label '${m.melanoma_label}' is not among the labels`;
  if (new Set(m.labels).size !== m.labels.length || m.labels.length < 2) {
    yield "labels must be at least two different names";
  }
  if (!sameSet(Object.keys(m.label_names), m.labels)) yield "label_names must name exactly the labels";
  yield* points(m);
  const { mask, roi } = m;
  if (!(mask.threshold > 0 && mask.threshold < 1)) yield "mask.threshold is not between 0 and 1";
  const areas = 0 <= mask.min_area_fraction && mask.min_area_fraction < mask.max_area_fraction;
  if (!areas || mask.max_area_fraction > 1) yield "mask area fractions must satisfy 0 <= min < max <= 1";
  if (!(mask.min_confidence >= 0 && mask.min_confidence <= 1)) yield "mask.min_confidence is not between 0 and 1";
  if (m.dermoscopy) {
    for (const [name, term] of Object.entries(m.dermoscopy.terms)) {
      if (!APPEARANCE_MEASURES.some((known) => known === name)) yield `dermoscopy.terms.${name}: unknown`;
      if (!(term.scale > 0)) yield `dermoscopy.terms.${name}.scale is not positive`;
    }
    if (!(m.dermoscopy.clip > 0)) yield "dermoscopy.clip is not positive";
  }
  yield* familiarity(m);
  const { prior } = m.calibration;
  if (prior !== null && !(prior > 0 && prior < 1)) yield `calibration.prior ${String(prior)} is not between 0 and 1`;
  if (!(roi.margin >= 0 && roi.margin <= 2)) yield "roi.margin is not between 0 and 2";
  yield* stages(m);
  if (!Object.hasOwn(m.files, m.golden.file)) yield `golden.file '${m.golden.file}' is not listed in files`;
  if (m.classifier.input.height !== m.classifier.input.width) yield "classifier.input must be square";
  for (const file of Object.keys(m.files)) {
    if (file.startsWith("/") || /[\\:]/.test(file) || file.split("/").includes("..")) {
      yield `files: '${file}' leaves the bundle's folder`;
    }
  }
}

function* familiarity(m: Manifest): Generator<string> {
  const rule = m.familiarity;
  if (!rule) return;
  if (m.dermoscopy) yield "familiarity and dermoscopy: a bundle has one of the two rules";
  if (rule.output === "" || rule.output === m.segmenter.output.name) {
    yield `familiarity.output '${rule.output}' is no second output of the segmenter`;
  }
  if (m.golden.max_familiarity === null) yield "golden.max_familiarity is missing, and the bundle has a score to replay";
  for (const [name, form] of Object.entries(m.segmenter.variants)) {
    if (form.tolerance.max_familiarity === null) yield `segmenter.variants.${name}.tolerance.max_familiarity is missing`;
  }
}

function* points(m: Manifest): Generator<string> {
  const names = m.operating_points.map((point) => point.name);
  if (new Set(names).size !== names.length) yield "two operating points share a name";
  if (!names.includes(m.default_operating_point)) {
    yield `default_operating_point '${m.default_operating_point}' is not among the operating points`;
  }
  for (const point of m.operating_points) {
    const where = `operating point '${point.name}'`;
    if (!(point.threshold > 0 && point.threshold < 1)) yield `${where}: threshold is not between 0 and 1`;
    for (const band of point.bands) {
      const around = 0 <= band.low && band.low < point.threshold && point.threshold < band.high && band.high <= 1;
      if (!around) yield `${where}: band is not around the threshold`;
      if (!(band.referred > 0 && band.referred < 1)) yield `${where}: a band's share is not between 0 and 1`;
    }
  }
}

function* stages(m: Manifest): Generator<string> {
  const files = Object.keys(m.files);
  const kinds = [
    ["segmenter", m.segmenter, "probability_map"],
    ["classifier", m.classifier, "probabilities"],
  ] as const;
  for (const [name, each, kind] of kinds) {
    const { height, width } = each.input;
    if (each.output.kind !== kind) yield `${name}.output.kind must be '${kind}'`;
    if (Math.min(height, width) < 8 || Math.max(height, width) > 4096) yield `${name}.input size is not within 8..4096`;
    const named = [...Object.values(each.files), ...Object.values(each.variants).map((form) => form.file)];
    for (const file of named) {
      if (!files.some((listed) => listed === file || listed.startsWith(`${file}/`))) {
        yield `${name}: '${file}' is not listed in files`;
      }
    }
    if (Object.hasOwn(each.variants, "float32")) yield `${name}.variants.float32: this name stands for files.onnx`;
    for (const [form, entry] of Object.entries(each.variants)) {
      if (entry.parity.length === 0) yield `${name}.variants.${form} has no parity gate`;
      if (Object.hasOwn(m.variants_left_out, form)) yield `variants_left_out.${form}: ${name} has this variant`;
    }
    for (const gates of [m.parity, ...Object.values(each.variants).map((form) => form.parity)]) {
      for (const { artifact, measure, relation, limit, value } of gates) {
        if (relation === "<=" ? value > limit : value < limit) yield `parity gate failed: ${artifact} ${measure}`;
      }
    }
  }
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item) => b.includes(item));
}
