/** From what is known of a cluster to what every slot of one node is to know: the rows of an epoch, in node numbers. */
import {
  buildRows,
  buildSlotTable,
  combineRows,
  NO_NODE,
  type Overlay,
  type RowTable,
  ranksNeeded,
  SLOTS,
  type SlotTable,
} from '../ring/index.js';
import { type Installation, ROW_MAX } from '../store/index.js';
import { baseOf, type RingPlace, type TopologyView } from './records.js';

/** Ranks behind RF that are computed before anybody is away: enough for the members of one zone, or two, to fail. */
const SPARE_RANKS = 2;
/** The list that goes and the one that comes. */
const TABLES_KEPT = 2;

/** The slot tables that the rows of an epoch are made from. */
export interface TablesOfView {
  readonly current: SlotTable;
  /** While the list of members changes. */
  readonly next: SlotTable | undefined;
}

/**
 * The slot tables of the newest lists of members, with some ranks to spare. An epoch in which only somebody is away or
 * back is made from them in a few milliseconds; a table itself takes some fifty, at the worst moment there is.
 */
export class SlotTables {
  readonly #slots: number;
  /** The newest last. */
  #kept: { readonly places: string; readonly table: SlotTable }[] = [];

  constructor(slots: number) {
    this.#slots = slots;
  }

  /** With RF ranks and all that the view's stand-ins need. */
  of(view: TopologyView): TablesOfView {
    const next = view.next === undefined ? undefined : this.#tableOf(view, view.next);
    return { current: this.#tableOf(view, baseOf(view)), next };
  }

  #tableOf(view: TopologyView, members: readonly RingPlace[]): SlotTable {
    const places = JSON.stringify(members.map(({ name, zone, weight }) => [name, zone, weight]));
    const ranks = ranksNeeded(members, view.rf, overlayOf(view));
    const known = this.#kept.find((one) => one.places === places && one.table.rf >= ranks);
    if (known !== undefined) return known.table;
    const table = buildSlotTable(members, Math.max(ranks, view.rf + SPARE_RANKS), { slots: this.#slots });
    this.#kept = [...this.#kept.slice(1 - TABLES_KEPT), { places, table }];
    return table;
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
