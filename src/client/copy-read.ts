/**
 * A read that goes round its leader: it asks as many other copies as it takes for one of them to have every write that
 * a quorum acknowledged (REPLICATION.md, rule 16), and the newest version wins. A copy that cannot answer is replaced
 * by the next one, while there is one. Pure; whoever sends the questions tells what became of them.
 *
 *   next() ──▶ ask ──▶ answered() or failed() ──▶ next() … ──▶ state: done (see `newest`), or short of copies
 */

/** What a copy said. A miss has the version of what was deleted there, or the empty one. */
export interface CopyAnswer<A> {
  /** As text: the greater is the newer (version.ts). */
  readonly version: string;
  readonly isMiss: boolean;
  readonly answer: A;
}

export class CopyRead<Copy, A> {
  #asked = 0;
  #open = 0;
  #answers = 0;
  #newest: CopyAnswer<A> | undefined;

  constructor(
    private readonly copies: readonly Copy[],
    private readonly needed: number,
  ) {}

  /** A copy to ask now; call it again until it gives none. */
  next(): Copy | undefined {
    if (this.#open + this.#answers >= this.needed) return undefined;
    const copy = this.copies[this.#asked];
    if (copy === undefined) return undefined;
    this.#asked++;
    this.#open++;
    return copy;
  }

  answered(answer: CopyAnswer<A>): void {
    this.#open--;
    this.#answers++;
    if (isNewer(answer, this.#newest)) this.#newest = answer;
  }

  failed(): void {
    this.#open--;
  }

  get state(): 'waiting' | 'done' | 'short' {
    if (this.#answers >= this.needed) return 'done';
    const reachable = this.#answers + this.#open + (this.copies.length - this.#asked);
    return reachable < this.needed ? 'short' : 'waiting';
  }

  get newest(): A | undefined {
    return this.#newest?.answer;
  }
}

/** Of equals the value wins: a copy that evicted an item says nothing about the others. */
function isNewer<A>(answer: CopyAnswer<A>, than: CopyAnswer<A> | undefined): boolean {
  if (than === undefined || answer.version > than.version) return true;
  return answer.version === than.version && than.isMiss && !answer.isMiss;
}
