/**
 * Brings the copies of what this node leads up to date, and declares them in sync when they are.
 *
 * Being in sync is proved, not assumed: a copy is JOINING until the node that leads the slot says otherwise, and it
 * says so when it knows of nothing that the copy lacks. What it knows stands in shared memory (NativeWorker.peerBits):
 * slots in which the copy missed a write and since when, or of which nothing is known and all must be sent. A slot that
 * lacks nothing is declared at once. The others are streamed, a *leg* of some segments at a time: the note is taken
 * that they are being sent, the items go out, and when all were applied the slots that were not missed again meanwhile
 * are declared. Those that were come again in a later leg. So a death at any point costs one leg.
 *
 * New writes travel on the same link as ever, before, between and behind the batches; versions sort it out.
 *
 * A returning member is first asked what it wrote alone (merges.ts). Stand-ins get old items only once the epoch says
 * that the missing member is not expected back soon. One stream runs at a time: a node that returns needs items from
 * all others, and others have requests to serve.
 */

import { Status } from '../../protocol/index.js';
import { RowRole } from '../../ring/index.js';
import { type PeerBits, type SlotBits, SlotFlag } from '../../store/index.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import type { Heartbeats } from './heartbeats.js';
import { ItemStream, type Portion, type StreamEnd } from './item-stream.js';
import type { Layout } from './layout.js';
import type { Merges } from './merges.js';
import { epochOf, syncedFrame } from './peer-frames.js';
import type { Peers } from './peers.js';
import { bothBits, countSlots, hasSlot, isNoSlot, noSlots, slotsOf, slotsWhere, withoutBits } from './slot-bits.js';
import { flaggedSlots, type Survey } from './survey.js';
import type { Holding } from './take-over.js';

const LEG_SEGMENTS = 128;
/** Legs without a single item, in one go. */
const EMPTY_LEGS_MAX = 4;
const DECLARE_AGAIN_FIRST_MS = 500;
const DECLARE_AGAIN_MS_MAX = 8_000;

interface Leg {
  readonly number: number;
  readonly layout: Layout;
  readonly portions: readonly Portion[];
  readonly slots: SlotBits;
  readonly stream: ItemStream;
}

export interface CatchUpParts {
  readonly env: WorkerEnv;
  readonly calls: Calls;
  readonly peers: Peers;
  readonly heartbeats: Heartbeats;
  readonly merges: Merges;
  readonly onEpoch: (number: number, epoch: number) => void;
}

export class CatchUp {
  readonly #env: WorkerEnv;
  readonly #parts: CatchUpParts;
  readonly #holdings = new Map<number, readonly Holding[]>();
  readonly #again = new Map<number, { atMs: number; pauseMs: number }>();
  #layout: Layout | undefined;
  /** By peer, the slots of which it is to have what is in them; computed once an epoch. */
  readonly #parted = new Map<number, SlotBits>();
  #leg: Leg | undefined;
  #lastServed = 0;
  #hasEnded = false;

  constructor(parts: CatchUpParts) {
    this.#env = parts.env;
    this.#parts = parts;
  }

  /**
   * This worker has the task no longer, or there is another epoch: what is under way is given up, and noted as missed.
   */
  reset(): void {
    const leg = this.#leg;
    this.#leg = undefined;
    leg?.stream.stop();
    if (leg !== undefined) this.#fail(leg);
  }

  forget(): void {
    this.reset();
    this.#holdings.clear();
    this.#again.clear();
  }

  /** A peer holds more than the books say: it was in sync with the leader before. */
  holds(number: number, holding: Holding): void {
    this.#holdings.set(number, [...(this.#holdings.get(number) ?? []), holding]);
  }

