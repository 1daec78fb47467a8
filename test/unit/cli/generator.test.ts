import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { generate, type Outcome } from '../../../src/cli/load/generator.js';

describe('a closed loop', () => {
  it('keeps exactly so many operations under way', async () => {
    let underWay = 0;
    let most = 0;
    const operation = async (): Promise<Outcome> => {
      most = Math.max(most, ++underWay);
      await sleep(1);
      underWay--;
      return 'hit';
    };
    const { tally } = await generate({ operation, durationMs: 60, inFlight: 7 });
    expect(most).toBe(7);
    expect(underWay).toBe(0);
    expect(tally.hits).toBe(tally.operations);
  });

  it('counts every outcome under its own name, and latencies of successes only', async () => {
    const outcomes: Outcome[] = ['hit', 'miss', 'written', { failure: 'TIMEOUT' }];
    let next = 0;
    const operation = async (): Promise<Outcome> => {
      await sleep(1);
      return outcomes[next++ % outcomes.length] as Outcome;
    };
    const { tally } = await generate({ operation, durationMs: 60, inFlight: 4 });
    const failures = tally.failures.get('TIMEOUT') ?? 0;
    expect(tally.hits + tally.misses + tally.writes + failures).toBe(tally.operations);
    expect(failures).toBeGreaterThan(0);
    expect(tally.latencies.count).toBe(tally.operations - failures);
    expect(tally.readLatencies.count).toBe(tally.hits + tally.misses);
  });

  it('stops when it is told to', async () => {
    const abort = new AbortController();
    const operation = async (): Promise<Outcome> => {
      await sleep(1);
      return 'hit';
    };
    const run = generate({ operation, durationMs: 3_600_000, inFlight: 2, signal: abort.signal });
    abort.abort();
    expect((await run).tally.operations).toBeLessThanOrEqual(2);
  });
});

describe('an open loop', () => {
  it('starts what is due, and no more', async () => {
    const { tally } = await generate({ operation: async () => 'hit', durationMs: 100, inFlight: 100, rate: 500 });
    expect(tally.operations + tally.unstarted).toBe(50);
  });

  it('charges a stall to every operation that was due during it', async () => {
    const stallMs = 200;
    let operations = 0;
    const operation = async (): Promise<Outcome> => {
      // The first operation blocks the event loop: nothing can be sent while it lasts.
      if (operations++ === 0) for (const end = performance.now() + stallMs; performance.now() < end; );
      return 'hit';
    };
    const { tally } = await generate({ operation, durationMs: 400, inFlight: 1_000, rate: 1_000 });
    // Due evenly over the stall: about 100 of 400 waited longer than half of it. A closed loop would report one.
    expect(tally.latencies.percentile(75)).toBeGreaterThan((stallMs / 4) * 1_000);
  });

  it('says how many operations were due and never started', async () => {
    const operation = async (): Promise<Outcome> => {
      await sleep(50);
      return 'hit';
    };
    const { tally } = await generate({ operation, durationMs: 100, inFlight: 1, rate: 1_000 });
    expect(tally.operations + tally.unstarted).toBe(100);
    expect(tally.unstarted).toBeGreaterThan(90);
  });
});
