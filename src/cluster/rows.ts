/** From what is known of a cluster to what every slot of one node is to know: the rows of an epoch, in node numbers. */
import { RowMark, RowRole, ringShapeOf, SLOTS } from '../ring/index.js';
import { type EpochRows, type Installation, layOut, NOT_STRUCK, type RingOrder, ROW_MAX } from '../store/index.js';
import { baseOf, type RingPlace, type TopologyMember, type TopologyView } from './records.js';

/** Of so many slots: fewer than SLOTS in the simulator and in tests only. */
export function rowsOf(view: TopologyView, slots: number = SLOTS): EpochRows {
  const orderOf = (list: readonly RingPlace[]): RingOrder => ringOrder(list, view.members, slots);
  return layOut({
    rf: view.rf,
    slots,
    current: orderOf(baseOf(view)),
    ...(view.next && { next: orderOf(view.next) }),
    isCancelled: view.isCancelled === true,
  });
}

function ringOrder(list: readonly RingPlace[], members: readonly TopologyMember[], slots: number): RingOrder {
  const shape = ringShapeOf(list, { slots });
  const known = shape.names.map((name) => members.find((member) => member.name === name));
  return {
    ...shape,
    numbers: Uint16Array.from(known, (member) => member?.number ?? 0),
    struck: Uint8Array.from(known, (member) => struckRole(member?.state)),
  };
}

function struckRole(state: TopologyMember['state'] | undefined): number {
  if (state === 'returning') return RowRole.RETURNING;
  return state === 'away' ? RowRole.AWAY : NOT_STRUCK;
}

/** What a node's store is to install. `isFounding`: this memory may lead at once, for there was no epoch before. */
export function installationOf(view: TopologyView, isFounding: boolean, epochRows: EpochRows): Installation {
  const { rows, roles } = epochRows;
  return { epoch: view.epoch, rf: view.rf, rows, roles, isFounding };
}

/** Slots that a node leads by their rows; while the list of members changes, by the list that goes. */
export function countLed({ rows, roles }: EpochRows, number: number): number {
  let count = 0;
  for (let at = 0; at < rows.length; at += ROW_MAX) count += Number(rows[at] === number && roles[at] !== RowRole.AWAY);
  return count;
}

/**
 * By node number, the slots that get another leader or other copies: each is counted for who leads it when the change
 * begins, or in one that is called off for who hands it back. What a node says of itself while the change goes on
 * (worker/hand-over.ts) is counted by the same rule.
 */
export function changingSlots({ rows, roles, goals }: EpochRows): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (let slot = 0; slot < (goals?.length ?? 0); slot++) {
    if (goals?.[slot] === 0) continue;
    const from = slot * ROW_MAX;
    let at = from;
    while (at < from + ROW_MAX && ((roles[at] as number) & RowMark.FORMER) === 0) at++;
    const number = rows[at < from + ROW_MAX ? at : from] as number;
    counts.set(number, (counts.get(number) ?? 0) + 1);
  }
  return counts;
}
