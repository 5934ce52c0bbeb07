/** The answer in words, on the screen and in the report. */

import type { Answer, Loaded } from "./answer";
import { canvas, part } from "./page";
import { clear, draw, toneOf } from "./picture";
import { reportPage, save } from "./report";
import { has, language, moment, percent, text, translated } from "./texts";

/** Translated where the bundle's word is known, else as the bundle says it. */
function known(prefix: string, name: string, otherwise: string): { words: string; translated: boolean } {
  const key = `${prefix}_${name}`;
  return has(key) ? { words: text(key), translated: true } : { words: otherwise, translated: false };
}

export function pointName({ point }: Loaded): string {
  return known("point_name", point.name, point.name).words;
}

export function headline(answer: Answer, loaded: Loaded): string {
  if (answer.status !== "ok") {
    const reason = answer.reason ?? "";
    return text("answer_indeterminate", { reason: known("reason", reason, reason).words });
  }
  return text(answer.suspicious ? "answer_suspicious" : "answer_not_suspicious", { point: pointName(loaded) });
}

function nextStep(answer: Answer): string {
  if (answer.status !== "ok") return text("answer_next_indeterminate");
  return text(answer.suspicious ? "answer_next_suspicious" : "answer_next_not_suspicious");
}

function advice(answer: Answer): string {
  return answer.reason ? known("advice", answer.reason, "").words : "";
}

function threshold(answer: Answer): string {
  if (answer.status !== "ok" && answer.band) {
    return text("answer_undecided", { low: percent(answer.band[0]), high: percent(answer.band[1]) });
  }
  return text("answer_threshold", { threshold: percent(answer.threshold) });
}

/** How often this threshold was wrong, where the bundle says so and where there is a decision. */
function rates(answer: Answer, { point }: Loaded): string {
  if (answer.status !== "ok" || point.sensitivity === null || point.specificity === null) return "";
  const wrong = (right: number): number => Math.round(100 * (1 - right));
  return text("answer_rates", { missed: wrong(point.sensitivity), alarms: wrong(point.specificity) });
}

function pictureWords(answer: Answer): string {
  const what =
    answer.areaFraction === null || !answer.mask
      ? text("answer_picture_plain")
      : text("answer_picture_outline", { share: percent(answer.areaFraction) });
  return text("answer_picture", { what });
}

function identity(answer: Answer, loaded: Loaded, made: Date): string {
  const { bundle, engine } = loaded;
  const words = text("report_identity", {
    bundle: bundle.name,
    version: bundle.version,
    sha256: bundle.sha256.slice(0, 12),
    point: pointName(loaded),
    threshold: percent(answer.threshold),
    engine,
  });
  return `${text("report_made", { date: moment(made) })}. ${words}`;
}

/** Fills the screen; to be called again when the language changes. */
export function fill(answer: Answer, loaded: Loaded, made: Date): void {
  const { point } = loaded;
  part("answer").dataset["tone"] = toneOf(answer);
  part("headline").textContent = headline(answer, loaded);
  part("next").textContent = nextStep(answer);
  part("todo").hidden = !advice(answer);
  part("advice").textContent = advice(answer);
  part("rates").textContent = rates(answer, loaded);
  part("rates").hidden = !rates(answer, loaded);

  const given = answer.probability !== null;
  part("numbers").hidden = !given;
  part("no-number").hidden = given;
  if (answer.probability !== null) {
    const probability = percent(answer.probability);
    part("probability").textContent = probability;
    part("threshold").textContent = threshold(answer);
    part("scale").ariaLabel = text("answer_scale", { probability, threshold: percent(answer.threshold) });
    part("scale-value").setAttribute("width", String(Math.max(4, 1000 * answer.probability)));
    part("scale-threshold").setAttribute("x", String(Math.min(994, Math.max(0, 1000 * answer.threshold - 3))));
  }

  const meaning = known("point", point.name, point.meaning);
  part("meaning-title").hidden = part("meaning").hidden = !given;
  part("meaning-title").textContent = text("answer_meaning", { point: pointName(loaded) });
  part("meaning").textContent = meaning.words;
  part("meaning").lang = meaning.translated ? language() : "en";
  part("warnings").replaceChildren(...warnings(answer).map(item));
  part("legend").hidden = !answer.mask;
  canvas().ariaLabel = pictureWords(answer);
  part("identity").textContent = identity(answer, loaded, made);
}

export function drawPicture(answer: Answer): void {
  draw(canvas(), answer);
}

/** Leaves nothing of the answer in the page. */
export function wipe(): void {
  clear(canvas());
  canvas().ariaLabel = "";
  for (const id of ["headline", "next", "advice", "rates", "probability", "threshold", "meaning", "meaning-title", "identity"]) {
    part(id).textContent = "";
  }
  part("scale").ariaLabel = "";
  part("scale-value").setAttribute("width", "0");
  part("warnings").replaceChildren();
}

/** Saves the answer as a page of its own. */
export function saveReport(answer: Answer, loaded: Loaded, made: Date): void {
  const given = answer.probability !== null;
  const page = reportPage({
    language: language(),
    title: text("report_title"),
    notice: `${text("disclaimer")} ${nextStep(answer)}`,
    headline: headline(answer, loaded),
    picture: canvas().toDataURL("image/jpeg", 0.9),
    pictureWords: pictureWords(answer),
    paragraphs: [
      given ? `${text("answer_probability")}: ${percent(answer.probability ?? 0)}. ${threshold(answer)}.` : text("answer_no_probability"),
      advice(answer),
      rates(answer, loaded),
      ...warnings(answer),
    ],
    small: [
      `${text("answer_legend_outline")}. ${text("answer_legend_crop")}.`,
      identity(answer, loaded, made),
      loaded.intendedUse,
    ],
  });
  save(`edge-infer-${made.toISOString().slice(0, 19).replace(/[:T]/g, "-")}.html`, page);
}

function warnings(answer: Answer): string[] {
  return answer.warnings.map((warning) => translated("warning", warning));
}

function item(words: string): HTMLLIElement {
  const element = document.createElement("li");
  element.textContent = words;
  return element;
}

