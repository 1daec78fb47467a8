/**
 * Requests on their way: to the node that is right for each, and again, or elsewhere, when that did not work. The rules
 * are router.ts and retry.ts; who is there is cluster-map.ts; here they meet timers and the clock.
 *
 *   issue ──▶ slot ──▶ link ──▶ answer
 *                        │ refused, lost ──▶ judge ──▶ held by slot ──▶ link of the newest table
 *                        └ leader in doubt, not ready ──▶ an ordinary read goes round it (detours.ts)
 */

import { Opcode, RequestFlag, Status } from '../protocol/index.js';
import { type Slot, slotOf } from '../ring/index.js';
import { errorOf } from './answer.js';
import { Call, Chunk, type Draft, ReadFlag, type Reject, type Resolve } from './call.js';
import { ClusterMap, closedError } from './cluster-map.js';
import { Detours, Hedges } from './detours.js';
import { HengeError, rejectLater } from './errors.js';
import { roomFor, writeFrame } from './frame-writer.js';
import { HeldCalls } from './held.js';
import type { Link } from './link.js';
import type { ClientSettings } from './options.js';
import { Budget, judge, type MishapKind, whyNotReady } from './retry.js';
import type { Topology } from './router.js';

export interface FleetEvents {
  topology(topology: Topology): void;
  up(address: string): void;
  down(address: string, error: HengeError): void;
  /** So many reads were answered by other copies than their leaders since this was told last. */
  degraded(count: number): void;
}

/** How precisely deadlines are kept. */
const SWEEP_MS = 10;
/**
 * A sweep that comes later than this was held up by this process, and what the nodes sent meanwhile is not read yet.
 */
const SWEEP_LATE_MS_MAX = 50;

export class Fleet {
  readonly #map: ClusterMap;
  /** By slot: what must keep its order. */
  readonly #held: HeldCalls;
  /** By slot: ordinary reads that nobody could answer. They block nobody. */
  readonly #heldReads: HeldCalls;
  readonly #budget = new Budget();
  readonly #detours: Detours;
  readonly #hedges: Hedges | undefined;
  #issued = 0;
  #degraded = 0;

  #sweepTimer: NodeJS.Timeout | undefined;
  #sweepDueAt = 0;
  #isSweeping = false;

