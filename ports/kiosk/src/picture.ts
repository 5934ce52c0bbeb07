/** The picture with the lesion's outline and the square that the classifier saw; colours as in the Python runtime. */

import type { Answer } from "./answer";

const DARK = "#181a1e";
const WHITE = "#ffffff";
const COLOURS = { alarm: "#e69f00", calm: "#56b4e9", unsure: "#f0e442" };

export type Tone = keyof typeof COLOURS;

export function toneOf(answer: Answer): Tone {
  if (answer.status !== "ok") return "unsure";
  return answer.suspicious ? "alarm" : "calm";
}

export function draw(canvas: HTMLCanvasElement, answer: Answer): void {
  const { picture, mask, square } = answer;
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d");
  if (!context) throw new RangeError("no memory for a canvas");
  context.drawImage(picture, 0, 0);
  const line = Math.max(2, Math.round(Math.min(picture.width, picture.height) / 180));
  if (square) {
    const thin = Math.max(2, Math.round(line / 2));
    // A square that leaves the picture is drawn along the picture's edge, where it can be seen.
    const [left, top] = [Math.max(thin, square.x0), Math.max(thin, square.y0)];
    const [right, bottom] = [Math.min(picture.width - thin, square.x1), Math.min(picture.height - thin, square.y1)];
    const sides = [left, top, right - left, bottom - top] as const;
    for (const [colour, width] of [[DARK, thin + 3], [WHITE, thin]] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(...sides);
    }
  }
  if (mask) {
    // A dark halo makes the line show on light and on dark skin.
    ring(context, mask, line + 2, DARK);
    ring(context, mask, line, COLOURS[toneOf(answer)]);
  }
}

/** Leaves nothing of a picture in the canvas. */
export function clear(canvas: HTMLCanvasElement): void {
  canvas.width = canvas.height = 0;
}

/** A line of this width around the mask. */
function ring(context: CanvasRenderingContext2D, mask: ImageBitmap, width: number, colour: string): void {
  const layer = new OffscreenCanvas(mask.width, mask.height);
  const inner = layer.getContext("2d");
  if (!inner) throw new RangeError("no memory for a canvas");
  const steps = Math.max(16, width * 6);
  for (let step = 0; step < steps; step++) {
    const angle = (2 * Math.PI * step) / steps;
    inner.drawImage(mask, width * Math.cos(angle), width * Math.sin(angle));
  }
  inner.globalCompositeOperation = "source-in";
  inner.fillStyle = colour;
  inner.fillRect(0, 0, mask.width, mask.height);
  inner.globalCompositeOperation = "destination-out";
  inner.drawImage(mask, 0, 0);
  context.drawImage(layer, 0, 0);
}
