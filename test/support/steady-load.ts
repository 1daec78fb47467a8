/**
 * Writes that go on through faults: every key is written by one writer, with numbers that grow, at one level of
 * acknowledgement. So what was lost shows: a key whose value is older than the newest that was acknowledged.
 */
import type { AckLevel, Henge } from '../../src/client/index.js';

const WRITERS = 8;
/** After a write that failed: a load that only fails must not take the machine from those who mend it. */
const PAUSE_MS = 20;

const pause = (forMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, forMs));

export class SteadyLoad {
  readonly acknowledged = new Map<string, number>();
  acknowledgements = 0;
  failures = 0;
  lastFailure: unknown;
  readonly #client: Henge;
  readonly #ack: AckLevel;
  #isStopped = false;
  readonly #running: Promise<unknown>;

  constructor(client: Henge, keys: readonly string[], ack: AckLevel) {
    this.#client = client;
    this.#ack = ack;
    this.#running = Promise.all(
      Array.from({ length: WRITERS }, (_, writer) => this.#write(keys.filter((_key, at) => at % WRITERS === writer))),
    );
  }

  /** Resolves when so many more writes were acknowledged. */
  async goesOn(more: number): Promise<void> {
    const target = this.acknowledgements + more;
    while (this.acknowledgements < target) await pause(10);
  }

  async fails(more: number): Promise<void> {
    const target = this.failures + more;
    while (this.failures < target) await pause(10);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  /** Keys whose newest value is older than what was acknowledged, as `KEY: VALUE instead of ACKNOWLEDGED`. */
  async lost(): Promise<readonly string[]> {
    const lost: string[] = [];
    for (const [key, acknowledged] of this.acknowledged) {
      const value = (await this.#client.get<number>(key, { read: 'quorum' })) ?? 0;
      if (value < acknowledged) lost.push(`${key}: ${value} instead of ${acknowledged}`);
    }
    return lost;
  }

  async #write(keys: readonly string[]): Promise<void> {
    for (let value = 1; !this.#isStopped; value++) {
      for (const key of keys) await this.#writeOnce(key, value);
    }
  }

  async #writeOnce(key: string, value: number): Promise<void> {
    if (this.#isStopped) return;
    try {
      await this.#client.set(key, value, { ack: this.#ack });
      this.acknowledged.set(key, value);
      this.acknowledgements++;
    } catch (error) {
      this.failures++;
      this.lastFailure = error;
      await pause(PAUSE_MS);
    }
  }
}
