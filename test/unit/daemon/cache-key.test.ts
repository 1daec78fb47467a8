import { expect, test } from 'vitest';
import { decodeKey } from '../../../src/daemon/http/cache.js';

test('a key is what stands in the path, percent-decoded to bytes', () => {
  expect(decodeKey('plain')).toEqual(Buffer.from('plain'));
  expect(decodeKey('a%2Fb')).toEqual(Buffer.from('a/b'));
  expect(decodeKey('%FF%00')).toEqual(Buffer.from([255, 0]));
  expect(decodeKey('%C3%BC')).toEqual(Buffer.from('ü'));
  expect(decodeKey('a/b')).toEqual(Buffer.from('a/b'));
});

test('an empty key and a lone percent sign are refused', () => {
  expect(() => decodeKey('')).toThrow(/empty/);
  expect(() => decodeKey('100%')).toThrow(/two hex digits/);
  expect(() => decodeKey('%zz')).toThrow(/two hex digits/);
});
