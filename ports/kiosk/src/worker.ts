/** The worker: the JavaScript core with ONNX Runtime, and what the page needs to draw. */

import * as ort from "onnxruntime-web/wasm";
import { bitmapDecoder, withoutAlpha } from "../../js/src/browser";
import {
  type BundleSource,
  Diagnoser,
  type Diagnosis,
  EdgeInferError,
  type Mask,
  ortEngine,
  type RgbImage,
} from "../../js/src/index";
import type { Answer, Box, Loaded, Reply, Request, Source } from "./answer";
import { KioskError, typed } from "./errors";
import { check, type FileEntry, PINNED } from "./release";

declare const self: DedicatedWorkerGlobalScope;
declare const __ORT_MJS__: string;
declare const __ORT_WASM__: string;

type Load = Extract<Request, { kind: "load" }>;

/** The picture on the screen is at least and at most this long, so that lines look alike on all pictures. */
const SHOWN = [1200, 1600] as const;
const FOLDER = "bundle/";

let diagnoser: Diagnoser | null = null;

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  try {
    if (data.kind === "load") {
      self.postMessage({ id: data.id, result: await load(data) } satisfies Reply);
    } else {
      const answer = await diagnose(data.source);
      const moved = [answer.picture, answer.mask].filter((bitmap) => bitmap !== null);
      self.postMessage({ id: data.id, result: answer } satisfies Reply, moved);
    }
  } catch (thrown) {
    const { code, detail } = fromCore(thrown);
    self.postMessage({ id: data.id, code, detail } satisfies Reply);
  }
};

async function load(request: Load): Promise<Loaded> {
  const { base, operatingPoint, prevalence, threads } = request;
  ort.env.wasm.wasmPaths = { mjs: base + __ORT_MJS__, wasm: base + __ORT_WASM__ };
  ort.env.wasm.numThreads = threads;
  diagnoser = await Diagnoser.load(pinned(request), {
    engine: ortEngine(ort, { executionProviders: ["wasm"] }),
    decoder: bitmapDecoder(),
    ...(operatingPoint === null ? {} : { operatingPoint }),
    ...(prevalence === null ? {} : { prevalence }),
  });
  await diagnoser.warmup();
  const { manifest, operatingPoint: point } = diagnoser;
  const { license, license_note: note } = manifest.provenance;
  return {
    bundle: { name: manifest.name, version: manifest.version, sha256: diagnoser.sha256 },
    intendedUse: manifest.intended_use,
    license: [license, note].filter(Boolean).join(". "),
    point: {
      name: point.name,
      threshold: point.threshold,
      meaning: point.meaning,
      sensitivity: point.metrics["sensitivity"]?.value ?? null,
      specificity: point.metrics["specificity"]?.value ?? null,
    },
    prior: diagnoser.prior,
    threads,
    engine: `ONNX Runtime Web ${ort.env.versions.web ?? ""} (${diagnoser.provider})`,
  };
}

/** The bundle of one release: of no other, and with the bytes that the release names. */
function pinned({ base, release, files }: Load): BundleSource {
  return {
    async read(path) {
      const entry: FileEntry | undefined = files[FOLDER + path];
      if (!entry) throw new KioskError("bundle-file-missing", path);
      const response = await fetch(`${base}${FOLDER}${path}?${PINNED}=${release}`).catch(() => {
        throw new KioskError("server-unreachable", path);
      });
      if (response.status === 409) throw new KioskError("release-changed", path);
      if (!response.ok) throw new KioskError("bundle-file-missing", path);
      const data = await response.arrayBuffer();
      await check(path, data, entry);
      return new Uint8Array(data);
    },
  };
}

async function diagnose(source: Source): Promise<Answer> {
  if (!diagnoser) throw new KioskError("engine-error", "the networks are not loaded");
  const diagnosis = await diagnoser.diagnose(source instanceof Blob ? await bytes(source) : pixels(source));
  const picture = await shown(source);
  const [height] = diagnosis.image_size;
  return answerOf(diagnosis, picture, picture.height / height);
}

async function answerOf(diagnosis: Diagnosis, picture: ImageBitmap, scale: number): Promise<Answer> {
  const { mask, roi_box: box, band } = diagnosis;
  return {
    status: diagnosis.status,
    reason: diagnosis.reason,
    probability: diagnosis.melanoma_probability,
    suspicious: diagnosis.label === null ? null : diagnosis.label === "melanoma",
    threshold: diagnosis.threshold,
    band: band === null ? null : [band[0], band[1]],
    picture,
    mask: mask && (await drawn(mask, picture)),
    square: box && scaled(box, scale),
    areaFraction: diagnosis.lesion_area_fraction,
    warnings: [...diagnosis.warnings],
  };
}

async function bytes(file: Blob): Promise<ArrayBuffer> {
  try {
    return await file.arrayBuffer();
  } catch (thrown) {
    throw new KioskError("image-access", String(thrown));
  }
}

function pixels(frame: ImageBitmap): RgbImage {
  const context = new OffscreenCanvas(frame.width, frame.height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new KioskError("out-of-memory", "no canvas");
  context.drawImage(frame, 0, 0);
  return withoutAlpha(context.getImageData(0, 0, frame.width, frame.height));
}

/** The upright picture at the size of the screen. */
async function shown(source: Source): Promise<ImageBitmap> {
  const whole = source instanceof Blob ? await createImageBitmap(source, { imageOrientation: "from-image" }) : source;
  const longer = Math.max(whole.width, whole.height);
  const scale = Math.min(SHOWN[1], Math.max(SHOWN[0], longer)) / longer;
  try {
    return await createImageBitmap(whole, {
      resizeWidth: Math.max(1, Math.round(whole.width * scale)),
      resizeHeight: Math.max(1, Math.round(whole.height * scale)),
      resizeQuality: "high",
    });
  } finally {
    whole.close();
  }
}

/** The mask as opaque pixels at the size of the picture on the screen. */
function drawn(mask: Mask, { width, height }: ImageBitmap): Promise<ImageBitmap> {
  const [columns, rows] = [Math.min(width, mask.width), Math.min(height, mask.height)];
  const layer = new ImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    const from = Math.floor(((row + 0.5) * mask.height) / rows) * mask.width;
    for (let column = 0; column < columns; column++) {
      const found = mask.data[from + Math.floor(((column + 0.5) * mask.width) / columns)];
      layer.data[(row * columns + column) * 4 + 3] = found ? 255 : 0;
    }
  }
  return createImageBitmap(layer, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
}

function scaled({ x0, y0, x1, y1 }: Box, scale: number): Box {
  return { x0: x0 * scale, y0: y0 * scale, x1: x1 * scale, y1: y1 * scale };
}

/** The core's typed errors have the kiosk's codes; what lies beneath them may say more. */
function fromCore(thrown: unknown): KioskError {
  if (!(thrown instanceof EdgeInferError)) return typed(thrown);
  const beneath = thrown.cause === undefined ? null : typed(thrown.cause);
  if (beneath && (thrown.cause instanceof KioskError || beneath.code === "out-of-memory")) return beneath;
  return new KioskError(thrown.code, thrown.problem);
}
