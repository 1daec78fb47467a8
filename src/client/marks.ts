/**
 * Marks: how values that MessagePack cannot tell apart are stored all the same.
 *
 * msgpackr without records writes a Map as it writes an object, -0 as 0, and reads the key `__proto__` as something
 * else. Such parts become an object with the one key `~`, whose value is `[kind, ...parts]`:
 *
 *   ['map', [[key, value], ...]]      ['object', [[key, value], ...]]      ['-0']
 *
 * An object that has a key `~` of its own is written as ['object', ...] too, so nothing is ambiguous. A value without
 * any of these is stored as it is, and reading it costs nothing; only values of Encoding.MARKED are walked after
 * decoding.
 */

import { HengeError } from './errors.js';

const MARK = '~';
/** Deeper values are refused: MessagePack's own reader recurses, and a cycle must end somewhere. */
const DEPTH_MAX = 1_000;

type Plain = Record<string, unknown>;

const isSpecialObject = (object: Plain): boolean => Object.hasOwn(object, '__proto__') || Object.hasOwn(object, MARK);

const isPlainObject = (value: object): value is Plain => {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
};

/**
 * True if the value, or a part of it, needs a mark. @throws HengeError INVALID_ARGUMENT for functions, symbols,
 * cycles.
 */
export function needsMarks(value: unknown, depth = 0): boolean {
  switch (typeof value) {
    case 'number':
      return Object.is(value, -0);
    case 'function':
    case 'symbol':
      throw new HengeError('INVALID_ARGUMENT', `a ${typeof value} cannot be stored`);
    case 'object':
      break;
    default:
      return false;
  }
  if (value === null) return false;
  if (depth > DEPTH_MAX)
    throw new HengeError('INVALID_ARGUMENT', `a value nested over ${DEPTH_MAX} deep cannot be stored`);
  if (value instanceof Map) {
    for (const [key, item] of value) {
      needsMarks(key, depth + 1);
      needsMarks(item, depth + 1);
    }
    return true;
  }
  let found = false;
  if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) if (needsMarks(item, depth + 1)) found = true;
  } else if (isPlainObject(value)) {
    found = isSpecialObject(value);
    for (const key in value) if (needsMarks(value[key], depth + 1)) found = true;
  }
  return found;
}

/** A copy of the value with marks in place. The value has passed `needsMarks`. */
export function mark(value: unknown): unknown {
  if (Object.is(value, -0)) return { [MARK]: ['-0'] };
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Map) return { [MARK]: ['map', Array.from(value, ([key, item]) => [mark(key), mark(item)])] };
  if (Array.isArray(value)) return Array.from(value, mark);
  if (value instanceof Set) return new Set(Array.from(value, mark));
  if (!isPlainObject(value)) return value;
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [key, mark(item)]);
  return isSpecialObject(value) ? { [MARK]: ['object', entries] } : Object.fromEntries(entries);
}

/** Undoes `mark`. */
export function unmark(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(unmark);
  if (value instanceof Set) return new Set(Array.from(value, unmark));
  if (!isPlainObject(value)) return value;
  const marked = value[MARK];
  if (Array.isArray(marked)) return unmarkOne(marked);
  for (const key of Object.keys(value)) value[key] = unmark(value[key]);
  return value;
}

function unmarkOne([kind, entries]: unknown[]): unknown {
  if (kind === '-0') return -0;
  if (!Array.isArray(entries)) throw new TypeError(`unknown mark ${String(kind)}`);
  const pairs = entries.map(([key, item]: [unknown, unknown]): [unknown, unknown] => [unmark(key), unmark(item)]);
  if (kind === 'map') return new Map(pairs);
  // fromEntries defines properties, so a key `__proto__` stays a key.
  if (kind === 'object') return Object.fromEntries(pairs as [string, unknown][]);
  throw new TypeError(`unknown mark ${String(kind)}`);
}
