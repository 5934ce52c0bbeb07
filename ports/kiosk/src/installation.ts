/** Puts the kiosk's files into the browser, all checked, and takes over a newer release when asked to. */

import { KioskError, typed } from "./errors";
import { fetchFresh, FRESH, PINNED, parseRelease, RELEASE, sha256, type Progress, type Release } from "./release";

export interface Installed {
  release: Release;
  /** SHA-256 of `release.json`. */
  id: string;
  /** Whether a service worker stands behind this page, so that it works without a network. */
  offline: boolean;
}

export type UpdateState = { kind: "none" } | { kind: "waiting" } | { kind: "failed"; error: KioskError };

const CHANNEL = "edge-infer-kiosk";
const RELOADED = "edge-infer-reloaded";
const HOUR = 3_600_000;

/** Resolves when this page may start; on a first visit it installs, reloads the page and never resolves. */
export async function install(onProgress: (done: number, total: number) => void): Promise<Installed> {
  if (!("serviceWorker" in navigator) || !window.isSecureContext) return withoutWorker();
  if (navigator.serviceWorker.controller) {
    sessionStorage.removeItem(RELOADED);
    const { release, id } = await readRelease(RELEASE);
    return { release, id, offline: true };
  }
  const { id } = await readRelease(`${RELEASE}?${FRESH}`);
  await register(id, onProgress);
  if (sessionStorage.getItem(RELOADED) === id) return withoutWorker();
  sessionStorage.setItem(RELOADED, id);
  location.reload();
  return new Promise(() => undefined);
}

/** Removes every stored file and loads the page anew from the server. */
export async function reinstall(): Promise<void> {
  sessionStorage.removeItem(RELOADED);
  const registration = await navigator.serviceWorker?.getRegistration();
  await registration?.unregister();
  for (const name of await caches.keys()) await caches.delete(name);
  location.reload();
}

/** Looks for newer releases: at once, every hour, and when the network comes back. They are taken over only where `isIdle` allows. */
export class Updates {
  state: UpdateState = { kind: "none" };
  private waiting: ServiceWorker | null = null;
  private takenOver = false;

  constructor(
    private readonly id: string,
    private readonly isIdle: () => boolean,
  ) {
    navigator.serviceWorker.addEventListener("controllerchange", () => {
      this.takenOver = true;
      this.whenIdle();
    });
    window.addEventListener("online", () => void this.look());
    void this.look();
    setInterval(() => void this.look(), HOUR);
  }

  /** To be called whenever the kiosk becomes idle. */
  whenIdle(): void {
    if (!this.isIdle()) return;
    if (this.takenOver) location.reload();
    else this.waiting?.postMessage("activate");
  }

  async look(): Promise<void> {
    let id: string;
    try {
      ({ id } = await readRelease(`${RELEASE}?${FRESH}`));
    } catch (thrown) {
      const error = typed(thrown);
      // Without a network the kiosk goes on with what it has: that is what it is for.
      if (error.code !== "server-unreachable") this.state = { kind: "failed", error };
      return;
    }
    if (id === this.id) {
      this.state = { kind: "none" };
      return;
    }
    try {
      this.waiting = await register(id, () => undefined);
      this.state = { kind: "waiting" };
      this.whenIdle();
    } catch (thrown) {
      this.state = { kind: "failed", error: typed(thrown) };
    }
  }
}

async function withoutWorker(): Promise<Installed> {
  const { release, id } = await readRelease(`${RELEASE}?${FRESH}`);
  return { release, id, offline: false };
}

async function readRelease(path: string): Promise<{ release: Release; id: string }> {
  const data = await fetchFresh(path);
  return { release: parseRelease(data), id: await sha256(data) };
}

/** Resolves with the worker of this release when it has all its files, and rejects with its typed error. */
async function register(id: string, onProgress: (done: number, total: number) => void): Promise<ServiceWorker> {
  const channel = new BroadcastChannel(CHANNEL);
  let failed: KioskError | null = null;
  channel.onmessage = ({ data }: MessageEvent<Progress>) => {
    if (data.release !== id) return;
    if ("code" in data) failed = new KioskError(data.code, data.detail);
    else onProgress(data.done, data.total);
  };
  try {
    const registration = await navigator.serviceWorker
      .register(`sw.js?${PINNED}=${id}`, { updateViaCache: "none" })
      .catch((thrown: unknown) => {
        throw new KioskError("storage", String(thrown));
      });
    const mine = [registration.installing, registration.waiting, registration.active].find(
      (worker) => worker?.scriptURL.endsWith(`${PINNED}=${id}`),
    );
    if (!mine) throw new KioskError("release-changed", "the service worker is of another release");
    await settled(mine, registration.active === null || mine === registration.active);
    return mine;
  } catch (thrown) {
    // The worker's own words come over the channel, a moment before or after its state.
    await new Promise((resolve) => setTimeout(resolve, 100));
    throw failed ?? thrown;
  } finally {
    channel.close();
  }
}

/** Waits until a worker is active, or installed where an older one is still active. */
function settled(worker: ServiceWorker, active: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (worker.state === "activated" || (!active && worker.state === "installed")) resolve();
      else if (worker.state === "redundant") reject(new KioskError("storage", "the service worker was not installed"));
    };
    worker.addEventListener("statechange", look);
    look();
  });
}
