/** One picture on its way: what is known of it so far, and the steps before and between the networks. */

import { ImageArrayError, ImageDecodeError } from "./errors.js";
import type { DermoscopyRule, FamiliarityRule, InputSpec, MaskRule, QualityLimits, RoiRule } from "./rules.js";
import { appearanceProblem, dermoscopyScore, familiarityProblem, measureAppearance } from "./steps/appearance.js";
import { cropRoi, lesionBox, roiBox } from "./steps/crop.js";
import { checkPixels, readHeader } from "./steps/header.js";
import { areaFraction, cleanMask, lesionConfidence } from "./steps/mask.js";
import type { Quality } from "./steps/quality.js";
import { lesionProblem, measureQuality, pictureProblem } from "./steps/quality.js";
import { resize, restoreMask } from "./steps/resize.js";
import { transparencyMatters } from "./steps/transparency.js";
import type { Box, Decoder, Mask, Problem, ProbabilityMap, RgbImage } from "./types.js";

/** What a bundle fixes for the steps outside its networks. */
export interface StepRules {
  readonly segmenter: Pick<InputSpec, "height" | "width">;
  readonly classifier: Pick<InputSpec, "height" | "width">;
  readonly quality: QualityLimits;
  readonly dermoscopy: DermoscopyRule | null;
  readonly mask: MaskRule;
  readonly roi: RoiRule;
  readonly familiarity: FamiliarityRule | null;
}

/** A picture and what is known of it. The steps after the one that found `problem` are left out. */
export interface Work {
  readonly picture: RgbImage;
  readonly segmenterInput: RgbImage;
  readonly quality: Quality;
  readonly dermoscopy: number | null;
  familiarity: number | null;
  problem: Problem | null;
  mask: Mask | null;
  lesionBox: Box | null;
  roiBox: Box | null;
  roi: RgbImage | null;
  area: number | null;
  confidence: number | null;
  readonly warnings: string[];
}

/** Decodes encoded bytes after a look at their header, which may refuse them. */
export async function openPicture(
  data: Uint8Array,
  decoder: Decoder,
  maxPixels: number,
): Promise<{ readonly picture: RgbImage; readonly notes: readonly string[] }> {
  const header = readHeader(data);
  checkPixels(header.height, header.width, maxPixels);
  const { alpha, ...picture } = await decoder(data, header.format);
  if (!isPicture(picture)) {
    throw new ImageDecodeError("The decoder gave no picture.", "Report which browser and which picture.");
  }
  const ignored = header.alpha && (alpha === null || transparencyMatters(alpha, header.format));
  return { picture, notes: ignored ? [...header.notes, "Transparency was ignored."] : header.notes };
}

/** Checks an array that is given as a picture. */
export function checkPicture(picture: RgbImage, maxPixels: number): RgbImage {
  if (!isPicture(picture)) {
    throw new ImageArrayError(
      "The picture is no RGB array of 8 bits.",
      "Give height, width and a Uint8Array of height * width * 3 samples.",
    );
  }
  checkPixels(picture.height, picture.width, maxPixels);
  return picture;
}

/** Before the networks: resizes, and judges quality and appearance. */
export function examine(picture: RgbImage, rules: StepRules, notes: readonly string[] = []): Work {
  const segmenterInput = resize(picture, rules.segmenter.height, rules.segmenter.width);
  const quality = measureQuality(segmenterInput);
  const dermoscopy = rules.dermoscopy && dermoscopyScore(measureAppearance(segmenterInput), rules.dermoscopy);
  const problem =
    pictureProblem(picture.height, picture.width, quality, rules.quality) ??
    (rules.dermoscopy && dermoscopy !== null ? appearanceProblem(dermoscopy, rules.dermoscopy) : null);
  return {
    picture,
    segmenterInput,
    quality,
    dermoscopy,
    familiarity: null,
    problem,
    mask: null,
    lesionBox: null,
    roiBox: null,
    roi: null,
    area: null,
    confidence: null,
    warnings: [...notes],
  };
}

/**
 * Between the networks: mask, box and crop from the segmenter's map, or the reason why there are none. An outline is
 * kept where there is one, even if the picture is refused.
 *
 * @param score - how familiar the picture is, where the bundle has a rule for it.
 * @returns the crop, or null where there is none.
 */
export function locate(
  work: Work,
  map: ProbabilityMap,
  rules: StepRules,
  score: number | null = null,
): RgbImage | null {
  const { height, width } = work.picture;
  const small = cleanMask(map, rules.mask.threshold);
  const mask = restoreMask(small, height, width);
  const box = lesionBox(mask);
  const area = areaFraction(mask);
  const confidence = lesionConfidence(map, small);
  work.familiarity = rules.familiarity && score;
  const strange = rules.familiarity && score !== null ? familiarityProblem(score, rules.familiarity) : null;
  work.problem = strange ?? lesionProblem(area, confidence, rules.mask);
  if (box === null) return null;
  [work.mask, work.lesionBox, work.area, work.confidence] = [mask, box, area, confidence];
  if (work.problem !== null) return null;
  const size = rules.classifier.height;
  const region = roiBox(box, height, width, rules.roi.margin, rules.roi.outside);
  work.roiBox = region;
  work.roi = cropRoi(work.picture, mask, region, rules.roi, size);
  if (box.x0 === 0 || box.y0 === 0 || box.x1 === width || box.y1 === height) {
    work.warnings.push("The lesion reaches the picture's edge; part of it may be missing.");
  }
  const side = Math.min(region.x1 - region.x0, region.y1 - region.y0);
  if (side < size) {
    work.warnings.push(`The lesion is small: its crop of ${String(side)} pixels was enlarged to ${String(size)}.`);
  }
  return work.roi;
}

function isPicture(value: RgbImage): boolean {
  const { height, width, data } = value;
  return (
    Number.isInteger(height) &&
    Number.isInteger(width) &&
    height > 0 &&
    width > 0 &&
    data instanceof Uint8Array &&
    data.length === height * width * 3
  );
}
