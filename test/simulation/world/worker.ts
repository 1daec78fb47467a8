/**
 * A worker process: the native worker and the worker's core, with sockets of the virtual network around them. What a
 * daemon's data plane does with chunks is done here with the same native calls.
 *
 * Between a native call and the moment its output leaves, the process may be killed or paused; what it had put into the
 * output is then lost, as it would be. A paused worker's sockets go on accepting, and what arrives waits.
 */

import type { TopologyMember, TopologyView } from '../../../src/cluster/index.js';
import { WorkerCore } from '../../../src/cluster/worker/index.js';
import { slotsWhere } from '../../../src/cluster/worker/slot-bits.js';
import {
  frameBytes,
  helloExtras,
  Opcode,
  Role,
  readResponse,
  requestFrame,
  responseFrame,
  Status,
} from '../../../src/protocol/index.js';
import { type ControlFrame, type NativeWorker, OutputFlag, SlotFlag, SlotState } from '../../../src/store/index.js';
import {
  forgetMissed,
  type Mutations,
  mutatedAnswers,
  mutatedNative,
  mutatedReplies,
  mutatedRequest,
  mutatedView,
  sealLong,
  undoubledFrames,
} from './mutations.js';
import type { End, EndEvents } from './network.js';
import type { Machine } from './parts.js';
import type { Event } from './schedule.js';

const TICK_MS = 50;
const INPUT_BYTES = 64 * 1024;
/** Between a native call and the leaving of its output. */
const LEAVE_MS_MAX = 0.05;
/** What a chunk costs of the process's time, and each of its bytes; its output waits until that is over. */
const CHUNK_MS = 0.01;
const BYTES_PER_MS = 100_000;

interface Socket {
  readonly end: End;
  /** Chunks that arrived while the process was paused, or before its link was up. */
  readonly arrived: Buffer[];
  /** Chunks written and not given to the kernel yet; each leaves at a moment of its own, in order. */
  readonly leaving: Buffer[];
  /** Of a peer whose connection it is. */
  peerNumber: number;
  /** The node that our own link leads to, else 0. */
  readonly linkedNumber: number;
  isClients: boolean;
  isLost: boolean;
}

export class SimWorker {
  readonly native: NativeWorker;
  readonly core: WorkerCore;
  isPaused = false;
  isDead = false;
  readonly #node: Machine;
  readonly #input = Buffer.alloc(INPUT_BYTES);
  readonly #output: Buffer;
  readonly #sockets = new Map<number, Socket>();
  /** Connections that native code holds back until an epoch is installed. */
  readonly #held = new Set<number>();
  readonly #timers = new Set<Event>();
  #view: TopologyView;
  #isReaped = false;
  /** On the world's clock. */
  #busyUntilMs = 0;

