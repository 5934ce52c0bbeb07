/**
 * Step 2: the one rule of resizing. Area average where no axis grows, bilinear otherwise.
 *
 * This is OpenCV's arithmetic, operation by operation, so that the bytes are those of the Python runtime: a grey level more
 * or less moves an outline, and an outline moves the crop.
 */

import type { Mask, RgbImage } from "../types.js";

/** Rows of samples that need not exist as one array: a crop reads them from the picture as they are needed. */
export interface Rows {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** The samples of one row; valid until the next call. */
  row(y: number): ArrayLike<number>;
}

/**
 * Resizes a picture without keeping its aspect ratio.
 *
 * @returns the picture itself where the size already fits.
 */
export function resize(image: RgbImage, height: number, width: number): RgbImage {
  if (image.height === height && image.width === width) return image;
  return { height, width, data: resizeRows(rowsOf(image.data, image.height, image.width, 3), height, width) };
}

/** Brings a 0/1 mask to another size with a smooth border: resize 0/255, then keep values from 128 on. Step 5. */
export function restoreMask(mask: Mask, height: number, width: number): Mask {
  if (mask.height === height && mask.width === width) return mask;
  const data = resizeRows(
    rowsOf(
      mask.data.map((value) => value * 255),
      mask.height,
      mask.width,
      1,
    ),
    height,
    width,
  );
  for (let i = 0; i < data.length; i++) data[i] = (data[i] ?? 0) >= 128 ? 1 : 0;
  return { height, width, data };
}

/** A flat array as rows. */
export function rowsOf(data: Uint8Array | Float32Array, height: number, width: number, channels: number): Rows {
  const stride = width * channels;
  return { height, width, channels, row: (y) => data.subarray(y * stride, (y + 1) * stride) };
}

/** Resizes rows of samples of 8 bits; each result is rounded. */
export function resizeRows(source: Rows, height: number, width: number): Uint8Array {
  const result = new Uint8Array(height * width * source.channels);
  if (source.height === height && source.width === width) {
    for (let y = 0; y < height; y++) result.set(source.row(y), y * width * source.channels);
  } else if (height > source.height || width > source.width) {
    bilinear(source, height, width, result);
  } else if (source.height % height === 0 && source.width % width === 0) {
    wholeArea(source, height, width, result);
  } else {
    areaRows(source, height, width, (y, row) => {
      const start = y * row.length;
      for (let i = 0; i < row.length; i++) result[start + i] = rounded(row[i] ?? 0);
    });
  }
  return result;
}

const HALF_TO_EVEN = 1.5 * 2 ** 52;

/** To the nearest whole number, halves to the even one: at this size a double has no fractions. */
function rounded(value: number): number {
  return value + HALF_TO_EVEN - HALF_TO_EVEN;
}

/** Both factors are whole numbers: a sum of whole numbers. Exact halving rounds halves up, all else to even. */
function wholeArea(source: Rows, height: number, width: number, result: Uint8Array): void {
  const { channels } = source;
  const [tall, wide] = [source.height / height, source.width / width];
  const share = Math.fround(1 / (tall * wide));
  const halving = tall === 2 && wide === 2;
  const sums = new Int32Array(width * channels);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let k = 0; k < tall; k++) {
      const row = source.row(y * tall + k);
      for (let x = 0; x < source.width; x++) {
        const to = Math.floor(x / wide) * channels;
        for (let c = 0; c < channels; c++) sums[to + c] = (sums[to + c] ?? 0) + (row[x * channels + c] ?? 0);
      }
    }
    const start = y * sums.length;
    for (let i = 0; i < sums.length; i++) {
      const sum = sums[i] ?? 0;
      result[start + i] = halving ? (sum + 2) >> 2 : rounded(Math.fround(Math.fround(sum) * share));
    }
  }
}

/**
 * Area average in float32, row by row: output pixel (i, j) is the mean over the rectangle from row i*h/H to (i+1)*h/H and
 * column j*w/W to (j+1)*w/W, where pixels cut by its edge count with the fraction inside.
 */
export function areaRows(
  source: Rows,
  height: number,
  width: number,
  emit: (y: number, row: Float32Array) => void,
): void {
  const { channels } = source;
  const columns = areaTaps(source.width, width);
  const lines = areaTaps(source.height, height);
  const across = new Float32Array(width * channels);
  const sums = new Float32Array(width * channels);
  let held = -1;
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    const { first, weights } = at(lines, y);
    for (let k = 0; k < weights.length; k++) {
      if (held !== first + k) {
        held = first + k;
        averageRow(source.row(held), columns, channels, across);
      }
      const weight = weights[k] ?? 0;
      for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] ?? 0) + Math.fround(weight * (across[i] ?? 0));
    }
    emit(y, sums);
  }
}

