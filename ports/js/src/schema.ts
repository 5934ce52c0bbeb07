/** Strict reading of JSON values: an unknown key, a missing key or a wrong type names the key's full path. */

/** A value does not fit. */
export class SchemaError extends Error {}

/** Reads a value or throws {@link SchemaError}. */
export type Check<T> = (value: unknown, where: string) => T;

/** A key that may be absent. */
export interface Optional<T> {
  readonly check: Check<T>;
  readonly fallback: T;
}

type Shape<T> = { readonly [K in keyof T]-?: Check<T[K]> | Optional<T[K]> };

/** An object with exactly these keys. */
export function object<T extends object>(shape: Shape<T>): Check<T> {
  const fields = Object.entries<Check<unknown> | Optional<unknown>>(shape as Record<string, Check<unknown>>);
  const known = new Set(fields.map(([name]) => name));
  return (value, where) => {
    const table = entries(value, where);
    for (const key of table.keys()) {
      if (!known.has(key)) {
        throw new SchemaError(`${join(where, key)}: unknown key; known keys: ${[...known].sort().join(", ")}`);
      }
    }
    const result: Record<string, unknown> = {};
    for (const [name, field] of fields) {
      const check = typeof field === "function" ? field : field.check;
      if (table.has(name)) result[name] = check(table.get(name), join(where, name));
      else if (typeof field === "function") throw new SchemaError(`${join(where, name)}: missing`);
      else result[name] = field.fallback;
    }
    return result as T;
  };
}

/** A key that may be absent, and what its absence means. */
export function optional<T>(check: Check<T>, fallback: T): Optional<T> {
  return { check, fallback };
}

/** An object with any keys and values of one kind. */
export function record<T>(check: Check<T>): Check<Readonly<Record<string, T>>> {
  return (value, where) =>
    Object.fromEntries([...entries(value, where)].map(([key, item]) => [key, check(item, join(where, key))]));
}

/** A list. */
export function list<T>(check: Check<T>): Check<readonly T[]> {
  return (value, where) => {
    if (!Array.isArray(value)) throw new SchemaError(`${where}: expected a list, got ${kind(value)}`);
    return value.map((item, i) => check(item, `${where}[${String(i)}]`));
  };
}

/** A value or null. */
export function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, where) => (value === null ? null : check(value, where));
}

/** One of some constants. */
export function oneOf<const T extends string | number>(...values: readonly T[]): Check<T> {
  return (value, where) => {
    const found = values.find((each) => each === value);
    if (found === undefined) {
      throw new SchemaError(`${where}: ${JSON.stringify(value)} is not one of ${values.join(", ")}`);
    }
    return found;
  };
}

/** Text. */
export const text: Check<string> = (value, where) => {
  if (typeof value !== "string") throw new SchemaError(`${where}: expected text, got ${kind(value)}`);
  return value;
};

/** A finite number. */
export const number: Check<number> = (value, where) => {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new SchemaError(`${where}: expected a number, got ${kind(value)}`);
  }
  return value;
};

/** A whole number. */
export const integer: Check<number> = (value, where) => {
  if (!Number.isSafeInteger(number(value, where))) {
    throw new SchemaError(`${where}: ${String(value)} is no whole number`);
  }
  return value as number;
};

/** Anything. */
export const anything: Check<unknown> = (value) => value;

function entries(value: unknown, where: string): Map<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SchemaError(`${where || "document"}: expected a table, got ${kind(value)}`);
  }
  return new Map(Object.entries(value));
}

function join(where: string, key: string): string {
  return where ? `${where}.${key}` : key;
}

function kind(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : typeof value;
}
