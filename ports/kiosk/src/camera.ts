/** The camera: a live picture, and one frame of it. */

import { KioskError } from "./errors";

/** Width over height of the frame on the screen, and so of the picture that is taken. */
const FRAME = 4 / 3;

export class Camera {
  private stream: MediaStream | null = null;
  private device: string | null = null;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly onLost: (error: KioskError) => void,
  ) {}

  /** Starts the camera that was used last, or one that looks away from the person. */
  async start(): Promise<void> {
    this.stop();
    if (!navigator.mediaDevices) throw new KioskError("camera-missing", "this page may not use cameras");
    const which = this.device ? { deviceId: { exact: this.device } } : { facingMode: "environment" };
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { ...which, width: { ideal: 1920 }, aspectRatio: { ideal: FRAME } },
      });
    } catch (thrown) {
      if (this.device) {
        this.device = null;
        return this.start();
      }
      throw cameraError(thrown);
    }
    this.stream = stream;
    const [track] = stream.getVideoTracks();
    this.device = track?.getSettings().deviceId ?? null;
    track?.addEventListener("ended", () => this.lost(stream));
    this.video.srcObject = stream;
    await this.video.play().catch((thrown: unknown) => {
      // Whoever stops the camera while it starts ends the playing, and knows.
      if (this.stream === stream) throw cameraError(thrown);
    });
  }

  /** Lets go of the camera; its light goes out. */
  stop(): void {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }

  get ready(): boolean {
    return this.stream !== null && this.video.videoWidth > 0 && this.video.readyState >= this.video.HAVE_CURRENT_DATA;
  }

  /** The frame as the screen shows it: the middle of the video, 4:3. */
  async grab(): Promise<ImageBitmap> {
    if (!this.ready) throw new KioskError("camera-busy", "the camera gives no picture yet");
    const { videoWidth, videoHeight } = this.video;
    const width = Math.min(videoWidth, Math.round(videoHeight * FRAME));
    const height = Math.min(videoHeight, Math.round(videoWidth / FRAME));
    const [left, top] = [Math.floor((videoWidth - width) / 2), Math.floor((videoHeight - height) / 2)];
    return createImageBitmap(this.video, left, top, width, height);
  }

  /** Whether there is more than one camera to choose from. */
  async several(): Promise<boolean> {
    return (await this.devices()).length > 1;
  }

  /** Starts the next camera of the list. */
  async next(): Promise<void> {
    const all = await this.devices();
    const here = all.findIndex(({ deviceId }) => deviceId === this.device);
    this.device = all[(here + 1) % all.length]?.deviceId ?? null;
    await this.start();
  }

  private async devices(): Promise<MediaDeviceInfo[]> {
    return (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
  }

  private lost(stream: MediaStream): void {
    if (this.stream !== stream) return;
    this.stop();
    this.onLost(new KioskError("camera-lost"));
  }
}

function cameraError(thrown: unknown): KioskError {
  const name = thrown instanceof DOMException ? thrown.name : "";
  const detail = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  if (name === "NotAllowedError" || name === "SecurityError") return new KioskError("camera-denied", detail);
  if (name === "NotFoundError" || name === "OverconstrainedError") return new KioskError("camera-missing", detail);
  return new KioskError("camera-busy", detail);
}
