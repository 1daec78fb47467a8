/**
 * Which of the 16,384 slots a key belongs to: CRC16 (XMODEM: polynomial 0x1021, initial value 0) modulo 16,384.
 *
 * The rule is that of the Redis Cluster specification ("Key distribution model" and "Hash tags"), so that any
 * language's cluster client can compute it. If the key holds a `{` and, after it, a `}` with at least one byte between
 * the first `{` and the first `}` that follows, only those bytes are hashed: keys that share a tag share a slot.
 *
 * A string is hashed as its UTF-8 bytes. Nothing here knows about nodes; see table.ts.
 */

declare const slotBrand: unique symbol;

/** A slot's number, 0 to 16,383. */
export type Slot = number & { readonly [slotBrand]: 'Slot' };

/** Slots of a cluster: fixed for ever, since clients in all languages compute them. */
export const SLOTS = 16_384;

const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const ASCII_MAX = 0x7f;

/** CRC16 of each single byte. */
const CRC16_OF_BYTE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc & 0xffff;
});

/**
 * The slot of a key.
 *
 * Hot path: every request of a client passes here. No allocation for ASCII strings and for bytes, about 3 ns per byte;
 * a string with any other character is encoded first.
 */
export function slotOf(key: string | Uint8Array): Slot {
  if (typeof key !== 'string') return slotOfBytes(key);
  const open = key.indexOf('{');
  let start = 0;
  let end = key.length;
  if (open !== -1) {
    const close = key.indexOf('}', open + 1);
    if (close > open + 1) {
      start = open + 1;
      end = close;
    }
  }
  let crc = 0;
  for (let at = start; at < end; at++) {
    const code = key.charCodeAt(at);
    if (code > ASCII_MAX) return slotOfBytes(Buffer.from(key.slice(start, end)), false);
    crc = crcNext(crc, code);
  }
  return (crc % SLOTS) as Slot;
}

/** CRC16 (XMODEM) of some bytes, 0 to 65,535. */
export function crc16(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let crc = 0;
  for (let at = start; at < end; at++) crc = crcNext(crc, bytes[at] as number);
  return crc;
}

function slotOfBytes(key: Uint8Array, mayHoldTag = true): Slot {
  const open = mayHoldTag ? key.indexOf(OPENING_BRACE) : -1;
  const close = open === -1 ? -1 : key.indexOf(CLOSING_BRACE, open + 1);
  const crc = close > open + 1 ? crc16(key, open + 1, close) : crc16(key);
  return (crc % SLOTS) as Slot;
}

function crcNext(crc: number, byte: number): number {
  return ((crc << 8) & 0xffff) ^ (CRC16_OF_BYTE[(crc >> 8) ^ byte] as number);
}
