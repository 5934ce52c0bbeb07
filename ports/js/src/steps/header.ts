/** What a picture file says about itself before anything is decoded: format, size, and what decoding will drop. */

import { ImageDecodeError, ImageTooLargeError, ImageUnsupportedError } from "../errors.js";

/** Formats that Python reads; a browser or sharp may know fewer, and then throws `ImageDecodeError`. */
export const FORMATS = "JPEG, PNG, WebP, BMP, TIFF";
/** Larger pictures are refused before they are decoded. */
export const DEFAULT_MAX_PIXELS = 100_000_000;

/** Facts from a file's header. */
export interface Header {
  readonly format: "JPEG" | "PNG" | "WebP" | "BMP" | "TIFF" | "HEIC";
  /** Stored columns, before any EXIF rotation. */
  readonly width: number;
  readonly height: number;
  /** What decoding to 8-bit RGB leaves out, in sentences for people. */
  readonly notes: readonly string[];
  /** Whether there is a channel, or a colour, of transparency. */
  readonly alpha: boolean;
}

/**
 * Reads the header of an encoded picture.
 *
 * @throws ImageDecodeError - empty, of no supported format, or damaged before the size is known.
 */
export function readHeader(data: Uint8Array): Header {
  if (data.length === 0) {
    throw new ImageDecodeError("The picture is empty (0 bytes).", "Check that it was copied or downloaded completely.");
  }
  let header: Header;
  try {
    header = parse(new Reader(data));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ImageDecodeError(
      "The picture file ends before its size is known.",
      "Check that it was copied or downloaded completely.",
      { cause: error },
    );
  }
  if (header.width < 1 || header.height < 1) {
    throw new ImageDecodeError(`The ${header.format} header gives an empty size.`, "Export the picture again.");
  }
  return header;
}

/** Refuses a picture that has more pixels than allowed. */
export function checkPixels(height: number, width: number, maxPixels: number): void {
  if (height * width <= maxPixels) return;
  const millions = (height * width) / 1e6;
  throw new ImageTooLargeError(
    `The picture has ${String(width)}x${String(height)} = ${millions.toFixed(1)} million pixels, ` +
      `more than the limit of ${String(maxPixels / 1e6)} million.`,
    "Make it smaller, or raise maxPixels.",
  );
}

