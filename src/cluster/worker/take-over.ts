/**
 * How a node begins to lead a slot whose leader is gone (REPLICATION rule 15).
 *
 * The intuition. Every write acknowledged by a quorum is on Q of the W nodes that could acknowledge it. Whoever asks
 * W - Q + 1 of them that were in sync has met it, whatever the others know. So the new leader asks all, in its own
 * epoch, which they answer only when they have adopted it and therefore take nothing from the leader before any more;
 * each sends what it has, and then says for which slots it was in sync (pulls.ts). Versions decide what is newer;
 * nothing else is compared. Answers of nodes that were not in sync are used like all others, but do not count.
 *
 * How much is asked for. If this node itself was in sync it lacks only what the old leader had under way, and the old
 * leader's heartbeats said up to when nothing was: only younger items are wanted, some thousand of a million. If it was
 * not, all.
 *
 * Whom it asks. Everybody in the slot's row now, and everybody in it under the leader before. Where this node is all
 * that is wanted (with two copies it is, if it was in sync), a stand-in that was not in that row has nothing to add,
 * and is not waited for: of those only they are asked who were in it, for a `one` write may be with them alone.
 *
 * When it ends. With enough answers, as soon as everybody has answered; the silent are given a second. Without enough,
 * `serve` goes on after that second and says that acknowledged writes may be missing; `fence` waits. Where everybody
 * who could know was asked, there is nothing to wait for.
 *
 * In clusters of four copies and more what was merged may be on too few nodes for a majority: until catch-up has
 * brought it there, no quorum is served (MERGING).
 */
import { type LinkAnswer, type SlotBits, SlotFlag, SlotState } from '../../store/index.js';
import { mayBeAsked } from '../records.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import type { History } from './history.js';
import type { Layout } from './layout.js';
import { epochOf, pullFrame, readPullAnswer } from './peer-frames.js';
import type { Peers } from './peers.js';
import { addSlot, bothBits, countSlots, hasSlot, isNoSlot, noSlots, slotsOf, withoutBits } from './slot-bits.js';
import type { Survey } from './survey.js';

const PATIENCE_MS = 1_000;
/** Who has not heard of the epoch yet will in a moment; requests wait meanwhile. */
const RETRY_FIRST_MS = 10;
const RETRY_MS_MAX = 100;
const MERGING_FROM_COPIES = 4;

/** In these slots the peer holds everything but what was written at `sinceMs` or later. */
export interface Holding {
  readonly slots: SlotBits;
  readonly sinceMs: number;
}

export interface TakeOverNews {
  readonly onEpoch: (number: number, epoch: number) => void;
  /** A peer has sent all it has of these slots that is not older than `sinceMs`. */
  readonly onPulled: (number: number, slots: SlotBits, sinceMs: number) => void;
  readonly onHolding: (number: number, holding: Holding) => void;
}

/** One peer, asked for one portion of a run's slots. */
interface Ask {
  readonly number: number;
  readonly sinceMs: number;
  slots: SlotBits;
  isUnderWay: boolean;
  isAnswered: boolean;
  askAtMs: number;
  pauseMs: number;
}

/** Slots that began to be taken over together. */
interface Run {
  readonly layout: Layout;
  readonly startedAtMs: number;
  readonly asks: readonly Ask[];
  /** Not finished yet. */
  slots: SlotBits;
  /**
   * Of each slot: answers to come, in-sync answers so far and wanted, whether all who could know are among the asked.
   */
  readonly waiting: Uint8Array;
  readonly inSync: Uint8Array;
  readonly wanted: Uint8Array;
  readonly isEverybody: Uint8Array;
  /**
   * Answers to come of those between whom the slot is handed over. They may lead it themselves, so nothing ends without
   * their word.
   */
  readonly partners: Uint8Array;
}

export class TakeOvers {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers: Peers;
  readonly #news: TakeOverNews;
  #runs: Run[] = [];

  constructor(env: WorkerEnv, calls: Calls, peers: Peers, news: TakeOverNews) {
    this.#env = env;
    this.#calls = calls;
    this.#peers = peers;
    this.#news = news;
  }

