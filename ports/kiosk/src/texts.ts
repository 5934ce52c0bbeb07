/** Every word on the screen, from one file, in the language that was chosen. */

import all from "./texts.json";

export type Language = keyof typeof all;
export type TextName = keyof (typeof all)["en"];

export const LANGUAGES = Object.keys(all) as Language[];

let current: Language = "en";

export function setLanguage(language: Language): void {
  current = language;
  document.documentElement.lang = language;
  document.title = `${text("app_name")} · ${text("tagline")}`;
  for (const element of document.querySelectorAll<HTMLElement>("[data-text]")) {
    element.textContent = text(element.dataset["text"] as TextName);
  }
  for (const element of document.querySelectorAll<HTMLElement>("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset["label"] as TextName));
  }
}

export function language(): Language {
  return current;
}

/** The wanted language where there is one, else the first of the browser's that is known, else English. */
export function firstLanguage(wanted: string | null): Language {
  const known = (code: string | null | undefined): code is Language => LANGUAGES.includes(code as Language);
  const browsers = navigator.languages.map((code) => code.slice(0, 2));
  return known(wanted) ? wanted : (browsers.find(known) ?? "en");
}

export function nameOf(language: Language): string {
  return all[language].language;
}

export function has(name: string): name is TextName {
  return name in all.en;
}

/** A text with its `{places}` filled. */
export function text(name: TextName, places: Record<string, string | number> = {}): string {
  return all[current][name].replace(/\{(\w+)\}/g, (whole, place: string) => String(places[place] ?? whole));
}

/** What the core says in English, as texts of this family say it in the chosen language; unknown words stay. */
export function translated(family: string, words: string): string {
  for (const [name, english] of Object.entries(all.en)) {
    if (!name.startsWith(`${family}_`) || !has(name)) continue;
    const pattern = english.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{(\w+)\}/g, "(?<$1>\\d+)");
    const found = new RegExp(`^${pattern}$`).exec(words);
    if (found) return text(name, found.groups ?? {});
  }
  return words;
}

/** A share of one as a percentage with one decimal; never rounded to certainty. */
export function percent(value: number): string {
  const figure = (share: number): string =>
    new Intl.NumberFormat(current, { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(100 * share);
  if (value < 0.001) return `< ${figure(0.001)} %`;
  if (value > 0.999) return `> ${figure(0.999)} %`;
  return `${figure(value)} %`;
}

export function moment(date: Date): string {
  return new Intl.DateTimeFormat(current, { dateStyle: "long", timeStyle: "short" }).format(date);
}
