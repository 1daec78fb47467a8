/**
 * A worker's part in the cluster: everything about copies that is not done item by item in native code.
 *
 *   topology ─▶ adopt ─▶ epoch put in place ─▶ links (peers.ts), heartbeats (heartbeats.ts)
 *                  steward: take-over.ts ─▶ merges.ts ─▶ catch-up.ts ─▶ digests.ts, drops.ts
 *   peers' frames ─▶ onControl ─▶ answer       (pulls.ts, digests.ts)
 *
 * Every worker keeps links and answers peers. One of them, the steward, does what is to be done once a node: it is the
 * live worker with the lowest place, and all it must know stands in shared memory, so another one takes its place at
 * any time. It waits two ticks before it begins, for the one before may not have noticed yet that it is not the steward
 * any more.
 *
 * No clock, no socket, no promise: see env.ts. Nothing here is on the path of a request.
 */
import { Opcode, responseFrame, Status } from '../../protocol/index.js';
import { RowRole } from '../../ring/index.js';
import { type ControlFrame, type SlotBits, SlotFlag, SlotState } from '../../store/index.js';
import type { TopologyMember, TopologyView } from '../records.js';
import { rowsOf } from '../rows.js';
import { Calls } from './calls.js';
import { CatchUp } from './catch-up.js';
import { Digests } from './digests.js';
import { Drops } from './drops.js';
import type { ClusterReport, WorkerEnv } from './env.js';
import { countHandOvers, HandOvers } from './hand-over.js';
import { Heartbeats } from './heartbeats.js';
import { History } from './history.js';
import { Layout } from './layout.js';
import { Merges } from './merges.js';
import { Pace } from './pace.js';
import { epochOf, refusal, staleAnswer } from './peer-frames.js';
import { Peers } from './peers.js';
import { Pulls } from './pulls.js';
import { bothBits, countSlots, isNoSlot, noSlots, withoutBits } from './slot-bits.js';
import { type Survey, takeSurvey } from './survey.js';
import { TakeOvers } from './take-over.js';
import { TopologyNews } from './topology-news.js';

const STEWARD_SETTLE_MS = 200;
const REPORT_MS = 1_000;
/**
 * So long a busy node hands nothing over in a new epoch: its clients make their routes meanwhile, without haste, and
 * are not all refused at once.
 */
const ROUTES_MS = 400;
/** How long a worker leaves it to the steward to put an epoch in place: one thread's work instead of every thread's. */
const INSTALL_DELAY_MS = 300;

export class WorkerCore {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers: Peers;
  readonly #heartbeats: Heartbeats;
  readonly #topologies: TopologyNews;
  readonly #pace: Pace;
  readonly #pulls: Pulls;
  readonly #digests: Digests;
  readonly #takeOvers: TakeOvers;
  readonly #merges: Merges;
  readonly #catchUp: CatchUp;
  readonly #handOvers: HandOvers;
  readonly #drops: Drops;
  readonly #history: History;
  #view: TopologyView | undefined;
  /** Of `#view`, once it was needed. */
  #layout: Layout | undefined;
  #stewardSinceMs: number | undefined;
  #reportAtMs = 0;
  #installAtMs = Number.POSITIVE_INFINITY;
  #enteredAtMs = 0;
  #reported = '';

