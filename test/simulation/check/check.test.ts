/** The checkers against hand-made histories, good and bad: a checker that finds nothing proves nothing. */
import { describe, expect, it } from 'vitest';
import { checkCounters } from './counters.js';
import { checkDeletes } from './deletes.js';
import type { Increment, Operation, Read, Write } from './history.js';
import { checkLeaders } from './leaders.js';
import { checkVersions } from './versions.js';
import { checkZones } from './zones.js';

const EXPLAINED = { missesAreExplained: true };

const set = (value: string, beganMs: number, endedMs: number, version: string, more: Partial<Write> = {}): Write => ({
  kind: 'set',
  key: 'k',
  value,
  level: 'quorum',
  beganMs,
  endedMs,
  outcome: 'ok',
  version,
  client: 1,
  ...more,
});

const get = (value: string | undefined, beganMs: number, endedMs: number, version?: string): Read => ({
  kind: 'get',
  key: 'k',
  level: 'quorum',
  beganMs,
  endedMs,
  outcome: 'ok',
  ...(value !== undefined && { value }),
  ...(version !== undefined && { version }),
  client: 2,
});

const erase = (beganMs: number, endedMs: number, outcome: Write['outcome'] = 'ok'): Write => ({
  kind: 'delete',
  key: 'k',
  value: undefined,
  level: 'quorum',
  beganMs,
  endedMs,
  outcome,
  client: 1,
});

const increment = (result: number, beganMs: number, endedMs: number, more: Partial<Increment> = {}): Increment => ({
  kind: 'increment',
  key: 'n',
  delta: 1,
  level: 'quorum',
  beganMs,
  endedMs,
  outcome: 'ok',
  result,
  client: 1,
  ...more,
});

const GOOD: Operation[] = [
  set('a', 0, 2, '01'),
  get('a', 3, 4, '01'),
  set('b', 3, 8, '02'),
  get('b', 5, 6, '02'),
  get('b', 9, 10, '02'),
  set('c', 9, 20, '03', { outcome: 'unknown' }),
  get('c', 30, 31, '03'),
];

describe('the version checker', () => {
  it('accepts what a register does, unknown outcomes included', () => {
    expect(checkVersions(GOOD, EXPLAINED)).toEqual([]);
  });
  it('finds a read of an older version than one that was acknowledged before it began', () => {
    expect(checkVersions([...GOOD, get('a', 40, 41, '01')], EXPLAINED)).toHaveLength(1);
  });
  it('finds a write whose version is not above what had been seen', () => {
    expect(checkVersions([...GOOD, set('d', 40, 41, '02')], EXPLAINED).length).toBeGreaterThan(0);
  });
  it('finds two values under one version', () => {
    expect(checkVersions([...GOOD, get('z', 32, 33, '03')], EXPLAINED)).toHaveLength(1);
  });
  it('finds a miss that nothing explains, and accepts one after a delete', () => {
    expect(checkVersions([...GOOD, get(undefined, 40, 41)], EXPLAINED)).toHaveLength(1);
    expect(checkVersions([...GOOD, erase(32, 33), get(undefined, 40, 41)], EXPLAINED)).toEqual([]);
    expect(checkVersions([...GOOD, get(undefined, 40, 41)], { missesAreExplained: false })).toEqual([]);
  });
  it('finds a miss that only a later delete could explain', () => {
    expect(checkVersions([...GOOD, get(undefined, 40, 41), erase(50, 51)], EXPLAINED)).toHaveLength(1);
  });
});

