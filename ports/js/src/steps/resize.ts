/** Step 2: the one rule of resizing. Area average where no axis grows, bilinear otherwise. */

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
export function rowsOf(data: Uint8Array | Float64Array, height: number, width: number, channels: number): Rows {
  const stride = width * channels;
  return { height, width, channels, row: (y) => data.subarray(y * stride, (y + 1) * stride) };
}

/** Resizes rows of samples of 8 bits; each result is rounded. */
export function resizeRows(source: Rows, height: number, width: number): Uint8Array {
  const result = new Uint8Array(height * width * source.channels);
  const emit = (y: number, row: Float64Array): void => {
    const start = y * row.length;
    for (let i = 0; i < row.length; i++) result[start + i] = Math.round(row[i] ?? 0);
  };
  if (source.height === height && source.width === width) {
    for (let y = 0; y < height; y++) result.set(source.row(y), y * width * source.channels);
  } else if (height <= source.height && width <= source.width) {
    areaRows(source, height, width, emit);
  } else {
    bilinearRows(source, height, width, emit);
  }
  return result;
}

/**
 * Area average, row by row: output pixel (i, j) is the mean over the rectangle from row i*h/H to (i+1)*h/H and column
 * j*w/W to (j+1)*w/W, where pixels cut by its edge count with the fraction inside.
 */
export function areaRows(
  source: Rows,
  height: number,
  width: number,
  emit: (y: number, row: Float64Array) => void,
): void {
  const { channels } = source;
  const columns = spans(source.width, width);
  const lines = spans(source.height, height);
  const across = new Float64Array(width * channels);
  const sum = new Float64Array(width * channels);
  let held = -1;
  for (let y = 0; y < height; y++) {
    sum.fill(0);
    const { first, weights } = at(lines, y);
    for (const [k, weight] of weights.entries()) {
      if (held !== first + k) {
        held = first + k;
        averageRow(source.row(held), columns, channels, across);
      }
      for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + weight * (across[i] ?? 0);
    }
    emit(y, sum);
  }
}

function averageRow(row: ArrayLike<number>, columns: readonly Span[], channels: number, into: Float64Array): void {
  for (let x = 0; x < columns.length; x++) {
    const { first, weights } = at(columns, x);
    for (let c = 0; c < channels; c++) {
      let total = 0;
      let position = first * channels + c;
      for (const weight of weights) {
        total += weight * (row[position] ?? 0);
        position += channels;
      }
      into[x * channels + c] = total;
    }
  }
}

interface Span {
  readonly first: number;
  readonly weights: Float64Array;
}

/** Along one axis: the first source pixel of each output pixel, and the weights from there on. */
function spans(size: number, target: number): Span[] {
  const scale = size / target;
  return Array.from({ length: target }, (_, i) => {
    const low = (i * size) / target;
    const high = ((i + 1) * size) / target;
    const first = Math.floor(low);
    const last = Math.min(Math.ceil(high), size);
    const weights = new Float64Array(last - first);
    for (let j = first; j < last; j++) {
      weights[j - first] = Math.max(Math.min(high, j + 1) - Math.max(low, j), 0) / scale;
    }
    return { first, weights };
  });
}

/** Bilinear with pixel centres at half-integers; outside the picture the edge pixel counts. */
function bilinearRows(
  source: Rows,
  height: number,
  width: number,
  emit: (y: number, row: Float64Array) => void,
): void {
  const { channels } = source;
  const lines = neighbours(source.height, height);
  const columns = neighbours(source.width, width);
  const cache = new Map<number, Float64Array>();
  const stretched = (y: number): Float64Array => {
    const known = cache.get(y);
    if (known) return known;
    const row = source.row(y);
    const result = new Float64Array(width * channels);
    for (let x = 0; x < width; x++) {
      const { low, high, part } = at(columns, x);
      for (let c = 0; c < channels; c++) {
        const [a, b] = [row[low * channels + c] ?? 0, row[high * channels + c] ?? 0];
        result[x * channels + c] = a + (b - a) * part;
      }
    }
    for (const old of cache.keys()) if (old < y - 1) cache.delete(old);
    cache.set(y, result);
    return result;
  };
  const mixed = new Float64Array(width * channels);
  for (let y = 0; y < height; y++) {
    const { low, high, part } = at(lines, y);
    const [a, b] = [stretched(low), stretched(high)];
    for (let i = 0; i < mixed.length; i++) mixed[i] = (a[i] ?? 0) + ((b[i] ?? 0) - (a[i] ?? 0)) * part;
    emit(y, mixed);
  }
}

interface Neighbours {
  readonly low: number;
  readonly high: number;
  readonly part: number;
}

function neighbours(size: number, target: number): Neighbours[] {
  return Array.from({ length: target }, (_, i) => {
    const position = ((i + 0.5) * size) / target - 0.5;
    const low = Math.floor(position);
    const clamp = (pixel: number): number => Math.min(Math.max(pixel, 0), size - 1);
    return { low: clamp(low), high: clamp(low + 1), part: position - low };
  });
}

function at<T>(items: readonly T[], i: number): T {
  const item = items[i];
  if (item === undefined) throw new RangeError(`no item ${String(i)}`);
  return item;
}
