/** Copies of everything: how workers of several nodes keep them equal, and what becomes of them when nodes fail. */
import { afterEach, describe, expect, it } from 'vitest';
import { rowsOf } from '../../../src/cluster/index.js';
import type { WorkerEnv } from '../../../src/cluster/worker/env.js';
import { Layout } from '../../../src/cluster/worker/layout.js';
import { slotsOf } from '../../../src/cluster/worker/slot-bits.js';
import { SlotSets, takeSurvey } from '../../../src/cluster/worker/survey.js';
import { Status } from '../../../src/protocol/index.js';
import { type NativeWorker, SlotFlag, SlotState } from '../../../src/store/index.js';
import { Copies, type CopiesOptions } from '../../support/copies.js';
import { SLOTS } from '../../support/copy-node.js';

const QUORUM = 1;
const ALL = 2;
const DEGRADED = 3;
/** Longer than a second, which a take-over gives to the silent, and than two of the steward's ticks. */
const TAKE_OVER_MS = 1_500;

const opened: Copies[] = [];

afterEach(() => {
  for (const copies of opened.splice(0)) copies.close();
});

function cluster(names: readonly string[], rf: number, options?: CopiesOptions): Copies {
  const copies = new Copies(names, rf, options);
  opened.push(copies);
  return copies;
}

