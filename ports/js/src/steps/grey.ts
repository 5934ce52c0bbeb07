/** Grey as OpenCV computes it, and its mean and spread. */

import type { RgbImage } from "../types.js";

/** round(0.299 R + 0.587 G + 0.114 B) in 15-bit fixed point: the very values of OpenCV. */
export function greyOf(image: RgbImage): Uint8Array {
  const { data } = image;
  const grey = new Uint8Array(image.width * image.height);
  for (let i = 0, p = 0; i < grey.length; i++, p += 3) {
    grey[i] = (9798 * (data[p] ?? 0) + 19235 * (data[p + 1] ?? 0) + 3735 * (data[p + 2] ?? 0) + 16384) >> 15;
  }
  return grey;
}

/** Mean and variance (divided by n). */
export function moments(values: Uint8Array | Float32Array | Float64Array): { mean: number; variance: number } {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return { mean, variance: squares / values.length };
}
