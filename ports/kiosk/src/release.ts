/** `release.json`: every file of the kiosk with its hash. The hash of `release.json` itself is the release's identity. */

import { KioskError } from "./errors";

export interface FileEntry {
  sha256: string;
  bytes: number;
}

export interface Settings {
  operating_point: string | null;
  idle_seconds: number;
  save: boolean;
  language: string | null;
  prevalence: number | null;
}

export interface Release {
  schema_version: number;
  edge_infer: string;
  bundle: { name: string; version: string; sha256: string };
  settings: Settings;
  files: Record<string, FileEntry>;
}

/** What a service worker says while it installs a release. */
export type Progress =
  | { release: string; done: number; total: number }
  | { release: string; code: string; detail: string };

export const RELEASE = "release.json";
/** A query that goes past the service worker to the server. */
export const FRESH = "fresh";
/** A query with which a page says which release it is of; another release's service worker refuses it. */
export const PINNED = "release";

const SCHEMA_VERSION = 1;

export async function sha256(data: BufferSource): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function parseRelease(data: BufferSource): Release {
  let release: Release;
  try {
    release = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data)) as Release;
  } catch {
    throw new KioskError("bundle-schema", `${RELEASE} is not JSON`);
  }
  if (release.schema_version !== SCHEMA_VERSION) {
    throw new KioskError("bundle-schema", `${RELEASE} has schema version ${String(release.schema_version)}`);
  }
  return release;
}

/** Fetches a file past all caches of the browser. */
export async function fetchFresh(path: string): Promise<ArrayBuffer> {
  let response: Response;
  try {
    response = await fetch(path, { cache: "no-store" });
  } catch {
    throw new KioskError("server-unreachable", path);
  }
  if (response.status === 404) throw new KioskError("bundle-file-missing", path);
  if (!response.ok) throw new KioskError("server-unreachable", `${path}: ${response.status}`);
  try {
    return await response.arrayBuffer();
  } catch {
    throw new KioskError("server-unreachable", path);
  }
}

/** Fails unless the bytes are those that the release names. */
export async function check(path: string, data: ArrayBuffer, entry: FileEntry): Promise<void> {
  if (data.byteLength !== entry.bytes || (await sha256(data)) !== entry.sha256) {
    throw new KioskError("bundle-tampered", path);
  }
}
