/**
 * Who may have acknowledged writes of a slot before this node came to lead it: the row of the leader before.
 *
 * A take-over asks *them*, not only its own row. While a member is away or returning a row is longer than RF, and a
 * stand-in that acknowledged a quorum write may be gone from the very next row; so that the answers are sure to meet
 * that quorum there must be W - Q + 1 of the W that could acknowledge.
 *
 * An epoch that was never seen here leaves nothing known: then the present row is asked, and what its members say of
 * themselves must do.
 */
import { ROW_MAX, votersBefore } from '../../store/index.js';
import type { Layout } from './layout.js';

export class History {
  #rows: Uint16Array;

  constructor(slots: number) {
    this.#rows = new Uint16Array(slots * ROW_MAX);
  }

  /** Numbers of those who could acknowledge before, that leader first; empty when they are not known. */
  rowBefore(slot: number): number[] {
    const row: number[] = [];
    for (let at = slot * ROW_MAX; at < (slot + 1) * ROW_MAX && this.#rows[at] !== 0; at++) {
      row.push(this.#rows[at] as number);
    }
    return row;
  }

  forget(): void {
    this.#rows.fill(0);
  }

  /** `next` follows `layout`. Slots with the same leader keep what is known: their take-over may still be under way. */
  advance({ epoch, installation, leaders }: Layout, next: Layout): void {
    if (next.epoch !== epoch + 1) {
      this.forget();
      return;
    }
    const { rows, roles } = installation;
    this.#rows = votersBefore({ known: this.#rows, rows, roles, leaders, nextLeaders: next.leaders });
  }
}
