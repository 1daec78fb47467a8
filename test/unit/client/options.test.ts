import { describe, expect, it } from 'vitest';
import { HengeError } from '../../../src/client/errors.js';
import { parseTtl, settingsOf, type Ttl } from '../../../src/client/options.js';

const codeOf = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return error instanceof HengeError ? error.code : error;
  }
};

describe('times to live', () => {
  it.each([
    [250, 250],
    [0.2, 1],
    ['500ms', 500],
    ['90s', 90_000],
    ['1.5s', 1_500],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
  ] as const)('%s is %i ms', (ttl, milliseconds) => {
    expect(parseTtl(ttl)).toBe(milliseconds);
  });

  it('0 and Infinity never expire', () => {
    expect(parseTtl(0)).toBe(0);
    expect(parseTtl(Number.POSITIVE_INFINITY)).toBe(0);
  });

  it.each([-1, Number.NaN, '90', '5 m', '-1s', '0s', '200000d', '', 4e12])('%s is refused', (ttl) => {
    expect(codeOf(() => parseTtl(ttl as Ttl))).toBe('INVALID_ARGUMENT');
  });
});

describe('connect options', () => {
  it('seeds may be one string, as in HENGE_SEEDS', () => {
    expect(settingsOf({ seeds: '10.0.0.1:7411, 10.0.0.2:7411' }).seeds).toEqual(['10.0.0.1:7411', '10.0.0.2:7411']);
    expect(settingsOf({}).seeds).toEqual(['127.0.0.1:7411']);
  });

  it('every call has a deadline', () => {
    expect(settingsOf({}).deadlineMs).toBe(1_000);
    for (const deadlineMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(codeOf(() => settingsOf({ deadlineMs }))).toBe('INVALID_ARGUMENT');
    }
  });

  it('reads are hedged only when asked for', () => {
    const percentiles = [undefined, false, true, { percentile: 99 }].map(
      (hedge) => settingsOf({ hedge }).hedgePercentile,
    );
    expect(percentiles).toEqual([undefined, undefined, 95, 99]);
  });

  it.each([
    { ack: 'most' },
    { read: 'toString' },
    { compression: 'gzip' },
    { inFlightMax: 0 },
    { inFlightMax: 70_000 },
    { seeds: [] },
    { suspectAfterMs: 1 },
    { suspectAfterMs: Number.NaN },
    { hedge: { percentile: 100 } },
    { hedge: { percentile: 10 } },
  ])('%j is refused', (options) => {
    expect(codeOf(() => settingsOf(options as never))).toBe('INVALID_ARGUMENT');
  });
});
