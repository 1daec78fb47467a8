/**
 * Requests of ours to other nodes, and who waits for their answers. They travel on this worker's links, between the
 * writes that native code sends there, and may be answered in any order. A link that is lost answers all its requests.
 */
import type { LinkAnswer } from '../../store/index.js';
import type { WorkerEnv } from './env.js';

/** Status of an answer that will never come: the link was lost. */
export const LINK_LOST = 0xff;

export type OnAnswer = (answer: LinkAnswer) => void;

const NOTHING = Buffer.alloc(0);

export class Calls {
  readonly #env: WorkerEnv;
  /** By connection, then by request id. */
  readonly #waiting = new Map<number, Map<number, OnAnswer>>();
  #hasSent = false;

  constructor(env: WorkerEnv) {
    this.#env = env;
  }

  /** A connection became a link. */
  opened(connection: number): void {
    this.#waiting.set(connection, new Map());
  }

  /** Answered at once if the link is gone. */
  send(connection: number, frame: Buffer, onAnswer: OnAnswer): void {
    const calls = this.#waiting.get(connection);
    if (calls === undefined) {
      onAnswer({ connection, requestId: 0, status: LINK_LOST, extras: NOTHING, value: NOTHING });
      return;
    }
    calls.set(this.#env.native.request(connection, frame), onAnswer);
    this.#hasSent = true;
  }

  /** Hands out the answers that have come. */
  takeAnswers(): void {
    for (const answer of this.#env.native.takeAnswers()) {
      const calls = this.#waiting.get(answer.connection);
      const onAnswer = calls?.get(answer.requestId);
      calls?.delete(answer.requestId);
      onAnswer?.(answer);
    }
  }

  /** After native code has heard of it. */
  lost(connection: number): void {
    this.takeAnswers();
    const calls = this.#waiting.get(connection);
    this.#waiting.delete(connection);
    for (const [requestId, onAnswer] of calls ?? []) {
      onAnswer({ connection, requestId, status: LINK_LOST, extras: NOTHING, value: NOTHING });
    }
  }

  /** Has what was sent since the last time leave. */
  flush(): void {
    if (!this.#hasSent) return;
    this.#hasSent = false;
    this.#env.flush();
  }
}