  /** Older items came to be here, so what was known of the peers' holdings of these slots is not enough any more. */
  doubtHoldings(slots: SlotBits, sinceMs: number): void {
    for (const [number, holdings] of this.#holdings) {
      const narrowed = holdings.map((holding) =>
        holding.sinceMs <= sinceMs ? holding : { ...holding, slots: withoutBits(holding.slots, slots) },
      );
      this.#holdings.set(
        number,
        narrowed.filter(({ slots: left }) => !isNoSlot(left)),
      );
    }
  }

  /** A leg has ended, and there may be another one. */
  get isDue(): boolean {
    return this.#hasEnded;
  }

  tick(survey: Survey): void {
    this.#hasEnded = false;
    this.#leg?.stream.pump();
    for (const number of this.#parts.peers.linked) this.#declareComplete(survey, number);
    for (let legs = 0; this.#leg === undefined && legs < EMPTY_LEGS_MAX; legs++) if (!this.#beginLeg(survey)) break;
    if (survey.layout.view.rf > 3) this.#endMerging(survey);
  }

  /** A peer says that it was not declared in sync somewhere. If nothing is to be sent to it, it is told again. */
  declareAgain(survey: Survey, number: number): void {
    const nowMs = this.#env.monoMs();
    const again = this.#again.get(number) ?? { atMs: 0, pauseMs: DECLARE_AGAIN_FIRST_MS };
    if (nowMs < again.atMs) return;
    const isSeries = nowMs - again.atMs < DECLARE_AGAIN_MS_MAX;
    const pauseMs = isSeries ? Math.min(again.pauseMs * 2, DECLARE_AGAIN_MS_MAX) : DECLARE_AGAIN_FIRST_MS;
    this.#again.set(number, { atMs: nowMs + pauseMs, pauseMs });
    const slots = bothBits(survey.led, this.#partOf(survey.layout, number));
    this.#declare(survey.layout, number, bothBits(slots, this.#env.native.peerBits(number).synced));
  }

  /** Slots a peer is to have and is not known to have. */
  #lacking(survey: Survey, number: number, { synced }: PeerBits): SlotBits {
    // What is noted may be about a memory that is gone, until the peer was met on this link.
    if (!this.#parts.heartbeats.hasMet(number)) return noSlots(this.#env.slots);
    const wanted = withoutBits(bothBits(survey.led, this.#partOf(survey.layout, number)), synced);
    const idle = this.#leg?.number === number ? withoutBits(wanted, this.#leg.slots) : wanted;
    return isNoSlot(idle) ? idle : withoutBits(idle, this.#parts.merges.unmerged(survey, number));
  }

  #declareComplete(survey: Survey, number: number): void {
    const bits = this.#env.native.peerBits(number);
    this.#declare(survey.layout, number, withoutBits(this.#lacking(survey, number, bits), bits.missed));
  }

  #declare({ epoch }: Layout, number: number, slots: SlotBits): void {
    const connection = this.#parts.peers.linkTo(number);
    if (connection === undefined || isNoSlot(slots)) return;
    const declared = this.#env.native.declareSynced(number, slots);
    if (isNoSlot(declared)) return;
    this.#parts.calls.send(connection, syncedFrame(epoch, declared), ({ status, extras }) => {
      if (status === Status.STALE) this.#parts.onEpoch(number, epochOf(extras));
    });
  }

  /** False: nobody needs anything. */
  #beginLeg(survey: Survey): boolean {
    const { linked } = this.#parts.peers;
    // The one behind whoever was served last comes first.
    const inTurn = [...linked.filter((number) => number > this.#lastServed), ...linked];
    for (const number of inTurn) {
      const bits = this.#env.native.peerBits(number);
      const slots = this.#firstSegments(bothBits(this.#lacking(survey, number, bits), bits.missed));
      if (isNoSlot(slots)) continue;
      this.#lastServed = number;
      this.#send(survey.layout, number, slots, this.#portions(number, slots, bits));
      return true;
    }
    return false;
  }

  #firstSegments(slots: SlotBits): SlotBits {
    const first: number | undefined = slotsOf(slots).next().value;
    if (first === undefined) return slots;
    const end = (Math.floor(first / this.#env.slotsPerSegment) + LEG_SEGMENTS) * this.#env.slotsPerSegment;
    return slotsWhere(this.#env.slots, (slot) => slot < end && hasSlot(slots, slot));
  }

  /** What must be sent of each slot: all, or what is younger than the peer is known to hold, or than it missed. */
  #portions(number: number, slots: SlotBits, { whole, sinceMs }: PeerBits): readonly Portion[] {
    const portions: Portion[] = [];
    let unknown = bothBits(slots, whole);
    portions.push({ slots: withoutBits(slots, whole), sinceMs });
    for (const holding of this.#holdings.get(number) ?? []) {
      const held = bothBits(unknown, holding.slots);
      unknown = withoutBits(unknown, held);
      portions.push({ slots: held, sinceMs: holding.sinceMs });
    }
    portions.push({ slots: unknown, sinceMs: 0 });
    return portions.filter((portion) => !isNoSlot(portion.slots));
  }

  #send(layout: Layout, number: number, slots: SlotBits, portions: readonly Portion[]): void {
    const connection = this.#parts.peers.linkTo(number) as number;
    this.#env.native.beginCatchUp(number, slots);
    const onEnd = (end: StreamEnd): void => this.#onEnd(leg, end);
    const options = { connection, epoch: layout.epoch, portions, onEnd };
    const leg: Leg = { number, layout, portions, slots, stream: new ItemStream(this.#env, this.#parts.calls, options) };
    this.#leg = leg;
    leg.stream.pump();
  }

  #onEnd(leg: Leg, end: StreamEnd): void {
    this.#leg = undefined;
    this.#hasEnded = end.kind === 'done';
    const { items, bytes } = leg.stream;
    if (end.kind === 'done') {
      this.#declare(leg.layout, leg.number, leg.slots);
      if (items > 0) this.#env.log('caught-up', { peer: leg.number, slots: countSlots(leg.slots), items, bytes });
      return;
    }
    this.#fail(leg);
    if (end.kind === 'stale') this.#parts.onEpoch(leg.number, end.epoch);
    this.#env.log('catch-up-failed', { peer: leg.number, why: end.kind, items, bytes });
  }

  #fail({ number, portions }: Leg): void {
    for (const { slots, sinceMs } of portions) this.#env.native.failCatchUp(number, slots, sinceMs);
  }

  /** What was merged at a take-over is on a majority once so many copies are in sync: a quorum may be served again. */
  #endMerging(survey: Survey): void {
    const merging = bothBits(survey.led, flaggedSlots(survey, SlotFlag.MERGING));
    if (isNoSlot(merging)) return;
    const copies = this.#parts.peers.linked.map((number) => this.#env.native.peerBits(number).synced);
    const wanted = Math.floor(survey.layout.view.rf / 2);
    const isSpread = (slot: number): boolean => copies.filter((synced) => hasSlot(synced, slot)).length >= wanted;
    const spread = slotsWhere(this.#env.slots, (slot) => hasSlot(merging, slot) && isSpread(slot));
    if (!isNoSlot(spread)) this.#env.native.clearFlags(spread, SlotFlag.MERGING);
  }

  #partOf(layout: Layout, number: number): SlotBits {
    if (layout !== this.#layout) {
      this.#layout = layout;
      this.#parted.clear();
    }
    let part = this.#parted.get(number);
    if (part === undefined) {
      part = slotsWhere(this.#env.slots, (slot) => {
        const role = layout.roleOf(slot, number);
        if (role === RowRole.STAND_IN) return layout.view.isFilling === true;
        return role === RowRole.MEMBER || role === RowRole.RETURNING || role === RowRole.RECEIVER;
      });
      this.#parted.set(number, part);
    }
    return part;
  }
}
