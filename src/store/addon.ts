/**
 * The shape of the native addon (native/addon.cc), and how it is found and loaded. Only this folder knows it.
 *
 * The addon validates every argument and throws a TypeError or RangeError for a programmer's error; what can go wrong
 * in operation (no memory, a foreign file) throws an Error whose `code` is one of StoreErrorCode.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { EpochRows, RowsOrder, VotersOrder } from './rows.js';
import type { Installation, PeerBits, PeerNews, Reigns, SlotBits } from './slots.js';

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
  /**
   * Of a replicated arena: what its hashes are keyed with, the same on all nodes of a cluster, since deletions travel
   * as hashes. Secret, or else keys can be chosen that collide.
   */
  readonly hashSeed?: bigint;
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

export interface Collected {
  /** Item records (src/protocol/spec.ts). */
  readonly bytes: Buffer;
  readonly items: number;
  /** Where to go on; 0: the segment is done. */
  readonly next: number;
}

/** Bits of `Output.flags` after an execute. */
export const OutputFlag = {
  /** Input is left over because the output is full: write it, then call execute(connection, 0). */
  MORE: 1,
  /** Control frames or answers on links wait: fetch them with takeControl() and takeAnswers(). */
  CONTROL: 2,
  /** The peer broke the protocol: write the output, then close the connection. */
  CLOSE: 4,
  /** Other connections have output: fetch it with nextOutput(). */
  OTHERS: 8,
  /**
   * The peer is in a newer epoch (flags[2]). Its frames are held until that is installed: then execute(connection, 0).
   */
  BEHIND: 16,
} as const;

/** A frame that JavaScript answers: hello, topology, subscribe, stats. Buffers are copies. */
export interface ControlFrame {
  readonly connection: number;
  /** Of the peer whose connection it is; 0: a client's, or a connection without a hello. */
  readonly nodeNumber: number;
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
  /** Items of other nodes whose versions were too far ahead of this node's clock. */
  readonly clockRefusals: number;
  readonly framesIn: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Requests on keys: clients', and what leaders wrote; what is moved is not among them. */
  readonly requests: number;
  readonly scrubs: number;
  readonly workerDeaths: number;
  /** The longest that a slot led here took no writes because it was being handed over, since the memory was made. */
  readonly sealedMicrosecondsMax: number;
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
  /**
   * The hello was accepted. Then call execute(connection, 0): frames may have come behind it, and wait.
   * @param nodeNumber of a peer
   */
  greet(connection: number, role: number, nodeNumber?: number): void;
  /** Flags of OutputFlag stand in `flags[0]`: the end of a link owes others their answers. */
  disconnect(connection: number): void;
  /**
   * Takes the first `bytes` bytes of the input buffer as the next bytes of the connection, runs every complete frame,
   * and returns the number of bytes put into the output buffer. Flags of OutputFlag stand in `flags[0]`.
   */
  execute(connection: number, bytes: number): number;
  /** What the last call said: 0 OutputFlag bits, 1 bytes of nextOutput(), 2 the epoch of BEHIND. */
  readonly flags: Uint32Array;
  /**
   * Gives the first `bytes` bytes of the output buffer to the socket `descriptor`, without waiting, and returns how
   * many the kernel took; 0 on any error, which the socket's owner meets at its own next write.
   */
  send(descriptor: number, bytes: number): number;
  takeControl(): ControlFrame[];
  /**
   * A connection that this node opened, greeted by a peer, becomes this worker's link to it: what the leader of a slot
   * writes goes there, and what comes are answers. The link ends with disconnect(). A second link to the same node is
   * an error. @throws RangeError
   */
  linkUp(connection: number, nodeNumber: number): void;
  /**
   * A request of JavaScript's own on a link: a whole frame, which is copied, with the next id of the link; returned. It
   * goes out by nextOutput(), and its answer comes by takeAnswers(): as lost, where the link broke and disconnect() is
   * yet to be called. @throws RangeError when 1,024 are under way.
   */
  request(connection: number, frame: Buffer): number;
  /** Answers to request(), CONTROL says that there are some. Copies. `status` is 0xff when the link was lost. */
  takeAnswers(): LinkAnswer[];
  /**
   * Puts what a connection is owed into the output buffer: returns its number and writes the bytes' count to flags[1].
   * -1 when nobody is owed anything. Whole frames: answers to earlier requests, and all that goes out on links. Call it
   * until -1 after an execute, tick or disconnect with OTHERS, and after request().
   */
  nextOutput(): number;

  // What follows takes segment locks one after the other; microseconds to some milliseconds.