  constructor(node: Machine, published: TopologyView) {
    this.#node = node;
    const view = mutatedView(published, node.world.mutations);
    this.#view = view;
    this.native = node.arena.worker();
    this.#output = Buffer.alloc(this.native.outputBytesMin);
    this.native.useInput(this.#input);
    this.native.useOutput(this.#output);
    node.world.moves.watch(node, this.native);
    if (node.world.mutations.has('sealLong')) sealLong(this.native, () => node.monoMs);
    this.core = new WorkerCore({
      self: node.identity,
      onPartition: node.world.options.onPartition,
      rebalanceBytesPerSecond: 0,
      native: mutatedNative(this.native, node.installOptions),
      slots: node.arena.slots,
      slotsPerSegment: node.arena.slotsPerSegment,
      dropDelayMs: node.world.options.dropDelayMs,
      installedEpoch: () => node.arena.epoch(),
      isFenced: () => node.isFenced,
      // Half of the worlds are busy, whatever happens in them, so that moves have a pace and items in use go first.
      requestsServed: () => (node.world.seed % 16 < 8 ? Math.floor(node.monoMs) : 0),
      bytesHeld: () => node.arena.stats().bytes,
      evictions: () => node.arena.stats().evictions,
      monoMs: () => node.monoMs,
      wallMs: () => node.wallMs,
      random: () => node.random.next(),
      later: (delayMs, run) =>
        this.#later(delayMs, () => {
          run();
          this.#afterCore();
        }),
      dial: (member) => this.#dial(member),
      hangUp: (connection) => this.#close(connection),
      answer: (connection, frame) => this.#write(connection, frame),
      flush: () => this.#flush(),
      report: (report) => this.#node.reported(this.#mutations.has('unsettled') ? { ...report, handOvers: 0 } : report),
      learned: (learned) => this.#learned(learned),
      log: (event, details) => {
        if (event === 'possible-loss') this.#noteLosses();
        this.#node.log(`worker.${event}`, details);
      },
    });
    this.#later(0, () => {
      this.core.adopt(view);
      this.#afterCore();
      this.#tick();
    });
  }

  /** Takes a connection that somebody opened to the node's port. */
  accept(end: End): EndEvents {
    const connection = this.native.connect();
    return this.#attach(connection, end, 0);
  }

  /** The node says of which slots acknowledged writes may be missing. */
  #noteLosses(): void {
    this.native.slotFlags().forEach((flags, slot) => {
      if ((flags & SlotFlag.POSSIBLE_LOSS) !== 0) this.#node.world.reportedLosses.add(slot);
    });
  }

  adopt(published: TopologyView): void {
    if (this.isDead || published.epoch < this.#view.epoch) return;
    const view = mutatedView(published, this.#mutations);
    this.#view = view;
    this.#enter();
    this.core.adopt(view);
    if (this.#mutations.has('skipTakeOver') || this.#mutations.has('shrunkList')) this.#leadAtOnce();
    this.#afterCore();
    this.#release();
  }

  get #mutations(): Mutations {
    return this.#node.world.mutations;
  }

  #leadAtOnce(): void {
    const states = this.native.states();
    const slots = slotsWhere(states.length, (slot) => states[slot] === SlotState.TAKING_OVER);
    this.native.finishTakeOver(this.#node.arena.epoch(), slots, 0);
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused || this.isDead) return;
    this.isPaused = false;
    for (const [connection, socket] of [...this.#sockets]) {
      for (const bytes of socket.arrived.splice(0)) this.#received(connection, bytes);
      if (socket.isLost) this.#lost(connection);
    }
  }

  /** The process is gone between two instructions. Whoever reaps it gives its place back. */
  kill(): void {
    this.isDead = true;
    for (const timer of this.#timers) timer.isCancelled = true;
    for (const { end } of this.#sockets.values()) end.close();
    this.#sockets.clear();
  }

  /** Gives back what the killed process had, once. */
  reap(): void {
    if (!this.isDead || this.#isReaped) return;
    this.#isReaped = true;
    this.native.abandon();
  }

  // ---- time ----------------------------------------------------------------------------------------------------

  #tick(): void {
    this.#enter();
    this.native.tick();
    this.#flushFlags(-1);
    this.core.tick();
    this.#afterCore();
    this.#later(TICK_MS, () => this.#tick());
  }

  /** Runs later, unless the process is dead then; a paused one gets to it when it goes on. */
  #later(delayMs: number, run: () => void): void {
    const event = this.#node.world.schedule.after(delayMs, () => {
      this.#timers.delete(event);
      if (this.isDead) return;
      if (this.isPaused) this.#later(10, run);
      else run();
    });
    this.#timers.add(event);
  }

  /** Every entry into the process's code: the memory's clock is the machine's. */
  #enter(): void {
    this.#node.setClock();
  }

  #afterCore(): void {
    this.core.onAnswers();
    this.#flush();
    this.#node.world.moves.look(this.#node, this.native);
  }

  // ---- sockets ----------------------------------------------------------------------------------------------------

  #attach(connection: number, end: End, linkedNumber: number): EndEvents {
    const socket: Socket = {
      end,
      arrived: [],
      leaving: [],
      peerNumber: 0,
      linkedNumber,
      isClients: false,
      isLost: false,
    };
    this.#sockets.set(connection, socket);
    return {
      received: (bytes) => {
        if (this.isDead) return;
        if (this.isPaused) socket.arrived.push(bytes);
        else this.#received(connection, bytes);
      },
      lost: () => {
        if (this.isDead) return;
        socket.isLost = true;
        if (!this.isPaused) this.#lost(connection);
      },
    };
  }

  #received(connection: number, arrived: Buffer): void {
    this.#enter();
    const isClients = this.#sockets.get(connection)?.isClients === true;
    const bytes = isClients ? mutatedRequest(arrived, this.#mutations) : arrived;
    if (this.#mutations.has('undoubled') && (this.#sockets.get(connection)?.peerNumber ?? 0) !== 0) {
      this.#takeUndoubled(connection, bytes);
      this.#afterCore();
      return;
    }
    for (let at = 0; at < bytes.length && this.#sockets.has(connection); at += INPUT_BYTES) {
      const length = bytes.copy(this.#input, 0, at, Math.min(bytes.length, at + INPUT_BYTES));
      this.#execute(connection, length);
    }
    this.#afterCore();
  }

  #takeUndoubled(connection: number, bytes: Buffer): void {
    const isUndoubled = (slot: number): boolean =>
      this.#view.next !== undefined && this.native.states()[slot] === SlotState.JOINING;
    for (const { frame, id, isSkipped } of undoubledFrames(bytes, isUndoubled)) {
      if (!this.#sockets.has(connection)) return;
      if (isSkipped) this.#write(connection, responseFrame({ status: Status.OK, id }));
      else this.#execute(connection, frame.copy(this.#input, 0));
    }
  }

  #execute(connection: number, bytes: number): void {
    const { nowMs } = this.#node.world.schedule;
    this.#busyUntilMs = Math.max(this.#busyUntilMs, nowMs) + CHUNK_MS + bytes / BYTES_PER_MS;
    for (let taken = bytes; ; taken = 0) {
      const length = this.native.execute(connection, taken);
      const flags = this.native.flags[0] ?? 0;
      const output = Buffer.from(this.#output.subarray(0, length));
      const isPeers = (this.#sockets.get(connection)?.peerNumber ?? 0) !== 0;
      const mutated = isPeers ? mutatedAnswers(output, this.#mutations) : output;
      const isClients = this.#sockets.get(connection)?.isClients === true;
      if (length > 0) this.#write(connection, isClients ? mutatedReplies(mutated, this.#mutations) : mutated);
      this.#flushFlags(connection);
      if ((flags & OutputFlag.CLOSE) !== 0) this.#later(LEAVE_MS_MAX, () => this.#close(connection));
      if ((flags & (OutputFlag.CLOSE | OutputFlag.MORE)) !== OutputFlag.MORE) return;
    }
  }

  /** Does what the flags of the last native call ask for. */
  #flushFlags(connection: number): void {
    const flags = this.native.flags[0] ?? 0;
    const behindEpoch = this.native.flags[2] ?? 0;
    if ((flags & OutputFlag.CONTROL) !== 0) this.#answerControl();
    if ((flags & OutputFlag.OTHERS) !== 0) this.#flush();
    if ((flags & OutputFlag.BEHIND) !== 0) {
      this.#held.add(connection);
      this.core.onBehind(behindEpoch, this.#sockets.get(connection)?.peerNumber ?? 0);
    }
  }

  #flush(): void {
    for (let connection = this.native.nextOutput(); connection >= 0; connection = this.native.nextOutput()) {
      this.#write(connection, Buffer.from(this.#output.subarray(0, this.native.flags[1])));
    }
  }

  #release(): void {
    for (const connection of [...this.#held]) {
      this.#held.delete(connection);
      if (this.#sockets.has(connection)) this.#execute(connection, 0);
    }
    this.#afterCore();
  }

  /** A process killed before this leaves has said nothing. */
  #write(connection: number, bytes: Buffer): void {
    const socket = this.#sockets.get(connection);
    if (socket === undefined) return;
    socket.leaving.push(bytes);
    const busyMs = Math.max(0, this.#busyUntilMs - this.#node.world.schedule.nowMs);
    this.#later(busyMs + this.#node.random.next() * LEAVE_MS_MAX, () => {
      const next = socket.leaving.shift();
      if (next !== undefined && !socket.isLost) socket.end.write(next);
    });
  }

  #close(connection: number): void {
    const socket = this.#sockets.get(connection);
    if (socket === undefined) return;
    socket.end.close();
    this.#lost(connection);
  }

  #lost(connection: number): void {
    const socket = this.#sockets.get(connection);
    if (socket === undefined) return;
    this.#sockets.delete(connection);
    this.#held.delete(connection);
    this.#enter();
    const mustForget = socket.linkedNumber !== 0 && this.#mutations.has('forgetInFlight');
    const missedBefore = mustForget ? this.native.peerBits(socket.linkedNumber).missed : undefined;
    this.native.disconnect(connection);
    if (missedBefore !== undefined) forgetMissed(this.native, socket.linkedNumber, missedBefore);
    this.core.lost(connection);
    if (socket.peerNumber !== 0) this.core.inboundLost(socket.peerNumber);
    this.#afterCore();
  }

  // ---- control frames
  // ------------------------------------------------------------------------------------------------

  #answerControl(): void {
    for (const frame of this.native.takeControl()) {
      const answer = this.#answerOf(frame);
      if (answer !== undefined) this.#write(frame.connection, answer);
    }
    this.core.onAnswers();
  }

  #answerOf(frame: ControlFrame): Buffer | undefined {
    const { requestId: id, opcode, connection } = frame;
    if (opcode === Opcode.HELLO) return this.#greet(frame);
    if (opcode === Opcode.TOPOLOGY) {
      return responseFrame({ status: Status.OK, id, value: Buffer.from(JSON.stringify(this.#view)) });
    }
    const socket = this.#sockets.get(connection);
    if (socket === undefined || socket.peerNumber === 0) return responseFrame({ status: Status.REFUSED, id });
    const isNetOff = this.#mutations.has('forgetInFlight') && opcode === Opcode.DIGESTS;
    return isNetOff ? responseFrame({ status: Status.BUSY, id }) : this.core.onControl(frame);
  }

  /** Peers prove who they are in a daemon; here they say it. */
  #greet({ requestId: id, connection, extras, key }: ControlFrame): Buffer {
    const socket = this.#sockets.get(connection);
    const isPeer = extras[6] === Role.PEER;
    const peerNumber = isPeer ? Number(key.toString()) : 0;
    if (socket !== undefined) socket.peerNumber = peerNumber;
    if (isPeer) this.native.greet(connection, Role.PEER, peerNumber);
    else this.native.greet(connection, Role.CLIENT);
    if (socket !== undefined) socket.isClients = !isPeer;
    this.#later(0, () => {
      if (this.#sockets.has(connection)) this.#execute(connection, 0);
    });
    return responseFrame({ status: Status.OK, id });
  }

  #dial(member: TopologyMember): void {
    const { world, name, identity } = this.#node;
    const timeout = world.schedule.after(500, () => {
      attempt.cancel();
      if (!this.isDead) this.core.dialFailed(member.number, 'timeout');
    });
    const attempt = world.network.connect(name, member.address, {
      failed: () => {
        if (timeout.isCancelled) return;
        timeout.isCancelled = true;
        this.#later(0, () => this.core.dialFailed(member.number, 'refused'));
      },
      opened: (end) => {
        end.write(
          requestFrame({
            opcode: Opcode.HELLO,
            id: 1,
            extras: helloExtras(Role.PEER, this.#view.epoch),
            key: Buffer.from(String(identity.number)),
          }),
        );
        return this.#handshake(end, member, timeout);
      },
    });
  }

  /** Until the hello's answer is there native code knows nothing of the connection. */
  #handshake(end: End, member: TopologyMember, timeout: Event): EndEvents {
    let received = Buffer.alloc(0);
    let events: EndEvents | undefined;
    const fail = (why: string): void => {
      if (timeout.isCancelled || this.isDead) return;
      timeout.isCancelled = true;
      end.close();
      this.core.dialFailed(member.number, why);
    };
    return {
      received: (bytes) => {
        if (events !== undefined) return events.received(bytes);
        if (this.isDead || timeout.isCancelled) return end.close();
        received = Buffer.concat([received, bytes]);
        const length = frameBytes(received, 0);
        if (length === undefined || received.length < length) return;
        if (readResponse(received, 0).status !== Status.OK) return fail('refused hello');
        timeout.isCancelled = true;
        const connection = this.native.connect();
        events = this.#attach(connection, end, member.number);
        this.core.dialed(member.number, connection);
        if (received.length > length) events.received(received.subarray(length));
        this.#afterCore();
      },
      lost: () => (events === undefined ? fail('lost') : events.lost()),
    };
  }

  #learned(view: TopologyView): void {
    this.#view = view;
    this.#node.learned(view);
    this.#later(0, () => this.#release());
  }
}
