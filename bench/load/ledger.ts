/**
 * What the callers of a cluster were promised, key by key, and what they find afterwards.
 *
 * Every key is counted up by one writer: the number under it says which write it was. The ledger knows the last number
 * that was acknowledged and the last that was tried, so what is found can be judged: below the first it was lost; above
 * the second nobody wrote it.
 */
export interface Verdict {
  /** Keys that hold an older number than the last acknowledged one, or none. */
  readonly lost: readonly number[];
  /** Acknowledged writes that are not there. */
  readonly lostWrites: number;
  /** Keys that hold what nobody wrote. */
  readonly foreign: readonly number[];
  readonly keys: number;
}

/** Reads under way at once while a verdict is made. */
const READS_MAX = 64;

export class Ledger {
  readonly #acknowledged: Uint32Array;
  readonly #tried: Uint32Array;

  constructor(readonly keys: number) {
    this.#acknowledged = new Uint32Array(keys);
    this.#tried = new Uint32Array(keys);
  }

  /** The number that the next write of a key carries. */
  begin(key: number): number {
    const next = (this.#tried[key] ?? 0) + 1;
    this.#tried[key] = next;
    return next;
  }

  acknowledged(key: number, number: number): void {
    if (number > this.acknowledgedOf(key)) this.#acknowledged[key] = number;
  }

  /** An increment was acknowledged: of a counter the number acknowledged is how many of them were. */
  counted(key: number): void {
    this.#acknowledged[key] = this.acknowledgedOf(key) + 1;
  }

  /** The last number acknowledged so far: a read that begins now may find nothing older. */
  acknowledgedOf(key: number): number {
    return this.#acknowledged[key] ?? 0;
  }

  /** Judges what is found when all writes have ended. */
  async judge(read: (key: number) => Promise<number | undefined>): Promise<Verdict> {
    const [lost, foreign]: [number[], number[]] = [[], []];
    let [next, lostWrites] = [0, 0];
    const lane = async (): Promise<void> => {
      while (next < this.keys) {
        const key = next++;
        const found = (await read(key)) ?? 0;
        const missing = this.acknowledgedOf(key) - found;
        if (missing > 0) {
          lost.push(key);
          lostWrites += missing;
        } else if (found > (this.#tried[key] ?? 0)) foreign.push(key);
      }
    };
    await Promise.all(Array.from({ length: READS_MAX }, lane));
    return { lost, lostWrites, foreign, keys: this.keys };
  }
}
