/**
 * Slot tables that are there already. An epoch in which only somebody is away or back is made from the table of its
 * members in a few milliseconds; the table itself takes some fifty, at the worst moment there is.
 */
import { KnownPoints, type RingMember } from './points.js';
import type { Steps } from './steps.js';
import { type SlotTable, slotTableSteps } from './table.js';

/** Ranks that are computed before anybody is away: enough for the stand-ins of two members. */
const SPARE_RANKS = 2;
/** The list of members that goes, and the one that comes. */
const TABLES_KEPT = 2;

export class KeptTables {
  readonly #slots: number;
  readonly #points = new KnownPoints();
  /** The newest last. */
  #kept: readonly { readonly places: string; readonly table: SlotTable }[] = [];

  constructor(slots: number) {
    this.#slots = slots;
  }

  /** A table of these members with so many ranks, or more. */
  *of(members: readonly RingMember[], rf: number, ranks: number): Steps<SlotTable> {
    const places = JSON.stringify(members.map(({ name, zone, weight }) => [name, zone, weight]));
    const known = this.#kept.find((one) => one.places === places && one.table.rf >= ranks);
    if (known !== undefined) return known.table;
    const table = yield* slotTableSteps(members, Math.max(ranks, rf + SPARE_RANKS), {
      slots: this.#slots,
      points: this.#points,
    });
    this.#kept = [...this.#kept.filter((one) => one.places !== places).slice(1 - TABLES_KEPT), { places, table }];
    return table;
  }
}