  /** Puts an epoch in place. False: this one, or a newer one, stands already. */
  install(installation: Installation): boolean;
  /** State of every slot. */
  states(): Uint8Array;
  /** SlotFlag bits of every slot. */
  slotFlags(): Uint8Array;
  /** Sets of slots, one behind the other: those in each SlotState, and those with each bit of SlotFlag. */
  slotSets(): Uint8Array;
  reigns(): Reigns;
  peerBits(nodeNumber: number): PeerBits;
  peerNews(nodeNumber: number): PeerNews;
  /**
   * Notes a peer's heartbeat. Its watermark counts if it is of the memory that was met last, and until that turns out
   * to be another one: then what the one before said stands until the peer leads nothing any more.
   */
  heard(nodeNumber: number, incarnation: string, watermarkMs: number): void;
  /**
   * The memory that a peer has now. If it is another one than when they last met, the peer lacks everything, and that
   * is noted; true then.
   */
  meet(nodeNumber: number, incarnation: string): boolean;
  /**
   * Everything this node leads and wrote before is had by `nodeNumber`, in the slots for which it may think itself in
   * sync; 0: by every node. Milliseconds of a version. Each peer is told its own: what one of them misses must not pass
   * for acknowledged with it because another one has it.
   */
  watermarkMs(nodeNumber: number): number;
  /** Slots led by that node: REPLICA gets DETACHED. Nothing else is touched. */
  detach(nodeNumber: number): void;
  /**
   * Items of a segment's slots (bit i of `mask`: its i-th slot) written at `sinceMs` or later, tombstones included,
   * from `cursor` (0 to begin) on, until `bytesMax` or a few hundred homes are reached. `isHotOnly` 1: of these, items
   * with hits.
   */
  collect(
    segment: number,
    mask: number,
    cursor: number,
    sinceMs: number,
    bytesMax: number,
    isHotOnly: number,
  ): Collected;
  /**
   * Takes note that what is missed by a peer in these slots is about to be sent: clears missed and whole. Should this
   * worker die before it says how that ended, it is missed again.
   */
  beginCatchUp(nodeNumber: number, slots: SlotBits): void;
  /** What was begun could not be finished: it is missed again, from `sinceMs` on. */
  failCatchUp(nodeNumber: number, slots: SlotBits, sinceMs: number): void;
  /**
   * Of these slots, those that this node leads and of which the peer misses nothing become synced, and are returned.
   */
  declareSynced(nodeNumber: number, slots: SlotBits): SlotBits;
  /**
   * The other end of it: JOINING becomes REPLICA, and REPLICA is no longer DETACHED, where `leader` leads and `epoch`
   * stands; those are returned.
   */
  acceptSynced(leader: number, epoch: number, slots: SlotBits): SlotBits;
  /** TAKING_OVER becomes PRIMARY with these flags, in the slots that are still in `epoch`. */
  finishTakeOver(epoch: number, slots: SlotBits, flags: number): void;

  // A slot changes hands in the middle of an epoch (native/store/worker_handover.cc).

  /**
   * Slots that this node leads and everybody who must be is in sync of stop taking writes, to be handed to `goal`, at
   * most so many; those are returned.
   */
  seal(goal: number, slots: SlotBits, slotsMax: number): SlotBits;
  /** Takes writes again. `isGivenToo` 1: the goal said that it did not take them. */
  unseal(slots: SlotBits, isGivenToo: number): void;
  /** Of these sealed slots those of which nothing is in flight any more: from now on they are the goal's to take. */
  give(slots: SlotBits): SlotBits;
  /**
   * Of these slots, sealed with this node itself as their goal, those of which nothing is in flight any more: they take
   * writes again, and acknowledgements count by the list of members that comes.
   */
  settle(slots: SlotBits): SlotBits;
  /** The other end: those of these slots that are led here now. */
  acceptLead(former: number, epoch: number, slots: SlotBits): SlotBits;
  /** `leader` leads these, which were given to it or are being taken over here. */
  yield(leader: number, epoch: number, slots: SlotBits): void;
  /** Clears MERGING or POSSIBLE_LOSS. */
  clearFlags(slots: SlotBits, flags: number): void;
  /** Removes all items of slots in which this node has no part; others are left alone. */
  drop(slots: SlotBits): void;
  digest(slot: number): { readonly sum: bigint; readonly items: number };
  /** Whether this is the live worker with the lowest place, which does the node's background work. */
  isSteward(): boolean;

  /**
   * Background work, bounded to about a millisecond: expiry, eviction ahead of need, learning, requests that have
   * waited too long. Call every 100 ms or so. Flags of OutputFlag stand in `flags[0]`.
   */
  tick(): void;
  /** Gives the place back. Open regions are sealed. */
  close(): void;
  /** Ends as if its process had been killed and reaped: for the simulator, all of whose processes are one. */
  abandon(): void;
}

export interface LinkAnswer {
  readonly connection: number;
  readonly requestId: number;
  readonly status: number;
  readonly extras: Buffer;
  readonly value: Buffer;
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
  /** Slots of this memory, and slots of a segment: 16,384 and 16 in production. */
  readonly slots: number;
  readonly slotsPerSegment: number;
  /** Puts an epoch in place, segment by segment under the locks. False: this one, or a newer one, stands already. */
  install(installation: Installation): boolean;
  /**
   * A process took up a memory that an earlier one left. What it led it leads again if nothing can have been lost, else
   * it takes over; its copies are JOINING.
   */
  resume(isWhole: boolean): void;
  epoch(): number;
  /** Writes are refused (NOT_READY) from this moment on the monotonic clock; 0: never. */
  setFence(deadlineMs: number): void;
  /** Whether that moment has passed. */
  isFenced(): boolean;
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
   * Attaches to a memory whose creator died, and takes that one's part: workers may be using it. @throws Error `IN_USE`
   * when the creator lives
   */
  takeOver(path: string): NativeArena;
  /**
   * A bound, listening TCP socket with SO_REUSEPORT: the kernel spreads connections over all workers. Returns its
   * descriptor.
   */
  listenTcp(host: string, port: number, backlog: number): number;
  /** CRC16 slot of a key, for tests that compare it with src/ring. */
  slotOf(key: Uint8Array): number;
  layOut(order: RowsOrder): EpochRows;
  /** By RowRole, the slots in whose rows a node has it. */
  slotsOfNode(rows: Pick<EpochRows, 'rows' | 'roles'>, node: number): readonly SlotBits[];
  votersBefore(epochs: VotersOrder): Uint16Array;
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
