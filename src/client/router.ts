/**
 * Where a request goes: a topology with its rows. Pure, so the same rules run in the client and under a simulator.
 *
 *   row of a slot      B        C        D          A            (A is away)
 *   role               MEMBER   MEMBER   STAND_IN   AWAY
 *                      leads    is read  begins empty, never read
 *
 * Writes and ordinary reads go to the leader; a `nearest` read goes to the leader or another member; a read whose
 * leader cannot answer goes round it, to as many of the others as it takes to meet every acknowledged quorum
 * (copy-read.ts).
 *
 * While the list of members changes, a slot may be led by either of two; whoever does not refuses it, and then the
 * other one is asked, for that slot, from then on.
 */

import {
  combinedRowsSteps,
  finish,
  KeptTables,
  leaderOf,
  NO_NODE,
  type RingMember,
  RowMark,
  RowRole,
  type RowTable,
  ranksNeeded,
  roleOf,
  rowsSteps,
  SLOTS,
  STEP_SLOTS,
  type Steps,
} from '../ring/index.js';

export interface RouteMember {
  readonly name: string;
  readonly number: number;
  readonly address: string;
  readonly zone: string;
  readonly weight: number;
  /** 'away': gone for now. 'returning': back, and not yet in sync. All others are in their rows. */
  readonly state: string;
  /** It has no slots yet: it is in `next` alone. */
  readonly isJoining?: boolean;
  /** Path of the node's Unix socket, for clients on its machine. */
  readonly unix?: string;
  /** HOST:PORT of its HTTP face. */
  readonly http?: string;
}

/** What a client knows of a cluster. */
export interface Topology {
  readonly epoch: number;
  readonly rf: number;
  /** Sorted by name. */
  readonly members: readonly RouteMember[];
  /** While the list of members changes: who is to be in it. Slots go over to them one by one. */
  readonly next?: readonly RingMember[];
  readonly isCancelled?: boolean;
  /** What an operator said of how data moves; bytes a second of each node, 0: as many as it can. */
  readonly rebalance?: { readonly isPaused: boolean; readonly bytesPerSecond?: number | undefined };
}

/** A topology with its rows. Members are counted as in `table.members`. */
export class Routes {
  readonly topology: Topology;
  readonly table: RowTable;
  /** By slot: the member that leads it, or NO_NODE. Hot path: the one array read between a key and its node. */
  readonly leaders: Uint16Array;
  /** By slot: the other member that may lead it, NO_NODE mostly; undefined while the list of members stays. */
  readonly #others: Uint16Array | undefined;
  /** What the rows are made from; shared by the routes of a client. */
  readonly #tables: KeptTables;

  private constructor(topology: Topology, parts: RouteParts) {
    this.topology = topology;
    this.table = parts.table;
    this.leaders = parts.leaders;
    this.#others = parts.others;
    this.#tables = parts.tables;
  }

  /** The table of `previous` is kept when the epoch is the same: then only addresses can differ. */
  static of(topology: Topology, previous?: Routes, slots: number = SLOTS): Routes {
    return finish(Routes.steps(topology, previous, slots));
  }

