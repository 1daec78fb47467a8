/**
 * Follows the records under a prefix: reads all of them, and streams what changes from the next revision on. Whenever
 * the stream ends (etcd restarted, its leader lost, the revision compacted away), it begins again by reading
 * everything, so there is one way to be right, and none that depends on how a stream ended.
 *
 * A stream may also die silently, with its connection open. So everything is read again every few seconds, by calls
 * that go to whichever member answers; where that brings news, the stream had nothing to say any more, and is replaced.
 */
import { z } from 'zod';
import type { RegistryWatch } from '../../cluster/index.js';
import { monotonicMs } from './clock.js';
import { EtcdError, type EtcdGateway, type EtcdStream } from './etcd-gateway.js';
import { type EtcdRecords, KeyValue } from './etcd-records.js';
import { KnownRecords, type RegistryListener } from './known.js';

/** How long a silent stream may go unnoticed; one small read at each node. */
const READ_AGAIN_MS = 2_000;
/** Between two attempts to follow, growing from the first to the second while they last no longer than the third. */
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 1_000;
const FOLLOWED_MS_MIN = 3_000;

const WatchMessage = z.object({
  result: z.object({
    canceled: z.boolean().default(false),
    events: z.array(z.object({ type: z.string().default('PUT'), kv: KeyValue })).default([]),
  }),
});

export interface EtcdWatchParts {
  readonly gateway: EtcdGateway;
  readonly records: EtcdRecords;
  readonly prefix: string;
  readonly listener: RegistryListener;
}

export class EtcdWatch implements RegistryWatch {
  readonly #parts: EtcdWatchParts;
  readonly #known: KnownRecords;
  /** The highest revision of the store that was seen. */
  #revision = 0;
  #stream: EtcdStream | undefined;
  #isClosed = false;
  #wake: () => void = () => {};

  constructor(parts: EtcdWatchParts) {
    this.#parts = parts;
    this.#known = new KnownRecords(parts.listener);
    void this.#run();
  }

  close(): void {
    this.#isClosed = true;
    this.#known.close();
    this.#stream?.close();
    this.#wake();
  }

  async #run(): Promise<void> {
    let pauseMs = PAUSE_MS_MIN;
    while (!this.#isClosed) {
      const beganMs = monotonicMs();
      try {
        await this.#readAll();
        await this.#follow(this.#revision + 1);
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error;
      }
      const wasFollowed = monotonicMs() - beganMs > FOLLOWED_MS_MIN;
      pauseMs = wasFollowed ? PAUSE_MS_MIN : Math.min(pauseMs * 2, PAUSE_MS_MAX);
      await this.#pause(pauseMs / 2 + (Math.random() * pauseMs) / 2);
    }
  }

  /** Returns whether that brought news. */
  async #readAll(): Promise<boolean> {
    const before = this.#revision;
    const { revision, records } = await this.#parts.records.list(this.#parts.prefix);
    // Reads are linearizable: only another history has fewer revisions than this one had when the read was asked for.
    if (revision < before) this.#known.restart();
    this.#revision = revision < before ? revision : Math.max(revision, this.#revision);
    return this.#known.takeAll(records, revision);
  }

  /** Resolves when the stream is over. */
  async #follow(revision: number): Promise<void> {
    const { gateway, records, prefix } = this.#parts;
    const stream = gateway.stream({
      path: '/v3/watch',
      body: { create_request: { ...records.rangeOf(prefix), start_revision: String(revision) } },
      message: WatchMessage,
      onMessage: ({ result }) => {
        if (result.canceled) stream.close();
        else for (const event of result.events) this.#take(event);
      },
    });
    this.#stream = stream;
    let isOver = false;
    const ended = stream.ended.then(() => {
      isOver = true;
      this.#wake();
    });
    while (!isOver && !this.#isClosed) {
      await this.#pause(READ_AGAIN_MS);
      if (!isOver && !this.#isClosed && (await this.#hasMissed())) break;
    }
    stream.close();
    await ended;
  }

  #take({ type, kv }: { readonly type: string; readonly kv: KeyValue }): void {
    this.#revision = Math.max(this.#revision, kv.mod_revision);
    const { key, revision, value } = this.#parts.records.decode(kv);
    this.#known.take(type === 'DELETE' ? { key, revision, value: undefined } : { key, revision, value });
  }

  async #hasMissed(): Promise<boolean> {
    try {
      return await this.#readAll();
    } catch (error) {
      // Nobody answers: the stream may be as good as before, and the next reading will tell.
      if (error instanceof EtcdError) return false;
      throw error;
    }
  }

  #pause(ms: number): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
