/**
 * Every half second each link carries a heartbeat, and is answered. That says four things.
 *
 * To the receiver: the sender lives, and "all that I wrote before W was applied by you". W is what a take-over needs:
 * the successor asks the other copies only for what is newer (take-over.ts). So it is true of this receiver: it is held
 * back by what is in flight to it, and by the oldest write that it missed and was not sent since.
 *
 * To the sender: the link lives. A link whose heartbeat stays unanswered is hung up, for a connection can be half open
 * for minutes before TCP notices, and quorum writes would wait for it. And it hears which memory the receiver has, for
 * one that began anew lacks everything, whatever the books say (NativeWorker.meet); and whether the receiver lacks
 * being declared in sync: it may have been detached, or have missed an epoch, while from here all looked well
 * (catch-up.ts declares again).
 *
 * A leader that is not heard for a second and a half, or one of whose connections broke, leaves its copies *detached*:
 * good for promotion and for degraded reads, not for `nearest`.
 */
import { type ControlFrame, type LinkAnswer, SlotFlag, SlotState } from '../../store/index.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import { heartbeatAnswer, heartbeatFrame, readHeartbeat, readHeartbeatAnswer } from './peer-frames.js';
import type { Peers } from './peers.js';
import { bothBits, isNoSlot } from './slot-bits.js';
import { SlotSets } from './survey.js';

const HEARTBEAT_MS = 500;
const SILENT_MS_MAX = 1_500;
/** More than a stall of a busy machine; a member that is silent for longer is about to be declared away. */
const UNANSWERED_MS_MAX = 5_000;

export interface HeartbeatNews {
  /** A peer is in another epoch. */
  readonly onEpoch: (number: number, epoch: number) => void;
  /** A peer was not declared in sync in some slot. */
  readonly onLacking: (number: number) => void;
}

interface Beat {
  nextAtMs: number;
  /** When the oldest unanswered one was sent, and on which connection. */
  unansweredSinceMs: number | undefined;
  readonly connection: number;
  /** It was answered once, so what is noted of the peer is of the memory that it has. */
  isMet: boolean;
}

export class Heartbeats {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers: Peers;
  readonly #news: HeartbeatNews;
  readonly #beats = new Map<number, Beat>();
  readonly #silent = new Set<number>();
  readonly #incarnations = new Map<number, string>();

  constructor(env: WorkerEnv, calls: Calls, peers: Peers, news: HeartbeatNews) {
    this.#env = env;
    this.#calls = calls;
    this.#peers = peers;
    this.#news = news;
  }

  /** Whether what is noted of a peer can be trusted: the peer at the other end of the link was met. */
  hasMet(number: number): boolean {
    const beat = this.#beats.get(number);
    return beat?.isMet === true && beat.connection === this.#peers.linkTo(number);
  }

  tick(): void {
    const nowMs = this.#env.monoMs();
    for (const number of this.#peers.linked) {
      const connection = this.#peers.linkTo(number) as number;
      const beat = this.#beatOf(number, connection);
      if (beat.unansweredSinceMs !== undefined && nowMs - beat.unansweredSinceMs > UNANSWERED_MS_MAX) {
        this.#env.log('link-silent', { peer: number });
        this.#peers.hangUp(number);
      } else if (nowMs >= beat.nextAtMs) {
        beat.nextAtMs = nowMs + HEARTBEAT_MS;
        this.#send(number, beat);
      }
    }
  }

  /** Of the memory that a peer had when it was met last; undefined before. */
  incarnationOf(number: number): string | undefined {
    return this.#incarnations.get(number);
  }

  /** Notices leaders that are not heard any more. */
  detachSilent(numbers: readonly number[]): void {
    const nowMs = this.#env.monoMs();
    for (const number of numbers) {
      const { heardAtMs } = this.#env.native.peerNews(number);
      const isSilent = heardAtMs > 0 && nowMs - heardAtMs > SILENT_MS_MAX;
      if (!isSilent) this.#silent.delete(number);
      else if (!this.#silent.has(number)) {
        this.#silent.add(number);
        this.#env.native.detach(number);
        this.#env.log('peer-silent', { peer: number });
      }
    }
  }

  /** A peer's heartbeat; returns its answer, undefined when it is none. */
  receive(frame: ControlFrame): Buffer | undefined {
    const beat = readHeartbeat(frame);
    if (beat === undefined) return undefined;
    // In a later epoch the sender may lead less, and says nothing any more of what it does not lead.
    const isOfThisEpoch = beat.epoch === this.#env.installedEpoch();
    const watermarkMs = isOfThisEpoch ? beat.watermarkMs : this.#env.native.peerNews(frame.nodeNumber).watermarkMs;
    this.#env.native.heard(frame.nodeNumber, beat.incarnation, watermarkMs);
    this.#news.onEpoch(frame.nodeNumber, beat.epoch);
    return heartbeatAnswer(frame.requestId, {
      epoch: this.#env.installedEpoch(),
      incarnation: this.#env.self.incarnation,
      isLacking: this.#isLacking(),
    });
  }

  #beatOf(number: number, connection: number): Beat {
    let beat = this.#beats.get(number);
    if (beat === undefined || beat.connection !== connection) {
      beat = { nextAtMs: 0, unansweredSinceMs: undefined, connection, isMet: false };
      this.#beats.set(number, beat);
    }
    return beat;
  }

  #send(number: number, beat: Beat): void {
    const { native } = this.#env;
    const frame = heartbeatFrame({
      epoch: this.#env.installedEpoch(),
      incarnation: this.#env.self.incarnation,
      isFenced: this.#env.isFenced(),
      wallMs: this.#env.wallMs(),
      watermarkMs: native.watermarkMs(number),
    });
    beat.unansweredSinceMs ??= this.#env.monoMs();
    this.#calls.send(beat.connection, frame, (answer) => this.#onAnswer(number, beat, answer));
  }

  #onAnswer(number: number, beat: Beat, given: LinkAnswer): void {
    const answer = readHeartbeatAnswer(given);
    if (answer === undefined) return;
    beat.unansweredSinceMs = undefined;
    if (this.#env.native.meet(number, answer.incarnation)) this.#env.log('peer-empty', { peer: number });
    beat.isMet = true;
    this.#incarnations.set(number, answer.incarnation);
    this.#news.onEpoch(number, answer.epoch);
    if (answer.isLacking && answer.epoch === this.#env.installedEpoch()) this.#news.onLacking(number);
  }

  #isLacking(): boolean {
    const sets = new SlotSets(this.#env.native, this.#env.slots);
    const detached = bothBits(sets.inState(SlotState.REPLICA), sets.flagged(SlotFlag.DETACHED));
    return !isNoSlot(sets.inState(SlotState.JOINING)) || !isNoSlot(detached);
  }
}
