/** From what is known of a cluster to what every slot of one node is to know: the rows of an epoch, in node numbers. */
import {
  buildRows,
  buildSlotTable,
  NO_NODE,
  type Overlay,
  type RowTable,
  ranksNeeded,
  SLOTS,
  type SlotTable,
} from '../ring/index.js';
import { type Installation, ROW_MAX } from '../store/index.js';
import type { TopologyView } from './records.js';

/** Ranks behind RF that are computed before anybody is away: enough for the members of one zone, or two, to fail. */
const SPARE_RANKS = 2;

/**
 * The slot table of the newest list of members, with some ranks to spare. An epoch in which only somebody is away or
 * back is made from it in a few milliseconds; the table itself takes some fifty, at the worst moment there is.
 */
export class SlotTables {
  readonly #slots: number;
  #members = '';
  #table: SlotTable | undefined;

  constructor(slots: number) {
    this.#slots = slots;
  }

  /** With RF ranks and all that the view's stand-ins need. */
  of(view: TopologyView): SlotTable {
    const members = JSON.stringify(view.members.map(({ name, zone, weight }) => [name, zone, weight]));
    const ranks = ranksNeeded(view.members, view.rf, overlayOf(view));
    if (this.#table === undefined || members !== this.#members || this.#table.rf < ranks) {
      this.#members = members;
      this.#table = buildSlotTable(view.members, Math.max(ranks, view.rf + SPARE_RANKS), { slots: this.#slots });
    }
    return this.#table;
  }
}

function overlayOf({ members }: TopologyView): Overlay {
  const namesIn = (state: string): string[] =>
    members.filter((member) => member.state === state).map(({ name }) => name);
  return { away: namesIn('away'), returning: namesIn('returning') };
}

/** The rows of a view's epoch. `slots` is smaller than SLOTS in the simulator only. */
export function rowsOf(view: TopologyView, slots: number = SLOTS, known?: SlotTable): RowTable {
  return buildRows(view.members, view.rf, overlayOf(view), slots, known);
}

/** What a node's store is to install. `isFounding`: this memory may lead at once, for there was no epoch before. */
export function installationOf(
  view: TopologyView,
  isFounding: boolean,
  slots: number = SLOTS,
  known?: SlotTable,
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
