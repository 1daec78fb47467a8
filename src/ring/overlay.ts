/**
 * The rows of an epoch: the slot table of its base member list, with an overlay of members that are away for now.
 *
 * "The next replica already holds the data" is false for the table of the shrunk list: with zones, a quarter to a half
 * of a dead node's slots would go to a node that holds nothing. So members that are away are struck out and the order
 * of the others is kept; as many stand-ins are appended as were struck out, so that the number of copies can be
 * restored; a member that is back but not yet in sync follows, at the end. Without an overlay the rows are the slot
 * table itself.
 *
 *   base row      A  B  C        (copies: 3; A is away)
 *   epoch's row   B  C  D  A     MEMBER MEMBER STAND_IN AWAY: D is whom the walk would have met next
 *
 * A pure function: nodes (native/ring/) and clients compute the same rows from the same record.
 */

import type { RingMember } from './points.js';
import { SLOTS } from './slot.js';
import { finish, STEP_SLOTS, type Steps } from './steps.js';
import { NO_NODE, type SlotTable, slotTableSteps } from './table.js';

/** What an entry of a row is; the numbers are those of the native store. */
export const RowRole = {
  /** Of the base row, and here. */
  MEMBER: 0,
  /** Takes part until the one it stands in for is in sync again; begins empty. */
  STAND_IN: 1,
  /** Back, gets what it missed; neither read nor promoted. */
  RETURNING: 2,
  /** Gone for now. What it misses is noted; nothing is sent to it. */
  AWAY: 3,
  /** Is to have a copy by the list of members that comes; begins empty. */
  RECEIVER: 4,
} as const;
export type RowRole = (typeof RowRole)[keyof typeof RowRole];

export interface Overlay {
  readonly away: readonly string[];
  readonly returning: readonly string[];
}

export const NO_OVERLAY: Overlay = { away: [], returning: [] };

/** Copies a cluster may ask for. */
export const RF_MAX = 5;
/** A row holds the base row's members, each with a stand-in at most. */
export const rowWidth = (rf: number): number => 2 * rf;

export interface RowTable {
  readonly rf: number;
  /** Entries of a row, NO_NODE where it is shorter. */
  readonly width: number;
  /** The base members' names, sorted; an entry of `rows` is an index into them. */
  readonly members: readonly string[];
  readonly rows: Uint16Array;
  /** Of each entry of `rows`. */
  readonly roles: Uint8Array;
}

/**
 * The rows of an epoch. Names in the overlay that are no members are ignored.
 * @param slots how many slots the circle is cut into; fewer only for small worlds in tests
 * @param known a slot table of these members that is there already; used if it has ranks enough
 */
export function buildRows(
  members: readonly RingMember[],
  rf: number,
  overlay: Overlay,
  slots: number = SLOTS,
  known?: SlotTable,
): RowTable {
  return finish(rowsSteps(members, rf, overlay, slots, known));
}

/** The same in steps. */
export function* rowsSteps(
  members: readonly RingMember[],
  rf: number,
  overlay: Overlay,
  slots: number,
  known?: SlotTable,
): Steps<RowTable> {
  const ranks = ranksNeeded(members, rf, overlay);
  // Ranks are filled one after the other, so the first RF are the same whatever the number of copies asked for.
  const table = known !== undefined && known.rf >= ranks ? known : yield* slotTableSteps(members, ranks, { slots });
  const struckRoles = table.members.map((name): RowRole | undefined => {
    if (overlay.returning.includes(name)) return RowRole.RETURNING;
    return overlay.away.includes(name) ? RowRole.AWAY : undefined;
  });
  const width = rowWidth(rf);
  const rows = new Uint16Array(slots * width).fill(NO_NODE);
  const roles = new Uint8Array(slots * width);
  const isStruck = struckRoles.some((role) => role !== undefined);
  const row = new RowWriter(table, struckRoles, { rows, roles });
  for (let slot = 0; slot < slots; slot++) {
    if (slot % STEP_SLOTS === 0) yield;
    const from = slot * table.rf;
    row.at = slot * width;
    const here = row.append(from, from + rf, undefined, RowRole.MEMBER);
    if (!isStruck) continue;
    const standInsMax = baseLength(table, from, rf) - here;
    row.append(from + rf, from + ranks, undefined, RowRole.STAND_IN, standInsMax);
    row.append(from, from + rf, RowRole.RETURNING, RowRole.RETURNING);
    row.append(from, from + rf, RowRole.AWAY, RowRole.AWAY);
  }
  return { rf, width, members: table.members, rows, roles };
}

/** Writes one row after another. HOT: for every slot of an epoch, at a moment when requests wait for it. */
class RowWriter {
  /** Where the next entry goes. */
  at = 0;
  private readonly table: SlotTable;
  private readonly struckRoles: readonly (RowRole | undefined)[];
  private readonly out: Pick<RowTable, 'rows' | 'roles'>;

  constructor(table: SlotTable, struckRoles: readonly (RowRole | undefined)[], out: Pick<RowTable, 'rows' | 'roles'>) {
    this.table = table;
    this.struckRoles = struckRoles;
    this.out = out;
  }

  /** Entries of the table from `first` to `end` whose members have this role, or none. Returns how many. */
  append(
    first: number,
    end: number,
    struckRole: RowRole | undefined,
    role: RowRole,
    most = Number.POSITIVE_INFINITY,
  ): number {
    const { rows, roles } = this.out;
    let count = 0;
    for (let entry = first; entry < end && count < most; entry++) {
      const member = this.table.rows[entry] as number;
      if (member === NO_NODE) break;
      if (this.struckRoles[member] !== struckRole) continue;
      rows[this.at] = member;
      roles[this.at++] = role;
      count++;
    }
    return count;
  }
}

/**
 * Ranks of a slot table that the rows of an epoch are made from: a stand-in is looked for behind all who are struck
 * out.
 */
export function ranksNeeded(members: readonly RingMember[], rf: number, { away, returning }: Overlay): number {
  const struck = new Set([...away, ...returning]);
  return rf + members.reduce((count, { name }) => count + Number(struck.has(name)), 0);
}

function baseLength({ rows }: SlotTable, from: number, rf: number): number {
  let length = 0;
  while (length < rf && rows[from + length] !== NO_NODE) length++;
  return length;
}

/**
 * Index of the member that leads a slot, NO_NODE when nobody does: all its members are away. One array read, mostly.
 */
export function leaderOf(table: RowTable, slot: number): number {
  const at = slot * table.width;
  return table.roles[at] === RowRole.AWAY ? NO_NODE : (table.rows[at] as number);
}