  constructor(
    private readonly settings: ClientSettings,
    private readonly events: FleetEvents,
    private readonly clock: () => number,
    private readonly random: () => number,
  ) {
    this.#map = new ClusterMap(
      settings,
      {
        topology: (topology) => events.topology(topology),
        up: (address) => events.up(address),
        down: (address, error) => events.down(address, error),
        refused: (link, call, status, epoch) => this.#refused(link, call, status, epoch),
        lost: (link, calls, error) => this.#lost(link, calls, error),
        returned: (link, calls) => this.#returned(link, calls),
        waits: () => this.#sweepSoon(),
      },
      clock,
      random,
    );
    const release = (calls: readonly Call[]): void => {
      for (const call of calls) this.#send(call);
    };
    this.#held = new HeldCalls(release);
    this.#heldReads = new HeldCalls(release);
    this.#detours = new Detours(this.#map, {
      degraded: () => this.#countDegraded(),
      short: (call) => this.#retry(call, 'short', Status.NOT_READY),
    });
    this.#hedges = settings.hedgePercentile === undefined ? undefined : new Hedges(this.#map, clock);
  }

  /** Connects to the seeds; resolves when one has told the topology. @throws HengeError UNREACHABLE */
  async start(): Promise<void> {
    const deadlineMs = this.settings.connectDeadlineMs;
    let timer: NodeJS.Timeout | undefined;
    const isReady = await new Promise<boolean>((resolve) => {
      this.#map.begin(() => resolve(true));
      timer = setTimeout(resolve, deadlineMs, false);
    });
    clearTimeout(timer);
    if (isReady) return;
    const cause = this.#map.lastError;
    this.close();
    const message = `no node answered within ${deadlineMs} ms; tried ${this.settings.seeds.join(', ')}`;
    throw new HengeError(cause?.code === 'PROTOCOL' ? 'PROTOCOL' : 'UNREACHABLE', message, { cause });
  }

  get topology(): Topology | undefined {
    return this.#map.routes?.topology;
  }

  /** Asks a node for the topology, and adopts it when it is newer. @throws HengeError */
  fetchTopology(): Promise<Topology> {
    return this.#map.fetchTopology();
  }

  /** Calls whose callers still wait. */
  get awaited(): number {
    let count = this.#held.count + this.#heldReads.count;
    for (const link of this.#map.allLinks()) count += link.pipeline.awaited;
    return count;
  }

  /** New calls fail with CLOSED from now on. */
  refuse(): void {
    for (const link of this.#map.allLinks()) link.pipeline.refusal = closedError;
  }

  /**
   * Sends a request to the node that is right for it.
   *
   * Hot path, while no leader is in doubt: beside the pipeline's, no allocation; with several nodes, the key's CRC and
   * one array read.
   * @throws HengeError INVALID_KEY, VALUE_TOO_LARGE
   */
  issue(draft: Draft): Promise<unknown> {
    this.#issued++;
    const map = this.#map;
    if (this.#held.count > 0 || map.isWary || this.#hedges !== undefined) return this.#issueWarily(draft);
    if (map.only !== undefined) return map.only.pipeline.append(draft);
    const slot = slotOf(draft.key);
    const link = readLevel(draft) === ReadFlag.NEAREST ? map.nearestTo(slot) : map.leaderOf(slot);
    return link === undefined ? this.#issueWarily(draft) : link.pipeline.append(draft);
  }

  /** Sends a request to one node. @throws HengeError */
  issueTo(nodeName: string, draft: Draft): Promise<unknown> {
    const link = this.#map.linkNamed(nodeName);
    if (link === undefined) throw this.#map.noLink(`there is no node '${nodeName}' with an address`);
    return link.pipeline.append(draft);
  }

  close(): void {
    const error = closedError();
    this.#map.close(error);
    this.#held.failAll(error);
    this.#heldReads.failAll(error);
    this.#hedges?.close();
    clearTimeout(this.#sweepTimer);
  }

  // --- when something is wrong somewhere, or reads are hedged -----------------------------------------------------

  #issueWarily(draft: Draft): Promise<unknown> {
    const slot = slotOf(draft.key);
    const level = readLevel(draft);
    const isOrdinaryRead = level === ReadFlag.PRIMARY || level === ReadFlag.NEAREST;
    if (this.#held.blocks(slot, isOrdinaryRead)) return this.#issueApart(draft, (call) => this.#held.queue(slot, call));
    const link = level === ReadFlag.NEAREST ? this.#map.nearestTo(slot) : this.#map.leaderOf(slot);
    if (link?.isDoubtful === false) return this.#issueWatched(draft, isOrdinaryRead ? slot : undefined, link);
    if (isOrdinaryRead && this.#hasOtherCopies) return this.#issueApart(draft, (call) => this.#send(call));
    if (link === undefined) return this.#issueUnrouted(draft);
    return link.isBarred ? rejectLater(barredError(link)) : link.pipeline.append(draft);
  }

  #issueWatched(draft: Draft, slot: Slot | undefined, link: Link): Promise<unknown> {
    if (this.#hedges === undefined || slot === undefined) return link.pipeline.append(draft);
    const tracker: NonNullable<Draft['tracker']> = { call: undefined };
    draft.tracker = tracker;
    try {
      return link.pipeline.append(draft);
    } finally {
      draft.tracker = undefined;
      if (tracker.call !== undefined) this.#hedges.watch(tracker.call, slot, link);
    }
  }

  /** Makes a call of the draft without giving it to a pipeline. */
  #issueApart(draft: Draft, take: (call: Call) => void): Promise<unknown> {
    const valueBytesMax = this.#map.valueBytesMax;
    const chunk = new Chunk(roomFor(draft));
    chunk.end = writeFrame(chunk, draft, 0, valueBytesMax);
    chunk.isRetired = true;
    return new Promise((resolve: Resolve, reject: Reject) => {
      const call = new Call(draft.answer, draft.opcode, this.clock() + draft.deadlineMs, chunk, resolve, reject);
      call.bytes = chunk.end;
      take(call);
      this.#sweepSoon();
    });
  }

  /** Sends a call that no pipeline has to the node that is right for it at this moment. */
  #send(call: Call): void {
    const slot = slotOf(call.key);
    const isNearest = call.isOrdinaryRead && call.level === ReadFlag.NEAREST;
    const link = isNearest ? this.#map.nearestTo(slot) : this.#map.leaderOf(slot);
    if (link?.isDoubtful === false) this.#adopt(link, call);
    else this.#sendInDoubt(call, link);
  }

  /** Nobody knows whether the link is any good, or there is none. */
  #sendInDoubt(call: Call, link: Link | undefined): void {
    const copies = this.#detours.copiesFor(call);
    // A leader that is only slow answers at last; one that is gone has a successor soon.
    const isOnlySlow = link?.isUp === true && !link.isBarred;
    const waitsForOthers = call.isOrdinaryRead && this.#hasOtherCopies && !isOnlySlow;
    if (this.#map.isClosed) call.fail(closedError());
    else if (copies !== undefined) this.#detours.begin(call, copies);
    else if (waitsForOthers || link === undefined) this.#retry(call, 'short', Status.NOT_READY);
    else if (link.isBarred) call.fail(barredError(link));
    else this.#adopt(link, call);
  }

  #adopt(link: Link, call: Call): void {
    try {
      link.pipeline.adopt(call);
    } catch (error) {
      call.fail(error as HengeError);
    }
  }

  get #hasOtherCopies(): boolean {
    return (this.#map.routes?.topology.rf ?? 1) > 1;
  }

  /** The node that leads the key has no address yet: it is about to start, or to be heard of. */
  #issueUnrouted(draft: Draft): Promise<unknown> {
    if (this.#map.isClosed) return rejectLater(this.#map.noLink('no node is known'));
    return this.#issueApart(draft, (call) => this.#send(call));
  }

  #countDegraded(): void {
    if (this.#degraded++ > 0) return;
    setImmediate(() => {
      this.events.degraded(this.#degraded);
      this.#degraded = 0;
    });
  }

  // --- what did not work at once ----------------------------------------------------------------------------------

  #refused(link: Link, call: Call, status: number, epoch: number): void {
    if (call.isPart) {
      if (status === Status.MOVED) void this.#map.learn(epoch, link);
      call.fail(errorOf(status, '', call));
    } else {
      this.#retry(call, this.#whyRefused(link, call, status, epoch), status, { link, epoch });
    }
  }

  #whyRefused(link: Link, call: Call, status: number, epoch: number): MishapKind {
    switch (status) {
      case Status.MOVED:
        return this.#whyMoved(link, call, epoch);
      case Status.NOT_READY:
        return whyNotReady(this.#map.routes?.isChanging === true, call.attempts);
      case Status.NOT_IN_SYNC:
        return 'notInSync';
      default:
        return 'busy';
    }
  }

  #whyMoved(link: Link, call: Call, epoch: number): MishapKind {
    if (epoch !== 0 && epoch < (this.#map.routes?.topology.epoch ?? 0)) return 'behind';
    if (isKeyed(call.opcode) && this.#map.turn(slotOf(call.key), link, epoch)) return 'handed';
    return epoch !== 0 && epoch < this.#map.epochHeard ? 'behind' : 'moved';
  }

  #lost(link: Link, calls: readonly Call[], error: HengeError): void {
    for (const call of calls) {
      if (call.isPart || this.#map.isClosed) call.fail(lostError(call, error));
      else this.#retry(call, 'lost', Status.OK, { link, error });
    }
  }

  #returned(link: Link, calls: readonly Call[]): void {
    for (const call of calls) {
      if (call.isPart) call.fail(barredError(link));
      else if (isKeyed(call.opcode)) this.#send(call);
      else this.#adopt(link, call);
    }
  }

  /** `from`: who refused the call, with the epoch it named, or where it was lost. */
  #retry(
    call: Call,
    kind: MishapKind,
    status: number,
    from?: { readonly link: Link; readonly epoch?: number; readonly error?: HengeError },
  ): void {
    this.#budget.earn(this.#issued);
    this.#issued = 0;
    const mayDetour = kind === 'notReady' || (kind === 'lost' && call.opcode === Opcode.GET && !isNearest(call));
    const copies = mayDetour ? this.#detours.copiesFor(call) : undefined;
    const { isWrite, attempts } = call;
    const mishap = { kind, isWrite, attempts, canDetour: copies !== undefined, msLeft: call.deadlineAt - this.clock() };
    const verdict = judge(mishap, this.#budget, this.random);
    call.attempts++;
    if (verdict.kind === 'fail') {
      call.fail(from?.error === undefined ? errorOf(status, '', call) : lostError(call, from.error));
    } else if (copies !== undefined && verdict.kind === 'detour') {
      this.#detours.begin(call, copies);
    } else if (verdict.kind === 'retry') {
      this.#again(call, kind, status, verdict.delayMs, from);
    }
  }

  #again(
    call: Call,
    kind: MishapKind,
    status: number,
    delayMs: number,
    from: { readonly link: Link; readonly epoch?: number } | undefined,
  ): void {
    // What a copy that lacks something refused, only the leader may answer.
    if (kind === 'notInSync') call.level = ReadFlag.PRIMARY;
    if (!isKeyed(call.opcode)) {
      if (from !== undefined) setTimeout(() => this.#adopt(from.link, call), delayMs);
    } else if (kind === 'lost' || kind === 'notInSync') {
      this.#send(call);
    } else {
      const isPassed = status === Status.NOT_READY && call.isOrdinaryRead;
      const held = isPassed ? this.#heldReads : this.#held;
      held.add(slotOf(call.key), call, status, this.#pause(delayMs, from));
      this.#sweepSoon();
    }
  }

  async #pause(delayMs: number, from: { readonly link: Link; readonly epoch?: number } | undefined): Promise<void> {
    if (from?.epoch !== undefined) await this.#map.learn(from.epoch, from.link);
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
  }

  // --- deadlines ----------------------------------------------------------------------------------------------------

  #sweepSoon(): void {
    if (this.#isSweeping || this.#map.isClosed) return;
    this.#isSweeping = true;
    this.#sweepDueAt = this.clock() + SWEEP_MS;
    if (this.#sweepTimer === undefined) this.#sweepTimer = setTimeout(() => this.#sweepOnTime(), SWEEP_MS);
    else this.#sweepTimer.refresh();
  }

  /** When this process was held up, its sockets are read first: the nodes are not to blame. */
  #sweepOnTime(): void {
    if (this.clock() - this.#sweepDueAt > SWEEP_LATE_MS_MAX) setImmediate(() => this.#sweep());
    else this.#sweep();
  }

  #sweep(): void {
    const nowMs = this.clock();
    this.#map.sweep(nowMs);
    this.#held.expire(nowMs);
    this.#heldReads.expire(nowMs);
    this.#isSweeping = false;
    if (this.#held.count + this.#heldReads.count > 0 || this.#map.inFlight > 0) this.#sweepSoon();
  }
}

const barredError = (link: Link): HengeError =>
  new HengeError('UNREACHABLE', `${link.address} answers nobody in time; nothing was sent`);

const lostError = (call: Call, error: HengeError): HengeError =>
  new HengeError('CONNECTION_LOST', error.message, { maybeApplied: call.isWrite, cause: error.cause });

/** The level of a GET; that of nobody for other requests. */
const readLevel = (draft: Draft): number => (draft.opcode === Opcode.GET ? draft.flags & RequestFlag.LEVEL_MASK : -1);

const isNearest = (call: Call): boolean => call.level === ReadFlag.NEAREST;

/** Whether a request goes where its key lives; the others go to a node that was named. */
const isKeyed = (opcode: number): boolean => opcode >= Opcode.GET && opcode <= Opcode.APPEND;