function averageRow(row: ArrayLike<number>, columns: readonly AreaTaps[], channels: number, into: Float32Array): void {
  for (let x = 0; x < columns.length; x++) {
    const { first, weights } = at(columns, x);
    for (let c = 0; c < channels; c++) {
      let total = 0;
      let position = first * channels + c;
      for (const weight of weights) {
        total = Math.fround(total + Math.fround(weight * (row[position] ?? 0)));
        position += channels;
      }
      into[x * channels + c] = total;
    }
  }
}

interface AreaTaps {
  readonly first: number;
  readonly weights: Float32Array;
}

/**
 * Along one axis: the first source pixel of each output pixel, and the weights from there on. Less than a thousandth of a
 * pixel does not count.
 */
function areaTaps(n: number, size: number): AreaTaps[] {
  const scale = 1 / (size / n);
  return Array.from({ length: size }, (_, i) => {
    const low = i * scale;
    const high = low + scale;
    const cell = Math.min(scale, n - low);
    const last = Math.min(Math.floor(high), n - 1);
    const first = Math.min(Math.ceil(low), last);
    const cut = first - low > 1e-3;
    const weights: number[] = cut ? [(first - low) / cell] : [];
    for (let pixel = first; pixel < last; pixel++) weights.push(1 / cell);
    if (high - last > 1e-3) weights.push(Math.min(high - last, 1, cell) / cell);
    return { first: cut ? first - 1 : first, weights: Float32Array.from(weights) };
  });
}

const ONE = 2048;

/** Between the pixels `low` and `high`, with weights in 2048ths. */
interface LinearTap {
  readonly low: number;
  readonly high: number;
  readonly lowWeight: number;
  readonly highWeight: number;
}

/** Output i reads the source at (i + 0.5) * n / size - 0.5. */
function linearTaps(n: number, size: number, clamped: boolean): LinearTap[] {
  const scale = 1 / (size / n);
  const clamp = (pixel: number): number => Math.min(Math.max(pixel, 0), n - 1);
  return Array.from({ length: size }, (_, i) => {
    const position = Math.fround((i + 0.5) * scale - 0.5);
    let pixel = Math.floor(position);
    let share = Math.fround(position - pixel);
    if (clamped && (pixel < 0 || pixel >= n - 1)) [pixel, share] = [clamp(pixel), 0];
    return {
      low: clamp(pixel),
      high: clamp(pixel + 1),
      lowWeight: rounded(Math.fround(Math.fround(1 - share) * ONE)),
      highWeight: rounded(Math.fround(share * ONE)),
    };
  });
}

/** Bilinear with pixel centres at half-integers; outside the picture the edge pixel counts. */
function bilinear(source: Rows, height: number, width: number, result: Uint8Array): void {
  // OpenCV clamps columns before it weighs and rows after; the bytes at the upper and lower edge show it.
  const lines = linearTaps(source.height, height, false);
  const columns = linearTaps(source.width, width, true);
  const cache = new Map<number, Int32Array>();
  const stretched = (y: number): Int32Array => {
    const known = cache.get(y);
    if (known) return known;
    const row = blend(source.row(y), columns, source.channels);
    for (const old of cache.keys()) if (old < y - 1) cache.delete(old);
    cache.set(y, row);
    return row;
  };
  for (let y = 0; y < height; y++) {
    const { low, high, lowWeight, highWeight } = at(lines, y);
    const [upper, lower] = [stretched(low), stretched(high)];
    const start = y * upper.length;
    for (let i = 0; i < upper.length; i++) {
      const a = (lowWeight * ((upper[i] ?? 0) >> 4)) >> 16;
      const b = (highWeight * ((lower[i] ?? 0) >> 4)) >> 16;
      result[start + i] = (a + b + 2) >> 2;
    }
  }
}

function blend(row: ArrayLike<number>, columns: readonly LinearTap[], channels: number): Int32Array {
  const result = new Int32Array(columns.length * channels);
  for (let x = 0; x < columns.length; x++) {
    const { low, high, lowWeight, highWeight } = at(columns, x);
    for (let c = 0; c < channels; c++) {
      result[x * channels + c] =
        (row[low * channels + c] ?? 0) * lowWeight + (row[high * channels + c] ?? 0) * highWeight;
    }
  }
  return result;
}

function at<T>(items: readonly T[], i: number): T {
  const item = items[i];
  if (item === undefined) throw new RangeError(`no item ${String(i)}`);
  return item;
}
