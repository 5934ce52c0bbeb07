/** Step 4: from a probability map to one clean lesion mask. */

import type { Mask, ProbabilityMap } from "../types.js";

/** Thresholds a map and keeps its largest region, with the holes closed. */
export function cleanMask(map: ProbabilityMap, threshold: number): Mask {
  const data = new Uint8Array(map.data.length);
  for (let i = 0; i < data.length; i++) data[i] = (map.data[i] ?? 0) >= threshold ? 1 : 0;
  return largestRegion({ width: map.width, height: map.height, data });
}

/**
 * Keeps the largest 8-connected region, filled. The area is that of the polygon through the centres of the region's
 * outer border pixels; on a tie the region whose first pixel in reading order comes last stays.
 */
export function largestRegion(mask: Mask): Mask {
  const { width, height } = mask;
  const labels = new Int32Array(mask.data.length);
  let best: Filled | null = null;
  let label = 0;
  for (let start = 0; start < labels.length; start++) {
    if (mask.data[start] !== 1 || labels[start] !== 0) continue;
    label++;
    const region = fill(labels, label, flood(mask, labels, label, start), width);
    if (best === null || region.area >= best.area) best = region;
  }
  const data = new Uint8Array(mask.data.length);
  if (best !== null) {
    const { x0, y0, columns, rows, inside } = best;
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) data[(y0 + y) * width + x0 + x] = inside[y * columns + x] ?? 0;
    }
  }
  return { width, height, data };
}

/** How sure the segmenter is of its outline: the mean probability over the cleaned lesion; 0 for an empty mask. */
export function lesionConfidence(map: ProbabilityMap, mask: Mask): number {
  let [sum, count] = [0, 0];
  for (let i = 0; i < mask.data.length; i++) {
    if (mask.data[i] === 1) {
      sum += map.data[i] ?? 0;
      count++;
    }
  }
  return count === 0 ? 0 : sum / count;
}

/** The share of lesion pixels. */
export function areaFraction(mask: Mask): number {
  let count = 0;
  for (const value of mask.data) count += value;
  return count / mask.data.length;
}

interface Bounds {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

interface Filled {
  readonly x0: number;
  readonly y0: number;
  readonly columns: number;
  readonly rows: number;
  readonly inside: Uint8Array;
  readonly area: number;
}

/** Labels an 8-connected region and returns its bounds, half open. */
function flood(mask: Mask, labels: Int32Array, label: number, start: number): Bounds {
  const { width, height } = mask;
  const bounds = { x0: width, y0: height, x1: 0, y1: 0 };
  const stack = [start];
  labels[start] = label;
  for (let i = stack.pop(); i !== undefined; i = stack.pop()) {
    const [x, y] = [i % width, Math.floor(i / width)];
    bounds.x0 = Math.min(bounds.x0, x);
    bounds.y0 = Math.min(bounds.y0, y);
    bounds.x1 = Math.max(bounds.x1, x + 1);
    bounds.y1 = Math.max(bounds.y1, y + 1);
    for (let ny = Math.max(y - 1, 0); ny <= Math.min(y + 1, height - 1); ny++) {
      for (let nx = Math.max(x - 1, 0); nx <= Math.min(x + 1, width - 1); nx++) {
        const near = ny * width + nx;
        if (mask.data[near] === 1 && labels[near] === 0) {
          labels[near] = label;
          stack.push(near);
        }
      }
    }
  }
  return bounds;
}

/** Fills what the outside cannot reach over 4 neighbours; the area counts unit squares between pixel centres. */
function fill(labels: Int32Array, label: number, bounds: Bounds, width: number): Filled {
  const [columns, rows] = [bounds.x1 - bounds.x0, bounds.y1 - bounds.y0];
  const [wide, tall] = [columns + 2, rows + 2];
  const outside = new Uint8Array(wide * tall);
  const isRegion = (x: number, y: number): boolean =>
    x > 0 && y > 0 && x <= columns && y <= rows && labels[(bounds.y0 + y - 1) * width + bounds.x0 + x - 1] === label;
  const stack = [0];
  outside[0] = 1;
  for (let i = stack.pop(); i !== undefined; i = stack.pop()) {
    const [x, y] = [i % wide, Math.floor(i / wide)];
    for (const [nx, ny] of [
      [x - 1, y],
      [x + 1, y],
      [x, y - 1],
      [x, y + 1],
    ] as const) {
      if (nx < 0 || ny < 0 || nx >= wide || ny >= tall) continue;
      const near = ny * wide + nx;
      if (outside[near] === 0 && !isRegion(nx, ny)) {
        outside[near] = 1;
        stack.push(near);
      }
    }
  }
  const inside = new Uint8Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) inside[y * columns + x] = 1 - (outside[(y + 1) * wide + x + 1] ?? 0);
  }
  return { x0: bounds.x0, y0: bounds.y0, columns, rows, inside, area: polygonArea(inside, columns, rows) };
}

/** Area of the polygon through the centres of a filled region's border pixels: its unit squares and half squares. */
function polygonArea(inside: Uint8Array, columns: number, rows: number): number {
  let area = 0;
  for (let y = 0; y + 1 < rows; y++) {
    for (let x = 0; x + 1 < columns; x++) {
      const i = y * columns + x;
      const corners =
        (inside[i] ?? 0) + (inside[i + 1] ?? 0) + (inside[i + columns] ?? 0) + (inside[i + columns + 1] ?? 0);
      if (corners === 4) area += 1;
      else if (corners === 3) area += 0.5;
    }
  }
  return area;
}
