/** Steps 6 and 7: the lesion's box, the region around it, and the crop that the classifier sees. */

import type { Outside, RoiRule } from "../rules.js";
import type { Box, Mask, RgbImage } from "../types.js";
import { resizeRows } from "./resize.js";

/** The smallest rectangle around the lesion, or null for an empty mask. */
export function lesionBox(mask: Mask): Box | null {
  const { width, height, data } = mask;
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    const start = y * width;
    const first = data.subarray(start, start + width).indexOf(1);
    if (first < 0) continue;
    const last = data.subarray(start, start + width).lastIndexOf(1);
    [x0, x1] = [Math.min(x0, first), Math.max(x1, last + 1)];
    [y0, y1] = [Math.min(y0, y), y + 1];
  }
  return x1 > 0 ? { x0, y0, x1, y1 } : null;
}

/**
 * The region that the classifier sees: a square around the lesion, shifted back where it crosses the picture's edge.
 *
 * @param margin - added on each side, as a fraction of the lesion's longer side.
 * @param outside - what becomes of a square that is larger than the picture: `pad` and `reflect` leave it partly
 * outside, `clip` cuts it at the edges, `cap` makes its side at most the picture's shorter one.
 */
export function roiBox(lesion: Box, height: number, width: number, margin: number, outside: Outside = "pad"): Box {
  const longer = Math.max(lesion.x1 - lesion.x0, lesion.y1 - lesion.y0);
  const wanted = Math.ceil(Math.round(longer * (1 + 2 * margin) * 1e6) / 1e6);
  const side = outside === "cap" ? Math.min(wanted, height, width) : wanted;
  const place = (low: number, high: number, limit: number): number => {
    const start = Math.floor((low + high - side) / 2);
    const slack = limit - side;
    return Math.min(Math.max(start, Math.min(0, slack)), Math.max(0, slack));
  };
  const [x0, y0] = [place(lesion.x0, lesion.x1, width), place(lesion.y0, lesion.y1, height)];
  const box = { x0, y0, x1: x0 + side, y1: y0 + side };
  if (outside !== "clip") return box;
  return {
    x0: Math.max(box.x0, 0),
    y0: Math.max(box.y0, 0),
    x1: Math.min(box.x1, width),
    y1: Math.min(box.y1, height),
  };
}

/**
 * Cuts the region from the full-size picture and resizes it to the classifier's input.
 *
 * @param box - from {@link roiBox} for this picture and the rule's `outside`.
 * @param size - side of the result.
 */
export function cropRoi(
  image: RgbImage,
  mask: Mask,
  box: Box,
  rule: Pick<RoiRule, "background" | "outside">,
  size: number,
): RgbImage {
  const [height, width] = [box.y1 - box.y0, box.x1 - box.x0];
  const buffer = new Uint8Array(width * 3);
  const row = (y: number): Uint8Array => {
    const sourceY = inside(box.y0 + y, box.y0, box.y1, image.height, rule.outside);
    for (let x = 0; x < width; x++) {
      const sourceX = inside(box.x0 + x, box.x0, box.x1, image.width, rule.outside);
      const pixel = sourceY * image.width + sourceX;
      const shown =
        sourceX >= 0 && sourceY >= 0 && (rule.background === "keep" || mask.data[pixel] === 1);
      for (let c = 0; c < 3; c++) buffer[3 * x + c] = shown ? (image.data[3 * pixel + c] ?? 0) : 0;
    }
    return buffer;
  };
  return { width: size, height: size, data: resizeRows({ height, width, channels: 3, row }, size, size) };
}

/** Where a row or column of the crop is read: mirrored for `reflect`, edge included; -1 where it is black. */
function inside(i: number, low: number, high: number, limit: number, outside: Outside): number {
  if (i >= 0 && i < limit) return i;
  if (outside !== "reflect") return -1;
  const [first, last] = [Math.max(low, 0), Math.min(high, limit)];
  const period = 2 * (last - first);
  const offset = (((i - first) % period) + period) % period;
  return first + (offset < last - first ? offset : period - 1 - offset);
}
