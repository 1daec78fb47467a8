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
 * that the missing member is not expected back soon. Each peer has a stream of its own, and what it lacks for other
 * reasons goes before what it is to have by a list of members that comes: only the latter has a pace (pace.ts). Of
 * slots of which all is to be sent the items in use go first, then everything (REPLICATION rule 26): what turns hot
 * between the two is in the second.
 */

import { Status } from '../../protocol/index.js';
import { RowRole } from '../../ring/index.js';
import { type PeerBits, type SlotBits, SlotFlag, SlotState } from '../../store/index.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import type { Heartbeats } from './heartbeats.js';
import { ItemStream, type Portion, type StreamEnd } from './item-stream.js';
import { ANY_ROLE, type Layout } from './layout.js';
import type { Merges } from './merges.js';
import type { Pace } from './pace.js';
import { epochOf, syncedFrame } from './peer-frames.js';
import type { Peers } from './peers.js';
import {
  bothBits,
  countSlots,
  eitherBits,
  hasSlot,
  isNoSlot,
  noSlots,
  slotsBelow,
  slotsOf,
  slotsWhere,
  withoutBits,
} from './slot-bits.js';
import type { Survey } from './survey.js';
import type { Holding } from './take-over.js';

const LEG_SEGMENTS = 128;
/** Legs without a single item, in one go. */
const EMPTY_LEGS_MAX = 4;
const DECLARE_AGAIN_FIRST_MS = 500;
const DECLARE_AGAIN_MS_MAX = 8_000;

/** What a peer said that it holds, in which epoch and with which memory. */
interface KnownHolding extends Holding {
  readonly epoch: number;
  readonly incarnation: string | undefined;
}

interface Leg {
  readonly number: number;
  readonly layout: Layout;
  readonly portions: readonly Portion[];
  readonly slots: SlotBits;
  /** Of slots that the peer is to have by the list of members that comes. */
  readonly isMove: boolean;
  /** The items in use alone, ahead of all: nothing is proved by it. */
  readonly isHotOnly: boolean;
  readonly stream: ItemStream;
}

/** What one leg is to send, and whose. */
type Errand = Pick<Leg, 'number' | 'slots' | 'portions' | 'isMove' | 'isHotOnly'>;

/** What is sent for a change of the list of members, in bytes. */
export interface Moving {
  readonly movedBytes: number;
  readonly toMoveBytes: number;
}

export interface CatchUpParts {
  readonly pace: Pace;
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
  readonly #holdings = new Map<number, readonly KnownHolding[]>();
  readonly #again = new Map<number, { atMs: number; pauseMs: number }>();
  #layout: Layout | undefined;
  /** By peer, the slots of which it is to have what is in them; computed once an epoch. */
  readonly #parted = new Map<number, Part>();
  /** By peer. */
  readonly #legs = new Map<number, Leg>();
  /** By peer, the slots of which the items in use were sent in this epoch. */
  readonly #hotSent = new Map<number, SlotBits>();
  #movedBytes = 0;
  #hasEnded = false;

  constructor(parts: CatchUpParts) {
    this.#env = parts.env;
    this.#parts = parts;
  }

