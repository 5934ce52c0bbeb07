/** The kiosk from the top: install, load, then picture after picture; nothing of one person meets the next. */

import type { Answer, Loaded, Source } from "./answer";
import { drawPicture, fill, pointName, saveReport, wipe } from "./answer_screen";
import { Camera } from "./camera";
import { Engine } from "./engine";
import { KioskError, typed } from "./errors";
import { Idle } from "./idle";
import { install, reinstall, Updates, type Installed } from "./installation";
import { onClick, part, screen, show } from "./page";
import { firstLanguage, has, LANGUAGES, nameOf, percent, setLanguage, text, type Language } from "./texts";

let installed: Installed | null = null;
let engine: Engine | null = null;
let loaded: Loaded | null = null;
let updates: Updates | null = null;
let idle: Idle | null = null;
let current: { answer: Answer; made: Date; camera: boolean } | null = null;
let problem: { error: KioskError; again: (() => unknown) | null } | null = null;
/** Grows whenever the page turns to something else: what was begun before is then not shown any more. */
let turn = 0;
let firstPicture = true;

const camera = new Camera(part<HTMLVideoElement>("video"), (error) => trouble(error, useCamera));
const file = part<HTMLInputElement>("file");
const idleDialog = part<HTMLDialogElement>("idle");
const aboutDialog = part<HTMLDialogElement>("about");

async function begin(): Promise<void> {
  show("preparing");
  part("preparing-what").textContent = text("preparing_install");
  try {
    installed = await install(showProgress);
    const { settings } = installed.release;
    speak(firstLanguage(settings.language));
    part("answer-save").hidden = !settings.save;
    idle = new Idle(settings.idle_seconds, askIdle, nobodyHere, () => idleDialog.open);
    await loadEngine();
    if (installed.offline) updates = new Updates(installed.id, isIdle);
    reset();
  } catch (thrown) {
    trouble(typed(thrown), reinstall);
  }
}

async function loadEngine(): Promise<void> {
  if (!installed) return;
  part("preparing-what").textContent = text("preparing_networks");
  part<HTMLProgressElement>("preparing-bar").removeAttribute("value");
  part("preparing-amount").textContent = "";
  performance.mark("load");
  ({ engine, loaded } = await Engine.load(installed));
  performance.measure("edge-infer:load", "load");
}

function showProgress(done: number, total: number): void {
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);
  part<HTMLProgressElement>("preparing-bar").value = done / total;
  part("preparing-amount").textContent = text("preparing_progress", { done: megabytes(done), total: megabytes(total) });
}

/** The last person's picture goes, and so does the language. */
function nobodyHere(): void {
  if (screen() === "start") reset();
  else reset("start_cleared_idle");
  speak(firstLanguage(installed?.release.settings.language ?? null));
}

/** Forgets the last person and shows the start; a notice says why, where the person did not ask for it. */
function reset(notice: "start_cleared_idle" | "start_cleared_hidden" | null = null): void {
  forget();
  idle?.stop();
  if (idleDialog.open) idleDialog.close();
  if (aboutDialog.open) aboutDialog.close();
  part("start-notice").hidden = notice === null;
  // Said again in the next language that somebody chooses.
  part("start-notice").dataset["text"] = notice ?? "private";
  part("start-notice").textContent = notice ? text(notice) : "";
  show("start");
  updates?.whenIdle();
}

/** Nothing of a picture, an answer or the camera stays behind. */
function forget(): void {
  turn++;
  camera.stop();
  current?.answer.picture.close();
  current?.answer.mask?.close();
  current = null;
  problem = null;
  file.value = "";
  wipe();
}

async function useCamera(): Promise<void> {
  forget();
  const mine = turn;
  part<HTMLButtonElement>("camera-take").disabled = true;
  part("camera-starting").hidden = false;
  part("camera-switch").hidden = true;
  show("camera");
  idle?.start();
  await startCamera(mine, () => camera.start());
}

async function startCamera(mine: number, start: () => Promise<void>): Promise<void> {
  try {
    await start();
    if (mine !== turn) return camera.stop();
    part("camera-switch").hidden = !(await camera.several());
    part("camera-starting").hidden = true;
    part<HTMLButtonElement>("camera-take").disabled = false;
  } catch (thrown) {
    if (mine === turn) trouble(typed(thrown, "camera-busy"), useCamera);
  }
}

async function takePicture(): Promise<void> {
  try {
    const frame = await camera.grab();
    await look(frame, true);
  } catch (thrown) {
    trouble(typed(thrown, "camera-busy"), useCamera);
  }
}

function chooseFile(): void {
  file.value = "";
  file.click();
}

async function look(source: Source, fromCamera: boolean): Promise<void> {
  forget();
  const mine = turn;
  show("working");
  idle?.start();
  const again = fromCamera ? useCamera : chooseFile;
  const name = firstPicture ? "edge-infer:first-answer" : "edge-infer:answer";
  performance.mark("picture");
  try {
    if (!engine) await loadEngine();
    if (mine !== turn || !engine || !loaded) return;
    const answer = await engine.diagnose(source);
    if (mine !== turn) {
      answer.picture.close();
      answer.mask?.close();
      return;
    }
    current = { answer, made: new Date(), camera: fromCamera };
    drawPicture(answer);
    fill(answer, loaded, current.made);
    show("answer");
    performance.measure(name, "picture");
    firstPicture = false;
  } catch (thrown) {
    const error = typed(thrown);
    if (!error.code.startsWith("image-")) {
      // Whatever is wrong with the worker, the next picture gets a new one.
      engine?.stop();
      engine = null;
    }
    if (mine === turn) trouble(error, again);
  }
}

