/**
 * The cluster as one client sees it: the newest topology, a link to every member, and the requests that wait for another
 * try. The rules are router.ts; here they meet sockets, timers and the clock.
 *
 *   issue ──▶ slot ──▶ link ──▶ answer          refused or lost ──▶ judge ──▶ held by slot ──▶ link of the newest table
 *
 * While a slot has a request waiting here, later requests to it queue behind, so that one client's writes to a key are
 * never turned round. A newer topology is fetched once, however many requests were refused.
 */

import { Opcode, Status } from '../protocol/index.js';
import { type Slot, slotOf } from '../ring/index.js';
import { errorOf, type RawAnswer } from './answer.js';
import { AnswerKind, Call, Chunk, Draft, type Reject, type Resolve } from './call.js';
import { HengeError } from './errors.js';
import { roomFor, writeFrame } from './frame-writer.js';
import { Link, type LinkOptions } from './link.js';
import type { ClientSettings } from './options.js';
import { judge, type Mishap, parseTopology, RetryBudget, Routes, type Topology } from './router.js';

export interface FleetEvents {
  topology(topology: Topology): void;
  up(address: string): void;
  down(address: string, error: HengeError): void;
}

/** How precisely deadlines are kept. */
const SWEEP_MS = 10;
/** How long a topology is waited for. */
const TOPOLOGY_MS_MAX = 1_000;
/** Requests held for another try, past which they fail: as many as one node may have in flight. */
const HELD_MAX = 65_536;

/** Requests of one slot that wait, in order, until nothing they wait for is left. */
interface Held {
  readonly calls: Call[];
  reasons: number;
}

export class Fleet {
  #routes: Routes | undefined;
  /** By index in the routes' members; undefined for a member without an address. */
  #links: readonly (Link | undefined)[] = [];
  /** The one link of a cluster of one node: its keys need no slot. */
  #only: Link | undefined;
  /** Links to seeds, until a topology says who is who. */
  #seedLinks: Link[] = [];
  #lastError: HengeError | undefined;

  readonly #held = new Map<Slot, Held>();
  #heldCount = 0;
  readonly #budget = new RetryBudget();
  #issued = 0;
  #fetching: Promise<void> | undefined;
  #fetchAgain = false;
  #ready: (() => void)[] = [];

  readonly #linkOptions: LinkOptions;
  readonly #prefersUnix: boolean;
  readonly #draft = new Draft();
  #sweepTimer: NodeJS.Timeout | undefined;
  #isSweeping = false;
  #isClosed = false;