/** Bounds-checked reading: beyond the end is a RangeError. */
class Reader {
  readonly #view: DataView;
  constructor(readonly data: Uint8Array) {
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }
  u8(at: number): number {
    return this.#view.getUint8(at);
  }
  u16(at: number, little = false): number {
    return this.#view.getUint16(at, little);
  }
  u32(at: number, little = false): number {
    return this.#view.getUint32(at, little);
  }
  i32(at: number, little = false): number {
    return this.#view.getInt32(at, little);
  }
  size(at: number, little: boolean, big: boolean): number {
    return big ? Number(this.#view.getBigUint64(at, little)) : this.u32(at, little);
  }
  text(at: number, length: number): string {
    return String.fromCharCode(...this.data.subarray(at, at + length));
  }
  starts(...bytes: number[]): boolean {
    return bytes.every((byte, i) => this.data[i] === byte);
  }
}

function parse(file: Reader): Header {
  if (file.starts(0xff, 0xd8, 0xff)) return jpeg(file);
  if (file.starts(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return png(file);
  if (file.text(0, 4) === "RIFF" && file.text(8, 4) === "WEBP") return webp(file);
  if (file.starts(0x42, 0x4d)) return bmp(file);
  if (["II*\0", "MM\0*", "II+\0", "MM\0+"].includes(file.text(0, 4))) return tiff(file);
  throw unsupported(file);
}

function unsupported(file: Reader): ImageDecodeError {
  const convert = "Convert the picture to JPEG or PNG first.";
  if (file.text(4, 4) === "ftyp") {
    return new ImageUnsupportedError(`HEIC/AVIF pictures (${file.text(8, 4)}) are not supported.`, convert);
  }
  if (file.text(128, 4) === "DICM") {
    return new ImageDecodeError(
      "This is a DICOM file, which is not supported.",
      "Export the picture as JPEG or PNG first.",
    );
  }
  if (file.text(0, 4) === "GIF8") {
    return new ImageDecodeError("GIF pictures are not supported: 256 colours are too few.", "Use the original photo.");
  }
  return new ImageDecodeError(`This is no picture of a supported format (${FORMATS}).`, convert);
}

function notes(found: { profile?: Uint8Array | null; palette?: boolean; deep?: boolean; more?: boolean }): string[] {
  const said: string[] = [];
  if (found.profile && !isSrgb(found.profile)) {
    said.push("The embedded colour profile was not applied; colours may be off.");
  }
  if (found.palette === true) {
    said.push("The picture has at most 256 colours; finer shades were lost when it was saved.");
  }
  if (found.deep === true) said.push("16-bit samples were reduced to 8 bits.");
  if (found.more === true) said.push("The file holds several pictures; the first was used.");
  return said;
}

function isSrgb(profile: Uint8Array): boolean {
  const plain = new TextDecoder("latin1").decode(profile);
  return plain.includes("sRGB") || plain.includes("\0s\0R\0G\0B");
}

function damaged(format: string, detail = ""): ImageDecodeError {
  return new ImageDecodeError(`The ${format} header is damaged${detail}.`, "Export the picture again.");
}

function jpeg(file: Reader): Header {
  const profile: number[] = [];
  let position = 2;
  for (;;) {
    if (file.u8(position) !== 0xff) throw damaged("JPEG");
    const marker = file.u8(position + 1);
    if (marker === 0xff) {
      position += 1;
      continue;
    }
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      position += 2;
      continue;
    }
    const length = file.u16(position + 2);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) {
      const [height, width] = [file.u16(position + 5), file.u16(position + 7)];
      const said = notes({ profile: profile.length ? Uint8Array.from(profile) : null });
      return { format: "JPEG", width, height, notes: said, alpha: false };
    }
    if (marker === 0xd9 || marker === 0xda || length < 2) throw damaged("JPEG", ": it gives no size");
    const segment = file.data.subarray(position + 4, position + 2 + length);
    if (marker === 0xe2 && file.text(position + 4, 12) === "ICC_PROFILE\0") profile.push(...segment);
    position += 2 + length;
  }
}

function png(file: Reader): Header {
  const [width, height, depth, color] = [file.u32(16), file.u32(20), file.u8(24), file.u8(25)];
  let alpha = color === 4 || color === 6;
  let profile: Uint8Array | null = null;
  let animated = false;
  for (let position = 8; position + 8 <= file.data.length; ) {
    const [length, kind] = [file.u32(position), file.text(position + 4, 4)];
    if (kind === "IDAT") break;
    // The profile itself is compressed; the chunk begins with its name.
    if (kind === "iCCP") profile = file.data.subarray(position + 8, position + 8 + Math.min(length, 80));
    alpha ||= kind === "tRNS";
    animated ||= kind === "acTL";
    position += 12 + length;
  }
  const said = notes({ profile, deep: depth === 16, more: animated, palette: color === 3 });
  return { format: "PNG", width, height, notes: said, alpha };
}

function webp(file: Reader): Header {
  const kind = file.text(12, 4);
  if (kind === "VP8 ") {
    const [width, height] = [file.u16(26, true) & 0x3fff, file.u16(28, true) & 0x3fff];
    return { format: "WebP", width, height, notes: [], alpha: false };
  }
  if (kind === "VP8L") {
    const bits = file.u32(21, true);
    const [width, height] = [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
    return { format: "WebP", width, height, notes: [], alpha: ((bits >>> 28) & 1) === 1 };
  }
  if (kind === "VP8X") {
    const flags = file.u8(20);
    const width = (file.u16(24, true) | (file.u8(26) << 16)) + 1;
    const height = (file.u16(27, true) | (file.u8(29) << 16)) + 1;
    const profile = flags & 0x20 ? file.data.subarray(0, 8192) : null;
    const said = notes({ profile, more: (flags & 0x02) !== 0 });
    return { format: "WebP", width, height, notes: said, alpha: (flags & 0x10) !== 0 };
  }
  throw damaged("WebP");
}

function bmp(file: Reader): Header {
  const old = file.u32(14, true) === 12;
  const [width, height] = old ? [file.u16(18, true), file.u16(20, true)] : [file.i32(18, true), file.i32(22, true)];
  return { format: "BMP", width: Math.abs(width), height: Math.abs(height), notes: [], alpha: false };
}

function tiff(file: Reader): Header {
  const little = file.data[0] === 0x49;
  const big = file.data[2] === 0x2b || file.data[3] === 0x2b;
  const offset = file.size(big ? 8 : 4, little, big);
  const count = big ? file.size(offset, little, true) : file.u16(offset, little);
  const [first, step, valueAt] = big ? [offset + 8, 20, 12] : [offset + 2, 12, 8];
  if (count > 4096) throw damaged("TIFF");
  const tags = new Map<number, number>();
  const lengths = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const entry = first + i * step;
    const [tag, kind] = [file.u16(entry, little), file.u16(entry + 2, little)];
    const length = file.size(entry + 4, little, big);
    const at = entry + valueAt;
    if (length === 1 && kind === 3) tags.set(tag, file.u16(at, little));
    else if (length === 1 && kind === 4) tags.set(tag, file.u32(at, little));
    else if (length === 1 && kind === 16) tags.set(tag, file.size(at, little, true));
    else if (kind === 1 || kind === 7) tags.set(tag, file.size(at, little, big));
    lengths.set(tag, length);
    if (tag === 258 && kind === 3 && length > 1) {
      const place = length * 2 > (big ? 8 : 4) ? file.size(at, little, big) : at;
      tags.set(tag, file.u16(place, little));
    }
  }
  const following = file.size(first + count * step, little, big);
  const start = tags.get(34675);
  const profile = start === undefined ? null : file.data.subarray(start, start + (lengths.get(34675) ?? 0));
  const deep = (tags.get(258) ?? 8) === 16;
  const said = notes({ profile, deep, more: following !== 0, palette: tags.get(262) === 3 });
  const [width, height] = [tags.get(256) ?? 0, tags.get(257) ?? 0];
  return { format: "TIFF", width, height, notes: said, alpha: tags.has(338) };
}