  constructor(env: WorkerEnv) {
    this.#env = env;
    const onEpoch = (number: number, epoch: number): void => this.#topologies.heard(epoch, number);
    this.#calls = new Calls(env);
    this.#peers = new Peers(env, this.#calls);
    this.#heartbeats = new Heartbeats(env, this.#calls, this.#peers, {
      onEpoch,
      onLacking: (number) => this.#isAtWork() && this.#catchUp.declareAgain(this.#survey(), number),
    });
    this.#topologies = new TopologyNews(env, this.#calls, this.#peers, (view) => this.#learn(view));
    this.#pulls = new Pulls(env, this.#calls, this.#peers);
    this.#digests = new Digests(env, this.#calls, this.#peers, (slots) => this.#catchUp.doubtHoldings(slots, 0));
    this.#merges = new Merges(env, this.#calls, this.#peers, {
      onEpoch,
      onMerged: (slots, sinceMs) => this.#catchUp.doubtHoldings(slots, sinceMs),
    });
    this.#pace = new Pace(env);
    const [calls, peers, heartbeats, merges] = [this.#calls, this.#peers, this.#heartbeats, this.#merges];
    this.#catchUp = new CatchUp({ env, calls, peers, heartbeats, merges, pace: this.#pace, onEpoch });
    this.#takeOvers = new TakeOvers(env, this.#calls, this.#peers, {
      onEpoch,
      onPulled: (number, slots, sinceMs) => this.#merges.pulled(number, slots, sinceMs),
      onHolding: (number, holding) => this.#catchUp.holds(number, holding),
    });
    this.#handOvers = new HandOvers(env, this.#calls, this.#peers, { onEpoch });
    this.#drops = new Drops(env);
    this.#history = new History(env.slots);
  }

  /** The newest topology in use here; undefined before the first adopt(). */
  get topology(): TopologyView | undefined {
    return this.#view;
  }

  /**
   * Takes over a topology: a newer epoch is put in place, unless another process did so already; of the same one only
   * the members' addresses count. False: it is older than what is known.
   */
  adopt(view: TopologyView): boolean {
    if (view.epoch < (this.#view?.epoch ?? 0)) return false;
    if (view.epoch !== this.#view?.epoch) this.#enter(view);
    this.#view = view;
    this.#pace.adopt(view.rebalance);
    this.#topologies.known(view.epoch);
    this.#peers.adopt(view.members);
    this.#settle();
    return true;
  }

  /** A connection that dial() opened is ready. */
  dialed(number: number, connection: number): void {
    this.#peers.dialed(number, connection);
    this.#heartbeats.tick();
    this.#settle();
  }

  dialFailed(number: number, why: string): void {
    this.#peers.dialFailed(number, why);
  }

  /** A connection of ours ended, and native code has been told. */
  lost(connection: number): void {
    this.#peers.lost(connection);
    this.#settle();
  }

  /** A connection that a peer had opened ended: what was under way on it may never come. */
  inboundLost(nodeNumber: number): void {
    this.#env.native.detach(nodeNumber);
  }

  /** A peer's frame. The answer, or undefined when it comes later, by the environment's answer(). */
  onControl(frame: ControlFrame): Buffer | undefined {
    const answer = this.#answer(frame);
    this.#settle();
    return answer;
  }

  /** Answers to our requests have come. */
  onAnswers(): void {
    this.#calls.takeAnswers();
    const isDue = this.#catchUp.isDue || this.#handOvers.isDue;
    if (isDue && this.#isAtWork()) this.#moveOn();
    this.#settle();
  }

  /** Copies that are in sync now let slots be handed over, and what was handed over may end the change. */
  #moveOn(): void {
    this.#catchUp.tick(this.#survey());
    const survey = this.#survey();
    this.#handOvers.tick(survey, this.#mayHandOver());
    this.#report(survey);
  }

  /** A peer's frames are held back until this epoch is known here. */
  onBehind(epoch: number, nodeNumber: number): void {
    this.#topologies.heard(epoch, nodeNumber);
    this.#settle();
  }

  /** Every 100 ms or so. */
  tick(): void {
    if (this.#env.monoMs() >= this.#installAtMs) this.#install();
    // Another worker, or the primary process, may have put a newer epoch in place without a word to this one.
    this.#topologies.heard(this.#env.installedEpoch());
    this.#topologies.tick();
    this.#pace.look(this.#env.monoMs());
    this.#peers.tick();
    this.#heartbeats.tick();
    this.#pulls.tick();
    this.#digests.noticeEvictions();
    this.#noticeStewardship();
    if (this.#isAtWork()) this.#work();
    this.#settle();
  }

  #enter(view: TopologyView): void {
    const before = this.#layout;
    const isSteward = this.#env.native.isSteward();
    this.#view = view;
    this.#enteredAtMs = this.#env.monoMs();
    this.#layout = isSteward ? new Layout(view, rowsOf(view, this.#env.slots)) : undefined;
    this.#takeOvers.reset();
    this.#digests.reset();
    this.#handOvers.reset();
    // Before the epoch is in place, so that what could not be sent is noted with what it belongs to.
    this.#catchUp.reset();
    if (isSteward) this.#install();
    else this.#installAtMs = this.#env.monoMs() + INSTALL_DELAY_MS;
    // After that, for others wait until it is in place here.
    if (before !== undefined && this.#layout !== undefined) this.#history.advance(before, this.#layout);
    else this.#history.forget();
    // Take-overs do not wait for the next tick: somebody's writes are waiting for them.
    if (this.#isAtWork()) this.#considerTakeOvers(this.#survey());
  }

  /** Puts the epoch in place, unless somebody did so already. */
  #install(): void {
    this.#installAtMs = Number.POSITIVE_INFINITY;
    const view = this.#view as TopologyView;
    const mustInstall = this.#env.installedEpoch() < view.epoch;
    if (mustInstall) {
      const layout = this.#layout ?? new Layout(view, rowsOf(view, this.#env.slots));
      this.#env.native.install(layout.installation);
    }
    this.#env.log('epoch', { epoch: view.epoch, isInstaller: mustInstall });
  }

  #learn(view: TopologyView): void {
    if (this.adopt(view)) this.#env.learned(view);
  }

  #answer(frame: ControlFrame): Buffer | undefined {
    const { opcode, requestId: id, nodeNumber } = frame;
    if (nodeNumber === 0) return refusal(Status.REFUSED, id, 'only nodes may say this');
    switch (opcode) {
      case Opcode.HEARTBEAT:
        return this.#heartbeats.receive(frame) ?? refusal(Status.REFUSED, id, 'this is no heartbeat');
      case Opcode.SYNCED:
        return this.#acceptSynced(frame);
      case Opcode.HANDOVER:
        return this.#acceptLead(frame);
      case Opcode.PULL:
        return this.#pulls.receive(frame);
      case Opcode.DIGESTS:
        return this.#digests.receive(frame);
      case Opcode.PROBE:
        return this.#probed(id);
      default:
        return refusal(Status.REFUSED, id, `opcode 0x${opcode.toString(16)} is not offered here`);
    }
  }

  #acceptSynced(frame: ControlFrame): Buffer {
    return this.#accept(frame, (from, epoch, slots) => this.#env.native.acceptSynced(from, epoch, slots));
  }

  #acceptLead(frame: ControlFrame): Buffer {
    return this.#accept(frame, (from, epoch, slots) => this.#env.native.acceptLead(from, epoch, slots));
  }

  /** What holds in one epoch only. */
  #accept(
    { requestId: id, nodeNumber, extras, value }: ControlFrame,
    take: (from: number, epoch: number, slots: SlotBits) => SlotBits,
  ): Buffer {
    const [theirs, ours] = [epochOf(extras), this.#env.installedEpoch()];
    if (theirs > ours) this.#topologies.heard(theirs, nodeNumber);
    if (theirs !== ours) return staleAnswer(id, ours);
    const bits = noSlots(this.#env.slots);
    bits.set(value.subarray(0, bits.length));
    return responseFrame({ status: Status.OK, id, value: Buffer.from(take(nodeNumber, ours, bits)) });
  }

  #probed(id: number): Buffer {
    const { name, incarnation } = this.#env.self;
    const state = { name, incarnation, epoch: this.#env.installedEpoch(), isFenced: this.#env.isFenced() };
    return responseFrame({ status: Status.OK, id, value: Buffer.from(JSON.stringify(state)) });
  }

  #noticeStewardship(): void {
    const isSteward = this.#env.native.isSteward();
    if (isSteward === (this.#stewardSinceMs !== undefined)) return;
    this.#stewardSinceMs = isSteward ? this.#env.monoMs() : undefined;
    this.#env.log('steward', { isSteward });
    this.#takeOvers.reset();
    this.#handOvers.reset();
    this.#merges.reset();
    this.#catchUp.forget();
    this.#digests.reset();
    if (!isSteward) this.#history.forget();
  }

  /** Whether this worker does the background work, and knows the epoch that is in place. */
  #isAtWork(): boolean {
    if (this.#stewardSinceMs === undefined || this.#view === undefined) return false;
    const isSettled = this.#env.monoMs() - this.#stewardSinceMs >= STEWARD_SETTLE_MS;
    return isSettled && this.#view.epoch === this.#env.installedEpoch();
  }

  #survey(): Survey {
    const view = this.#view as TopologyView;
    this.#layout ??= new Layout(view, rowsOf(view, this.#env.slots));
    return takeSurvey(this.#env, this.#layout);
  }

  #work(): void {
    this.#tendCopies((this.#view as TopologyView).members);
    const survey = this.#survey();
    this.#drops.tick(survey);
    this.#report(survey);
  }

  #tendCopies(members: readonly TopologyMember[]): void {
    const others = members.map(({ number }) => number).filter((number) => number !== this.#env.self.number);
    this.#heartbeats.detachSilent(others);
    let survey = this.#survey();
    if (this.#considerTakeOvers(survey)) survey = this.#survey();
    this.#merges.tick(survey);
    this.#catchUp.tick(survey);
    this.#handOvers.tick(this.#survey(), this.#mayHandOver());
    this.#digests.tick(survey);
  }

  /** True: some slots are led now. */
  #considerTakeOvers(survey: Survey): boolean {
    this.#takeOvers.consider(survey, this.#history);
    return this.#takeOvers.tick();
  }

  /** What goes back when a change is called off needs nothing sent, and so no pause holds it. */
  #mayHandOver(): boolean {
    const nowMs = this.#env.monoMs();
    const haveClientsRoutes = nowMs - this.#enteredAtMs >= ROUTES_MS || !this.#pace.isBusy(nowMs);
    return haveClientsRoutes && (!this.#pace.isPaused || this.#view?.isCancelled === true);
  }

  /** At once what others wait for; the rest, which changes all the time while data moves, once a second. */
  #report(survey: Survey): void {
    const { epoch } = this.#view as TopologyView;
    const handOvers = countHandOvers(survey, this.#env.self.number);
    const holdings = { epoch, ...holdingsOf(survey, this.#env.self.number) };
    const awaited = JSON.stringify({ ...holdings, isHandedOver: handOvers === 0 });
    const nowMs = this.#env.monoMs();
    if (awaited === this.#reported && nowMs < this.#reportAtMs) return;
    this.#reported = awaited;
    this.#reportAtMs = nowMs + REPORT_MS;
    this.#env.report({ ...holdings, handOvers, ...this.#catchUp.moving(survey) });
  }

  #settle(): void {
    this.#calls.flush();
  }
}

type Holdings = Pick<ClusterReport, 'syncedEpoch' | 'possibleLossSlots'>;

function holdingsOf({ layout, sets, led }: Survey, self: number): Holdings {
  // Nobody waits for copies that were to be had here by a change that is called off.
  const received = layout.view.isCancelled === true ? layout.slotsOf(self, RowRole.RECEIVER) : noSlots(layout.slots);
  const isSynced =
    isNoSlot(withoutBits(sets.inState(SlotState.JOINING), received)) &&
    isNoSlot(sets.inState(SlotState.TAKING_OVER)) &&
    isNoSlot(bothBits(sets.inState(SlotState.REPLICA), sets.flagged(SlotFlag.DETACHED)));
  const doubtful = bothBits(led, sets.flagged(SlotFlag.POSSIBLE_LOSS));
  return { syncedEpoch: isSynced ? layout.epoch : 0, possibleLossSlots: countSlots(doubtful) };
}
