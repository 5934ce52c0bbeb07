/** The networks, in a worker of their own: the page stays responsive, and a crash there does not end the kiosk. */

import type { Answer, Loaded, Reply, Request, Source } from "./answer";
import { KioskError } from "./errors";
import type { Installed } from "./installation";

declare const __WORKER__: string;

type Waiting = { resolve: (result: never) => void; reject: (error: KioskError) => void };
type Body = Request extends infer R ? (R extends { id: number } ? Omit<R, "id"> : never) : never;

/** A picture takes a second; whatever takes this long has crashed without a word. */
const PATIENCE = 60_000;
const MAX_THREADS = 4;

export class Engine {
  private readonly waiting = new Map<number, Waiting>();
  private count = 0;

  private constructor(private readonly worker: Worker) {
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if ("code" in data) waiting?.reject(new KioskError(data.code, data.detail));
      else waiting?.resolve(data.result as never);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.fail(new KioskError("engine-error", event.message || "the worker stopped"));
    };
    worker.onmessageerror = () => this.fail(new KioskError("engine-error", "the worker's answer cannot be read"));
  }

  /** Starts the worker, has it check and load the bundle, and runs the networks once. */
  static async load({ release, id }: Installed): Promise<{ engine: Engine; loaded: Loaded }> {
    const base = new URL("./", location.href).href;
    const engine = new Engine(new Worker(new URL(__WORKER__, base), { type: "module" }));
    try {
      const loaded = await engine.ask<Loaded>({
        kind: "load",
        base,
        release: id,
        files: release.files,
        manifest: release.bundle.sha256,
        operatingPoint: release.settings.operating_point,
        prevalence: release.settings.prevalence,
        threads: crossOriginIsolated ? Math.max(1, Math.min(MAX_THREADS, navigator.hardwareConcurrency)) : 1,
      });
      return { engine, loaded };
    } catch (thrown) {
      engine.stop();
      throw thrown;
    }
  }

  diagnose(source: Source): Promise<Answer> {
    return this.ask<Answer>({ kind: "diagnose", source }, source instanceof ImageBitmap ? [source] : []);
  }

  /** Ends the worker and frees its memory. */
  stop(): void {
    this.worker.terminate();
    this.fail(new KioskError("engine-error", "the worker was stopped"));
  }

  private ask<Result>(body: Body, transfer: Transferable[] = []): Promise<Result> {
    const id = ++this.count;
    return new Promise<Result>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new KioskError("engine-error", `no answer within ${PATIENCE / 1000} s`));
      }, PATIENCE);
      this.waiting.set(id, {
        resolve: (result) => (clearTimeout(timer), resolve(result)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      });
      this.worker.postMessage({ id, ...body }, transfer);
    });
  }

  private fail(error: KioskError): void {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}
