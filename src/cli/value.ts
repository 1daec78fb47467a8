/**
 * Values on the command line: what is printed for a value of the cache, and what is stored for a text that was typed.
 */
import { Failure } from './command.js';

/** How a typed text becomes a value. */
export const VALUE_TYPES = ['string', 'bytes', 'json', 'number'] as const;
export type ValueType = (typeof VALUE_TYPES)[number];

/** Strings and bytes as they are; anything else as JSON. */
export function printable(value: unknown): string | Uint8Array {
  if (typeof value === 'string' || value instanceof Uint8Array) return value;
  return toJson(value);
}

/** A value as part of a JSON document: bytes as `{ "base64": … }`, what JSON lacks by its nearest text. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key: string, plain: unknown) {
    const held = this[key];
    if (held instanceof Uint8Array) return { base64: Buffer.from(held).toString('base64') };
    if (typeof held === 'bigint') return held.toString();
    if (held instanceof Map) return Object.fromEntries(held);
    if (held instanceof Set) return [...held];
    return plain;
  });
}

/** The value to store for bytes that were typed or read. Throws a Failure when they are not of the type. */
export function valueFrom(input: Buffer, type: ValueType): unknown {
  if (type === 'bytes') return input;
  const text = input.toString('utf8');
  if (type === 'string') return text;
  if (type === 'number') {
    const number = Number(text);
    if (text.trim() === '' || !Number.isFinite(number)) throw new Failure(`'${text.trim()}' is not a number.`);
    return number;
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Failure(`The value is not JSON: ${(error as Error).message}.`);
  }
}