  /** Begins anew with all slots: another epoch, in which other answers count, or not this worker's task any more. */
  reset(): void {
    this.#runs = [];
  }

  /** Takes up what is to be taken over and not in hand yet. */
  consider(survey: Survey, history: History): void {
    let slots = survey.sets.inState(SlotState.TAKING_OVER);
    for (const run of this.#runs) slots = withoutBits(slots, run.slots);
    if (isNoSlot(slots)) return;
    this.#runs.push(this.#begin(survey, history, slots));
    this.#env.log('take-over', { epoch: survey.layout.epoch, slots: countSlots(slots) });
    this.tick();
  }

  /** Asks those who can be asked, and finishes what can be finished. True: something was. */
  tick(): boolean {
    let hasFinished = false;
    for (const run of this.#runs) {
      for (const ask of run.asks) this.#ask(run, ask);
      hasFinished = this.#finish(run) || hasFinished;
    }
    this.#runs = this.#runs.filter(({ slots }) => !isNoSlot(slots));
    return hasFinished;
  }

  #begin({ layout, sets, reigns }: Survey, history: History, slots: SlotBits): Run {
    const detached = sets.flagged(SlotFlag.DETACHED);
    const count = this.#env.slots;
    const run = {
      layout,
      startedAtMs: this.#env.monoMs(),
      slots,
      waiting: new Uint8Array(count),
      inSync: new Uint8Array(count),
      wanted: new Uint8Array(count),
      isEverybody: new Uint8Array(count),
      partners: new Uint8Array(count),
    };
    const asks: Ask[] = [];
    const here = new Set(layout.view.members.filter(mayBeAsked).map(({ number }) => number));
    for (const slot of slotsOf(slots)) {
      const rowBefore = history.rowBefore(slot);
      const isSelfInSync = hasSlot(detached, slot);
      const present = layout.presentIn(slot);
      const couldAcknowledge = rowBefore.length || Math.max(layout.view.rf, layout.votersIn(slot).length);
      const wanted = Math.max(1, couldAcknowledge - layout.quorum + 1);
      const isSelfEnough = isSelfInSync && wanted === 1 && rowBefore.length > 0 && layout.goals === undefined;
      const others = this.#whomToAsk(isSelfEnough ? rowBefore : [...present, ...rowBefore], here);
      run.wanted[slot] = wanted;
      run.inSync[slot] = Number(isSelfInSync);
      run.waiting[slot] = others.length;
      run.partners[slot] = others.filter((number) => isPartner(layout, slot, number)).length;
      const isAsked = (number: number): boolean => number === this.#env.self.number || others.includes(number);
      run.isEverybody[slot] = Number(rowBefore.every(isAsked) && layout.baseRow(slot).every(isAsked));
      const sinceMs = isSelfInSync ? (reigns.heldUntilMs[slot] as number) : 0;
      for (const number of others) addSlot(this.#planned(asks, number, sinceMs).slots, slot);
    }
    return { ...run, asks };
  }

  /** Of these, each once, whoever is here and is not this node. */
  #whomToAsk(row: readonly number[], here: ReadonlySet<number>): number[] {
    return row.filter(
      (number, at) => number !== this.#env.self.number && here.has(number) && row.indexOf(number) === at,
    );
  }

  #planned(asks: Ask[], number: number, sinceMs: number): Ask {
    let ask = asks.find((planned) => planned.number === number && planned.sinceMs === sinceMs);
    if (ask === undefined) {
      const slots = noSlots(this.#env.slots);
      ask = { number, sinceMs, slots, isUnderWay: false, isAnswered: false, askAtMs: 0, pauseMs: RETRY_FIRST_MS };
      asks.push(ask);
    }
    return ask;
  }

  #ask(run: Run, ask: Ask): void {
    const connection = this.#peers.linkTo(ask.number);
    if (ask.isUnderWay || ask.isAnswered || connection === undefined || this.#env.monoMs() < ask.askAtMs) return;
    // Of a slot that is another's meanwhile nothing is taken here, and one such item has the whole answer refused.
    ask.slots = bothBits(ask.slots, run.slots);
    ask.isAnswered = isNoSlot(ask.slots);
    if (ask.isAnswered) return;
    ask.isUnderWay = true;
    const { sinceMs, slots } = ask;
    const frame = pullFrame({ epoch: run.layout.epoch, sinceMs, slots });
    this.#calls.send(connection, frame, (answer) => this.#onAnswer(run, ask, answer));
  }

