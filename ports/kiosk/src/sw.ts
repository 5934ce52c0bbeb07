/**
 * The service worker: one worker, one release, one cache.
 *
 * It is registered as `sw.js?release=<hash>`. It installs only if `release.json` has that hash and every file has the
 * hash that `release.json` names; otherwise nothing of it stays, and an older worker goes on with its own files. It
 * answers from its cache alone, and refuses pages of another release: files of two releases never meet.
 */

// Said again with every answer, so that a page from a host that cannot set headers has them too.
import HEADERS from "../headers.json";
import { KioskError, typed } from "./errors";
import { check, fetchFresh, FRESH, PINNED, parseRelease, RELEASE, sha256, type FileEntry, type Progress } from "./release";

declare const self: ServiceWorkerGlobalScope;

const PREFIX = "edge-infer-kiosk-";
const ID = new URL(self.location.href).searchParams.get(PINNED) ?? "";
const CACHE = PREFIX + ID;
const SCOPE = new URL("./", self.location.href);
const PAGE = "index.html";
const channel = new BroadcastChannel("edge-infer-kiosk");

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(forgetOthers()));
self.addEventListener("message", (event) => {
  if (event.data === "activate") void self.skipWaiting();
});
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (url.origin !== SCOPE.origin || !url.pathname.startsWith(SCOPE.pathname)) return;
  if (url.searchParams.has(FRESH)) return;
  event.respondWith(answer(url, event.request));
});

async function install(): Promise<void> {
  try {
    await fill();
  } catch (thrown) {
    await caches.delete(CACHE);
    const error = thrown instanceof DOMException && thrown.name === "QuotaExceededError"
      ? new KioskError("storage", thrown.message)
      : typed(thrown);
    channel.postMessage({ release: ID, code: error.code, detail: error.detail } satisfies Progress);
    throw error;
  }
}

async function fill(): Promise<void> {
  const data = await fetchFresh(`${RELEASE}?${FRESH}`);
  if ((await sha256(data)) !== ID) throw new KioskError("release-changed", RELEASE);
  const { files } = parseRelease(data);
  const total = Object.values(files).reduce((sum, entry) => sum + entry.bytes, 0);
  let done = 0;
  const older = await olderCaches();
  const cache = await caches.open(CACHE);
  for (const [path, entry] of Object.entries(files)) {
    const kept = await fromOlder(older, path, entry);
    const body = kept ?? (await fetchFresh(`${path}?${FRESH}`));
    if (!kept) await check(path, body, entry);
    await cache.put(address(path), wrapped(path, body));
    done += entry.bytes;
    channel.postMessage({ release: ID, done, total } satisfies Progress);
  }
  await cache.put(address(RELEASE), wrapped(RELEASE, data));
}

async function olderCaches(): Promise<Cache[]> {
  const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  return Promise.all(names.map((name) => caches.open(name)));
}

/** A file that an older release holds with the very same bytes need not be loaded again. */
async function fromOlder(older: Cache[], path: string, entry: FileEntry): Promise<ArrayBuffer | null> {
  for (const cache of older) {
    const found = await cache.match(address(path));
    if (!found) continue;
    const body = await found.arrayBuffer();
    if (body.byteLength === entry.bytes && (await sha256(body)) === entry.sha256) return body;
  }
  return null;
}

async function forgetOthers(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
}

async function answer(url: URL, request: Request): Promise<Response> {
  const pinned = url.searchParams.get(PINNED);
  if (pinned !== null && pinned !== ID) return refused(409, "This file belongs to another release of the kiosk.");
  if (request.method !== "GET" && request.method !== "HEAD") return refused(405, "Files can only be read.");
  const path = decodeURIComponent(url.pathname.slice(SCOPE.pathname.length)) || PAGE;
  const cache = await caches.open(CACHE);
  return (await cache.match(address(path))) ?? refused(404, "This release of the kiosk has no such file.");
}

function address(path: string): string {
  return new URL(path, SCOPE).href;
}

function wrapped(path: string, body: BodyInit): Response {
  return new Response(body, { headers: { ...HEADERS, "Content-Type": mediaType(path) } });
}

function refused(status: number, text: string): Response {
  return new Response(`${text}\n`, { status, headers: { ...HEADERS, "Content-Type": "text/plain; charset=utf-8" } });
}

function mediaType(path: string): string {
  const ending = path.slice(path.lastIndexOf(".") + 1);
  const types: Record<string, string> = {
    html: "text/html; charset=utf-8",
    css: "text/css; charset=utf-8",
    js: "text/javascript; charset=utf-8",
    mjs: "text/javascript; charset=utf-8",
    json: "application/json; charset=utf-8",
    webmanifest: "application/manifest+json; charset=utf-8",
    wasm: "application/wasm",
    svg: "image/svg+xml",
    png: "image/png",
    txt: "text/plain; charset=utf-8",
  };
  return types[ending] ?? "application/octet-stream";
}
