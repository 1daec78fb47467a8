import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeValue, decodeWithFreshness, encodeValue, withFreshness } from '../../../src/client/codec.js';
import { HengeError } from '../../../src/client/errors.js';
import { Encoding } from '../../../src/protocol/index.js';

function roundTrip(value: unknown, compression?: Parameters<typeof encodeValue>[1]): unknown {
  const { encoding, bytes } = encodeValue(value, compression);
  const padded = Buffer.concat([Buffer.from('before'), bytes, Buffer.from('after')]);
  const decoded = decodeValue(encoding, padded, 6, 6 + bytes.length);
  padded.fill(0xee);
  return decoded;
}

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof HengeError) return error.code;
    throw error;
  }
  return 'none';
};

const protoKey: unknown = JSON.parse('{"__proto__":{"a":1},"constructor":2}');

describe('values', () => {
  it.each([
    ['a string', 'grüße, 世界 🪨'],
    ['an empty string', ''],
    ['a long string', 'é'.repeat(100_000)],
    ['0', 0],
    ['-0', -0],
    ['the greatest safe integer', Number.MAX_SAFE_INTEGER],
    ['the least safe integer', Number.MIN_SAFE_INTEGER],
    ['an integer beyond', 2 ** 60],
    ['a fraction', 0.1],
    ['NaN', Number.NaN],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['a bigint of 64 bits', -(2n ** 63n)],
    ['a bigint of 65 bits', 2n ** 64n],
    ['a great bigint', 3n ** 500n],
    ['null', null],
    ['true', true],
    ['an object', { a: [1, 'two', { three: null }] }],
    ['nested undefined', { a: undefined, b: [undefined] }],
    ['nested numbers', { zero: -0, nan: Number.NaN, large: 2 ** 53, wide: 2 ** 40 }],
    ['nested bigints', { small: 5n, wide: 2n ** 62n, wider: 2n ** 70n }],
    [
      'a Map',
      new Map<unknown, unknown>([
        [1, 'one'],
        ['two', new Map([[{ k: 1 }, new Set([-0])]])],
      ]),
    ],
    ['a Set', new Set(['a', 1, new Map()])],
    ['an empty Map in an object', { map: new Map(), set: new Set() }],
    ['a Date', { at: new Date(1_700_000_000_123) }],
    ['keys that are names of built-ins', protoKey],
    ['an object with a key ~', { '~': ['map', []], other: { '~': 1 } }],
    ['a typed array', { floats: new Float64Array([1.5, -2]), words: new Uint16Array([1, 2]) }],
    ['an error', new RangeError('too far')],
    ['a regular expression', /stone+/gi],
  ])('%s comes back as it went in', (_, value) => {
    expect(roundTrip(value)).toStrictEqual(value);
  });

  it('anything made of plain parts comes back as it went in', () => {
    const anything = fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, maxDepth: 4 });
    fc.assert(
      fc.property(
        anything.filter((value) => value !== undefined),
        (value) => {
          expect(roundTrip(value)).toEqual(value);
        },
      ),
    );
  });

  it('bytes come back as a Buffer of their own', () => {
    expect(roundTrip(new Uint8Array([0, 255, 128]))).toEqual(Buffer.from([0, 255, 128]));
    const nested = roundTrip({ bytes: Buffer.from('stone') }) as { bytes: Buffer };
    expect(nested.bytes).toEqual(Buffer.from('stone'));
  });

  it('strings, bytes and 64-bit integers are stored raw, for others to read', () => {
    expect(encodeValue('stone', undefined)).toEqual({ encoding: Encoding.UTF8, bytes: Buffer.from('stone') });
    expect(encodeValue(Buffer.from('stone'), undefined)).toEqual({
      encoding: Encoding.BYTES,
      bytes: Buffer.from('stone'),
    });
    expect(encodeValue(-2, undefined)).toEqual({
      encoding: Encoding.INTEGER,
      bytes: Buffer.from('feffffffffffffff', 'hex'),
    });
    expect(encodeValue(258n, undefined)).toEqual({
      encoding: Encoding.BIGINT,
      bytes: Buffer.from('0201000000000000', 'hex'),
    });
  });

  it('an INTEGER beyond safe integers is read as a bigint, not rounded', () => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(2n ** 53n + 1n);
    expect(decodeValue(Encoding.INTEGER, bytes, 0, 8)).toBe(2n ** 53n + 1n);
  });

  it('undefined, functions, symbols and cycles are refused', () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    for (const value of [undefined, () => 1, Symbol('s'), { nested: () => 1 }, cycle]) {
      expect(codeOf(() => encodeValue(value, undefined))).toBe('INVALID_ARGUMENT');
    }
  });

  it('bytes that are no value are refused, whatever their encoding says', () => {
    fc.assert(
      fc.property(fc.nat({ max: 255 }), fc.uint8Array({ maxLength: 40 }), (encoding, bytes) => {
        const code = codeOf(() => decodeValue(encoding, Buffer.from(bytes), 0, bytes.length));
        expect(['none', 'CORRUPT_VALUE', 'VALUE_TOO_LARGE']).toContain(code);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('compression', () => {
  const text = 'standing stones '.repeat(1_000);

  it.each(['deflate', 'brotli'] as const)('by %s makes a large value small, and gives it back', (method) => {
    const compression = { method, bytesMin: 1_000 };
    expect(encodeValue(text, compression).bytes.length).toBeLessThan(500);
    expect(roundTrip(text, compression)).toBe(text);
    expect(roundTrip({ text, map: new Map([[1, text]]) }, compression)).toEqual({ text, map: new Map([[1, text]]) });
  });

  it('leaves alone what is small, an integer, or would grow', () => {
    const compression = { method: 'deflate', bytesMin: 1 } as const;
    expect(encodeValue('a', { method: 'deflate', bytesMin: 100 }).encoding).toBe(Encoding.UTF8);
    expect(encodeValue(5, compression).encoding).toBe(Encoding.INTEGER);
    expect(encodeValue('ab', compression)).toEqual({ encoding: Encoding.UTF8, bytes: Buffer.from('ab') });
  });

  it('a value that grows without bound is refused before it has', () => {
    const bomb = encodeValue(Buffer.alloc(70_000_000), { method: 'deflate', bytesMin: 1 });
    const bytes = Buffer.from(bomb.bytes);
    expect(codeOf(() => decodeValue(bomb.encoding, bytes, 0, bytes.length))).toBe('VALUE_TOO_LARGE');
  });
});

describe('freshness', () => {
  const wrap = (freshUntil: number) => withFreshness(encodeValue({ a: 1 }, undefined), freshUntil);

  it('is told to those who ask, and ends the value for those who do not', () => {
    const stale = wrap(Date.now() - 1_000);
    const fresh = wrap(Date.now() + 60_000);
    const decode = ({ encoding, bytes }: typeof stale) => decodeValue(encoding, Buffer.from(bytes), 0, bytes.length);
    expect(decode(fresh)).toEqual({ a: 1 });
    expect(decode(stale)).toBeUndefined();
    expect(decodeWithFreshness(stale.encoding, Buffer.from(stale.bytes)).value).toEqual({ a: 1 });
  });
});