  #onAnswer(run: Run, ask: Ask, given: LinkAnswer): void {
    ask.isUnderWay = false;
    if (!this.#runs.includes(run)) return;
    const answer = readPullAnswer(given);
    if (answer === undefined) {
      this.#askLater(ask);
      this.#news.onEpoch(ask.number, epochOf(given.extras));
      return;
    }
    ask.isAnswered = true;
    for (const slot of slotsOf(ask.slots)) {
      run.waiting[slot] = (run.waiting[slot] as number) - 1;
      if (isPartner(run.layout, slot, ask.number)) run.partners[slot] = (run.partners[slot] as number) - 1;
      if (hasSlot(answer.slotsInSync, slot)) run.inSync[slot] = (run.inSync[slot] as number) + 1;
    }
    this.#yield(run, ask.number, bothBits(bothBits(run.slots, ask.slots), answer.slotsLed));
    this.#news.onPulled(ask.number, ask.slots, ask.sinceMs);
    const sinceMs = Math.min(ask.sinceMs, answer.heldUntilMs);
    if (sinceMs > 0) this.#news.onHolding(ask.number, { slots: bothBits(ask.slots, answer.slotsInSync), sinceMs });
    this.tick();
  }

  #askLater(ask: Ask): void {
    ask.askAtMs = this.#env.monoMs() + ask.pauseMs;
    this.#env.later(ask.pauseMs, () => {
      this.tick();
      this.#calls.flush();
    });
    ask.pauseMs = Math.min(ask.pauseMs * 2, RETRY_MS_MAX);
  }

  /** Another node was given these before this one was asked to take them over. */
  #yield(run: Run, number: number, slots: SlotBits): void {
    if (isNoSlot(slots)) return;
    this.#env.native.yield(number, run.layout.epoch, slots);
    run.slots = withoutBits(run.slots, slots);
    this.#env.log('yielded', { epoch: run.layout.epoch, to: number, slots: countSlots(slots) });
  }

  #finish(run: Run): boolean {
    const isLate = this.#env.monoMs() - run.startedAtMs >= PATIENCE_MS;
    const mayGoOn = isLate && this.#env.onPartition === 'serve';
    const whole = noSlots(this.#env.slots);
    const doubtful = noSlots(this.#env.slots);
    for (const slot of slotsOf(run.slots)) {
      if (run.partners[slot] !== 0) continue;
      const isAllAnswered = run.waiting[slot] === 0;
      const isEnough = (run.inSync[slot] as number) >= (run.wanted[slot] as number);
      if (isEnough && (isAllAnswered || isLate)) addSlot(whole, slot);
      else if (!isEnough && ((isAllAnswered && run.isEverybody[slot] === 1) || mayGoOn)) addSlot(doubtful, slot);
    }
    this.#serve(run, whole, 0);
    this.#serve(run, doubtful, SlotFlag.POSSIBLE_LOSS);
    return !isNoSlot(whole) || !isNoSlot(doubtful);
  }

  #serve(run: Run, slots: SlotBits, flags: number): void {
    if (isNoSlot(slots)) return;
    const merging = run.layout.view.rf >= MERGING_FROM_COPIES ? SlotFlag.MERGING : 0;
    this.#env.native.finishTakeOver(run.layout.epoch, slots, flags | merging);
    run.slots = withoutBits(run.slots, slots);
    this.#env.log(flags === 0 ? 'taken-over' : 'possible-loss', {
      epoch: run.layout.epoch,
      slots: countSlots(slots),
      tookMs: Math.round(this.#env.monoMs() - run.startedAtMs),
    });
  }
}

function isPartner(layout: Layout, slot: number, number: number): boolean {
  return layout.goals !== undefined && (layout.goalOf(slot) === number || layout.formerOf(slot) === number);
}
