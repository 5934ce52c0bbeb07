/** Files and decoding in Node. */

import { readFile } from "node:fs/promises";
import path from "node:path";

import type { BundleSource } from "./bundle.js";
import { ImageDecodeError } from "./errors.js";
import type { Decoder } from "./types.js";

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
  removeAlpha(): SharpPipeline;
  toColourspace(space: "srgb"): SharpPipeline;
  raw(options: { depth: "uchar" }): SharpPipeline;
  toBuffer(options: {
    resolveWithObject: true;
  }): Promise<{ data: Uint8Array; info: { width: number; height: number; channels: number } }>;
}

/**
 * Decodes with sharp (libvips): upright by EXIF, colour profiles not applied, alpha dropped.
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
        .removeAlpha()
        .toColourspace("srgb")
        .raw({ depth: "uchar" })
        .toBuffer({ resolveWithObject: true });
      const pixels = info.channels === 3 ? new Uint8Array(raw) : repeated(raw);
      return { width: info.width, height: info.height, data: pixels };
    } catch (error) {
      throw new ImageDecodeError(
        `The ${format} picture is damaged or cut short.`,
        "Check that it was copied or downloaded completely, or export it again.",
        { cause: error },
      );
    }
  };
}

/** Grey in three channels. */
function repeated(grey: Uint8Array): Uint8Array {
  const data = new Uint8Array(grey.length * 3);
  for (let i = 0; i < grey.length; i++) data.fill(grey[i] ?? 0, 3 * i, 3 * i + 3);
  return data;
}
