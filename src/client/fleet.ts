/**
 * The cluster as one client sees it: the newest topology, a link to every member, and the requests that wait for
 * another try. The rules are router.ts; here they meet sockets, timers and the clock.
 *
 *   issue ──▶ slot ──▶ link ──▶ answer          refused or lost ──▶ judge ──▶ held by slot ──▶ link of the newest table
 *
 * A newer topology is fetched once, however many requests were refused.
 */

import { Opcode, Status } from '../protocol/index.js';
import { type Slot, slotOf } from '../ring/index.js';
import { errorOf, type RawAnswer } from './answer.js';
import { AnswerKind, Call, Chunk, Draft, type Reject, type Resolve } from './call.js';
import { HengeError, rejectLater } from './errors.js';
import { roomFor, writeFrame } from './frame-writer.js';
import { HeldCalls } from './held.js';
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
/** Pause before a client without a topology asks for one again. */
const FIRST_TOPOLOGY_PAUSE_MS = 100;
export class Fleet {
  #routes: Routes | undefined;
  /** By index in the routes' members; undefined for a member without an address. */
  #links: readonly (Link | undefined)[] = [];
  /** The one link of a cluster of one node: its keys need no slot. */
  #only: Link | undefined;
  /** Links to seeds, until a topology says who is who. */
  #seedLinks: Link[] = [];
  /** Links to nodes that are members no longer, until what is in flight on them is answered. */
  #leaving: Link[] = [];
  #lastError: HengeError | undefined;

