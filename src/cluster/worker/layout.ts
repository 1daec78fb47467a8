/**
 * An epoch as a worker's core looks at it: who leads each slot, who is in its row and as what.
 *
 * Building the rows takes a tenth of a second of a busy core, so a worker does it only when it must put an epoch in place
 * itself, or does the node's background work.
 */
import { buildSlotTable, NO_NODE, RowRole } from '../../ring/index.js';
import { type Installation, ROW_MAX } from '../../store/index.js';
import type { TopologyView } from '../records.js';
import { installationOf } from '../rows.js';

export class Layout {
  readonly view: TopologyView;
  readonly slots: number;
  readonly installation: Installation;
  #baseRows: Uint16Array | undefined;

  constructor(view: TopologyView, slots: number) {
    this.view = view;
    this.slots = slots;
    // With one copy of everything there is nobody to ask: whoever leads may.
    this.installation = installationOf(view, view.rf === 1, slots);
  }

  get epoch(): number {
    return this.view.epoch;
  }

  /** Acknowledgements of a quorum, the leader's own included. */
  get quorum(): number {
    return Math.floor(this.view.rf / 2) + 1;
  }

  /** The number of the node that leads a slot, 0 when nobody does. */
  leaderOf(slot: number): number {
    const at = slot * ROW_MAX;
    return this.installation.roles[at] === RowRole.AWAY ? 0 : (this.installation.rows[at] as number);
  }

  /** Numbers of those in a slot's row that are here, the leader first. */
  presentIn(slot: number): number[] {
    const { rows, roles } = this.installation;
    const present: number[] = [];
    for (let at = slot * ROW_MAX; at < (slot + 1) * ROW_MAX && rows[at] !== 0; at++) {
      if (roles[at] !== RowRole.AWAY) present.push(rows[at] as number);
    }
    return present;
  }

  /** undefined: not in the row. */
  roleOf(slot: number, number: number): RowRole | undefined {
    const { rows, roles } = this.installation;
    for (let at = slot * ROW_MAX; at < (slot + 1) * ROW_MAX && rows[at] !== 0; at++) {
      if (rows[at] === number) return roles[at] as RowRole;
    }
    return undefined;
  }

  /** Numbers of the base row: who would hold the slot if nobody were away. */
  baseRow(slot: number): readonly number[] {
    const { rf } = this.view;
    this.#baseRows ??= baseRowsOf(this.view, this.slots);
    return [...this.#baseRows.subarray(slot * rf, (slot + 1) * rf)].filter((number) => number !== 0);
  }

  /** Whether `peer` would lead the slot if it were in sync: it may have been written to before `leader` was. */
  precedes(slot: number, peer: number, leader: number): boolean {
    const base = this.baseRow(slot);
    const [peerAt, leaderAt] = [base.indexOf(peer), base.indexOf(leader)];
    return peerAt !== -1 && (leaderAt === -1 || peerAt < leaderAt);
  }
}

function baseRowsOf({ members, rf }: TopologyView, slots: number): Uint16Array {
  const table = buildSlotTable(members, rf, { slots });
  const numbers = table.members.map((name) => members.find((member) => member.name === name)?.number ?? 0);
  return table.rows.map((member) => (member === NO_NODE ? 0 : (numbers[member] as number)));
}
