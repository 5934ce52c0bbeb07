/** Transparency: colours that nobody sees are nobody's picture. */

import { ImageDecodeError } from "../errors.js";

/**
 * Whether a transparency was left out that changes what is seen.
 *
 * @param alpha - a sample for each pixel, 0 transparent to 255 opaque.
 * @throws ImageDecodeError - pixels are wholly transparent.
 */
export function transparencyMatters(alpha: Uint8Array, format: string): boolean {
  let [hidden, partial] = [0, false];
  for (const sample of alpha) {
    if (sample === 0) hidden++;
    else if (sample !== 255) partial = true;
  }
  if (hidden > 0) {
    throw new ImageDecodeError(
      `The ${format} picture is transparent in ${((100 * hidden) / alpha.length).toFixed(2)}% of its pixels: the colours ` +
        "that are stored there are not those of a photograph.",
      "Save the picture without transparency, as JPEG for example.",
    );
  }
  return partial;
}
