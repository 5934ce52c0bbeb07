/** A bundle's files: read from anywhere, hashed by WebCrypto, and trusted only where every hash fits. */

import {
  BundleError,
  BundleFileMissingError,
  BundleNotFoundError,
  BundleSchemaError,
  BundleTamperedError,
} from "./errors.js";
import type { Manifest, StageManifest } from "./manifest.js";
import { parseManifest } from "./manifest.js";

/** Where a bundle's files come from; rejects where there is no such file. See `fromUrl` and `fromFolder`. */
export interface BundleSource {
  /** @param path - inside the bundle, with forward slashes. */
  read(path: string): Promise<Uint8Array>;
}

/** A manifest, its hash, and the two ONNX files, all checked. */
export interface Bundle {
  readonly manifest: Manifest;
  /** SHA-256 of `bundle.json`, which lists every file's hash: it identifies the whole bundle. */
  readonly sha256: string;
  readonly segmenter: Uint8Array;
  readonly classifier: Uint8Array;
}

/** A bundle served over HTTP, from the application's own origin as a rule. */
export function fromUrl(base: string | URL): BundleSource {
  const folder = String(base).replace(/\/?$/, "/");
  return {
    async read(path) {
      const response = await fetch(folder + path);
      if (!response.ok) throw new Error(`HTTP ${String(response.status)}`);
      return new Uint8Array(await response.arrayBuffer());
    },
  };
}

/**
 * Reads a bundle and checks it.
 *
 * @param source - where its files are.
 * @param options - `variant`: another ONNX form of both networks; `everyFile`: also check files that are not used here,
 * such as the model card and other variants.
 * @throws BundleError - nothing there, tampered with, or of another schema; see its subclasses.
 */
export async function loadBundle(
  source: BundleSource,
  options: { variant?: string; everyFile?: boolean } = {},
): Promise<Bundle> {
  let raw: Uint8Array;
  try {
    raw = await source.read("bundle.json");
  } catch (error) {
    throw new BundleNotFoundError(
      `There is no readable bundle.json: ${words(error)}.`,
      "Give a folder or address that holds a bundle.",
      { cause: error },
    );
  }
  let content: string;
  try {
    content = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch (error) {
    throw new BundleSchemaError("bundle.json is not UTF-8 text.", "Restore the bundle from its source.", {
      cause: error,
    });
  }
  const manifest = parseManifest(content);
  const [first, second] = [manifest.segmenter, manifest.classifier].map((stage) => onnxFile(manifest, stage, options));
  if (first === undefined || second === undefined) throw new Error("unreachable");
  const used = options.everyFile === true ? Object.keys(manifest.files) : [first, second];
  const read = new Map<string, Uint8Array>();
  for (const file of used) {
    const data = await readChecked(source, manifest, file);
    if (file === first || file === second) read.set(file, data);
  }
  const [segmenter, classifier] = [read.get(first), read.get(second)];
  if (!segmenter || !classifier) throw new BundleError("The networks are not listed in files.", "Restore the bundle.");
  return { manifest, sha256: await sha256(raw), segmenter, classifier };
}

/** Lower-case hexadecimal SHA-256, by WebCrypto: a browser has it on https and localhost only. */
export async function sha256(data: Uint8Array): Promise<string> {
  const subtle = (globalThis.crypto as Crypto | undefined)?.subtle;
  if (!subtle) {
    throw new BundleError(
      "Files cannot be checked: WebCrypto is missing.",
      "Serve the page over https or from localhost.",
    );
  }
  const digest = new Uint8Array(await subtle.digest("SHA-256", data as Uint8Array<ArrayBuffer>));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function readChecked(source: BundleSource, manifest: Manifest, file: string): Promise<Uint8Array> {
  const entry = manifest.files[file];
  if (!entry) throw new BundleError(`'${file}' is not listed in the manifest.`, "Restore the bundle from its source.");
  let data: Uint8Array;
  try {
    data = await source.read(file);
  } catch (error) {
    throw new BundleFileMissingError(
      `'${file}' is listed in bundle.json and cannot be read: ${words(error)}.`,
      "Copy the whole bundle again.",
      { cause: error },
    );
  }
  const digest = await sha256(data);
  if (digest !== entry.sha256) {
    throw new BundleTamperedError(
      `'${file}' has SHA-256 ${digest.slice(0, 12)}…, the manifest says ${entry.sha256.slice(0, 12)}….`,
      "The file was changed or damaged; restore the bundle from its source.",
    );
  }
  return data;
}

function onnxFile(manifest: Manifest, stage: StageManifest, options: { variant?: string }): string {
  const known = Object.entries(stage.variants).filter(([, form]) => form.format === "onnx");
  const named = new Map<string, string | undefined>([
    ["float32", stage.files.onnx],
    ...known.map(([name, form]) => [name, form.file] as const),
  ]);
  const file = named.get(options.variant ?? "float32");
  if (file !== undefined) return file;
  throw new BundleError(
    `Bundle '${manifest.name}' has no ONNX variant '${String(options.variant)}'.`,
    `It has: ${[...named.keys()].join(", ")}.`,
  );
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
