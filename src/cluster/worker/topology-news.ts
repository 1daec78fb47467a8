/**
 * Learns newer topologies from other nodes. The registry tells the primary process, which tells its workers; but that
 * process may be dead, or slow, while a peer is an epoch ahead already and does not take what this node sends. So a
 * worker that hears of a newer epoch asks whoever is in it.
 */
import { z } from 'zod';
import { Status } from '../../protocol/index.js';
import type { LinkAnswer } from '../../store/index.js';
import { NodeName, type TopologyView } from '../records.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';
import { topologyFrame } from './peer-frames.js';
import type { Peers } from './peers.js';

const RETRY_FIRST_MS = 100;
const RETRY_MS_MAX = 1_000;

const TopologyViewRecord = z.object({
  epoch: z.int().min(1),
  rf: z.int().min(1),
  isFilling: z.boolean().default(false),
  next: z.array(z.object({ name: z.string(), zone: z.string(), weight: z.number().positive() })).exactOptional(),
  isCancelled: z.boolean().exactOptional(),
  members: z
    .array(
      z.object({
        name: NodeName,
        number: z.int().min(1).max(65_535),
        address: z.string(),
        unix: z.string().exactOptional(),
        http: z.string().exactOptional(),
        zone: z.string(),
        weight: z.number().positive(),
        state: z.enum(['in', 'away', 'returning', 'drain', 'gone']),
        isJoining: z.boolean().exactOptional(),
        isResting: z.boolean().exactOptional(),
      }),
    )
    .min(1),
});

/** What a node answered TOPOLOGY with. @throws Error when it is no topology */
function parseTopologyView(json: string): TopologyView {
  return TopologyViewRecord.parse(JSON.parse(json));
}

export class TopologyNews {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers: Peers;
  readonly #adopt: (view: TopologyView) => void;
  #epochKnown = 0;
  #epochWanted = 0;
  /** Who is likely to know. */
  #source: number | undefined;
  #isAsking = false;
  #pauseMs = RETRY_FIRST_MS;
  #askAtMs = 0;

  constructor(env: WorkerEnv, calls: Calls, peers: Peers, adopt: (view: TopologyView) => void) {
    this.#env = env;
    this.#calls = calls;
    this.#peers = peers;
    this.#adopt = adopt;
  }

  /** A topology is in use here. */
  known(epoch: number): void {
    this.#epochKnown = epoch;
    this.#pauseMs = RETRY_FIRST_MS;
  }

  /** Somewhere this epoch is in use: at that node, if one is given. */
  heard(epoch: number, node?: number): void {
    if (epoch <= this.#epochKnown) return;
    if (epoch > this.#epochWanted) {
      this.#epochWanted = epoch;
      this.#askAtMs = 0;
    }
    this.#source = node ?? this.#source;
    this.tick();
  }

  tick(): void {
    const nowMs = this.#env.monoMs();
    if (this.#epochWanted <= this.#epochKnown || this.#isAsking || nowMs < this.#askAtMs) return;
    this.#askAtMs = nowMs + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, RETRY_MS_MAX);
    const connection = this.#connection();
    if (connection === undefined) return;
    this.#isAsking = true;
    this.#calls.send(connection, topologyFrame(), (answer) => this.#onAnswer(answer));
  }

  /** A link to the one who knows, else to anybody. */
  #connection(): number | undefined {
    const wanted = this.#source === undefined ? undefined : this.#peers.linkTo(this.#source);
    if (wanted !== undefined) return wanted;
    const { linked } = this.#peers;
    const any = linked[Math.floor(this.#env.random() * linked.length)];
    return any === undefined ? undefined : this.#peers.linkTo(any);
  }

  #onAnswer({ status, value }: LinkAnswer): void {
    this.#isAsking = false;
    if (status !== Status.OK) {
      this.#source = undefined;
      return;
    }
    let view: TopologyView;
    try {
      view = parseTopologyView(value.toString());
    } catch (error) {
      // Of another release, perhaps: the registry remains the way.
      this.#source = undefined;
      this.#env.log('topology-unreadable', { error: String(error) });
      return;
    }
    if (view.epoch > this.#epochKnown) this.#adopt(view);
  }
}
