/**
 * Compares, in the background, what copies that are said to be in sync really have: a segment's slots a second and
 * peer, by sums over keys and versions. It is the net under everything else, for what no rule foresaw.
 *
 * Two sums taken at different moments differ while writes are under way, so only a slot that differs twice, with the
 * same sums on both sides, is suspected; then all of it is sent again, and what the copy has is asked for, since it may
 * be the leader that lacks something: one slot a second and peer at most, and versions decide. Nodes evict
 * independently, and a copy that evicted lacks nothing: as long as either side did so lately nothing is compared.
 */
import { Status } from '../../protocol/index.js';
import { type ControlFrame, type LinkAnswer, type SlotBits, SlotState } from '../../store/index.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import {
  type Digest,
  digestsAnswer,
  digestsFrame,
  epochOf,
  pullFrame,
  readDigests,
  readDigestsWanted,
  refusal,
  staleAnswer,
} from './peer-frames.js';
import type { Peers } from './peers.js';
import { addSlot, bothBits, hasSlot, noSlots } from './slot-bits.js';
import { SlotSets, type Survey } from './survey.js';

const ROUND_MS = 1_000;
/**
 * An eviction makes slots differ for as long as the items would have lived; this only keeps the two apart in a calm
 * hour.
 */
const CALM_MS = 10_000;
/** Slots in one frame: a segment's, and suspects. */
const SLOTS_MAX = 64;
const SUSPECTS_MAX = 16;

interface Difference {
  readonly mine: Digest;
  readonly theirs: Digest;
}

export class Digests {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers: Peers;
  readonly #segments: number;
  /** By peer and slot. */
  readonly #suspects = new Map<number, Map<number, Difference>>();
  #evictions = 0;
  #evictedAtMs = Number.NEGATIVE_INFINITY;
  #segment = 0;
  #roundAtMs = 0;

  /** `onDifferent`: copies of these slots differ, so what was believed of them is wrong. */
  constructor(
    env: WorkerEnv,
    calls: Calls,
    peers: Peers,
    private readonly onDifferent: (slots: SlotBits) => void,
  ) {
    this.#env = env;
    this.#calls = calls;
    this.#peers = peers;
    this.#segments = env.slots / env.slotsPerSegment;
  }

  /** Forgets what it suspects. */
  reset(): void {
    this.#suspects.clear();
  }

  /** In every worker: any of them may be asked. */
  noticeEvictions(): void {
    const evictions = this.#env.evictions();
    if (evictions !== this.#evictions) this.#evictedAtMs = this.#env.monoMs();
    this.#evictions = evictions;
  }

  tick(survey: Survey): void {
    const nowMs = this.#env.monoMs();
    if (nowMs < this.#roundAtMs || !this.#isCalm()) return;
    this.#roundAtMs = nowMs + ROUND_MS;
    this.#segment = (this.#segment + 1) % this.#segments;
    for (const number of this.#peers.linked) this.#compare(survey, number);
  }

  /** A peer's question; its answer. */
  receive(frame: ControlFrame): Buffer {
    const epoch = this.#env.installedEpoch();
    if (epochOf(frame.extras) !== epoch) return staleAnswer(frame.requestId, epoch);
    const slots = readDigestsWanted(frame);
    const isSane = slots.length <= SLOTS_MAX && slots.every((slot) => slot < this.#env.slots);
    if (!isSane) return refusal(Status.REFUSED, frame.requestId, `at most ${SLOTS_MAX} slots of this cluster`);
    if (!this.#isCalm()) return refusal(Status.BUSY, frame.requestId, 'this node evicted a moment ago');
    return digestsAnswer(
      frame.requestId,
      slots.map((slot) => this.#env.native.digest(slot)),
    );
  }

  #isCalm(): boolean {
    return this.#env.monoMs() - this.#evictedAtMs > CALM_MS;
  }

  #compare(survey: Survey, number: number): void {
    const synced = bothBits(survey.led, this.#env.native.peerBits(number).synced);
    const { slotsPerSegment } = this.#env;
    const first = this.#segment * slotsPerSegment;
    const inSegment = Array.from({ length: slotsPerSegment }, (_, at) => first + at);
    const suspects = [...(this.#suspects.get(number)?.keys() ?? [])];
    const slots = [...new Set([...suspects, ...inSegment])].filter((slot) => hasSlot(synced, slot)).slice(0, SLOTS_MAX);
    const connection = this.#peers.linkTo(number);
    if (connection === undefined || slots.length === 0) return;
    this.#calls.send(connection, digestsFrame(survey.layout.epoch, slots), (answer) =>
      this.#onAnswer(number, slots, answer),
    );
  }

  #onAnswer(number: number, slots: readonly number[], { status, value }: LinkAnswer): void {
    if (status !== Status.OK) return;
    const before = this.#suspects.get(number) ?? new Map<number, Difference>();
    const after = new Map<number, Difference>();
    this.#suspects.set(number, after);
    const led = new SlotSets(this.#env.native, this.#env.slots).inState(SlotState.PRIMARY);
    let hasRepaired = false;
    readDigests(value).forEach((theirs, at) => {
      const slot = slots[at];
      if (slot === undefined || !hasSlot(led, slot)) return;
      const mine = this.#env.native.digest(slot);
      if (isSame(mine, theirs)) return;
      const was = before.get(slot);
      const isSettled = was !== undefined && isSame(was.mine, mine) && isSame(was.theirs, theirs);
      if (isSettled && !hasRepaired) {
        hasRepaired = true;
        this.#repair(number, slot);
      } else if (after.size < SUSPECTS_MAX) {
        after.set(slot, { mine, theirs });
      }
    });
  }

  #repair(number: number, slot: number): void {
    const slots = noSlots(this.#env.slots);
    addSlot(slots, slot);
    this.#env.native.failCatchUp(number, slots, 0);
    this.onDifferent(slots);
    const connection = this.#peers.linkTo(number);
    const frame = pullFrame({ epoch: this.#env.installedEpoch(), sinceMs: 0, slots });
    // Its items come as items do; that they have come says nothing that must be known.
    if (connection !== undefined) this.#calls.send(connection, frame, () => {});
    this.#env.log('copies-differ', { peer: number, slot });
  }
}

const isSame = (a: Digest, b: Digest): boolean => a.sum === b.sum && a.items === b.items;
