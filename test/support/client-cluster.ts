/**
 * Several reference servers that behave as the nodes of one replicated cluster: each serves what it leads, refuses what
 * it does not hold, and answers `nearest` and `degraded` reads of what it has a copy of. Copies are equal at every
 * moment, for all share one map, unless a test gives a server a map of its own. What a test wants otherwise it says
 * with `disturb`.
 */

import { parseTopology, Routes } from '../../src/client/router.js';
import { Opcode, RequestFlag, type RequestFrame, Status } from '../../src/protocol/index.js';
import { slotOf } from '../../src/ring/index.js';
import { type Interception, ReferenceServer, type TopologyOverlay, topologyOf } from './client-server.js';

/** What a server does to a request instead of what a node would; undefined: what a node would. */
export type Disturbance = (frame: RequestFrame) => Interception | undefined;

const LEVEL = { PRIMARY: 0, QUORUM: 1, NEAREST: 2, DEGRADED: 3 } as const;
const isKeyed = (opcode: number): boolean => opcode >= Opcode.GET && opcode <= Opcode.APPEND;

export class ReferenceCluster {
  #routes: Routes;
  readonly #disturbances = new Map<string, Disturbance>();

  private constructor(
    readonly servers: readonly ReferenceServer[],
    private readonly overlay: TopologyOverlay,
  ) {
    this.#routes = this.#routesAt(1, overlay);
    const [first] = servers;
    for (const server of servers) {
      if (first !== undefined) server.items = first.items;
      server.topology = this.#routes.topology;
      server.intercept = (frame) => this.#disturbances.get(server.name)?.(frame) ?? this.#behave(server.name, frame);
    }
  }

  /** Servers a, b, c, ... on ports from `port` on. */
  static async start(count: number, port: number, overlay: TopologyOverlay): Promise<ReferenceCluster> {
    const names = ['a', 'b', 'c', 'd', 'e'].slice(0, count);
    const servers = await Promise.all(names.map((name, index) => ReferenceServer.start(name, port + index)));
    return new ReferenceCluster(servers, overlay);
  }

  get seeds(): string[] {
    return this.servers.map(({ address }) => address);
  }

  server(name: string): ReferenceServer {
    const server = this.servers.find((one) => one.name === name);
    if (server === undefined) throw new Error(`there is no server ${name}`);
    return server;
  }

  disturb(name: string, disturbance: Disturbance): void {
    this.#disturbances.set(name, disturbance);
  }

  calm(name: string): void {
    this.#disturbances.delete(name);
  }

  /** As SIGSTOP does: nothing is answered any more. */
  freeze(name: string): void {
    this.disturb(name, () => 'ignore');
  }

  /** A new epoch, in which these are away; the servers learn it, and push it. */
  publish(away: readonly string[]): void {
    this.#routes = this.#routesAt(this.#routes.topology.epoch + 1, { ...this.overlay, away });
    for (const server of this.servers) {
      server.topology = this.#routes.topology;
      server.epoch = this.#routes.topology.epoch;
      if (!away.includes(server.name)) server.push(server.topology);
    }
  }

  /** Names of a key's copies, its leader first. */
  copiesOf(key: string): string[] {
    return this.#routes.copiesOf(slotOf(key)).map((member) => this.#routes.table.members[member] as string);
  }

  /** So many keys that a server leads; its copies may be said too, in their order. */
  keysOf(copies: readonly string[], count: number): string[] {
    const keys: string[] = [];
    for (let i = 0; keys.length < count; i++) {
      const key = `key:${i}`;
      const names = this.copiesOf(key);
      if (copies.every((name, rank) => names[rank] === name)) keys.push(key);
    }
    return keys;
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  #routesAt(epoch: number, overlay: TopologyOverlay): Routes {
    return Routes.of(parseTopology(JSON.stringify(topologyOf(this.servers, epoch, overlay))));
  }

  #behave(name: string, { opcode, flags, key }: RequestFrame): Interception {
    if (!isKeyed(opcode)) return 'serve';
    const copies = this.copiesOf(key.toString('latin1'));
    const level = flags & RequestFlag.LEVEL_MASK;
    const isForCopies = opcode === Opcode.GET && (level === LEVEL.NEAREST || level === LEVEL.DEGRADED);
    const mayServe = isForCopies ? copies.includes(name) : copies[0] === name;
    return mayServe ? 'serve' : movedTo(this.#routes.topology.epoch);
  }
}

/** "Not here, as of this epoch." */
export function movedTo(epoch: number): Interception {
  const extras = Buffer.alloc(4);
  extras.writeUInt32LE(epoch);
  return { status: Status.MOVED, extras };
}
