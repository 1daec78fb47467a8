/**
 * The rows of an epoch in which the list of members changes: by the list that goes, and behind that whoever has a copy
 * by the list that comes.
 *
 *   row that goes    A  B           row that comes    D  B
 *   combined         A MEMBER+HOME+FORMER   B MEMBER+NEXT   D RECEIVER+GOAL+NEXT
 *
 * Every entry gets what is written, and what was written before is streamed to the receivers. Once they are in sync the
 * slot is handed over, by itself and in the middle of the epoch, from its FORMER leader to its GOAL; who goes keeps a
 * copy to the end of the change, so that the change can be called off at any moment: then GOAL and FORMER change
 * places. Which of the two leads at a given moment only the nodes know; clients ask the one and are sent to the other.
 *
 * A pure function: nodes (native/ring/) and clients compute the same rows from the same record.
 */
import { RowRole, type RowTable } from './overlay.js';
import { finish, STEP_SLOTS, type Steps } from './steps.js';
import { NO_NODE } from './table.js';

/** What an entry of a combined row is besides its role; the numbers are those of the native store. */
export const RowMark = {
  /** Leads by the list that goes. */
  HOME: 0x10,
  /** Hands the slot over. */
  FORMER: 0x20,
  /** Is to lead it. */
  GOAL: 0x40,
  /** Has a copy by the list that comes. */
  NEXT: 0x80,
} as const;

const ROLE = 0x0f;

export const roleOf = (entry: number): RowRole => (entry & ROLE) as RowRole;

/** Rows for nodes; see the head of this file. `isCancelled`: slots that were handed over go back. */
export function combineRows(current: RowTable, next: RowTable, isCancelled: boolean): RowTable {
  return finish(combinedRowsSteps(current, next, isCancelled));
}

/** The same in steps. */
export function* combinedRowsSteps(current: RowTable, next: RowTable, isCancelled: boolean): Steps<RowTable> {
  const members = [...new Set([...current.members, ...next.members])].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const indexIn = (table: RowTable): number[] => table.members.map((name) => members.indexOf(name));
  const [currentIndex, nextIndex] = [indexIn(current), indexIn(next)];
  const slots = current.rows.length / current.width;
  const width = current.width + next.rf;
  const rows = new Uint16Array(slots * width).fill(NO_NODE);
  const roles = new Uint8Array(slots * width);
  for (let slot = 0; slot < slots; slot++) {
    if (slot % STEP_SLOTS === 0) yield;
    const from = slot * width;
    let end = from;
    for (let at = slot * current.width; at < (slot + 1) * current.width; at++) {
      const member = current.rows[at] as number;
      if (member === NO_NODE) break;
      rows[end] = currentIndex[member] as number;
      roles[end++] = current.roles[at] as number;
    }
    const first = slot * next.width;
    for (let at = first; at < first + next.width; at++) {
      // Whoever is not here by the list that comes takes no part in it, and its stand-ins come with the next change.
      if (next.rows[at] === NO_NODE || next.roles[at] !== RowRole.MEMBER) break;
      const member = nextIndex[next.rows[at] as number] as number;
      let found = placeIn(rows, { from, end }, member);
      if (found < 0 && end < from + width) {
        rows[end] = member;
        roles[end] = RowRole.RECEIVER;
        found = end++;
      }
      if (found >= 0) roles[found] = (roles[found] as number) | RowMark.NEXT;
    }
    if (end === from || roles[from] === RowRole.AWAY) continue;
    roles[from] = (roles[from] as number) | RowMark.HOME;
    if (next.roles[first] !== RowRole.MEMBER || next.rows[first] === NO_NODE) continue;
    const goal = placeIn(rows, { from, end }, nextIndex[next.rows[first] as number] as number);
    // A stand-in or a returning member leads by neither list until it is a member.
    if (goal <= from || !isMemberOrReceiver(roles[goal] as number)) continue;
    roles[from] = (roles[from] as number) | (isCancelled ? RowMark.GOAL : RowMark.FORMER);
    roles[goal] = (roles[goal] as number) | (isCancelled ? RowMark.FORMER : RowMark.GOAL);
  }
  return { rf: current.rf, width, members, rows, roles };
}

const isMemberOrReceiver = (entry: number): boolean =>
  roleOf(entry) === RowRole.MEMBER || roleOf(entry) === RowRole.RECEIVER;

/** Where a member stands between two entries; -1: nowhere. */
function placeIn(rows: Uint16Array, { from, end }: { from: number; end: number }, member: number): number {
  for (let at = from; at < end; at++) if (rows[at] === member) return at;
  return -1;
}
