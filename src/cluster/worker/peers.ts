/**
 * This worker's links: one connection of ours to every other member that is not away. What this node leads and writes
 * goes out on them; whatever the peer leads comes in on connections that it opened.
 *
 * A link that is lost is dialled again, after a pause that doubles from a tenth of a second to a second, with jitter,
 * so that a node that comes back is not greeted by everybody in the same instant. A member that goes away is hung up
 * on: what it misses from then on is noted, and nothing is kept for it.
 */
import { mayBeAsked, type TopologyMember } from '../records.js';
import type { Calls } from './calls.js';
import type { WorkerEnv } from './env.js';

const REDIAL_FIRST_MS = 100;
const REDIAL_MS_MAX = 1_000;

interface Peer {
  member: TopologyMember;
  connection: number | undefined;
  isDialling: boolean;
  failures: number;
  dialAtMs: number;
}

export class Peers {
  readonly #env: WorkerEnv;
  readonly #calls: Calls;
  readonly #peers = new Map<number, Peer>();

  constructor(env: WorkerEnv, calls: Calls) {
    this.#env = env;
    this.#calls = calls;
  }

  /** Numbers of the nodes to which there is a link. */
  get linked(): readonly number[] {
    return [...this.#peers].flatMap(([number, { connection }]) => (connection === undefined ? [] : [number]));
  }

  linkTo(number: number): number | undefined {
    return this.#peers.get(number)?.connection;
  }

  adopt(members: readonly TopologyMember[]): void {
    const wanted = members.filter((member) => member.number !== this.#env.self.number && mayBeAsked(member));
    const numbers = new Set(wanted.map(({ number }) => number));
    for (const [number, peer] of this.#peers) {
      if (numbers.has(number)) continue;
      this.#peers.delete(number);
      this.#hangUp(peer);
    }
    for (const member of wanted) this.#keep(member);
    this.tick();
  }

  dialed(number: number, connection: number): void {
    const peer = this.#peers.get(number);
    if (peer === undefined || peer.connection !== undefined) {
      // It went away, or moved, while it was dialled.
      this.#env.hangUp(connection);
      return;
    }
    this.#env.native.linkUp(connection, number);
    this.#calls.opened(connection);
    Object.assign(peer, { connection, isDialling: false, failures: 0 });
    this.#env.log('link-up', { peer: peer.member.name });
  }

  dialFailed(number: number, why: string): void {
    const peer = this.#peers.get(number);
    if (peer === undefined || !peer.isDialling) return;
    peer.isDialling = false;
    this.#backOff(peer);
    // Once a series: a member that is down fails every second.
    if (peer.failures === 1) this.#env.log('link-failed', { peer: peer.member.name, why });
  }

  /** One of our connections ended. */
  lost(connection: number): void {
    this.#calls.lost(connection);
    for (const peer of this.#peers.values()) {
      if (peer.connection !== connection) continue;
      peer.connection = undefined;
      this.#backOff(peer);
      this.#env.log('link-lost', { peer: peer.member.name });
    }
  }

  hangUp(number: number): void {
    const peer = this.#peers.get(number);
    if (peer !== undefined) this.#hangUp(peer);
  }

  tick(): void {
    const nowMs = this.#env.monoMs();
    for (const peer of this.#peers.values()) {
      const { address, isResting } = peer.member;
      // Who rests is about to end: what there is of links to it will do.
      const isDue = address !== '' && isResting !== true && nowMs >= peer.dialAtMs;
      if (!isDue || peer.connection !== undefined || peer.isDialling) continue;
      peer.isDialling = true;
      this.#env.dial(peer.member);
    }
  }

  #keep(member: TopologyMember): void {
    const peer = this.#peers.get(member.number);
    if (peer === undefined) {
      const fresh = { member, connection: undefined, isDialling: false, failures: 0, dialAtMs: 0 };
      this.#peers.set(member.number, fresh);
      return;
    }
    const hasMoved = peer.member.address !== member.address;
    peer.member = member;
    if (!hasMoved) return;
    peer.dialAtMs = 0;
    this.#hangUp(peer);
  }

  #hangUp({ connection }: Peer): void {
    if (connection !== undefined) this.#env.hangUp(connection);
  }

  #backOff(peer: Peer): void {
    const pauseMs = Math.min(REDIAL_FIRST_MS * 2 ** peer.failures, REDIAL_MS_MAX);
    peer.failures++;
    peer.dialAtMs = this.#env.monoMs() + pauseMs * (0.5 + this.#env.random() / 2);
  }
}
