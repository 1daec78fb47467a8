/**
 * A network of byte streams, as TCP shows them: first in, first out within a connection, no order between connections;
 * what the kernel accepted may be lost with a reset, and nothing is lost otherwise.
 *
 * Hosts are named. Between two hosts, one way at a time: a delay with jitter, a bandwidth, clogging (everything waits),
 * and a cut (nothing arrives, and nobody is told: half-open until somebody gives up). A connection belongs to an end on
 * each side; a host that crashes resets its connections, which the others learn a moment later, unless cut off.
 */
import type { Random } from './random.js';
import type { Schedule } from './schedule.js';

/** What a process does with its end of a connection. */
export interface EndEvents {
  received(bytes: Buffer): void;
  /** The other side is gone: reset or closed. Never called after close(). */
  lost(): void;
}

/** One end of a connection. */
export interface End {
  readonly remoteHost: string;
  write(bytes: Buffer): void;
  /** Closes at once; the other side gets what is on its way, and then learns of it. */
  close(): void;
}

interface Direction {
  delayMs: number;
  jitterMs: number;
  bytesPerMs: number;
  /** What was sent before has left by then. */
  freeAtMs: number;
  cloggedUntilMs: number;
  isCut: boolean;
}

/** Writes of one side wait in its send buffer while the way is cut; as many as a kernel would take. */
const CUT_BYTES_MAX = 256 * 1024;

export class Network {
  readonly #schedule: Schedule;
  readonly #random: Random;
  readonly #directions = new Map<string, Direction>();
  readonly #listeners = new Map<string, (end: End) => EndEvents>();
  readonly #pipes = new Set<Pipe>();

  /** `bytesPerMs`: what goes through between two hosts, one way, unless it is set otherwise. */
  constructor(
    schedule: Schedule,
    random: Random,
    private readonly bytesPerMs: (from: string, to: string) => number,
  ) {
    this.#schedule = schedule;
    this.#random = random;
  }

  /** Accepts connections to `address` ('host:port'); the callback is given its end and returns what to do with it. */
  listen(address: string, accept: (end: End) => EndEvents): void {
    this.#listeners.set(address, accept);
  }

  unlisten(address: string): void {
    this.#listeners.delete(address);
  }

