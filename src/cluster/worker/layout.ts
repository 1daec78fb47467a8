/** An epoch as a worker's core looks at it: who leads each slot, who is in its row and as what. */
import { RowMark, RowRole, roleOf } from '../../ring/index.js';
import { type EpochRows, type Installation, ROW_MAX, type SlotBits, slotsOfNode } from '../../store/index.js';
import type { TopologyView } from '../records.js';
import { installationOf } from '../rows.js';
import { addSlot, eitherBits, noSlots } from './slot-bits.js';

export const ANY_ROLE = [RowRole.MEMBER, RowRole.STAND_IN, RowRole.RETURNING, RowRole.AWAY, RowRole.RECEIVER] as const;

export class Layout {
  readonly view: TopologyView;
  readonly slots: number;
  readonly installation: Installation;
  readonly #bases: Uint16Array;
  /**
   * By slot, `goalOf`, or the leader itself where only other copies change; 0 where nothing does. Undefined when the
   * list of members stays as it is.
   */
  readonly goals: Uint16Array | undefined;
  /** By slot, the number of the node that leads it, 0 when nobody does. */
  readonly leaders: Uint16Array;
  /** Slots that stay with their leader and change other copies. A change that is called off keeps them. */
  readonly settling: SlotBits;
  #goalSlots: ReadonlyMap<number, SlotBits> | undefined;
  readonly #byRole = new Map<number, readonly SlotBits[]>();

  constructor(view: TopologyView, rows: EpochRows) {
    this.view = view;
    this.slots = rows.rows.length / ROW_MAX;
    this.#bases = rows.bases;
    this.goals = rows.goals;
    this.leaders = rows.leaders;
    this.settling = rows.settling ?? noSlots(this.slots);
    this.installation = installationOf(view, false, rows);
  }

  get epoch(): number {
    return this.view.epoch;
  }

  /** Acknowledgements of a quorum, the leader's own included. */
  get quorum(): number {
    return Math.floor(this.view.rf / 2) + 1;
  }

  /** By node number, the slots whose goal it is. */
  get goalSlots(): ReadonlyMap<number, SlotBits> {
    this.#goalSlots ??= slotsByNumber(this.goals ?? new Uint16Array());
    return this.#goalSlots;
  }

  /** Slots of which anything changes. */
  get changing(): SlotBits {
    return [...this.goalSlots.values()].reduce(eitherBits, noSlots(this.slots));
  }

  /** Slots in whose rows a node has one of these roles. */
  slotsOf(number: number, ...roles: readonly RowRole[]): SlotBits {
    let byRole = this.#byRole.get(number);
    if (byRole === undefined) {
      byRole = slotsOfNode(this.installation, number);
      this.#byRole.set(number, byRole);
    }
    return roles.reduce((slots, role) => eitherBits(slots, byRole[role] as SlotBits), noSlots(this.slots));
  }

  /** Numbers of those in a slot's row that are here, the leader first. */
  presentIn(slot: number): number[] {
    const { rows, roles } = this.installation;
    const present: number[] = [];
    for (let at = slot * ROW_MAX; at < (slot + 1) * ROW_MAX && rows[at] !== 0; at++) {
      if (roleOf(roles[at] as number) !== RowRole.AWAY) present.push(rows[at] as number);
    }
    return present;
  }

  /** undefined: not in the row. */
  roleOf(slot: number, number: number): RowRole | undefined {
    const { rows, roles } = this.installation;
    for (let at = slot * ROW_MAX; at < (slot + 1) * ROW_MAX && rows[at] !== 0; at++) {
      if (rows[at] === number) return roleOf(roles[at] as number);
    }
    return undefined;
  }

  /** Numbers of those who are here and whose acknowledgement counts until the slot is handed over. */
  votersIn(slot: number): number[] {
    return this.presentIn(slot).filter((number) => this.roleOf(slot, number) !== RowRole.RECEIVER);
  }

  /** Number of the node the slot is to be handed to, 0 when there is none. */
  goalOf(slot: number): number {
    return this.#marked(slot, RowMark.GOAL);
  }

  /** Number of the node that hands the slot over, 0 when there is none. */
  formerOf(slot: number): number {
    return this.#marked(slot, RowMark.FORMER);
  }

  #marked(slot: number, mark: number): number {
    const { rows, roles } = this.installation;
    for (let at = slot * ROW_MAX; at < (slot + 1) * ROW_MAX && rows[at] !== 0; at++) {
      if (((roles[at] as number) & mark) !== 0) return rows[at] as number;
    }
    return 0;
  }

  /** Numbers of the base row: who would hold the slot if nobody were away. */
  baseRow(slot: number): readonly number[] {
    const { rf } = this.view;
    return [...this.#bases.subarray(slot * rf, (slot + 1) * rf)].filter((number) => number !== 0);
  }

  /** Whether `peer` would lead the slot if it were in sync: it may have been written to before `leader` was. */
  precedes(slot: number, peer: number, leader: number): boolean {
    const base = this.baseRow(slot);
    const [peerAt, leaderAt] = [base.indexOf(peer), base.indexOf(leader)];
    return peerAt !== -1 && (leaderAt === -1 || peerAt < leaderAt);
  }
}

function slotsByNumber(numbers: Uint16Array): ReadonlyMap<number, SlotBits> {
  const byNumber = new Map<number, SlotBits>();
  for (let slot = 0; slot < numbers.length; slot++) {
    const number = numbers[slot] as number;
    if (number === 0) continue;
    let slots = byNumber.get(number);
    if (slots === undefined) {
      slots = noSlots(numbers.length);
      byNumber.set(number, slots);
    }
    addSlot(slots, slot);
  }
  return byNumber;
}
