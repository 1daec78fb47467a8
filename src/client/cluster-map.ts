/**
 * Who is in the cluster, as one client knows it: the newest topology with its routes, and a link to every member.
 *
 *   seeds ──▶ topology ──▶ members ──▶ links         a newer one comes by push, by a redirect, or with a new connection
 *
 * A newer topology is fetched once, however many requests were refused. Its routes are made beside the requests, which
 * go by those before until then. What waits for a node whose place others took is handed back, to be sent to them.
 */

import { Opcode } from '../protocol/index.js';
import { NO_NODE, type Slot, slotOf } from '../ring/index.js';
import type { RawAnswer } from './answer.js';
import { AnswerKind, type Call, Draft } from './call.js';
import { HengeError } from './errors.js';
import { Link, type LinkOptions } from './link.js';
import type { ClientSettings } from './options.js';
import { parseTopology, Routes, type Topology } from './router.js';
import { inTurns } from './turns.js';

export interface ClusterEvents {
  topology(topology: Topology): void;
  up(address: string): void;
  down(address: string, error: HengeError): void;
  /** See PipelineEvents. */
  refused(link: Link, call: Call, status: number, epoch: number): void;
  /** The calls were on a connection that broke. */
  lost(link: Link, calls: readonly Call[], error: HengeError): void;
  /** The calls were not sent, and are to be sent to whoever is right for them now. */
  returned(link: Link, calls: readonly Call[]): void;
  waits(): void;
}

/** How long a topology is waited for. */
const TOPOLOGY_MS_MAX = 1_000;
/** Pause before a client without a topology asks for one again. */
const FIRST_TOPOLOGY_PAUSE_MS = 100;
/** Beyond this an epoch in which others lead the keys of a lost node is overdue. */
const FAILOVER_MS_MAX = 10_000;
/** Added to the load of a copy in another zone: less than none of one's own. */
const OTHER_ZONE_COST = 1_000_000;
const TURN_MASK = 0xffff;

export class ClusterMap {
  /** Hot path: the link of a cluster of one node, whose keys need no slot. */
  only: Link | undefined;
  /** Some leader's link is missing or in doubt: requests must be looked at one by one. */
  isWary = false;
  lastError: HengeError | undefined;

  #routes: Routes | undefined;
  /** By index in the routes' members; undefined for a member without an address. */
  #links: readonly (Link | undefined)[] = [];
  #isFar: readonly boolean[] = [];
  #leads: readonly boolean[] = [];
  #turn = 0;
  /** Links to seeds, until a topology says who is who. */
  #seedLinks: Link[] = [];
  /** Links to nodes that are members no longer, until what is in flight on them is answered. */
  #leaving: Link[] = [];

  #fetching: Promise<void> | undefined;
  /** A topology whose routes are being made. */
  #coming: { topology: Topology; readonly made: Promise<void> } | undefined;
  /** Who waits for a topology. */
  #waiting = 0;
  #ready: (() => void)[] = [];
  readonly #linkOptions: LinkOptions;
  readonly #prefersUnix: boolean;
  readonly #draft = new Draft();
  #isClosed = false;