  /** The same in steps. */
  static *steps(topology: Topology, previous?: Routes, slots: number = SLOTS): Steps<Routes> {
    if (previous?.topology.epoch === topology.epoch) {
      const { table, leaders } = previous;
      return new Routes(topology, { table, leaders, others: previous.#others, tables: previous.#tables });
    }
    const isSameCircle = previous?.leaders.length === slots;
    const tables = isSameCircle ? previous.#tables : new KeptTables(slots);
    const table = yield* tableSteps(topology, tables, slots);
    const leaders = new Uint16Array(slots);
    const others = topology.next && new Uint16Array(slots);
    for (let slot = 0; slot < slots; slot++) {
      if (slot % STEP_SLOTS === 0) yield;
      leaders[slot] = leaderOf(table, slot);
      if (others !== undefined) others[slot] = otherLeaderOf(table, slot);
    }
    return new Routes(topology, { table, leaders, others, tables });
  }

  /**
   * A member refused a slot because it does not lead it. True: the other one of two does, or is about to, and is asked
   * from now on.
   */
  turn(slot: number, member: number): boolean {
    const other = this.#others?.[slot] ?? NO_NODE;
    if (other === NO_NODE) return false;
    const leader = this.leaders[slot] as number;
    if (leader !== member) return true;
    this.leaders[slot] = other;
    (this.#others as Uint16Array)[slot] = leader;
    return true;
  }

  /** The list of members changes: slots are being handed over. */
  get isChanging(): boolean {
    return this.#others !== undefined;
  }

  /** Index into the table's members of the slot's leader, or NO_NODE. */
  leaderOf(slot: number): number {
    return this.leaders[slot] ?? NO_NODE;
  }

  /** The members that may be read: the leader, if any, then the others that are in sync or were. */
  copiesOf(slot: number): number[] {
    const { rows, roles, width } = this.table;
    const leader = this.leaderOf(slot);
    const copies = leader === NO_NODE ? [] : [leader];
    for (let at = slot * width; at < (slot + 1) * width; at++) {
      const member = rows[at] as number;
      const isCopy = member !== NO_NODE && roleOf(roles[at] as number) === RowRole.MEMBER;
      if (isCopy && member !== leader) copies.push(member);
    }
    return copies;
  }

  /**
   * The copy that costs least, NO_NODE when none may be asked. `costOf` gives undefined for one that may not; among
   * equals `turn`, a number that goes up by one from call to call, spreads the load.
   */
  cheapestCopy(slot: number, costOf: (member: number) => number | undefined, turn: number): number {
    const copies = this.copiesOf(slot);
    let best = NO_NODE;
    let bestCost = Number.POSITIVE_INFINITY;
    for (let i = 0; i < copies.length; i++) {
      const member = copies[(i + turn) % copies.length] as number;
      const cost = costOf(member);
      if (cost === undefined || cost >= bestCost) continue;
      best = member;
      bestCost = cost;
    }
    return best;
  }

  /** By member, whether it leads a slot, or may. */
  whoLeads(): boolean[] {
    const leads = this.table.members.map(() => false);
    for (let slot = 0; slot < this.leaders.length; slot++) {
      for (const member of [this.leaderOf(slot), this.#others?.[slot] ?? NO_NODE]) {
        if (member !== NO_NODE) leads[member] = true;
      }
    }
    return leads;
  }

  /**
   * Whom a read asks that its leader did not answer: the other copies, and the leader last, which answers such a read
   * while it takes over. Those that `isUsable` rejects are left out. Empty when the cluster keeps one copy.
   */
  detourOf(slot: number, isUsable: (member: number) => boolean): number[] {
    if (this.topology.rf === 1) return [];
    const leader = this.leaderOf(slot);
    const copies = this.copiesOf(slot).filter((member) => member !== leader && isUsable(member));
    if (leader !== NO_NODE && isUsable(leader)) copies.push(leader);
    return copies;
  }

  /** How many copies a read that goes round its leader needs: one of them has every write acknowledged by a quorum. */
  get detourCopies(): number {
    const { rf } = this.topology;
    const quorum = Math.floor(rf / 2) + 1;
    return rf - quorum + 1;
  }
}

interface RouteParts {
  readonly table: RowTable;
  readonly leaders: Uint16Array;
  readonly others: Uint16Array | undefined;
  readonly tables: KeptTables;
}

function* tableSteps(topology: Topology, tables: KeptTables, slots: number): Steps<RowTable> {
  const { members, rf, next, isCancelled } = topology;
  const overlay = { away: namesIn('away', topology), returning: namesIn('returning', topology) };
  function* rowsOf(list: readonly RingMember[]): Steps<RowTable> {
    const table = yield* tables.of(list, rf, ranksNeeded(list, rf, overlay));
    return yield* rowsSteps(list, rf, overlay, slots, table);
  }
  const current = yield* rowsOf(members.filter(({ isJoining }) => isJoining !== true));
  if (next === undefined) return current;
  return yield* combinedRowsSteps(current, yield* rowsOf(next), isCancelled === true);
}

/** Whoever hands the slot over, or is to lead it, besides the first of its row. */
function otherLeaderOf({ rows, roles, width }: RowTable, slot: number): number {
  for (let at = slot * width + 1; at < (slot + 1) * width; at++) {
    if (((roles[at] as number) & (RowMark.FORMER | RowMark.GOAL)) !== 0) return rows[at] as number;
  }
  return NO_NODE;
}

const namesIn = (state: string, topology: Topology): string[] =>
  topology.members.filter((member) => member.state === state).map(({ name }) => name);

/** Reads a topology as nodes send it. @throws TypeError when it is none */
export function parseTopology(json: string): Topology {
  const topology = JSON.parse(json) as Partial<Topology> | null;
  if (!Number.isInteger(topology?.epoch) || !Number.isInteger(topology?.rf) || !Array.isArray(topology?.members)) {
    throw new TypeError(`this is no topology: ${json.slice(0, 200)}`);
  }
  for (const member of topology.members as Partial<RouteMember>[]) {
    if (typeof member?.name !== 'string' || typeof member.address !== 'string') {
      throw new TypeError(`a member of the topology has no name or address: ${JSON.stringify(member)}`);
    }
  }
  return topology as Topology;
}