  constructor(
    private readonly settings: ClientSettings,
    private readonly events: FleetEvents,
    private readonly clock: () => number,
    private readonly random: () => number,
  ) {
    this.#prefersUnix = settings.seeds.every((seed) => seed.startsWith('unix:'));
    this.#linkOptions = {
      clientName: settings.name,
      inFlightMax: settings.inFlightMax,
      unsentBytesMax: settings.unsentBytesMax,
      clock,
      random,
      epoch: () => this.#routes?.topology.epoch ?? 0,
    };
  }

  /** Connects to the seeds; resolves when one has told the topology. @throws HengeError UNREACHABLE */
  async start(deadlineMs: number): Promise<void> {
    this.#trySeeds();
    let timer: NodeJS.Timeout | undefined;
    const isReady = await new Promise<boolean>((resolve) => {
      this.#ready.push(() => resolve(true));
      timer = setTimeout(resolve, deadlineMs, false);
    });
    clearTimeout(timer);
    if (isReady) return;
    const cause = this.#lastError;
    this.close();
    const message = `no node answered within ${deadlineMs} ms; tried ${this.settings.seeds.join(', ')}`;
    throw new HengeError(cause?.code === 'PROTOCOL' ? 'PROTOCOL' : 'UNREACHABLE', message, { cause });
  }

  get topology(): Topology | undefined {
    return this.#routes?.topology;
  }

  /** Calls whose callers still wait. */
  get awaited(): number {
    let count = this.#heldCount;
    for (const link of this.#allLinks()) count += link.pipeline.awaited;
    return count;
  }

  /** New calls fail with CLOSED from now on. */
  refuse(): void {
    for (const link of this.#allLinks()) link.pipeline.refusal = closedError;
  }

  /** Calls that may still be answered, whether or not somebody waits. */
  get #inFlight(): number {
    let count = this.#heldCount;
    for (const link of this.#allLinks()) count += link.pipeline.inFlight;
    return count;
  }

  /**
   * Sends a request to the node that leads its key.
   *
   * Hot path: beside the pipeline's, no allocation; with several nodes, the key's CRC and one array read.
   * @throws HengeError when it cannot even be queued
   */
  issue(draft: Draft): Promise<unknown> {
    this.#issued++;
    if (this.#heldCount > 0) return this.#issueBehindHeld(draft);
    const link = this.#only ?? this.#linkOf(slotOf(draft.key));
    return link.pipeline.append(draft);
  }

  /** Sends a request to one node. @throws HengeError */
  issueTo(nodeName: string, draft: Draft): Promise<unknown> {
    const index = this.#routes?.table.members.indexOf(nodeName) ?? -1;
    const link = this.#links[index];
    if (link === undefined) throw this.#noLink(`there is no node '${nodeName}' with an address`);
    return link.pipeline.append(draft);
  }

  /** Asks a node for the topology, and adopts it when it is newer. @throws HengeError */
  async fetchTopology(): Promise<Topology> {
    const link = this.#anyLink();
    this.#adoptTopology(await this.#askTopology(link));
    return (this.#routes as Routes).topology;
  }

  close(): void {
    this.#isClosed = true;
    const error = closedError();
    for (const link of this.#allLinks()) link.close(error);
    for (const held of this.#held.values()) for (const call of held.calls) call.fail(error);
    this.#held.clear();
    this.#heldCount = 0;
    this.#links = [];
    this.#seedLinks = [];
    this.#only = undefined;
    this.#routes = undefined;
    clearTimeout(this.#sweepTimer);
  }

  #linkOf(slot: Slot): Link {
    const link = this.#links[this.#routes?.primaryOf(slot) ?? -1];
    if (link === undefined) throw this.#noLink(`no node with an address leads slot ${slot}`);
    return link;
  }

  #noLink(message: string): HengeError {
    if (this.#isClosed) return closedError();
    return new HengeError('UNREACHABLE', message);
  }

  #anyLink(): Link {
    const links = [...this.#allLinks()];
    const link = links.find((candidate) => candidate.isUp) ?? links[0];
    if (link === undefined) throw this.#noLink('no node is known');
    return link;
  }

  *#allLinks(): Generator<Link> {
    for (const link of this.#links) if (link !== undefined) yield link;
    yield* this.#seedLinks;
  }

  // --- topology -------------------------------------------------------------------------------------------------

  #trySeeds(): void {
    const known = new Set(Array.from(this.#allLinks(), (link) => link.address));
    for (const seed of this.settings.seeds) if (!known.has(seed)) this.#seedLinks.push(this.#makeLink(seed));
  }

  #makeLink(address: string): Link {
    const link: Link = new Link(address, this.#linkOptions, {
      refused: (call, status, epoch) => this.#refused(link, call, status, epoch),
      pushed: (value) => this.#pushed(value),
      waits: () => this.#sweepSoon(),
      up: () => this.#up(link),
      down: (_, calls, error) => this.#down(link, calls, error),
    });
    return link;
  }

  #up(link: Link): void {
    this.events.up(link.address);
    if (this.#routes === undefined || this.#seedLinks.length > 0) void this.#refresh(link);
  }

  #pushed(value: Buffer): void {
    try {
      this.#adoptTopology(parseTopology(value.toString()));
    } catch (error) {
      // A push that cannot be read changes nothing; the first refused request asks again.
      this.#lastError = new HengeError('PROTOCOL', 'a node pushed a topology that cannot be read', { cause: error });
    }
  }

  /** Fetches the topology from a node, once at a time; a wish made meanwhile is granted by one more fetch. */
  #refresh(link: Link): Promise<void> {
    if (this.#fetching !== undefined) {
      this.#fetchAgain = true;
      return this.#fetching;
    }
    this.#fetching = this.#fetchFrom(link).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetchFrom(link: Link): Promise<void> {
    do {
      this.#fetchAgain = false;
      try {
        this.#adoptTopology(await this.#askTopology(link));
      } catch (error) {
        // Whoever needs the topology finds out by its own deadline, or asks again after its next refusal.
        this.#lastError =
          error instanceof HengeError ? error : new HengeError('PROTOCOL', String(error), { cause: error });
        return;
      }
    } while (this.#fetchAgain && !this.#isClosed && this.#routes === undefined);
  }

  async #askTopology(link: Link): Promise<Topology> {
    const draft = this.#draft;
    draft.opcode = Opcode.TOPOLOGY;
    draft.flags = 0;
    draft.answer = AnswerKind.RAW;
    draft.deadlineMs = TOPOLOGY_MS_MAX;
    draft.key = '';
    draft.extrasBytes = 0;
    draft.value = undefined;
    const answer = (await link.pipeline.append(draft)) as RawAnswer;
    return parseTopology(answer.value.toString());
  }

  /** Takes a topology over if it is newer than ours, or has newer addresses. */
  #adoptTopology(topology: Topology): void {
    if (this.#isClosed || topology.epoch < (this.#routes?.topology.epoch ?? 0)) return;
    const isNews = topology.epoch !== this.#routes?.topology.epoch;
    const routes = new Routes(topology, this.#routes);
    const known = [...this.#allLinks()];
    const links = routes.table.members.map((name) => {
      const member = topology.members.find((candidate) => candidate.name === name);
      const address = this.#prefersUnix && member?.unix !== undefined ? `unix:${member.unix}` : (member?.address ?? '');
      return address === '' ? undefined : this.#linkFor(name, address, known);
    });
    this.#routes = routes;
    this.#links = links;
    this.#only = links.length === 1 ? links[0] : undefined;
    this.#seedLinks = [];
    this.#leaveOthers(known.filter((link) => !links.includes(link)));
    if (isNews) this.events.topology(topology);
    for (const tell of this.#ready.splice(0)) tell();
  }

  #linkFor(name: string, address: string, known: readonly Link[]): Link {
    const link = known.find((candidate) => candidate.nodeName === name) ?? known.find((one) => one.address === address);
    if (link === undefined) return this.#makeLink(address);
    // A seed may have been given under another name of the same place; it is the right node all the same.
    if (!link.isUp || link.nodeName !== name) link.readdress(address);
    return link;
  }

  /** What was not sent to a node that is a member no longer goes to whoever leads its key now. */
  #leaveOthers(links: readonly Link[]): void {
    for (const link of links) {
      const calls = link.pipeline.withdraw();
      link.close(new HengeError('CONNECTION_LOST', `${link.address} is no member of the cluster any more`));
      for (const call of calls) if (isKeyed(call.opcode)) this.#resend(call);
    }
  }

  // --- what did not work at once ----------------------------------------------------------------------------------

  #refused(link: Link, call: Call, status: number, epoch: number): void {
    const kind = status === Status.MOVED ? 'moved' : 'busy';
    const delayMs = this.#delayFor(kind, call);
    if (delayMs === undefined) return call.fail(errorOf(status, '', call));
    if (!isKeyed(call.opcode)) {
      setTimeout(() => this.#adopt(link, call), delayMs);
      return;
    }
    const slot = slotOf(call.key);
    this.#hold(slot, call);
    if (delayMs > 0) this.#delay(slot, delayMs);
    if (kind === 'moved' && epoch > (this.#routes?.topology.epoch ?? 0)) this.#holdUntilFetched(slot, link);
    if (this.#held.get(slot)?.reasons === 0) this.#delay(slot, 0);
  }

  #down(link: Link, calls: readonly Call[], error: HengeError): void {
    this.#lastError = error;
    this.events.down(link.address, error);
    for (const call of calls) {
      const delayMs = this.#isClosed ? undefined : this.#delayFor('lost', call);
      if (delayMs === undefined) {
        call.fail(new HengeError('CONNECTION_LOST', error.message, { maybeApplied: call.isWrite, cause: error.cause }));
      } else if (isKeyed(call.opcode)) {
        this.#resend(call);
      } else {
        this.#adopt(link, call);
      }
    }
    // Every address may have changed while nothing was reachable.
    const isCutOff = ![...this.#allLinks()].some((one) => one.isUp);
    if (isCutOff && !this.#isClosed) this.#trySeeds();
  }

  #delayFor(kind: Mishap['kind'], call: Call): number | undefined {
    this.#budget.earn(this.#issued);
    this.#issued = 0;
    const msLeft = call.deadlineAt - this.clock();
    const verdict = judge({ kind, isWrite: call.isWrite, attempts: call.attempts, msLeft }, this.#budget, this.random);
    if (verdict.kind === 'fail') return undefined;
    call.attempts++;
    return verdict.delayMs;
  }

  #resend(call: Call): void {
    try {
      this.#linkOf(slotOf(call.key)).pipeline.adopt(call);
    } catch (error) {
      call.fail(error as HengeError);
    }
  }

  #adopt(link: Link, call: Call): void {
    try {
      link.pipeline.adopt(call);
    } catch (error) {
      call.fail(error as HengeError);
    }
  }

  // --- requests held by slot ------------------------------------------------------------------------------------------

  #issueBehindHeld(draft: Draft): Promise<unknown> {
    const slot = slotOf(draft.key);
    if (!this.#held.has(slot)) return this.#linkOf(slot).pipeline.append(draft);
    const chunk = new Chunk(roomFor(draft));
    const bytes = writeFrame(chunk, draft, 0, this.#linkOf(slot).pipeline.valueBytesMax);
    chunk.end = bytes;
    chunk.isRetired = true;
    return new Promise((resolve: Resolve, reject: Reject) => {
      const call = new Call(draft.answer, draft.opcode, this.clock() + draft.deadlineMs, chunk, resolve, reject);
      call.bytes = bytes;
      this.#hold(slot, call);
    });
  }

  #hold(slot: Slot, call: Call): void {
    if (this.#heldCount >= HELD_MAX) {
      return call.fail(new HengeError('QUEUE_FULL', `over ${HELD_MAX} requests wait for another try`));
    }
    const held = this.#held.get(slot) ?? { calls: [], reasons: 0 };
    held.calls.push(call);
    this.#held.set(slot, held);
    this.#heldCount++;
    this.#sweepSoon();
  }

  #delay(slot: Slot, delayMs: number): void {
    const held = this.#held.get(slot);
    if (held === undefined) return;
    held.reasons++;
    setTimeout(() => this.#unhold(slot, held), delayMs);
  }

  #holdUntilFetched(slot: Slot, link: Link): void {
    const held = this.#held.get(slot);
    if (held === undefined) return;
    held.reasons++;
    void this.#refresh(link).then(() => this.#unhold(slot, held));
  }

  #unhold(slot: Slot, held: Held): void {
    if (--held.reasons > 0 || this.#held.get(slot) !== held) return;
    this.#held.delete(slot);
    this.#heldCount -= held.calls.length;
    for (const call of held.calls) if (!call.isSettled) this.#resend(call);
  }

  // --- deadlines ----------------------------------------------------------------------------------------------------

  #sweepSoon(): void {
    if (this.#isSweeping || this.#isClosed) return;
    this.#isSweeping = true;
    if (this.#sweepTimer === undefined) this.#sweepTimer = setTimeout(() => this.#sweep(), SWEEP_MS);
    else this.#sweepTimer.refresh();
  }

  #sweep(): void {
    const nowMs = this.clock();
    for (const link of this.#allLinks()) link.sweep(nowMs);
    for (const held of this.#held.values()) {
      for (const call of held.calls) {
        if (call.deadlineAt <= nowMs)
          call.fail(new HengeError('MOVED', 'no node took the request within the deadline'));
      }
    }
    this.#isSweeping = false;
    if (this.#inFlight > 0) this.#sweepSoon();
  }
}

const closedError = (): HengeError => new HengeError('CLOSED', 'the client is closed');

/** Whether a request goes where its key lives; the others go to a node that was named. */
const isKeyed = (opcode: number): boolean => opcode >= Opcode.GET && opcode <= Opcode.APPEND;