  /**
   * Connects `from` to `address`. `opened` is called when that stands, `failed` when it is refused; neither while the
   * way is cut.
   */
  connect(
    from: string,
    address: string,
    { opened, failed }: { opened(end: End): EndEvents; failed(): void },
  ): { cancel(): void } {
    let isCancelled = false;
    const to = hostOf(address);
    this.#send(from, to, 64, () => {
      const accept = this.#listeners.get(address);
      this.#send(to, from, 64, () => {
        if (isCancelled) return;
        const stillThere = this.#listeners.get(address);
        if (accept === undefined || stillThere !== accept) return failed();
        const pipe = new Pipe(this.#schedule, this.#way, from, to, () => this.#pipes.delete(pipe));
        this.#pipes.add(pipe);
        pipe.attach(1, accept(pipe.ends[1]));
        pipe.attach(0, opened(pipe.ends[0]));
      });
    });
    return {
      cancel: () => {
        isCancelled = true;
      },
    };
  }

  /** All connections of a host are reset; what was on its way from it may be lost. */
  crash(host: string): void {
    for (const pipe of [...this.#pipes]) if (pipe.touches(host)) pipe.reset(host, this.#random.chance(0.5));
  }

  /** Breaks some connection between two hosts, if there is one. */
  resetOne(a: string, b: string): boolean {
    const between = [...this.#pipes].filter((pipe) => pipe.touches(a) && pipe.touches(b));
    if (between.length === 0) return false;
    this.#random.pick(between).reset(undefined, this.#random.chance(0.5));
    return true;
  }

  direction(from: string, to: string): Direction {
    const key = `${from}>${to}`;
    const found = this.#directions.get(key);
    if (found !== undefined) return found;
    const bytesPerMs = this.bytesPerMs(from, to);
    const made: Direction = { delayMs: 0.2, jitterMs: 0.2, bytesPerMs, freeAtMs: 0, cloggedUntilMs: 0, isCut: false };
    this.#directions.set(key, made);
    return made;
  }

  cut(from: string, to: string): void {
    this.direction(from, to).isCut = true;
  }

  /** What waited in send buffers goes on its way. */
  mend(from: string, to: string): void {
    this.direction(from, to).isCut = false;
    for (const pipe of [...this.#pipes]) pipe.wake();
  }

  mendAll(): void {
    for (const direction of this.#directions.values()) {
      direction.isCut = false;
      direction.cloggedUntilMs = 0;
    }
    for (const pipe of [...this.#pipes]) pipe.wake();
  }

  /** When bytes sent now arrive; undefined while cut. */
  readonly #way = (from: string, to: string, bytes: number): number | undefined => {
    const direction = this.direction(from, to);
    if (direction.isCut) return undefined;
    const startMs = Math.max(this.#schedule.nowMs, direction.cloggedUntilMs, direction.freeAtMs);
    direction.freeAtMs = startMs + bytes / direction.bytesPerMs;
    return direction.freeAtMs + direction.delayMs + this.#random.next() * direction.jitterMs;
  };

  #send(from: string, to: string, bytes: number, arrived: () => void): void {
    const atMs = this.#way(from, to, bytes);
    if (atMs === undefined) return;
    this.#schedule.at(atMs, () => {
      if (!this.direction(from, to).isCut) arrived();
    });
  }
}

const hostOf = (address: string): string => address.slice(0, address.lastIndexOf(':'));

interface Side {
  readonly host: string;
  events: EndEvents | undefined;
  /** Written and not yet on its way. */
  waiting: (Buffer | 'fin')[];
  /** On its way. Two that are due at the same moment still arrive in this order. */
  readonly underWay: (Buffer | 'fin')[];
  waitingBytes: number;
  lastArrivalMs: number;
  isClosed: boolean;
  /** Of a reset, once the way to it is open. */
  mustBeTold: boolean;
}

class Pipe {
  readonly ends: readonly [End, End];
  readonly #sides: readonly [Side, Side];
  /** What is on its way does not arrive any more. */
  #isDead = false;
  #isReset = false;

  constructor(
    private readonly schedule: Schedule,
    private readonly way: (from: string, to: string, bytes: number) => number | undefined,
    from: string,
    to: string,
    private readonly gone: () => void,
  ) {
    const side = (host: string): Side => ({
      host,
      events: undefined,
      waiting: [],
      underWay: [],
      waitingBytes: 0,
      lastArrivalMs: 0,
      isClosed: false,
      mustBeTold: false,
    });
    this.#sides = [side(from), side(to)];
    this.ends = [this.#end(0), this.#end(1)];
  }

  attach(index: 0 | 1, events: EndEvents): void {
    this.#sides[index].events = events;
  }

  touches(host: string): boolean {
    return this.#sides.some((side) => side.host === host);
  }

  /** `by`: the host that crashed, which is told nothing. `losesBytes`: what is on its way is lost too. */
  reset(by: string | undefined, losesBytes: boolean): void {
    if (this.#isReset) return;
    this.#isReset = true;
    this.#isDead = losesBytes;
    for (const side of this.#sides) {
      side.waiting = [];
      if (side.host === by) side.isClosed = true;
      else this.#tellOfReset(side);
    }
  }

  wake(): void {
    for (const side of this.#sides) if (side.mustBeTold) this.#tellOfReset(side);
    this.#drain(0);
    this.#drain(1);
  }

  /** Who is cut off learns of it when the way is open again. */
  #tellOfReset(side: Side): void {
    const other = this.#sides[0] === side ? this.#sides[1] : this.#sides[0];
    const atMs = this.way(other.host, side.host, 64);
    side.mustBeTold = atMs === undefined;
    if (atMs === undefined) return;
    this.schedule.at(Math.max(atMs, this.#isDead ? 0 : other.lastArrivalMs), () => this.#lose(side));
  }

  #end(index: 0 | 1): End {
    const side = this.#sides[index];
    const remoteHost = this.#sides[1 - index]?.host ?? '';
    return {
      remoteHost,
      write: (bytes) => {
        if (side.isClosed || this.#isReset || bytes.length === 0) return;
        side.waiting.push(Buffer.from(bytes));
        side.waitingBytes += bytes.length;
        // A peer that takes nothing for so long is given up by the kernel.
        if (side.waitingBytes > CUT_BYTES_MAX) return this.reset(undefined, true);
        this.#drain(index);
      },
      close: () => {
        if (side.isClosed) return;
        side.isClosed = true;
        side.waiting.push('fin');
        this.#drain(index);
      },
    };
  }

  #drain(index: 0 | 1): void {
    const side = this.#sides[index];
    const other = this.#sides[1 - index] as Side;
    while (side.waiting.length > 0 && !this.#isReset) {
      const next = side.waiting[0] as Buffer | 'fin';
      const bytes = next === 'fin' ? 64 : next.length;
      const atMs = this.way(side.host, other.host, bytes);
      if (atMs === undefined) return;
      side.waiting.shift();
      if (next !== 'fin') side.waitingBytes -= bytes;
      side.lastArrivalMs = Math.max(atMs, side.lastArrivalMs);
      side.underWay.push(next);
      this.schedule.at(side.lastArrivalMs, () => {
        const first = side.underWay.shift();
        if (this.#isDead || other.isClosed || first === undefined) return;
        if (first === 'fin') this.#lose(other);
        else other.events?.received(first);
      });
    }
  }

  #lose(side: Side): void {
    if (side.isClosed) return;
    side.isClosed = true;
    side.waiting = [];
    side.events?.lost();
    if (this.#sides.every(({ isClosed }) => isClosed)) this.gone();
  }
}
