/**
 * The client through which a node's HTTP face gets at the data. It is there while somebody uses it: one that nobody
 * uses would still follow every epoch, on a machine that has other things to do just then.
 */
import { Henge } from '../../client/index.js';

/** A dashboard that is looked at asks twice a second. */
const IDLE_MS_MAX = 30_000;

export class OwnClient {
  readonly #seed: string;
  readonly #name: string;
  #connecting: Promise<Henge> | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(seed: string, name: string) {
    this.#seed = seed;
    this.#name = name;
  }

  /** @throws HengeError UNREACHABLE */
  get(): Promise<Henge> {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.close(), IDLE_MS_MAX).unref();
    this.#connecting ??= Henge.connect({ seeds: [this.#seed], name: this.#name }).catch((error: unknown) => {
      this.#connecting = undefined;
      throw error;
    });
    return this.#connecting;
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const connecting = this.#connecting;
    this.#connecting = undefined;
    // What could not be connected needs no closing, and whoever asked for it was told.
    await connecting?.then(
      (client) => client.close(),
      () => undefined,
    );
  }
}
