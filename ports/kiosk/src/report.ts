/** The answer as one page of its own, without scripts, to be kept. */

const STYLE = `:root{color-scheme:light}body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#16212c}
h1{font-size:1.5rem}h2{font-size:1rem;margin-bottom:.2rem}img{max-width:100%;border-radius:.5rem}p{margin:.5rem 0}
.notice{border-left:.3rem solid #9a4a00;padding-left:.8rem;font-weight:600}.small{font-size:.85rem;color:#4d5b69}`;

export interface Report {
  language: string;
  title: string;
  notice: string;
  headline: string;
  /** JPEG as a data URL. */
  picture: string;
  pictureWords: string;
  paragraphs: string[];
  small: string[];
}

export function reportPage(report: Report): string {
  const paragraphs = (texts: string[], more = ""): string =>
    texts.filter(Boolean).map((words) => `<p${more}>${escaped(words)}</p>`).join("\n");
  return `<!doctype html>
<html lang="${escaped(report.language)}"><head><meta charset="utf-8"><title>${escaped(report.title)}</title>
<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>
<h1>${escaped(report.headline)}</h1>
<p class="notice">${escaped(report.notice)}</p>
<p><img src="${report.picture}" alt="${escaped(report.pictureWords)}"></p>
${paragraphs(report.paragraphs)}
${paragraphs(report.small, ' class="small"')}
</body></html>
`;
}

/** Offers a file to be saved; nothing is kept of it afterwards. */
export function save(name: string, content: string): void {
  const address = URL.createObjectURL(new Blob([content], { type: "text/html" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function escaped(words: string): string {
  const marks: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return words.replace(/[&<>"']/g, (mark) => marks[mark] ?? mark);
}
