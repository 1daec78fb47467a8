/**
 * A key's slot is what the Redis Cluster specification says, for strings and for bytes alike.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc16, SLOTS, slotOf } from '../../../src/ring/index.js';

/** The definition, bit by bit. */
function crc16ByDefinition(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : crc << 1;
  }
  return crc;
}

const keyWithBraces = fc
  .array(fc.oneof(fc.constantFrom('{', '}', '{}', 'a', 'user:1'), fc.string({ unit: 'binary' })), { maxLength: 8 })
  .map((parts) => parts.join(''));

describe('crc16', () => {
  it('gives the check value of CRC-16/XMODEM', () => {
    expect(crc16(Buffer.from('123456789'))).toBe(0x31c3);
  });

  it('equals the definition bit by bit', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => crc16(bytes) === crc16ByDefinition(bytes)));
  });
});

describe('slotOf', () => {
  it.each([
    ['123456789', 12739],
    ['foo', 12182],
    ['bar', 5061],
    ['hello', 866],
    ['somekey', 11058],
    ['foo{hash_tag}', 2515],
    ['', 0],
  ])('puts %j into slot %i, as Redis Cluster does', (key, slot) => {
    expect(slotOf(key)).toBe(slot);
    expect(slotOf(Buffer.from(key))).toBe(slot);
  });

  it.each([
    ['{user1000}.following', 'user1000', 'the tag alone counts'],
    ['foo{bar}{zap}', 'bar', 'the first tag counts'],
    ['foo{{bar}}zap', '{bar', 'a tag ends at the first closing brace'],
    ['}{tag}', 'tag', 'a closing brace before the tag does not end it'],
    ['prefix-ü-{tag}', 'tag', 'what stands before a tag does not count'],
    ['{größe}-a', 'größe', 'a tag may hold any character'],
  ])('hashes %j as %j: %s', (key, hashed) => {
    expect(slotOf(key)).toBe(crc16ByDefinition(Buffer.from(hashed)) % SLOTS);
    expect(slotOf(Buffer.from(key))).toBe(slotOf(key));
  });

  it.each(['foo{}{bar}', '{}', 'foo{bar', 'foo}bar{', '{'])('hashes %j whole, for it holds no tag', (key) => {
    expect(slotOf(key)).toBe(crc16ByDefinition(Buffer.from(key)) % SLOTS);
    expect(slotOf(Buffer.from(key))).toBe(slotOf(key));
  });

  it('gives a string and its UTF-8 bytes the same slot', () => {
    fc.assert(fc.property(keyWithBraces, (key) => slotOf(key) === slotOf(Buffer.from(key))));
  });

  it('takes bytes that are no UTF-8', () => {
    const key = Uint8Array.of(0xff, 0x00, 0xc3, 0x28);
    expect(slotOf(key)).toBe(crc16ByDefinition(key) % SLOTS);
  });
});
