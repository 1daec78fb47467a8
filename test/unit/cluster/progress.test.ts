/** How far a change of the list of members is, as any node tells it. */
import { expect, test } from 'vitest';
import { ChangeProgress, type Sight } from '../../../src/cluster/control/progress.js';
import { AliveRecord, type RebalanceRecord, rowsOf, type TopologyView } from '../../../src/cluster/index.js';
import { Layout } from '../../../src/cluster/worker/layout.js';

const SLOTS_FEW = 256;

interface Situation {
  readonly epoch?: number;
  readonly next?: string;
  readonly isCancelled?: boolean;
  readonly rebalance?: RebalanceRecord;
  readonly weights?: Readonly<Record<string, number>>;
}

function viewOf(base: string, { epoch = 7, next, isCancelled = false, rebalance, weights = {} }: Situation = {}) {
  const names = [...new Set([...base, ...(next ?? '')])].sort();
  const view: TopologyView = {
    epoch,
    rf: 2,
    members: names.map((name) => ({
      name,
      number: name.charCodeAt(0),
      address: '',
      zone: 'z',
      weight: 1,
      state: 'in',
      ...(!base.includes(name) && { isJoining: true }),
    })),
    ...(next !== undefined && {
      next: [...next].map((name) => ({ name, zone: 'z', weight: weights[name] ?? 1 })),
      isCancelled,
    }),
    ...(rebalance !== undefined && { rebalance }),
  };
  return view;
}

type Said = Readonly<Record<string, Partial<AliveRecord>>>;

function sight(view: TopologyView, said: Said, nowMs = 0): Sight {
  const alive = Object.entries(said).map(([name, more]): [string, AliveRecord] => [
    name,
    AliveRecord.parse({ name, incarnation: name, epoch: view.epoch, syncedEpoch: 0, ...more }),
  ]);
  return { view, alive: new Map(alive), nowMs };
}

const layoutGoals = (view: TopologyView): number =>
  new Layout(view, rowsOf(view, SLOTS_FEW)).goals?.filter((goal) => goal !== 0).length ?? 0;

test('an idle cluster has nothing to do and nothing to wait for', () => {
  const progress = new ChangeProgress(SLOTS_FEW);
  const status = progress.status(sight(viewOf('ab'), { a: { handOvers: 0 }, b: {} }));
  expect(status).toMatchObject({ state: 'idle', epoch: 7, next: null, slotsTotal: 0, slotsDone: 0, etaMs: null });
});

test.each([
  ['a join', viewOf('ab', { next: 'abc' })],
  ['a join that is called off', viewOf('ab', { next: 'abc', isCancelled: true })],
  ['a drain', viewOf('abc', { next: 'ab' })],
  ['a swap', viewOf('abc', { next: 'abd' })],
  ['another weight', viewOf('abc', { next: 'abc', weights: { a: 3 } })],
])('%s has as many slots to do as the nodes count among themselves', (_, view) => {
  const { slotsTotal, slotsDone } = new ChangeProgress(SLOTS_FEW).status(sight(view, {}));
  expect(slotsTotal).toBe(layoutGoals(view));
  expect(slotsTotal).toBeGreaterThan(0);
  expect(slotsDone).toBe(0);
});

test('what nodes say is left of this epoch counts, what they said of an older one does not', () => {
  const view = viewOf('ab', { next: 'abc' });
  const progress = new ChangeProgress(SLOTS_FEW);
  const { slotsTotal } = progress.status(sight(view, {}));
  const moved = { handOvers: 5, movedBytes: 300, toMoveBytes: 700 };
  const all = progress.status(sight(view, { a: moved, b: moved, c: {} }));
  expect(all).toMatchObject({ slotsDone: slotsTotal - 10, bytesDone: 600, bytesTotal: 2_000 });
  const one = progress.status(sight(view, { a: moved, b: { ...moved, epoch: 6 }, c: {} }));
  expect(one).toMatchObject({ bytesDone: 300, bytesTotal: 1_000 });
  expect(one.slotsDone).toBeLessThan(slotsTotal - 5);
  expect(one.nodes.map(({ name, epoch }) => [name, epoch])).toEqual([
    ['a', 7],
    ['b', 6],
    ['c', 7],
  ]);
});

test('the time left is that of what is left at the pace so far, and unknown while that says nothing', () => {
  const view = viewOf('ab', { next: 'abc' });
  const progress = new ChangeProgress(SLOTS_FEW);
  progress.saw(sight(view, {}, 1_000));
  const at = (nowMs: number, movedBytes: number, toMoveBytes: number, handOvers = 50) =>
    progress.status(sight(view, { a: { movedBytes, toMoveBytes, handOvers } }, nowMs)).etaMs;
  expect(at(1_500, 100, 900)).toBe(null);
  expect(at(3_000, 0, 1_000)).toBe(null);
  expect(at(3_000, 100, 900)).toBe(18_000);
  const { slotsDone, slotsTotal } = progress.status(sight(view, { a: { handOvers: 10 }, b: { handOvers: 10 } }));
  const slots = progress.status(sight(view, { a: { handOvers: 10 }, b: { handOvers: 10 } }, 3_000)).etaMs;
  expect(slots).toBe(Math.round((2_000 * (slotsTotal - slotsDone)) / slotsDone));
});

test('a pause has no end, and the pace is measured anew from where it goes on', () => {
  const progress = new ChangeProgress(SLOTS_FEW);
  const said = { a: { movedBytes: 500, toMoveBytes: 500 } };
  progress.saw(sight(viewOf('ab', { next: 'abc' }), {}, 0));
  const paused = viewOf('ab', { next: 'abc', rebalance: { isPaused: true } });
  progress.saw(sight(paused, said, 10_000));
  expect(progress.status(sight(paused, said, 20_000))).toMatchObject({ state: 'paused', isPaused: true, etaMs: null });
  const resumed = viewOf('ab', { next: 'abc', rebalance: { isPaused: false, bytesPerSecond: 100 } });
  progress.saw(sight(resumed, said, 60_000));
  const later = { a: { movedBytes: 600, toMoveBytes: 400 } };
  expect(progress.status(sight(resumed, later, 62_000))).toMatchObject({
    state: 'moving',
    next: 8,
    etaMs: 8_000,
    bytesPerSecond: 100,
  });
});

test('it says who comes, who goes, and who gets another weight', () => {
  const progress = new ChangeProgress(SLOTS_FEW);
  const status = progress.status(sight(viewOf('abc', { next: 'bcd', weights: { b: 2 } }), {}));
  expect(status).toMatchObject({ joining: ['d'], leaving: ['a'], changing: ['b'] });
});
