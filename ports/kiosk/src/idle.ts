/** Clears what a person left behind: first it asks, then it clears. Clock times and not timers decide: hidden pages' timers stall. */

const EVENTS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "scroll", "input"] as const;

/** Seconds for which the question stands. */
export const WARNING = 15;

export class Idle {
  private last = 0;
  private timer: ReturnType<typeof setInterval> | null = null;

  /**
   * @param seconds without a sign of life until the question is asked, less the time it stands.
   * @param onWarn called with the seconds left while the question stands.
   * @param onReset called once, when nobody answered.
   */
  constructor(
    private readonly seconds: number,
    private readonly onWarn: (left: number) => void,
    private readonly onReset: () => void,
    private readonly asking: () => boolean,
  ) {
    for (const event of EVENTS) {
      window.addEventListener(event, () => this.touch(), { passive: true, capture: true });
    }
    document.addEventListener("visibilitychange", () => this.look());
  }

  start(): void {
    this.last = Date.now();
    this.timer ??= setInterval(() => this.look(), 250);
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }

  /** A sign of life. While the question stands only its answer counts. */
  private touch(): void {
    if (!this.asking()) this.last = Date.now();
  }

  private look(): void {
    if (this.timer === null) return;
    const left = this.seconds - (Date.now() - this.last) / 1000;
    if (left <= 0) {
      this.stop();
      this.onReset();
    } else if (left <= Math.min(WARNING, this.seconds / 2)) this.onWarn(Math.ceil(left));
  }
}