const keys = (count: number, prefix = 'key'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}:${index}`);

/** The first of many keys that a node leads, or that it does not. */
const keyLedBy = (copies: Copies, number: number): string =>
  keys(1_000).find((key) => copies.leaderOf(key) === number) as string;

const slotNumbers = (isMeant: (slot: number) => boolean): number[] =>
  Array.from({ length: SLOTS }, (_, slot) => slot).filter(isMeant);

/** The states that a node's slots are in. */
const statesOf = (copies: Copies, number: number): Set<number> =>
  new Set(copies.node(number).workers[0]?.native.states());

const flagged = (copies: Copies, number: number, flag: number): number =>
  [...(copies.node(number).workers[0]?.native.slotFlags() ?? [])].filter((flags) => (flags & flag) !== 0).length;

const bothAreInSync = (copies: Copies): boolean =>
  [...copies.nodes.values()].every(({ report }) => report?.syncedEpoch === copies.view.epoch);

describe('a cluster that begins', () => {
  it('leads at once and has all copies declared in sync', () => {
    const copies = cluster(['a', 'b', 'c'], 2);
    expect(statesOf(copies, 1)).toEqual(new Set([SlotState.PRIMARY, SlotState.REPLICA, SlotState.NONE]));
    expect(bothAreInSync(copies)).toBe(true);
  });

  it('has every write on its copies', () => {
    const copies = cluster(['a', 'b'], 2);
    for (const key of keys(20)) expect(copies.set(key, `value of ${key}`)).toBe(Status.OK);
    for (const key of keys(20)) {
      const other = copies.leaderOf(key) === 1 ? 2 : 1;
      expect(copies.get(key, { at: other, level: DEGRADED })).toBe(`value of ${key}`);
    }
  });

  it('acknowledges a write at all levels', () => {
    const copies = cluster(['a', 'b', 'c'], 3);
    expect(copies.set('key', 'one')).toBe(Status.OK);
    expect(copies.set('key', 'two', { level: QUORUM })).toBe(Status.OK);
    expect(copies.set('key', 'three', { level: ALL })).toBe(Status.OK);
    expect(copies.get('key', { level: QUORUM })).toBe('three');
  });
});

describe('a link that is lost', () => {
  it('costs the copy nothing but what it missed, and is made again', () => {
    const copies = cluster(['a', 'b'], 2);
    for (const key of keys(100)) copies.set(key, 'old');
    copies.cut(1, 2);
    for (const key of keys(10)) copies.set(key, 'new');
    copies.advance(500);
    copies.heal();
    copies.advance(3_000);
    for (const key of keys(10)) {
      const other = copies.leaderOf(key) === 1 ? 2 : 1;
      expect(copies.get(key, { at: other, level: DEGRADED })).toBe('new');
    }
    expect(bothAreInSync(copies)).toBe(true);
    expect(copies.node(1).sum('caught-up', 'items') + copies.node(2).sum('caught-up', 'items')).toBeLessThan(100);
  });

  it('detaches the copies, which then are not read as the nearest', () => {
    const copies = cluster(['a', 'b'], 2);
    copies.cut(1, 2);
    expect(flagged(copies, 1, SlotFlag.DETACHED)).toBeGreaterThan(0);
  });
});

describe('a node that is lost', () => {
  it('has its slots led by a copy in sync, with all that was acknowledged', () => {
    const copies = cluster(['a', 'b', 'c'], 2);
    for (const key of keys(50)) copies.set(key, key, { level: QUORUM });
    copies.kill(1);
    copies.change({ 1: 'away' });
    copies.advance(TAKE_OVER_MS);
    for (const key of keys(50)) expect(copies.get(key)).toBe(key);
    for (const key of keys(50)) expect(copies.set(key, 'new')).toBe(Status.OK);
    expect(flagged(copies, 2, SlotFlag.POSSIBLE_LOSS) + flagged(copies, 3, SlotFlag.POSSIBLE_LOSS)).toBe(0);
  });

  it('leaves nothing that only another copy had: three copies', () => {
    const copies = cluster(['a', 'b', 'c'], 3);
    const key = keyLedBy(copies, 1);
    const successor = copies.rowOf(key)[1] as number;
    // The quorum of this write is the leader and one other, whichever leads next.
    copies.cut(1, successor);
    copies.advance(100);
    expect(copies.set(key, 'acknowledged', { level: QUORUM })).toBe(Status.OK);
    copies.kill(1);
    copies.change({ 1: 'away' });
    copies.heal();
    copies.advance(TAKE_OVER_MS);
    expect(copies.get(key)).toBe('acknowledged');
  });

  it('leaves its slots in doubt if no copy was in sync, and out of it when it was asked', () => {
    const copies = cluster(['a', 'b'], 2);
    const key = keyLedBy(copies, 1);
    copies.cut(1, 2);
    copies.set(key, 'alone');
    // The other memory is made anew, so it was never in sync.
    copies.kill(2);
    copies.start(2);
    copies.change({ 1: 'away' }, { told: [2] });
    copies.advance(TAKE_OVER_MS);
    expect(flagged(copies, 2, SlotFlag.POSSIBLE_LOSS)).toBeGreaterThan(0);
    expect(copies.node(2).report?.possibleLossSlots).toBeGreaterThan(0);
    copies.heal();
    copies.change({ 1: 'returning' });
    copies.advance(3_000);
    expect(copies.get(key)).toBe('alone');
    expect(flagged(copies, 2, SlotFlag.POSSIBLE_LOSS)).toBe(0);
  });

  it('is waited for where a partition must not lose anything', () => {
    const copies = cluster(['a', 'b', 'c'], 3, { onPartition: 'fence' });
    const key = keyLedBy(copies, 1);
    copies.set(key, 'value', { level: ALL });
    copies.kill(1);
    copies.kill(2);
    copies.change({ 1: 'away', 2: 'away' });
    copies.advance(5_000);
    expect(copies.get(key, { at: 3 })).toBe(`status ${Status.NOT_READY}`);
  });
});

describe('a node that returns', () => {
  it('gets what it missed and no more, and is in sync', () => {
    const copies = cluster(['a', 'b', 'c'], 2);
    for (const key of keys(300)) copies.set(key, 'old');
    const led = keys(300).filter((key) => copies.leaderOf(key) === 1);
    copies.cut(1, 2);
    copies.cut(1, 3);
    copies.change({ 1: 'away' }, { told: [2, 3] });
    copies.advance(TAKE_OVER_MS);
    for (const key of led.slice(0, 10)) expect(copies.set(key, 'new')).toBe(Status.OK);
    copies.heal();
    copies.change({ 1: 'returning' });
    copies.advance(3_000);
    expect(copies.node(1).report?.syncedEpoch).toBe(copies.view.epoch);
    const sent = copies.node(2).sum('caught-up', 'items') + copies.node(3).sum('caught-up', 'items');
    expect(sent).toBeGreaterThanOrEqual(10);
    expect(sent).toBeLessThan(60);
    copies.change({ 1: 'in' });
    copies.advance(TAKE_OVER_MS);
    for (const key of led.slice(0, 10)) expect(copies.get(key, { at: 1 })).toBe('new');
    for (const key of led.slice(10)) expect(copies.get(key, { at: 1 })).toBe('old');
  });

  it('gives back what it wrote alone, where nobody wrote since', () => {
    const copies = cluster(['a', 'b'], 2);
    const [mine, disputed] = keys(1_000).filter((key) => copies.leaderOf(key) === 1) as [string, string];
    copies.cut(1, 2);
    copies.set(mine, 'alone');
    copies.set(disputed, 'alone');
    copies.change({ 1: 'away' }, { told: [2] });
    copies.advance(TAKE_OVER_MS);
    copies.set(disputed, 'after');
    copies.heal();
    copies.change({ 1: 'returning' });
    copies.advance(3_000);
    expect(copies.get(mine, { at: 2 })).toBe('alone');
    expect(copies.get(disputed, { at: 2 })).toBe('after');
    copies.change({ 1: 'in' });
    copies.advance(TAKE_OVER_MS);
    expect(copies.get(mine, { at: 1 })).toBe('alone');
    expect(copies.get(disputed, { at: 1 })).toBe('after');
  });

  it('with another memory gets everything, even if no epoch came between', () => {
    const copies = cluster(['a', 'b'], 2);
    for (const key of keys(100)) copies.set(key, key, { level: QUORUM });
    copies.kill(2);
    copies.start(2);
    copies.advance(5_000);
    for (const key of keys(100)) {
      expect(copies.get(key)).toBe(key);
      const other = copies.leaderOf(key) === 1 ? 2 : 1;
      expect(copies.get(key, { at: other, level: DEGRADED })).toBe(key);
    }
    expect(bothAreInSync(copies)).toBe(true);
  });
});

describe('background work', () => {
  it('is gone on with by another worker when the steward ends', () => {
    const copies = cluster(['a', 'b'], 2);
    for (const key of keys(200)) copies.set(key, key);
    copies.cut(1, 2);
    for (const key of keys(200)) copies.set(key, 'new');
    copies.heal();
    copies.advance(300);
    copies.node(1).stopWorker(0);
    copies.node(2).stopWorker(0);
    copies.advance(5_000);
    expect(bothAreInSync(copies)).toBe(true);
    for (const key of keys(200)) {
      const other = copies.leaderOf(key) === 1 ? 2 : 1;
      expect(copies.get(key, { at: other, level: DEGRADED })).toBe('new');
    }
  });

  it('brings stand-ins old items only when the epoch says so', () => {
    const copies = cluster(['a', 'b', 'c'], 2);
    for (const key of keys(50)) copies.set(key, key);
    const itemsOf = (number: number): number => copies.node(number).arena.stats().items;
    copies.kill(1);
    copies.change({ 1: 'away' });
    copies.advance(3_000);
    expect(itemsOf(2) + itemsOf(3)).toBeLessThan(100);
    copies.change({}, { isFilling: true });
    copies.advance(3_000);
    expect(itemsOf(2) + itemsOf(3)).toBe(100);
  });

  it('drops what this node has no part in any more, half a minute later', () => {
    const copies = cluster(['a', 'b', 'c'], 2);
    for (const key of keys(60)) copies.set(key, key);
    copies.kill(1);
    copies.change({ 1: 'away' });
    copies.change({}, { isFilling: true });
    copies.advance(3_000);
    copies.start(1);
    copies.change({ 1: 'returning' });
    copies.advance(3_000);
    copies.change({ 1: 'in' });
    copies.advance(20_000);
    const items = (): number[] => [...copies.nodes.values()].map(({ arena }) => arena.stats().items);
    expect(items().reduce((sum, count) => sum + count)).toBeGreaterThan(120);
    copies.advance(20_000);
    expect(items().reduce((sum, count) => sum + count)).toBe(120);
  });
});

describe('a node that is away and lives', () => {
  it('keeps what it has, however long that lasts, for it is sent only what it missed', () => {
    const copies = cluster(['a', 'b', 'c'], 2);
    for (const key of keys(60)) copies.set(key, key);
    const itemsOf = (): number => copies.node(1).arena.stats().items;
    const before = itemsOf();
    copies.change({ 1: 'away' });
    copies.advance(40_000);
    copies.change({ 1: 'returning' });
    copies.advance(3_000);
    copies.change({ 1: 'in' });
    copies.advance(3_000);
    expect(itemsOf()).toBe(before);
  });
});

describe('what slots are doing', () => {
  it('is told as sets as it is slot by slot', () => {
    const copies = cluster(['a', 'b', 'c'], 2);
    copies.kill(3);
    copies.change({ 3: 'away' });
    copies.kill(2);
    copies.advance(2_000);
    const native = copies.node(1).workers[0]?.native as NativeWorker;
    const sets = new SlotSets(native, SLOTS);
    const [states, flags] = [native.states(), native.slotFlags()];
    for (const state of Object.values(SlotState)) {
      expect([...slotsOf(sets.inState(state))]).toEqual(slotNumbers((slot) => states[slot] === state));
    }
    for (const flag of Object.values(SlotFlag)) {
      expect([...slotsOf(sets.flagged(flag))]).toEqual(slotNumbers((slot) => ((flags[slot] ?? 0) & flag) !== 0));
    }
    expect(flags.some((flag) => (flag & SlotFlag.DETACHED) !== 0)).toBe(true);
  });
});

describe('who led before', () => {
  it('is read from the memory once a survey, for it may be asked of every slot', () => {
    const copies = cluster(['a', 'b'], 2);
    const native = copies.node(1).workers[0]?.native as NativeWorker;
    const layout = new Layout(copies.view, rowsOf(copies.view, SLOTS));
    const survey = takeSurvey({ native, slots: SLOTS } as WorkerEnv, layout);
    expect(survey.reigns.leaders.length).toBe(SLOTS);
    expect(survey.reigns).toBe(survey.reigns);
  });
});

describe('a topology that this node was not told', () => {
  it('is learned from the node whose frames are of a newer epoch', () => {
    const copies = cluster(['a', 'b', 'c'], 2);
    copies.kill(3);
    copies.change({ 3: 'away' }, { told: [1] });
    copies.advance(2_000);
    expect(copies.node(2).arena.epoch()).toBe(2);
    expect(copies.node(2).workers[0]?.core.topology?.epoch).toBe(2);
    expect(statesOf(copies, 2).has(SlotState.TAKING_OVER)).toBe(false);
    expect(copies.node(2).workers[0]?.native.states().length).toBe(SLOTS);
  });
});
