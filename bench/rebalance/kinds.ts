/** The planned changes that are measured, and what the slot tables say of each: which slots move, and how many. */
import {
  buildSlotTable,
  planMovement,
  primaryOf,
  type RingMember,
  SLOTS,
  type SlotTable,
} from '../../src/ring/index.js';
import type { BenchCluster } from '../targets/cluster.js';
import { begun } from './change.js';

export const RF = 2;

export interface Kind {
  readonly name: string;
  readonly nodes: number;
  /** Names of the members at the end. */
  readonly after: string;
  /** The lists of members that follow each other. */
  readonly lists: readonly (readonly RingMember[])[];
  /** Asks for the change. */
  ask(cluster: BenchCluster): Promise<void>;
}

const HEAVY = 2;

export const KINDS: readonly Kind[] = [
  {
    name: 'join',
    nodes: 3,
    after: 'abcd',
    lists: [members('abc'), members('abcd')],
    ask: async (cluster) => void (await cluster.join('d')),
  },
  {
    name: 'drain',
    nodes: 4,
    after: 'abc',
    lists: [members('abcd'), members('abc')],
    ask: (cluster) => cluster.ask('d/drain'),
  },
  {
    name: 'weight',
    nodes: 3,
    after: 'abc',
    lists: [members('abc'), members('abc', { b: HEAVY })],
    ask: (cluster) => cluster.ask(`b/weight?value=${HEAVY}`),
  },
  {
    // Two changes, for the second begins when the first is done.
    name: 'swap',
    nodes: 3,
    after: 'abd',
    lists: [members('abc'), members('abcd'), members('abd')],
    ask: async (cluster) => {
      const sinceMs = performance.now();
      await cluster.join('d');
      await begun(cluster, sinceMs);
      await cluster.ask('c/drain');
    },
  },
];

function members(names: string, weights: Readonly<Record<string, number>> = {}): RingMember[] {
  return [...names].map((name) => ({ name, zone: 'default', weight: weights[name] ?? 1 }));
}

const tablesOf = ({ lists }: Kind): SlotTable[] => lists.map((list) => buildSlotTable(list, RF));

/** Copies of slots that the change moves, and the fewest with which the numbers of copies could change so. */
export function copiesMoved(kind: Kind): { readonly moved: number; readonly ideal: number } {
  const tables = tablesOf(kind);
  const plans = tables.slice(1).map((table, index) => planMovement(tables[index] as SlotTable, table));
  return {
    moved: plans.reduce((sum, plan) => sum + plan.copiesMoved, 0),
    ideal: plans.reduce((sum, plan) => sum + plan.copiesMovedIdeal, 0),
  };
}

/** Bits, in base64, of the slots that another node leads in the end. */
export function movingSlots(kind: Kind): string {
  const tables = tablesOf(kind);
  const leaders = [tables[0], tables.at(-1)].map((table) => (slot: number) => table?.members[primaryOf(table, slot)]);
  const bits = Buffer.alloc(SLOTS / 8);
  for (let slot = 0; slot < SLOTS; slot++) {
    if (leaders[0]?.(slot) !== leaders[1]?.(slot)) bits[slot >> 3] = (bits[slot >> 3] ?? 0) | (1 << (slot & 7));
  }
  return bits.toString('base64');
}