/** Says what is wrong and what to do; the picture is gone. */
function trouble(error: KioskError, again: (() => unknown) | null): void {
  forget();
  problem = { error, again };
  fillProblem();
  show("problem");
  if (engine) idle?.start();
}

function fillProblem(): void {
  if (!problem) return;
  const { error, again } = problem;
  const code = textsFor(error.code);
  const [message, remedy] = [`error_${code}`, `remedy_${code}`];
  part("problem-message").textContent = has(message) ? text(message) : "";
  part("problem-remedy").textContent = has(remedy) ? text(remedy) : "";
  part("problem-detail").textContent = `[${error.code}] ${error.detail}`;
  const usable = installed !== null && loaded !== null;
  part("problem-start").hidden = !usable;
  part("problem-file").hidden = !usable || !error.code.startsWith("camera-");
  part("problem-again").hidden = again === null;
  part("problem-again").textContent = text(again === reinstall ? "problem_reinstall" : again === chooseFile ? "start_file" : "problem_again");
}

/** The code whose texts are shown: its own, else those of its kind. */
function textsFor(code: string): string {
  if (has(`error_${code}`)) return code;
  const kinds = { "image-": "image-error", "bundle-": "bundle-error", "engine-": "engine-error", "provider-": "engine-error" };
  return Object.entries(kinds).find(([start]) => code.startsWith(start))?.[1] ?? "error";
}

function askIdle(left: number): void {
  if (screen() === "start") return;
  part("idle-lead").textContent = text("idle_lead", { seconds: left });
  if (!idleDialog.open) {
    aboutDialog.close();
    idleDialog.showModal();
    part("idle-keep").focus();
  }
}

/** Whether a newer release may replace this one now. */
function isIdle(): boolean {
  return screen() === "start" && !aboutDialog.open && !document.hidden;
}

function speak(chosen: Language): void {
  setLanguage(chosen);
  part("languages").ariaLabel = text("languages");
  for (const button of part("languages").querySelectorAll("button")) {
    button.ariaPressed = String(button.lang === chosen);
  }
  if (current && loaded) fill(current.answer, loaded, current.made);
  fillProblem();
}

function makeLanguages(): void {
  for (const code of LANGUAGES) {
    const button = document.createElement("button");
    button.lang = code;
    button.textContent = nameOf(code);
    button.addEventListener("click", () => {
      speak(code);
      idle?.start();
    });
    part("languages").append(button);
  }
}

function showAbout(): void {
  const facts: [string, string, string?][] = [];
  if (loaded && installed) {
    const { bundle, point } = loaded;
    facts.push(
      [text("about_use"), loaded.intendedUse, "en"],
      [text("about_bundle"), `${bundle.name} ${bundle.version} (${bundle.sha256.slice(0, 12)})`],
      [text("about_point"), `${pointName(loaded)}: ${percent(point.threshold)}`],
      [text("about_prior"), loaded.prior === null ? text("about_prior_unknown") : percent(loaded.prior)],
      [text("about_release"), `edge-infer ${installed.release.edge_infer} (${installed.id.slice(0, 12)})`],
      [text("about_offline"), text(installed.offline ? "about_offline_yes" : "about_offline_no")],
      [text("about_update"), updateWords()],
      [text("about_engine"), loaded.engine],
      [text("about_threads"), String(loaded.threads)],
      [text("about_license"), loaded.license, "en"],
    );
  }
  part("facts").replaceChildren(
    ...facts.flatMap(([name, value, lang]) => {
      const [term, words] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      words.textContent = value;
      if (lang) words.lang = lang;
      return [term, words];
    }),
  );
  aboutDialog.showModal();
  aboutDialog.scrollTop = 0; // the button that has the focus is at its end
}

function updateWords(): string {
  const state = updates?.state ?? { kind: "none" };
  if (state.kind === "waiting") return text("about_update_waiting");
  if (state.kind === "none") return text("about_update_none");
  return text("about_update_failed", { message: state.error.message });
}

/** A window out of sight keeps no camera, and no picture that is being looked at. */
function hidden(): void {
  if (!document.hidden) {
    updates?.whenIdle();
    return;
  }
  if (screen() === "camera" || screen() === "working") reset("start_cleared_hidden");
}

function listen(): void {
  onClick("use-camera", useCamera);
  onClick("use-file", chooseFile);
  file.addEventListener("change", () => {
    const [chosen] = file.files ?? [];
    if (chosen) void look(chosen, false);
  });
  onClick("camera-back", () => reset());
  onClick("camera-take", takePicture);
  onClick("camera-switch", () => startCamera(turn, () => camera.next()));
  onClick("answer-print", () => window.print());
  onClick("answer-save", () => {
    if (current && loaded) saveReport(current.answer, loaded, current.made);
  });
  onClick("answer-again", () => (current?.camera ? useCamera() : chooseFile()));
  onClick("answer-done", () => reset());
  onClick("problem-start", () => reset());
  onClick("problem-file", chooseFile);
  onClick("problem-again", () => problem?.again?.());
  onClick("idle-keep", () => {
    idleDialog.close();
    idle?.start();
  });
  onClick("idle-clear", () => reset());
  idleDialog.addEventListener("cancel", () => idle?.start());
  onClick("about-open", showAbout);
  onClick("about-close", () => aboutDialog.close());
  aboutDialog.addEventListener("close", () => updates?.whenIdle());

  document.addEventListener("visibilitychange", hidden);
  // A page that is kept for "back" must not bring a picture back.
  window.addEventListener("pagehide", forget);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  // A picture that is dropped on the page would otherwise replace the page.
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    const dropped = event.dataTransfer?.files[0];
    if (dropped && loaded && ["start", "answer", "problem"].includes(screen())) void look(dropped, false);
  });
}

makeLanguages();
speak(firstLanguage(null));
listen();
void begin();


