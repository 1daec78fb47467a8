/** From what is known of a cluster to what every slot of one node is to know: the rows of an epoch, in node numbers. */
import { buildRows, NO_NODE, type RowTable, SLOTS } from '../ring/index.js';
import { type Installation, ROW_MAX } from '../store/index.js';
import type { TopologyView } from './records.js';

/** The rows of a view's epoch. `slots` is smaller than SLOTS in the simulator only. */
export function rowsOf(view: TopologyView, slots: number = SLOTS): RowTable {
  const namesIn = (state: string): string[] =>
    view.members.filter((member) => member.state === state).map(({ name }) => name);
  return buildRows(view.members, view.rf, { away: namesIn('away'), returning: namesIn('returning') }, slots);
}

/** What a node's store is to install. `isFounding`: this memory may lead at once, for there was no epoch before. */
export function installationOf(view: TopologyView, isFounding: boolean, slots: number = SLOTS): Installation {
  const table = rowsOf(view, slots);
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
