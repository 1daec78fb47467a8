import { describe, expect, it } from 'vitest';
import { Findings } from '../../../src/cli/verify/findings.js';
import { verdictOf } from '../../../src/cli/verify/verdict.js';
import { Waits } from '../../../src/cli/verify/waits.js';

/** Windows of one call each: true stands for one in which a change was seen. Gives how many calls went where. */
function attributed(...windows: readonly boolean[]): { quiet: number; during: number; all: number } {
  const waits = new Waits();
  for (const isChange of windows) {
    waits.record(1);
    waits.roll(isChange);
  }
  const { quiet, during, all } = waits.summary();
  return { quiet: quiet.count, during: during.count, all: all.count };
}

describe('waits', () => {
  it('are quiet as long as nothing changes', () => {
    expect(attributed(false, false, false)).toEqual({ quiet: 3, during: 0, all: 3 });
  });

  it('are those of a change in its window, in the one before and in the one after', () => {
    expect(attributed(false, false, true, false, false)).toEqual({ quiet: 2, during: 3, all: 5 });
    expect(attributed(true, false, false, false)).toEqual({ quiet: 2, during: 2, all: 4 });
    expect(attributed(false, false, true)).toEqual({ quiet: 1, during: 2, all: 3 });
  });

  it('are told before their window has ended', () => {
    const waits = new Waits();
    waits.record(2);
    waits.roll(true);
    waits.record(30);
    expect(waits.summary()).toMatchObject({ quiet: { count: 0 }, during: { count: 2 } });
    expect(waits.summary().all.longestMs).toBeCloseTo(30, 0);
  });
});

describe('a verdict', () => {
  const facts = { keys: 2, allowed: [] };
  const evicted = { kind: 'evicted', key: 'k', expected: '1', found: 'nothing', atMs: 0 } as const;

  it('is the worst of what was found', () => {
    const findings = new Findings(10);
    findings.reads = 1;
    expect(verdictOf(findings, facts)).toBe('passed');
    findings.waited(11, true);
    expect(verdictOf(findings, facts)).toBe('slow');
    findings.failed('BUSY');
    expect(verdictOf(findings, facts)).toBe('failed');
    findings.wrong({ ...evicted, kind: 'stale' });
    expect(verdictOf(findings, { keys: 2, allowed: ['failed', 'slow'] })).toBe('stale');
    findings.wrong({ ...evicted, kind: 'lost' });
    expect(verdictOf(findings, facts)).toBe('lost');
  });

  it('does not call slow what failed, however long it took', () => {
    const findings = new Findings(10);
    findings.waited(1_000, false);
    expect(findings.counts.slow).toBe(0);
  });

  it('is none when as much was evicted as there are keys, or nothing was done', () => {
    const findings = new Findings(10);
    expect(verdictOf(findings, facts)).toBe('unjudged');
    findings.reads = 1;
    findings.wrong(evicted);
    expect(verdictOf(findings, facts)).toBe('passed');
    findings.wrong(evicted);
    expect(verdictOf(findings, facts)).toBe('unjudged');
  });
});