  constructor(
    private readonly settings: ClientSettings,
    private readonly events: ClusterEvents,
    clock: () => number,
    random: () => number,
  ) {
    this.#prefersUnix = settings.seeds.every((seed) => seed.startsWith('unix:'));
    this.#linkOptions = {
      clientName: settings.name,
      inFlightMax: settings.inFlightMax,
      unsentBytesMax: settings.unsentBytesMax,
      suspectAfterMs: settings.suspectAfterMs,
      hedgePercentile: settings.hedgePercentile,
      clock,
      random,
      epoch: () => this.#routes?.topology.epoch ?? 0,
    };
  }

  get routes(): Routes | undefined {
    return this.#routes;
  }

  /** Of the newest topology that is in use, or about to be. */
  get epochHeard(): number {
    return (this.#coming?.topology ?? this.#routes?.topology)?.epoch ?? 0;
  }

  /** Calls that may still be answered, whether or not somebody waits. */
  get inFlight(): number {
    let count = 0;
    for (const link of this.allLinks()) count += link.pipeline.inFlight;
    return count;
  }

  /** The cluster's largest value, as far as a node has told. */
  get valueBytesMax(): number {
    let bytes = Number.POSITIVE_INFINITY;
    for (const link of this.#links) if (link !== undefined) bytes = Math.min(bytes, link.pipeline.valueBytesMax);
    return bytes;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Connects to the seeds; `tell` is called when one of them has told the topology. */
  begin(tell: () => void): void {
    this.#ready.push(tell);
    this.#trySeeds();
  }

  *allLinks(): Generator<Link> {
    for (const link of this.#links) if (link !== undefined) yield link;
    yield* this.#seedLinks;
    yield* this.#leaving;
  }

  /** Undefined only if the client is closed, or nobody leads the slot, or its leader has no address yet. */
  leaderOf(slot: Slot): Link | undefined {
    return this.#links[this.#routes?.leaders[slot] ?? NO_NODE];
  }

  /** For a `nearest` read: of the copies not in doubt the nearest, then the least busy; the leader if there is none. */
  nearestTo(slot: Slot): Link | undefined {
    return this.copyOf(slot, undefined) ?? this.leaderOf(slot);
  }

  /** The nearest, least busy copy not in doubt, other than that one. */
  copyOf(slot: Slot, except: Link | undefined): Link | undefined {
    this.#turn = (this.#turn + 1) & TURN_MASK;
    const costOf = (member: number): number | undefined => {
      const link = this.#links[member];
      if (link === undefined || link === except || link.isDoubtful) return undefined;
      return link.pipeline.inFlight + (this.#isFar[member] ? OTHER_ZONE_COST : 0);
    };
    return this.#links[this.#routes?.cheapestCopy(slot, costOf, this.#turn) ?? NO_NODE];
  }

  /** Whom an ordinary read may ask round its leader; undefined when they are too few. */
  detourOf(slot: Slot): Link[] | undefined {
    const isUsable = (member: number): boolean => this.#links[member]?.isDoubtful === false;
    const members = this.#routes?.detourOf(slot, isUsable) ?? [];
    if (members.length < (this.#routes?.detourCopies ?? NO_NODE)) return undefined;
    return members.flatMap((member) => this.#links[member] ?? []);
  }

  /** A node refused a slot of this epoch. True: another one leads it now, or will in a moment. */
  turn(slot: Slot, link: Link, epoch: number): boolean {
    if (epoch !== this.#routes?.topology.epoch) return false;
    return this.#routes.turn(slot, this.#links.indexOf(link));
  }

  linkNamed(nodeName: string): Link | undefined {
    return this.#links[this.#routes?.table.members.indexOf(nodeName) ?? -1];
  }

  /** Asks a node for the topology, and adopts it when it is newer. @throws HengeError */
  async fetchTopology(): Promise<Topology> {
    const links = [...this.allLinks()];
    const link = links.find((one) => one.isUp && !one.isDoubtful) ?? links.find((one) => one.isUp) ?? links[0];
    if (link === undefined) throw this.noLink('no node is known');
    await this.#awaited(async () => this.#adoptTopology(await this.#askTopology(link)));
    if (this.#routes === undefined) throw this.noLink('no node is known');
    return this.#routes.topology;
  }

  /** Fetches the epoch that a node named from that node, however many ask for it; gives up after a try or two. */
  learn(epoch: number, link: Link): Promise<void> {
    return this.#awaited(async () => {
      for (let tries = 0; tries < 2 && this.#isUnheard(epoch); tries++) await this.#refresh(link);
      if (epoch > (this.#routes?.topology.epoch ?? 0)) await this.#coming?.made;
    });
  }

  sweep(nowMs: number): void {
    for (const link of this.allLinks()) link.sweep(nowMs);
    if (this.#leaving.length > 0) this.#closeLeft();
  }

  noLink(message: string): HengeError {
    return this.#isClosed ? closedError() : new HengeError('UNREACHABLE', message);
  }

  close(error: HengeError): void {
    this.#isClosed = true;
    for (const link of this.allLinks()) link.close(error);
    this.#links = [];
    this.#seedLinks = [];
    this.#leaving = [];
    this.only = undefined;
    this.#routes = undefined;
    this.#coming = undefined;
  }

  // --- links ----------------------------------------------------------------------------------------------------

  #trySeeds(): void {
    const known = new Set(Array.from(this.allLinks(), (link) => link.address));
    for (const seed of this.settings.seeds) if (!known.has(seed)) this.#seedLinks.push(this.#makeLink(seed));
  }

  #makeLink(address: string): Link {
    const link: Link = new Link(address, this.#linkOptions, {
      refused: (call, status, epoch) => this.events.refused(link, call, status, epoch),
      pushed: (value) => this.#pushed(value),
      waits: () => this.events.waits(),
      up: (epoch) => this.#up(link, epoch),
      down: (calls, error, isNews) => this.#down(link, calls, error, isNews),
      doubtChanged: () => this.#doubtChanged(link),
    });
    return link;
  }

  #up(link: Link, epoch: number): void {
    this.#look();
    this.events.up(link.address);
    if (this.#seedLinks.length > 0 || this.#isUnheard(epoch)) void this.#refresh(link);
  }

  #down(link: Link, calls: readonly Call[], error: HengeError, isNews: boolean): void {
    this.lastError = error;
    if (isNews) this.events.down(link.address, error);
    this.#look();
    this.events.lost(link, calls, error);
    this.#returnReads(link);
    // Every address may have changed while nothing was reachable.
    const isCutOff = ![...this.allLinks()].some((one) => one.isUp);
    if (isCutOff && !this.#isClosed) this.#trySeeds();
  }

  #doubtChanged(link: Link): void {
    this.#look();
    if (!link.isDoubtful) return;
    if (this.#hasOtherCopies) {
      // What nobody else can answer stays: asking once more would only give a slow node more to do.
      const isWanted = (call: Call): boolean =>
        (call.isOrdinaryRead || call.isPart) && this.detourOf(slotOf(call.key)) !== undefined;
      this.events.returned(link, link.pipeline.takeOver(isWanted));
    }
    this.#returnReads(link);
  }

  /** What waits for a link in doubt and can be answered by others is not left waiting. */
  #returnReads(link: Link): void {
    if (this.#hasOtherCopies && !this.#isClosed) this.events.returned(link, link.pipeline.withdraw());
  }

  get #hasOtherCopies(): boolean {
    return (this.#routes?.topology.rf ?? 1) > 1;
  }

  #look(): void {
    this.isWary = this.#links.some((link, member) => this.#leads[member] && (link === undefined || link.isDoubtful));
  }

  // --- topology -------------------------------------------------------------------------------------------------

  #pushed(value: Buffer): void {
    try {
      void this.#adoptTopology(parseTopology(value.toString()));
    } catch (error) {
      // A push that cannot be read changes nothing; the first refused request asks again.
      this.lastError = unusable(error);
    }
  }

  #isUnheard(epoch: number): boolean {
    return epoch > this.epochHeard;
  }

  /** Fetches the topology from a node, once at a time. */
  #refresh(link: Link): Promise<void> {
    this.#fetching ??= this.#fetchFrom(link).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetchFrom(link: Link): Promise<void> {
    try {
      await this.#adoptTopology(await this.#askTopology(link));
    } catch (error) {
      // Whoever needs the topology finds out by its own deadline, or asks again after its next refusal; only a client
      // that has none yet must ask again by itself.
      this.lastError =
        error instanceof HengeError ? error : new HengeError('PROTOCOL', String(error), { cause: error });
      if (this.#routes === undefined) setTimeout(() => this.#refreshFirst(), FIRST_TOPOLOGY_PAUSE_MS);
    }
  }

  #refreshFirst(): void {
    const link = [...this.allLinks()].find((candidate) => candidate.isUp);
    if (link !== undefined && this.#routes === undefined) void this.#refresh(link);
  }

  async #askTopology(link: Link): Promise<Topology> {
    const draft = this.#draft;
    draft.opcode = Opcode.TOPOLOGY;
    draft.answer = AnswerKind.RAW;
    draft.deadlineMs = TOPOLOGY_MS_MAX;
    const answer = (await link.pipeline.append(draft)) as RawAnswer;
    return parseTopology(answer.value.toString());
  }

  /** Takes a topology over if it is newer than ours, or has newer addresses. Resolves when it is in use. */
  #adoptTopology(topology: Topology): Promise<void> {
    const { epoch } = topology;
    const inUse = this.#routes?.topology.epoch;
    if (this.#isClosed || epoch < this.epochHeard) return this.#coming?.made ?? Promise.resolve();
    if (inUse === undefined || epoch === inUse) {
      this.#enter(Routes.of(topology, this.#routes));
      return Promise.resolve();
    }
    if (this.#coming?.topology.epoch === epoch) this.#coming.topology = topology;
    else this.#coming = { topology, made: this.#make(topology) };
    return this.#coming.made;
  }

  async #awaited(run: () => Promise<void>): Promise<void> {
    this.#waiting++;
    try {
      await run();
    } finally {
      this.#waiting--;
    }
  }

  /** Never rejects: it is awaited by some and by nobody. Without routes the topology before goes on. */
  async #make(topology: Topology): Promise<void> {
    const isWanted = (): boolean => this.#coming?.topology.epoch === topology.epoch;
    try {
      // Calls to a leader in doubt wait for the next one.
      const isUrgent = (): boolean => this.#waiting > 0 || this.isWary;
      const routes = await inTurns(Routes.steps(topology, this.#routes), { isWanted, isUrgent });
      const coming = this.#coming;
      if (routes === undefined || coming === undefined) return coming?.made;
      this.#coming = undefined;
      // Meanwhile members may have moved.
      this.#enter(Routes.of(coming.topology, routes));
    } catch (error) {
      if (isWanted()) this.#coming = undefined;
      this.lastError = unusable(error);
    }
  }

  #enter(routes: Routes): void {
    const { topology } = routes;
    const isNews = topology.epoch !== this.#routes?.topology.epoch;
    // A link that is being left takes no more calls, also to a node that is a member again.
    const known = [...this.allLinks()].filter((link) => !this.#leaving.includes(link));
    this.#use(routes, known);
    this.#seedLinks = [];
    this.#leaveOthers(known.filter((link) => !this.#links.includes(link)));
    if (isNews) {
      for (const link of this.#links) if (link?.isDoubtful) this.events.returned(link, link.pipeline.withdraw());
      this.events.topology(topology);
    }
    for (const tell of this.#ready.splice(0)) tell();
  }

  #use(routes: Routes, known: readonly Link[]): void {
    const { topology, table } = routes;
    const members = table.members.map((name) => topology.members.find((member) => member.name === name));
    const isFar = members.map((member) => this.settings.zone !== undefined && member?.zone !== this.settings.zone);
    const links = members.map((member) => {
      const unix = this.#prefersUnix ? member?.unix : undefined;
      const address = unix !== undefined ? `unix:${unix}` : (member?.address ?? '');
      return member === undefined || address === '' ? undefined : this.#linkFor(member.name, address, known);
    });
    this.#routes = routes;
    this.#links = links;
    this.#isFar = isFar;
    this.#leads = routes.whoLeads();
    this.only = links.length === 1 ? links[0] : undefined;
    const patienceMs = topology.members.length > 1 ? FAILOVER_MS_MAX : 0;
    for (const link of links) if (link !== undefined) link.pipeline.patienceMs = patienceMs;
    this.#look();
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
      const unsent = link.pipeline.withdraw();
      link.pipeline.refusal = () => leftError(link);
      this.events.returned(link, unsent);
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
}

const unusable = (cause: unknown): HengeError =>
  new HengeError('PROTOCOL', 'a node told a topology that cannot be used', { cause });

export const closedError = (): HengeError => new HengeError('CLOSED', 'the client is closed');

const leftError = (link: Link): HengeError =>
  new HengeError('CONNECTION_LOST', `${link.address} is no member of the cluster any more`);
