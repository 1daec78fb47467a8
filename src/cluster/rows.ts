/** From what is known of a cluster to what every slot of one node is to know: the rows of an epoch, in node numbers. */
import {
  buildRows,
  combineRows,
  KeptTables,
  NO_NODE,
  type Overlay,
  type RowTable,
  ranksNeeded,
  SLOTS,
  type SlotTable,
} from '../ring/index.js';
import { type Installation, ROW_MAX } from '../store/index.js';
import { baseOf, type RingPlace, type TopologyView } from './records.js';

/** The slot tables that the rows of an epoch are made from. */
export interface TablesOfView {
  readonly current: SlotTable;
  /** While the list of members changes. */
  readonly next: SlotTable | undefined;
}

/** The slot tables of the newest lists of members. */
export class SlotTables {
  readonly #kept: KeptTables;

  constructor(slots: number) {
    this.#kept = new KeptTables(slots);
  }

  /** With RF ranks and all that the view's stand-ins need. */
  of(view: TopologyView): TablesOfView {
    const tableOf = (members: readonly RingPlace[]): SlotTable =>
      this.#kept.of(members, view.rf, ranksNeeded(members, view.rf, overlayOf(view)));
    return { current: tableOf(baseOf(view)), next: view.next && tableOf(view.next) };
  }
}

function overlayOf({ members }: TopologyView): Overlay {
  const namesIn = (state: string): string[] =>
    members.filter((member) => member.state === state).map(({ name }) => name);
  return { away: namesIn('away'), returning: namesIn('returning') };
}

/** The rows of a view's epoch. `slots` is smaller than SLOTS in the simulator only. */
export function rowsOf(view: TopologyView, slots: number = SLOTS, known?: TablesOfView): RowTable {
  const overlay = overlayOf(view);
  const current = buildRows(baseOf(view), view.rf, overlay, slots, known?.current);
  if (view.next === undefined) return current;
  return combineRows(current, buildRows(view.next, view.rf, overlay, slots, known?.next), view.isCancelled === true);
}

/** What a node's store is to install. `isFounding`: this memory may lead at once, for there was no epoch before. */
export function installationOf(
  view: TopologyView,
  isFounding: boolean,
  slots: number = SLOTS,
  known?: TablesOfView,
): Installation {
  const table = rowsOf(view, slots, known);
  const numbers = table.members.map((name) => view.members.find((member) => member.name === name)?.number ?? 0);
  const rows = new Uint16Array(slots * ROW_MAX);
  const roles = new Uint8Array(slots * ROW_MAX);
  for (let slot = 0; slot < slots; slot++) {
    for (let rank = 0; rank < table.width; rank++) {
      const member = table.rows[slot * table.width + rank] as number;
      if (member === NO_NODE) break;
      rows[slot * ROW_MAX + rank] = numbers[member] as number;
      roles[slot * ROW_MAX + rank] = table.roles[slot * table.width + rank] as number;
    }
  }
  return { epoch: view.epoch, rf: view.rf, rows, roles, isFounding };
}
