/** Files and decoding in Node. */

import { readFile } from "node:fs/promises";
import path from "node:path";

import type { BundleSource } from "./bundle.js";
import { ImageDecodeError } from "./errors.js";
import type { Decoded, Decoder } from "./types.js";

/** A bundle in a folder. */
export function fromFolder(folder: string): BundleSource {
  return { read: async (file) => new Uint8Array(await readFile(path.join(folder, ...file.split("/")))) };
}

/** The part of `sharp` that is used. */
export type SharpModule = (
  input: Uint8Array,
  options: { failOn: "truncated"; limitInputPixels: false; autoOrient: true; ignoreIcc: true },
) => SharpPipeline;
/** See {@link SharpModule}. */
export interface SharpPipeline {
  toColourspace(space: "srgb"): SharpPipeline;
  raw(options: { depth: "uchar" }): SharpPipeline;
  toBuffer(options: {
    resolveWithObject: true;
  }): Promise<{ data: Uint8Array; info: { width: number; height: number; channels: number } }>;
}

/**
 * Decodes with sharp (libvips): upright by EXIF, colour profiles not applied, alpha beside the colours.
 *
 * @param sharp - the module's default export, 0.34 or newer.
 */
export function sharpDecoder(sharp: SharpModule): Decoder {
  return async (data, format) => {
    try {
      const { data: raw, info } = await sharp(data, {
        failOn: "truncated",
        limitInputPixels: false,
        autoOrient: true,
        ignoreIcc: true,
      })
        .toColourspace("srgb")
        .raw({ depth: "uchar" })
        .toBuffer({ resolveWithObject: true });
      return separated(raw, info);
    } catch (error) {
      throw new ImageDecodeError(
        `The ${format} picture is damaged or cut short.`,
        "Check that it was copied or downloaded completely, or export it again.",
        { cause: error },
      );
    }
  };
}

/** Grey in three channels, and alpha apart. */
function separated(raw: Uint8Array, info: { width: number; height: number; channels: number }): Decoded {
  const { width, height, channels } = info;
  if (channels === 3) return { width, height, data: new Uint8Array(raw), alpha: null };
  const count = width * height;
  const data = new Uint8Array(3 * count);
  const alpha = channels % 2 === 0 ? new Uint8Array(count) : null;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) data[3 * i + c] = raw[channels * i + (channels > 2 ? c : 0)] ?? 0;
    if (alpha) alpha[i] = raw[channels * i + channels - 1] ?? 0;
  }
  return { width, height, data, alpha };
}
