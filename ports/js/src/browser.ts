/** Decoding in a browser or a worker. */

import { ImageDecodeError } from "./errors.js";
import type { Decoded, Decoder, RgbImage } from "./types.js";

/**
 * Decodes with the browser's own decoder: upright by EXIF, colour profiles not applied.
 *
 * Pixels are read back through a 2D canvas, which multiplies colours by alpha: exact for opaque pictures alone, and nearly
 * so for others.
 */
export function bitmapDecoder(): Decoder {
  return async (data, format) => {
    let bitmap: ImageBitmap;
    try {
      bitmap = await createImageBitmap(new Blob([data as Uint8Array<ArrayBuffer>]), {
        imageOrientation: "from-image",
        colorSpaceConversion: "none",
        premultiplyAlpha: "none",
      });
    } catch (error) {
      throw new ImageDecodeError(
        `The ${format} picture is damaged, cut short, or of a format that this browser does not know.`,
        "Check that it was copied completely, or convert it to JPEG or PNG.",
        { cause: error },
      );
    }
    try {
      return readPixels(bitmap);
    } finally {
      bitmap.close();
    }
  };
}

function readPixels(bitmap: ImageBitmap): Decoded {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) {
    throw new ImageDecodeError("This browser gives no canvas to read pixels from.", "Close other pages, or update it.");
  }
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const alpha = new Uint8Array(width * height);
  for (let i = 0; i < alpha.length; i++) alpha[i] = data[4 * i + 3] ?? 0;
  return { ...withoutAlpha({ width, height, data }), alpha };
}

/** RGB of an RGBA picture. */
export function withoutAlpha(picture: { width: number; height: number; data: ArrayLike<number> }): RgbImage {
  const { width, height, data: source } = picture;
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = source[from] ?? 0;
    data[to + 1] = source[from + 1] ?? 0;
    data[to + 2] = source[from + 2] ?? 0;
  }
  return { width, height, data };
}
