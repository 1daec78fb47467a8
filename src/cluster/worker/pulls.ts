/**
 * Serves PULL: another node, which leads some slots now, wants what this one has of them.
 *
 * The items go out on this worker's own link to the asker, and only when all of them have been applied there is the
 * PULL itself answered, with the slots for which this node was in sync until the asker began to lead. So the answer
 * means "you have all that I have", and it arrives at the worker that asked, which a frame on our own link might not.
 *
 * It is served in the asker's epoch only. In an older one this node would still take writes from the leader before, and
 * what it sent would not be all it had.
 */
import { Status } from '../../protocol/index.js';
import { type ControlFrame, type SlotBits, SlotFlag, SlotState, VERSION_MS_MAX } from '../../store/index.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import { ItemStream, type StreamEnd } from './item-stream.js';
import { type PullAnswer, pullAnswer, readPull, refusal, staleAnswer } from './peer-frames.js';
import type { Peers } from './peers.js';
import { bothBits, eitherBits, lowestOf } from './slot-bits.js';
import { SlotSets } from './survey.js';

/** Every other node may ask for two portions at once; more are told to come again. */
const PULLS_MAX = 32;

interface Pull {
  readonly frame: ControlFrame;
  readonly epoch: number;
  readonly stream: ItemStream;
}

export class Pulls {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers: Peers;
  readonly #pulls = new Set<Pull>();

  constructor(env: WorkerEnv, calls: Calls, peers: Peers) {
    this.#env = env;
    this.#calls = calls;
    this.#peers = peers;
  }

  /** Returns the answer, or undefined: it comes when everything was sent. */
  receive(frame: ControlFrame): Buffer | undefined {
    const wanted = readPull(frame);
    const connection = this.#peers.linkTo(frame.nodeNumber);
    const epoch = this.#env.installedEpoch();
    if (wanted === undefined || wanted.slots.length * 8 < this.#env.slots) {
      return refusal(Status.REFUSED, frame.requestId, 'this is no pull');
    }
    if (wanted.epoch !== epoch) return staleAnswer(frame.requestId, epoch);
    if (connection === undefined || this.#pulls.size >= PULLS_MAX) {
      return refusal(Status.BUSY, frame.requestId, 'there is no link to you, or too many ask');
    }
    const sets = new SlotSets(this.#env.native, this.#env.slots);
    const slotsInSync = bothBits(wanted.slots, inSync(sets));
    const { heldUntilMs } = this.#env.native.reigns();
    const isFirst = this.#env.self.number > frame.nodeNumber;
    const slotsLed = bothBits(wanted.slots, claimed(sets, isFirst));
    const held = { heldUntilMs: lowestOf(slotsInSync, heldUntilMs, VERSION_MS_MAX), slotsInSync, slotsLed };
    const stream = new ItemStream(this.#env, this.#calls, {
      connection,
      epoch,
      portions: [{ slots: wanted.slots, sinceMs: wanted.sinceMs }],
      onEnd: (end) => this.#finish(pull, end, held),
    });
    const pull: Pull = { frame, epoch, stream };
    this.#pulls.add(pull);
    stream.pump();
    return undefined;
  }

  tick(): void {
    const epoch = this.#env.installedEpoch();
    for (const pull of this.#pulls) {
      if (pull.epoch === epoch) {
        pull.stream.pump();
        continue;
      }
      pull.stream.stop();
      this.#pulls.delete(pull);
      this.#answer(pull, staleAnswer(pull.frame.requestId, epoch));
    }
  }

  #finish(pull: Pull, end: StreamEnd, held: PullAnswer): void {
    this.#pulls.delete(pull);
    const { requestId, nodeNumber } = pull.frame;
    const { items, bytes } = pull.stream;
    if (items > 0) this.#env.log('pulled', { peer: nodeNumber, items, bytes });
    if (end.kind === 'done') this.#answer(pull, pullAnswer(requestId, held));
    else if (end.kind === 'stale') this.#answer(pull, staleAnswer(requestId, this.#env.installedEpoch()));
    else this.#answer(pull, refusal(Status.BUSY, requestId, `not all could be sent: ${end.kind}`));
  }

  #answer({ frame }: Pull, answer: Buffer): void {
    this.#env.answer(frame.connection, answer);
  }
}

function inSync(sets: SlotSets): SlotBits {
  const current = eitherBits(sets.inState(SlotState.PRIMARY), sets.inState(SlotState.REPLICA));
  return eitherBits(current, sets.flagged(SlotFlag.DETACHED));
}

/** What a node claims that is asked what it has: it leads these itself, or is the one of two that goes first. */
function claimed(sets: SlotSets, isFirst: boolean): SlotBits {
  const led = sets.inState(SlotState.PRIMARY);
  return isFirst ? eitherBits(led, sets.inState(SlotState.TAKING_OVER)) : led;
}
