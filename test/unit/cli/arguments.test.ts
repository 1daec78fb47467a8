import { InvalidArgumentError } from 'commander';
import { describe, expect, it } from 'vitest';
import { Failure, parseBytes, parseCount, parseDuration, parseSeeds } from '../../../src/cli/command.js';
import { printable, toJson, valueFrom } from '../../../src/cli/value.js';

describe('arguments', () => {
  it('reads durations with and without a unit', () => {
    expect(['250', '500ms', '90s', '5m', '1h', '2d', '1.5s'].map(parseDuration)).toEqual([
      250, 500, 90_000, 300_000, 3_600_000, 172_800_000, 1_500,
    ]);
    for (const wrong of ['', '0', '-5s', '5 m', 'soon', '1w'])
      expect(() => parseDuration(wrong)).toThrow(InvalidArgumentError);
  });

  it('reads sizes in powers of 1,024', () => {
    expect(['100', '4k', '4KiB', '16m', '1GB', '7b'].map(parseBytes)).toEqual([
      100, 4096, 4096, 16_777_216, 1_073_741_824, 7,
    ]);
    for (const wrong of ['', '0', '-1', '1.5k', '4x', 'k'])
      expect(() => parseBytes(wrong)).toThrow(InvalidArgumentError);
  });

  it('reads counts with underscores, and nothing that is not whole', () => {
    expect(parseCount('1_000_000')).toBe(1_000_000);
    for (const wrong of ['', '0', '-1', '1.5', 'many']) expect(() => parseCount(wrong)).toThrow(InvalidArgumentError);
  });

  it('reads seeds by name, address and bracketed IPv6 address', () => {
    expect(parseSeeds('a:1, 10.0.0.1:7411,[::1]:7411')).toEqual(['a:1', '10.0.0.1:7411', '[::1]:7411']);
    for (const wrong of ['', ',', 'host', 'host:', ':7411', 'host:port', '::1:7411']) {
      expect(() => parseSeeds(wrong)).toThrow(InvalidArgumentError);
    }
  });
});

describe('values', () => {
  it('are printed raw when they are strings or bytes, and as JSON otherwise', () => {
    const raw = Buffer.from([0, 255, 10]);
    expect(printable('text\n')).toBe('text\n');
    expect(printable(raw)).toBe(raw);
    expect(printable({ list: [1, null] })).toBe('{"list":[1,null]}');
    expect(printable(null)).toBe('null');
  });

  it('find a place in JSON even where JSON has none for them', () => {
    const value = {
      bytes: Buffer.from('hi'),
      big: 2n ** 63n,
      map: new Map([['a', 1]]),
      set: new Set([1]),
      date: new Date(0),
    };
    expect(JSON.parse(toJson(value))).toEqual({
      bytes: { base64: 'aGk=' },
      big: '9223372036854775808',
      map: { a: 1 },
      set: [1],
      date: '1970-01-01T00:00:00.000Z',
    });
  });

  it('are read by the type asked for, and refused in a sentence when they are not of it', () => {
    const text = Buffer.from('{"a":1}');
    expect(valueFrom(text, 'string')).toBe('{"a":1}');
    expect(valueFrom(text, 'bytes')).toBe(text);
    expect(valueFrom(text, 'json')).toEqual({ a: 1 });
    expect(valueFrom(Buffer.from('4.5'), 'number')).toBe(4.5);
    expect(() => valueFrom(Buffer.from('{'), 'json')).toThrow(Failure);
    expect(() => valueFrom(Buffer.from(' '), 'number')).toThrow(Failure);
  });
});
