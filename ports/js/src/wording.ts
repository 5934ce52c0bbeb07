/** Numbers in sentences. */

/** With so many significant digits and no needless zeros, as `%g` writes them. */
export function significant(value: number, digits: number): string {
  return String(Number(value.toPrecision(digits)));
}