  readonly #held = new HeldCalls((calls) => {
    for (const call of calls) this.#resend(call);
  });
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
  async start(): Promise<void> {
    const deadlineMs = this.settings.connectDeadlineMs;
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
    let count = this.#held.count;
    for (const link of this.#allLinks()) count += link.pipeline.awaited;
    return count;
  }

  /** New calls fail with CLOSED from now on. */
  refuse(): void {
    for (const link of this.#allLinks()) link.pipeline.refusal = closedError;
  }

  /** Calls that may still be answered, whether or not somebody waits. */
  get #inFlight(): number {
    let count = this.#held.count;
    for (const link of this.#allLinks()) count += link.pipeline.inFlight;
    return count;
  }

  /**
   * Sends a request to the node that leads its key.
   *
   * Hot path: beside the pipeline's, no allocation; with several nodes, the key's CRC and one array read.
   * @throws HengeError INVALID_KEY, VALUE_TOO_LARGE
   */
  issue(draft: Draft): Promise<unknown> {
    this.#issued++;
    if (this.#held.count > 0) return this.#issueBehindHeld(draft);
    const link = this.#only ?? this.#linkOf(slotOf(draft.key));
    return link === undefined ? this.#rejectUnrouted() : link.pipeline.append(draft);
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
    this.#held.failAll(error);
    this.#links = [];
    this.#seedLinks = [];
    this.#leaving = [];
    this.#only = undefined;
    this.#routes = undefined;
    clearTimeout(this.#sweepTimer);
  }

  /** Undefined only if the client is closed, or the slot's node has no address yet. */
  #linkOf(slot: Slot): Link | undefined {
    return this.#links[this.#routes?.primaryOf(slot) ?? -1];
  }

  #rejectUnrouted(): Promise<never> {
    return rejectLater(this.#noLink('the node that leads this key has no address yet'));
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
    yield* this.#leaving;
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
      down: (calls, error, isNews) => {
        if (isNews) this.events.down(link.address, error);
        this.#down(link, calls, error);
      },
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
        // Whoever needs the topology finds out by its own deadline, or asks again after its next refusal; only a client
        // that has none yet must ask again by itself.
        this.#lastError =
          error instanceof HengeError ? error : new HengeError('PROTOCOL', String(error), { cause: error });
        if (this.#routes === undefined) setTimeout(() => this.#refreshFirst(), FIRST_TOPOLOGY_PAUSE_MS);
        return;
      }
    } while (this.#fetchAgain && !this.#isClosed && this.#routes === undefined);
  }

  #refreshFirst(): void {
    const link = [...this.#allLinks()].find((candidate) => candidate.isUp);
    if (link !== undefined && this.#routes === undefined) void this.#refresh(link);
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
    const link =
      known.find((one) => one.nodeName === name) ?? known.find((one) => one.nodeName === '' && one.address === address);
    if (link === undefined) return this.#makeLink(address);
    link.readdress(address);
    return link;
  }

  /** What was not sent goes to whoever leads its key now; what was sent is still answered, or sent on by a refusal. */
  #leaveOthers(links: readonly Link[]): void {
    for (const link of links) {
      for (const call of link.pipeline.withdraw()) {
        if (isKeyed(call.opcode)) this.#resend(call);
        else call.fail(leftError(link));
      }
      link.pipeline.refusal = () => leftError(link);
      this.#leaving.push(link);
    }
    this.#closeLeft();
  }

  #closeLeft(): void {
    const isDone = (link: Link): boolean => !link.isUp || link.pipeline.awaited === 0;
    const done = this.#leaving.filter(isDone);
    this.#leaving = this.#leaving.filter((link) => !done.includes(link));
    for (const link of done) link.close(leftError(link));
  }

  // --- what did not work at once ----------------------------------------------------------------------------------

  #refused(link: Link, call: Call, status: number, epoch: number): void {
    const kind = status === Status.MOVED ? 'moved' : 'busy';
    const delayMs = this.#delayFor(kind, call);
    if (delayMs === undefined) {
      call.fail(errorOf(status, '', call));
    } else if (isKeyed(call.opcode)) {
      const isStale = kind === 'moved' && epoch > (this.#routes?.topology.epoch ?? 0);
      this.#held.add(slotOf(call.key), call, this.#await(delayMs, isStale ? link : undefined));
      this.#sweepSoon();
    } else {
      setTimeout(() => this.#adopt(link, call), delayMs);
    }
  }

  #down(link: Link, calls: readonly Call[], error: HengeError): void {
    this.#lastError = error;
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
    const link = this.#linkOf(slotOf(call.key));
    if (link === undefined) call.fail(this.#noLink('the node that leads this key has no address yet'));
    else this.#adopt(link, call);
  }

  #adopt(link: Link, call: Call): void {
    try {
      link.pipeline.adopt(call);
    } catch (error) {
      call.fail(error as HengeError);
    }
  }

  async #await(delayMs: number, link: Link | undefined): Promise<void> {
    if (link !== undefined) await this.#refresh(link);
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
  }

  #issueBehindHeld(draft: Draft): Promise<unknown> {
    const slot = slotOf(draft.key);
    const pipeline = this.#linkOf(slot)?.pipeline;
    if (pipeline === undefined) return this.#rejectUnrouted();
    if (!this.#held.has(slot)) return pipeline.append(draft);
    const chunk = new Chunk(roomFor(draft));
    const bytes = writeFrame(chunk, draft, 0, pipeline.valueBytesMax);
    chunk.end = bytes;
    chunk.isRetired = true;
    return new Promise((resolve: Resolve, reject: Reject) => {
      const call = new Call(draft.answer, draft.opcode, this.clock() + draft.deadlineMs, chunk, resolve, reject);
      call.bytes = bytes;
      this.#held.add(slot, call);
    });
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
    this.#held.expire(nowMs);
    if (this.#leaving.length > 0) this.#closeLeft();
    this.#isSweeping = false;
    if (this.#inFlight > 0) this.#sweepSoon();
  }
}

const closedError = (): HengeError => new HengeError('CLOSED', 'the client is closed');

const leftError = (link: Link): HengeError =>
  new HengeError('CONNECTION_LOST', `${link.address} is no member of the cluster any more`);

/** Whether a request goes where its key lives; the others go to a node that was named. */
const isKeyed = (opcode: number): boolean => opcode >= Opcode.GET && opcode <= Opcode.APPEND;