  /**
   * This worker has the task no longer, or there is another epoch: what is under way is given up, and noted as missed.
   */
  reset(): void {
    const legs = [...this.#legs.values()];
    this.#legs.clear();
    this.#hotSent.clear();
    for (const leg of legs) {
      leg.stream.stop();
      this.#fail(leg);
    }
  }

  forget(): void {
    this.reset();
    this.#holdings.clear();
    this.#again.clear();
  }

  /**
   * A peer holds more than the books say: it was in sync with the leader before. That is worth something as long as it
   * has the same memory and a part in the slots.
   */
  holds(number: number, holding: Holding): void {
    const incarnation = this.#parts.heartbeats.incarnationOf(number);
    const known = { ...holding, epoch: this.#env.installedEpoch(), incarnation };
    this.#holdings.set(number, [...(this.#holdings.get(number) ?? []), known]);
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
    this.#adopt(survey.layout);
    for (const { stream } of [...this.#legs.values()]) stream.pump();
    for (const number of this.#parts.peers.linked) {
      this.#declareComplete(survey, number);
      for (let legs = 0; !this.#legs.has(number) && legs < EMPTY_LEGS_MAX; legs++) {
        if (!this.#beginLeg(survey, number)) break;
      }
    }
    if (survey.layout.view.rf > 3) this.#endMerging(survey);
  }

  /** How far the change of the list of members is that is under way, as far as this node sends. */
  moving(survey: Survey): Moving {
    if (survey.layout.goals === undefined) return { movedBytes: 0, toMoveBytes: 0 };
    let copies = 0;
    for (const number of this.#parts.peers.linked) {
      const { synced } = this.#env.native.peerBits(number);
      copies += countSlots(withoutBits(bothBits(survey.led, this.#partOf(number).received), synced));
    }
    const held = this.#env.slots - countSlots(survey.sets.inState(SlotState.NONE));
    let underWayBytes = 0;
    for (const { isMove, isHotOnly, stream } of this.#legs.values()) {
      if (isMove && !isHotOnly) underWayBytes += stream.bytes;
    }
    const toMoveBytes = (copies * this.#env.bytesHeld()) / Math.max(1, held) - underWayBytes;
    return { movedBytes: this.#movedBytes + underWayBytes, toMoveBytes: Math.max(0, Math.round(toMoveBytes)) };
  }

  /** A peer says that it was not declared in sync somewhere. If nothing is to be sent to it, it is told again. */
  declareAgain(survey: Survey, number: number): void {
    const nowMs = this.#env.monoMs();
    const again = this.#again.get(number) ?? { atMs: 0, pauseMs: DECLARE_AGAIN_FIRST_MS };
    if (nowMs < again.atMs) return;
    const isSeries = nowMs - again.atMs < DECLARE_AGAIN_MS_MAX;
    const pauseMs = isSeries ? Math.min(again.pauseMs * 2, DECLARE_AGAIN_MS_MAX) : DECLARE_AGAIN_FIRST_MS;
    this.#again.set(number, { atMs: nowMs + pauseMs, pauseMs });
    this.#adopt(survey.layout);
    const slots = bothBits(survey.led, this.#partOf(number).slots);
    this.#declare(survey.layout, number, bothBits(slots, this.#env.native.peerBits(number).synced));
  }

  /** Slots a peer is to have and is not known to have. */
  #lacking(survey: Survey, number: number, { synced }: PeerBits): SlotBits {
    // What is noted may be about a memory that is gone, until the peer was met on this link.
    if (!this.#parts.heartbeats.hasMet(number)) return noSlots(this.#env.slots);
    const wanted = withoutBits(bothBits(survey.led, this.#partOf(number).slots), synced);
    const leg = this.#legs.get(number);
    const idle = leg === undefined || leg.isHotOnly ? wanted : withoutBits(wanted, leg.slots);
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

  /** False: the peer needs nothing, or nothing now. */
  #beginLeg(survey: Survey, number: number): boolean {
    const bits = this.#env.native.peerBits(number);
    const { received } = this.#partOf(number);
    const due = bothBits(this.#lacking(survey, number, bits), bits.missed);
    const repairs = this.#firstSegments(withoutBits(due, received));
    if (!isNoSlot(repairs)) {
      const portions = this.#portions(number, repairs, bits);
      this.#send(survey.layout, { number, slots: repairs, portions, isMove: false, isHotOnly: false });
      return true;
    }
    const moves = bothBits(due, received);
    if (isNoSlot(moves) || this.#parts.pace.isPaused) return false;
    this.#send(survey.layout, this.#hotErrand(number, moves, bits) ?? this.#moveErrand(number, moves, bits));
    return true;
  }

  #hotErrand(number: number, moves: SlotBits, { whole }: PeerBits): Errand | undefined {
    const sent = this.#hotSent.get(number) ?? noSlots(this.#env.slots);
    const slots = withoutBits(bothBits(moves, whole), sent);
    if (isNoSlot(slots)) return undefined;
    return { number, slots, portions: [{ slots, sinceMs: 0 }], isMove: true, isHotOnly: true };
  }

  #moveErrand(number: number, moves: SlotBits, bits: PeerBits): Errand {
    const slots = this.#firstSegments(moves);
    return { number, slots, portions: this.#portions(number, slots, bits), isMove: true, isHotOnly: false };
  }

  #firstSegments(slots: SlotBits): SlotBits {
    const first: number | undefined = slotsOf(slots).next().value;
    if (first === undefined) return slots;
    const end = (Math.floor(first / this.#env.slotsPerSegment) + LEG_SEGMENTS) * this.#env.slotsPerSegment;
    return slotsBelow(slots, end);
  }

  /** What must be sent of each slot: all, or what is younger than the peer is known to hold, or than it missed. */
  #portions(number: number, slots: SlotBits, { whole, sinceMs }: PeerBits): readonly Portion[] {
    const portions: Portion[] = [];
    let unknown = bothBits(slots, whole);
    portions.push({ slots: withoutBits(slots, whole), sinceMs });
    const incarnation = this.#parts.heartbeats.incarnationOf(number);
    for (const holding of this.#holdings.get(number) ?? []) {
      if (incarnation === undefined || holding.incarnation !== incarnation) continue;
      const held = bothBits(unknown, holding.slots);
      unknown = withoutBits(unknown, held);
      portions.push({ slots: held, sinceMs: holding.sinceMs });
    }
    portions.push({ slots: unknown, sinceMs: 0 });
    return portions.filter((portion) => !isNoSlot(portion.slots));
  }

  #send(layout: Layout, errand: Errand): void {
    const { number, slots, portions, isMove, isHotOnly } = errand;
    const connection = this.#parts.peers.linkTo(number) as number;
    if (!isHotOnly) this.#env.native.beginCatchUp(number, slots);
    const onEnd = (end: StreamEnd): void => this.#onEnd(leg, end);
    const stream = new ItemStream(this.#env, this.#parts.calls, {
      connection,
      epoch: layout.epoch,
      portions,
      isHotOnly,
      ...(isMove && { pace: this.#parts.pace }),
      onEnd,
    });
    const leg: Leg = { ...errand, layout, stream };
    this.#legs.set(number, leg);
    stream.pump();
  }

  #onEnd(leg: Leg, end: StreamEnd): void {
    const { number, slots, isMove, isHotOnly, layout } = leg;
    this.#legs.delete(number);
    this.#hasEnded = end.kind === 'done';
    const { items, bytes } = leg.stream;
    if (isMove && !isHotOnly) this.#movedBytes += bytes;
    if (end.kind === 'done') {
      if (isHotOnly) this.#hotSent.set(number, eitherBits(this.#hotSent.get(number) ?? slots, slots));
      else this.#declare(layout, number, slots);
      if (items > 0) this.#env.log('caught-up', { peer: number, slots: countSlots(slots), items, bytes, isHotOnly });
      return;
    }
    this.#fail(leg);
    if (end.kind === 'stale') this.#parts.onEpoch(number, end.epoch);
    this.#env.log('catch-up-failed', { peer: number, why: end.kind, items, bytes });
  }

  #fail({ number, portions, isHotOnly }: Leg): void {
    if (isHotOnly) return;
    for (const { slots, sinceMs } of portions) this.#env.native.failCatchUp(number, slots, sinceMs);
  }

  /** What was merged at a take-over is on a majority once so many copies are in sync: a quorum may be served again. */
  #endMerging(survey: Survey): void {
    const merging = bothBits(survey.led, survey.sets.flagged(SlotFlag.MERGING));
    if (isNoSlot(merging)) return;
    const copies = this.#parts.peers.linked.map((number) => this.#env.native.peerBits(number).synced);
    const wanted = Math.floor(survey.layout.view.rf / 2);
    const isSpread = (slot: number): boolean => copies.filter((synced) => hasSlot(synced, slot)).length >= wanted;
    const spread = slotsWhere(this.#env.slots, (slot) => hasSlot(merging, slot) && isSpread(slot));
    if (!isNoSlot(spread)) this.#env.native.clearFlags(spread, SlotFlag.MERGING);
  }

  #adopt(layout: Layout): void {
    if (layout === this.#layout) return;
    if (layout.goals === undefined) this.#movedBytes = 0;
    this.#narrowHoldings(layout);
    this.#layout = layout;
    this.#parted.clear();
  }

  /** Who has no part in a slot drops what it has of it. What is from before an epoch not seen here does not count. */
  #narrowHoldings(layout: Layout): void {
    const isGapless = layout.epoch === (this.#layout?.epoch ?? 0) + 1;
    for (const [number, holdings] of this.#holdings) {
      const kept = layout.slotsOf(number, ...ANY_ROLE);
      const known = holdings.filter(({ epoch }) => isGapless || epoch === layout.epoch);
      this.#holdings.set(
        number,
        known.map((holding) => ({ ...holding, slots: bothBits(holding.slots, kept) })),
      );
    }
  }

  #partOf(number: number): Part {
    const layout = this.#layout as Layout;
    let part = this.#parted.get(number);
    if (part === undefined) {
      const filled = layout.view.isFilling === true ? [RowRole.STAND_IN] : [];
      part = {
        received: layout.slotsOf(number, RowRole.RECEIVER),
        slots: layout.slotsOf(number, RowRole.MEMBER, RowRole.RETURNING, RowRole.RECEIVER, ...filled),
      };
      this.#parted.set(number, part);
    }
    return part;
  }
}

/** Slots in which a peer is to have what is in them. */
interface Part {
  readonly slots: SlotBits;
  /** Of these, the ones that it is to have by the list of members that comes. */
  readonly received: SlotBits;
}
