/** What the networks' worker says about one picture and about itself. */

export interface Box {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

/** What was loaded, for the words on the screen. */
export interface Loaded {
  bundle: { name: string; version: string; sha256: string };
  intendedUse: string;
  license: string;
  point: {
    name: string;
    threshold: number;
    /** In English, from the bundle. */
    meaning: string;
    sensitivity: number | null;
    specificity: number | null;
  };
  /** Share of melanoma that the probabilities assume; null where nobody says. */
  prior: number | null;
  threads: number;
  engine: string;
}

export interface Answer {
  status: "ok" | "indeterminate";
  reason: string | null;
  /** 0..1; null where none is given. */
  probability: number | null;
  /** At or above the threshold; null where there is no decision. */
  suspicious: boolean | null;
  threshold: number;
  band: [number, number] | null;
  /** The upright picture, at most 1600 pixels along its longer side; boxes and mask are scaled with it. */
  picture: ImageBitmap;
  /** The lesion as opaque pixels, at the size of `picture`; null where none was found. */
  mask: ImageBitmap | null;
  square: Box | null;
  areaFraction: number | null;
  warnings: string[];
}

export type Source = Blob | ImageBitmap;
export type Request = { id: number } & (
  | { kind: "load"; base: string; release: string; files: Record<string, { sha256: string; bytes: number }>; manifest: string; operatingPoint: string | null; prevalence: number | null; threads: number }
  | { kind: "diagnose"; source: Source }
);
export type Reply = { id: number } & ({ result: unknown } | { code: string; detail: string });