describe('the zone checker', () => {
  it('accepts what a register does', () => {
    expect(checkZones(GOOD)).toEqual([]);
  });
  it('finds a value that was there before and after another', () => {
    expect(checkZones([set('a', 0, 1, ''), set('b', 2, 3, ''), get('b', 4, 5), get('a', 6, 7)])).toHaveLength(1);
  });
  it('finds a value that came and went while another stood', () => {
    expect(checkZones([set('a', 0, 1, ''), set('b', 2, 3, ''), get('a', 4, 5)])).toHaveLength(1);
  });
  it('finds a read before its write, of a failed write, and of what nobody wrote', () => {
    expect(checkZones([get('a', 0, 1), set('a', 2, 3, '')])).not.toEqual([]);
    expect(checkZones([set('a', 0, 1, '', { outcome: 'failed' }), get('a', 2, 3)])).not.toEqual([]);
    expect(checkZones([get('ghost', 2, 3)])).not.toEqual([]);
  });
  it('accepts concurrent writes read in either order', () => {
    const writes = [set('a', 0, 10, ''), set('b', 0, 10, '')];
    expect(checkZones([...writes, get('a', 1, 2), get('b', 11, 12)])).toEqual([]);
    expect(checkZones([...writes, get('b', 1, 2), get('a', 11, 12)])).toEqual([]);
  });
});

describe('a compare-and-set', () => {
  const sets = [set('a', 0, 1, '01'), set('b', 2, 3, '02'), set('c', 2, 4, '03', { ifVersion: '02' })];
  it('follows on the version it named', () => {
    expect(checkVersions(sets, EXPLAINED)).toEqual([]);
  });
  it('is found when it went over a write that it did not know', () => {
    expect(checkVersions([...sets, set('d', 3, 5, '04', { ifVersion: '02' })], EXPLAINED)).toHaveLength(1);
  });
});

describe('the checker of deletes', () => {
  it('accepts a miss after a delete, a later value, and an old one read meanwhile', () => {
    const meanwhile = get('a', 2, 9, '01');
    expect(checkDeletes([set('a', 0, 1, '01'), erase(2, 3), meanwhile, get(undefined, 4, 5)])).toEqual([]);
    expect(checkDeletes([set('a', 0, 1, '01'), erase(2, 3), set('b', 4, 5, '02'), get('b', 6, 7, '02')])).toEqual([]);
  });
  it('finds a deleted key that is back, unless the delete may not have run or its value may be younger', () => {
    const late = get('a', 4, 5, '01');
    expect(checkDeletes([set('a', 0, 1, '01'), erase(2, 3), late])).toHaveLength(1);
    expect(checkDeletes([set('a', 0, 1, '01'), erase(2, 3, 'unknown'), late])).toEqual([]);
    expect(checkDeletes([set('a', 0, 9, '01', { outcome: 'unknown' }), erase(2, 3), late])).toEqual([]);
  });
});

describe('the checker of leaders', () => {
  const versionOf = (epoch: number, node: number): string => `0000000${epoch}${'0'.repeat(16)}000${node}`;
  it('accepts another leader in another epoch', () => {
    expect(checkLeaders([set('a', 0, 1, versionOf(1, 1)), set('b', 2, 3, versionOf(2, 2))], () => 7)).toEqual([]);
  });
  it('finds two nodes that acknowledge in one epoch', () => {
    expect(checkLeaders([set('a', 0, 1, versionOf(1, 1)), set('b', 2, 3, versionOf(1, 2))], () => 7)).toHaveLength(1);
  });
});

describe('the counter checker', () => {
  it('accepts a counter, with an increment of unknown outcome applied or not', () => {
    const sure = [increment(1, 0, 1), increment(2, 2, 3)];
    const { result: _, ...unknown } = increment(0, 2, 9, { outcome: 'unknown' });
    expect(checkCounters([...sure, unknown])).toEqual([]);
    expect(checkCounters([...sure, unknown, increment(4, 10, 11)])).toEqual([]);
  });
  it('finds an acknowledged increment that was lost', () => {
    expect(checkCounters([increment(1, 0, 1), increment(1, 2, 3)])).not.toEqual([]);
    expect(checkCounters([increment(1, 0, 1), increment(2, 2, 3), increment(2, 4, 5)])).not.toEqual([]);
  });
  it('finds an increment that was applied twice', () => {
    expect(checkCounters([increment(1, 0, 1), increment(3, 2, 3)])).not.toEqual([]);
  });
});
