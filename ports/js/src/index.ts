/**
 * The steps of edge-infer in TypeScript: the same names, reasons and errors as in Python, proven by conformance vectors.
 * Research use only; not a medical device.
 *
 * @packageDocumentation
 */

export { fromUrl, loadBundle, sha256 } from "./bundle.js";
export type { Bundle, BundleSource } from "./bundle.js";
export { Diagnoser, bandOf, toRecord } from "./diagnoser.js";
export type { DiagnoseOptions, DiagnoserOptions } from "./diagnoser.js";
export { ortEngine } from "./engine.js";
export type { Engine, EngineFactory, OrtModule, OrtSession, OrtSessionOptions } from "./engine.js";
export * from "./errors.js";
export { SCHEMA_VERSION, operatingPoint, parseManifest } from "./manifest.js";
export type * from "./manifest.js";
export type * from "./rules.js";
export * from "./steps/appearance.js";
export { cropRoi, lesionBox, roiBox } from "./steps/crop.js";
export { decide } from "./steps/decide.js";
export { DEFAULT_MAX_PIXELS, checkPixels, readHeader } from "./steps/header.js";
export type { Header } from "./steps/header.js";
export { correct, correctClasses, knownRatio, move, oddsRatio } from "./steps/prevalence.js";
export { areaFraction, cleanMask, largestRegion, lesionConfidence } from "./steps/mask.js";
export { lesionProblem, measureQuality, pictureProblem } from "./steps/quality.js";
export type { Quality } from "./steps/quality.js";
export { resize, restoreMask } from "./steps/resize.js";
export { transparencyMatters } from "./steps/transparency.js";
export { REASONS } from "./types.js";
export type * from "./types.js";
export { examine, locate, openPicture } from "./work.js";
export type { StepRules, Work } from "./work.js";
