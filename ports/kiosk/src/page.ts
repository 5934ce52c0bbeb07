/** The page's parts by name, and which screen is shown. */

export type Screen = "preparing" | "start" | "camera" | "working" | "answer" | "problem";

export function part<Part extends HTMLElement = HTMLElement>(id: string): Part {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no '${id}'`);
  return found as Part;
}

export function canvas(): HTMLCanvasElement {
  return part<HTMLCanvasElement>("picture");
}

let shown: Screen = "preparing";

export function screen(): Screen {
  return shown;
}

/** Shows one screen, from its top, and moves the focus to its heading, so that it is read out. */
export function show(next: Screen): void {
  shown = next;
  document.body.dataset["screen"] = next;
  for (const section of document.querySelectorAll<HTMLElement>("section.screen")) section.hidden = section.id !== next;
  window.scrollTo(0, 0);
  part(next).querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
}

export function onClick(id: string, act: () => unknown): void {
  part(id).addEventListener("click", () => void act());
}
