/** The client as users see it: a connection to a cluster, and all of its keys. */

import { EventEmitter } from 'node:events';
import { Opcode } from '../protocol/index.js';
import type { RawAnswer } from './answer.js';
import { AnswerKind, Draft } from './call.js';
import type { HengeError } from './errors.js';
import { Fleet } from './fleet.js';
import { Flights } from './flight.js';
import { Keyspace } from './keyspace.js';
import { type ClientSettings, type ConnectOptions, settingsOf } from './options.js';
import type { Topology } from './router.js';

/** What a client tells about itself. There is no 'error' event: errors belong to calls. */
export interface HengeEvents {
  /** A newer topology is in use. */
  topology: [topology: Topology];
  /** A node answers, at first or again. */
  up: [address: string];
  /** A node's connection was lost, or could not be made. It is tried again until the client is closed. */
  down: [address: string, error: HengeError];
  /** So many reads were answered by other copies, since their leaders could not, since this was told last. */
  degraded: [count: number];
}

/** close() gives what is in flight at most this long. */
const CLOSE_MS_MAX = 1_000;
const CLOSE_STEP_MS = 5;

export class Henge extends Keyspace implements AsyncDisposable {
  readonly #fleet: Fleet;
  readonly #settings: ClientSettings;
  readonly #events: EventEmitter<HengeEvents>;
  #closing: Promise<void> | undefined;

  private constructor(fleet: Fleet, settings: ClientSettings, events: EventEmitter<HengeEvents>) {
    super(fleet, settings, new Flights(settings), '');
    this.#fleet = fleet;
    this.#settings = settings;
    this.#events = events;
  }

  /**
   * Connects to a cluster by any of its nodes.
   * @throws HengeError INVALID_ARGUMENT; UNREACHABLE when no seed answers within `connectDeadlineMs`
   */
  static async connect(options: ConnectOptions = {}): Promise<Henge> {
    const settings = settingsOf(options);
    const events = new EventEmitter<HengeEvents>();
    const startedAt = performance.now();
    const clock = (): number => Math.floor(performance.now() - startedAt);
    // Listeners run later, so that what they throw cannot hurt the client's own work.
    const fleet = new Fleet(
      settings,
      {
        topology: (topology) => process.nextTick(() => events.emit('topology', topology)),
        up: (address) => process.nextTick(() => events.emit('up', address)),
        down: (address, error) => process.nextTick(() => events.emit('down', address, error)),
        degraded: (count) => process.nextTick(() => events.emit('degraded', count)),
      },
      clock,
      Math.random,
    );
    await fleet.start();
    return new Henge(fleet, settings, events);
  }

  on<E extends keyof HengeEvents>(event: E, listener: (...values: HengeEvents[E]) => void): this {
    this.#events.on(event, listener as never);
    return this;
  }

  off<E extends keyof HengeEvents>(event: E, listener: (...values: HengeEvents[E]) => void): this {
    this.#events.off(event, listener as never);
    return this;
  }

  /** The cluster's members and epoch, as a node tells them now. */
  async topology(): Promise<Topology> {
    return this.#fleet.fetchTopology();
  }

  /** A node's statistics, as it tells them (docs/protocol.md). */
  async stats(nodeName: string): Promise<Record<string, unknown>> {
    const draft = new Draft();
    draft.opcode = Opcode.STATS;
    draft.answer = AnswerKind.RAW;
    draft.deadlineMs = this.#settings.deadlineMs;
    const answer = (await this.#fleet.issueTo(nodeName, draft)) as RawAnswer;
    return JSON.parse(answer.value.toString()) as Record<string, unknown>;
  }

  /** Ends all connections. What is in flight is given a second to be answered; later calls fail with CLOSED. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#fleet.refuse();
    const endAt = performance.now() + CLOSE_MS_MAX;
    while (this.#fleet.awaited > 0 && performance.now() < endAt) {
      await new Promise((resolve) => setTimeout(resolve, CLOSE_STEP_MS));
    }
    this.#fleet.close();
  }
}
