/**
 * The shape of the native addon (native/addon.cc), and how it is found and loaded. Only this folder knows it.
 *
 * The addon validates every argument and throws a TypeError or RangeError for a programmer's error; what can go wrong
 * in operation (no memory, a foreign file) throws an Error whose `code` is one of StoreErrorCode.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** What an arena is made with. Sizes in bytes. Missing geometry is chosen from `bytes`. */
export interface ArenaOptions {
  /** All the memory the arena may use, its own tables included. At least 8 MiB in production geometry. */
  readonly bytes: number;
  /** Largest value accepted; larger than `bytes / 16` is refused with `VALUE_TOO_LARGE`. */
  readonly valueBytesMax: number;
  /** The node's name and number; a file made for another name is refused with `WRONG_NODE`. */
  readonly nodeName: string;
  readonly nodeNumber: number;
  /** Keep tombstones and version ghosts: needed as soon as a second copy of anything exists. */
  readonly replicated: boolean;
  /** Path of an arena that outlives the daemon; anonymous memory (memfd) when missing. */
  readonly file?: string;
  /** Tests and the simulator: small worlds and a clock of their own. */
  readonly geometry?: Partial<ArenaGeometry>;
  readonly clock?: 'system' | 'manual';
  readonly seed?: bigint;
}

export interface ArenaGeometry {
  readonly segments: number;
  readonly slotsPerSegment: number;
  readonly regionBytes: number;
  readonly pageBytes: number;
}

/** How the arena came to be: made new, found cleanly closed, or found unclean and checked. */
export type ArenaOrigin = 'new' | 'warm' | 'scrubbed';

export type StoreErrorCode =
  | 'NO_MEMORY'
  | 'VALUE_TOO_LARGE'
  | 'WRONG_NODE'
  | 'IN_USE'
  | 'NOT_AN_ARENA'
  | 'WORKERS_EXHAUSTED'
  | 'IO';

/** What a slot does on this node; the numbers are those of the state word in the segment. */
export const SlotState = { NONE: 0, PRIMARY: 1 } as const;
export type SlotState = (typeof SlotState)[keyof typeof SlotState];

/** Bits of `Output.flags` after an execute. */
export const OutputFlag = {
  /** Input is left over because the output is full: write it, then call execute(connection, 0). */
  MORE: 1,
  /** Control frames wait: fetch them with takeControl(). */
  CONTROL: 2,
  /** The peer broke the protocol: write the output, then close the connection. */
  CLOSE: 4,
} as const;

/** A frame that JavaScript answers: hello, topology, subscribe, stats. Buffers are copies. */
export interface ControlFrame {
  readonly connection: number;
  readonly requestId: number;
  readonly opcode: number;
  readonly flags: number;
  readonly deadlineMs: number;
  readonly extras: Buffer;
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Sums over all workers since the arena was made; a worker's death takes nothing away. All plain numbers. */
export interface NativeStats {
  readonly items: number;
  /** Bytes in live records, their headers included. */
  readonly bytes: number;
  readonly memoryUsed: number;
  readonly memoryLimit: number;
  readonly regionsTotal: number;
  readonly regionsFree: number;
  readonly indexBytes: number;
  readonly tombstones: number;
  readonly hits: number;
  readonly misses: number;
  readonly sets: number;
  readonly deletes: number;
  readonly increments: number;
  readonly appends: number;
  readonly touches: number;
  readonly evictions: number;
  readonly expirations: number;
  readonly busy: number;
  readonly moved: number;
  readonly outOfMemory: number;
  readonly protocolErrors: number;
  readonly framesIn: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly scrubs: number;
  readonly workerDeaths: number;
  /**
   * Items per kind of frame are in the fields above; this is time spent in execute, one bucket a power of two of
   * microseconds.
   */
  readonly chunkMicroseconds: readonly number[];
  readonly chunkSeconds: number;
}

/** One worker's place in the arena. Not for use by two threads. */
export interface NativeWorker {
  readonly id: number;
  /** Buffers that execute reads from and writes to, kept alive by the worker until replaced. */
  useInput(buffer: Uint8Array): void;
  /** At least `outputBytesMin` long. */
  useOutput(buffer: Uint8Array): void;
  readonly outputBytesMin: number;
  /** A new connection; nothing but HELLO is accepted on it until greet(). */
  connect(): number;
  /** The hello was accepted. Then call execute(connection, 0): frames may have come behind it, and wait. */
  greet(connection: number, role: number): void;
  disconnect(connection: number): void;
  /**
   * Takes the first `bytes` bytes of the input buffer as the next bytes of the connection, runs every complete frame,
   * and returns the number of bytes put into the output buffer. Flags of OutputFlag stand in `flags[0]`.
   */
  execute(connection: number, bytes: number): number;
  readonly flags: Uint32Array;
  /**
   * Gives the first `bytes` bytes of the output buffer to the socket `descriptor`, without waiting, and returns how
   * many the kernel took; 0 on any error, which the socket's owner meets at its own next write.
   */
  send(descriptor: number, bytes: number): number;
  takeControl(): ControlFrame[];
  /**
   * Background work, bounded to about a millisecond: expiry, eviction ahead of need, learning. Call every 100 ms or so.
   */
  tick(): void;
  /** Gives the place back. Open regions are sealed. */
  close(): void;
}

export interface NativeArena {
  readonly origin: ArenaOrigin;
  /** Random number made with the memory (hex), the same across warm restarts. */
  readonly incarnation: string;
  /** What can be opened by another process while this one lives: `/proc/PID/fd/N`, or the file. */
  readonly path: string;
  /** Kind of pages behind the memory: 'huge', 'transparent' or 'small'. */
  readonly pages: string;
  worker(): NativeWorker;
  /** Declares the process `pid` dead: its locks are scrubbed, its regions sealed. Returns the places freed. */
  reap(pid: number): number;
  /**
   * Puts every slot's state word in place, segment by segment under the locks. `states` has SLOTS entries of SlotState.
   */
  install(epoch: number, states: Uint8Array): void;
  epoch(): number;
  stats(): NativeStats;
  /** Items per slot, SLOTS entries. */
  slotItems(): Uint32Array;
  /** Pids of workers that hold a lock and have been silent for longer than `silentMs`. */
  stuck(silentMs: number): number[];
  /** Manual clock only: milliseconds since 1970. */
  setClock(ms: number): void;
  /** `clean`: everything was stopped; a file is synced and marked so. */
  close(clean: boolean): void;
}

export interface Addon {
  create(options: ArenaOptions): NativeArena;
  attach(path: string): NativeArena;
  /**
   * A bound, listening TCP socket with SO_REUSEPORT: the kernel spreads connections over all workers. Returns its
   * descriptor.
   */
  listenTcp(host: string, port: number, backlog: number): number;
  /** CRC16 slot of a key, for tests that compare it with src/ring. */
  slotOf(key: Uint8Array): number;
}

/** Loads the addon. Throws an Error that names the command to build it when it is missing. */
export function loadAddon(): Addon {
  const path = fileURLToPath(new URL('../../native/build/henge.node', import.meta.url));
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new Error(`The native store cannot be loaded from ${path}. Build it with: npm run build`, { cause });
  }
}
