/**
 * The slot table's figures: how evenly it spreads slots, what a join moves, what it costs to build and to ask.
 *
 * Evenness and movement are exact, the same on every machine and in every run; the two times are measured. There is no
 * peer: what the bounds buy is shown against plain consistent hashing, which is the same table without them.
 */

import {
  buildSlotTable,
  NO_NODE,
  planMovement,
  primaryOf,
  type RingMember,
  type SlotTable,
  slotOf,
} from '../src/ring/index.js';
import type { Measurement } from './report/figure.js';
import type { Context, Suite } from './suite.js';

/** Sizes at which the tables are judged. */
const SIZES = [4, 8, 16, 32, 64, 100] as const;
/** Copies of a slot: what a node has unless told otherwise. */
const RF = 2;
const KEYS = 100_000;

export const ringSuite: Suite = {
  name: 'ring',
  summary: 'the slot table: evenness, movement on a join, time to build and to look up',
  async run(context) {
    const sizes = context.isQuick ? SIZES.filter((size) => size !== 64) : SIZES;
    return [...evenness(sizes), ...movement(sizes), buildTime(context), lookUpTime(context)];
  },
};

function evenness(sizes: readonly number[]): Measurement[] {
  const bounded = sizes.map((size) => peakToMean(buildSlotTable(membersOf(size), RF)));
  const plain = sizes.map((size) =>
    peakToMean(buildSlotTable(membersOf(size), RF, { loadFactorMax: Number.POSITIVE_INFINITY })),
  );
  return [
    {
      id: 'ring.peakToMean',
      unit: 'x mean',
      values: [Math.max(...bounded)],
      against: { name: 'no bounds', values: [Math.max(...plain)] },
    },
  ];
}

/** The fullest node at any one rank, against the mean. */
function peakToMean({ rf, members, rows }: SlotTable): number {
  const loads = Array.from({ length: rf }, () => new Uint32Array(members.length));
  for (const [at, member] of rows.entries()) {
    const load = loads[at % rf];
    if (member !== NO_NODE && load !== undefined) load[member] = (load[member] ?? 0) + 1;
  }
  const mean = rows.length / rf / members.length;
  return Math.max(...loads.map((load) => Math.max(...load))) / mean;
}

/** Copies moved when one node joins, against the new node's fair share of them. */
function movement(sizes: readonly number[]): Measurement[] {
  const joins = sizes.map((size) => ({ size, moved: joinMoves(size) }));
  const worst = (of: typeof joins) => Math.max(...of.map(({ moved }) => moved));
  return [
    { id: 'ring.joinMoves32', unit: 'x ideal', values: [worst(joins.filter(({ size }) => size <= 32))] },
    { id: 'ring.joinMoves100', unit: 'x ideal', values: [worst(joins)] },
  ];
}

/** A join that makes `size` nodes. */
function joinMoves(size: number): number {
  const before = buildSlotTable(membersOf(size - 1), RF);
  const after = buildSlotTable(membersOf(size), RF);
  return planMovement(before, after).copiesMoved / (after.rows.length / size);
}

function buildTime({ isQuick }: Context): Measurement {
  const members = membersOf(100);
  const build = () => milliseconds(() => buildSlotTable(members, RF));
  build(); // the first is slower: code not yet compiled
  return { id: 'ring.build100', unit: 'ms', values: times(isQuick ? 5 : 15, build) };
}

function lookUpTime({ isQuick }: Context): Measurement {
  const table = buildSlotTable(membersOf(100), RF);
  const keys = Array.from({ length: KEYS }, (_, index) => `user:${index.toString().padStart(15, '0')}`);
  let sum = 0;
  const lookUpAll = () => {
    const ms = milliseconds(() => {
      for (const key of keys) sum += primaryOf(table, slotOf(key));
    });
    return (ms * 1e6) / KEYS;
  };
  times(3, lookUpAll);
  const values = times(isQuick ? 5 : 15, lookUpAll);
  // Read, so that the loop cannot be optimised away.
  if (sum < 0) throw new Error('a look-up gave a negative member');
  return { id: 'ring.lookup', unit: 'ns/key', values };
}

function membersOf(count: number): RingMember[] {
  return Array.from({ length: count }, (_, index) => ({ name: `node-${index}` }));
}

function times(count: number, measure: () => number): number[] {
  return Array.from({ length: count }, measure);
}

function milliseconds(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}
