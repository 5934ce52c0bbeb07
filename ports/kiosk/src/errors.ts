/** A typed error: `code` is that of the Python runtime where both know the error, and names its texts in `texts.json`. */
export class KioskError extends Error {
  readonly code: string;
  /** Technical words in English, such as a file's name, shown small. */
  readonly detail: string;

  constructor(code: string, detail = "") {
    super(detail ? `${code}: ${detail}` : code);
    this.name = "KioskError";
    this.code = code;
    this.detail = detail;
  }
}

/** Whatever was thrown, as a typed error. Nothing is hidden: what is unknown keeps its own words as detail. */
export function typed(thrown: unknown, fallback = "error"): KioskError {
  if (thrown instanceof KioskError) return thrown;
  const words = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  if (thrown instanceof RangeError && /memory|allocation|length/i.test(words)) return new KioskError("out-of-memory", words);
  if (/out of memory|bad_alloc|could not allocate/i.test(words)) return new KioskError("out-of-memory", words);
  return new KioskError(fallback, words);
}
