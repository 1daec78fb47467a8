/**
 * What operators do to the list of members, and what the daemons of those do who come and go: a node joins, is asked to
 * leave or to stay after all, gets another weight or zone, is replaced by another one; several of that at once.
 *
 *   node starts ─▶ its record says it wants in ─▶ the coordinator's business
 *   record says drain ─▶ the list is without it ─▶ record says gone ─▶ it sends its clients on for a while ─▶ it ends
 *
 * So many members stay that a quorum can be had.
 */
import { type MemberRecord, memberKey, participantsOf, type TopologyRecord } from '../../../src/cluster/index.js';
import type { SimNode } from './node.js';
import type { SimWorld } from './parts.js';
import type { Random } from './random.js';

const NODES_MAX = 6;
const WEIGHTS = [0.5, 1, 1, 2];
/** Between the moment a node is out of the list and its end. */
const FAREWELL_MS = 1_000;
const RETRY_MS = 50;
const SOON_MS_MAX = 150;

type Amendment = Partial<Pick<MemberRecord, 'wanted' | 'weight' | 'zone'>>;

/** Where members come and go. */
interface MembersWorld extends SimWorld {
  readonly nodes: readonly SimNode[];
  addNode(zone: string, weight: number): SimNode;
}

export class Membership {
  /** What each record is to say; an operator asks again until it does. */
  readonly #amendments = new Map<string, Amendment>();
  readonly #leaving = new Set<string>();

  constructor(
    private readonly world: MembersWorld,
    private readonly random: Random,
  ) {}

  /** One thing that an operator may do, or several of them at once. */
  change(): void {
    const kinds = ['join', 'drain', 'stay', 'weight', 'zone', 'swap', 'several'] as const;
    this.#do(this.random.pick(kinds));
  }

  /** The last word: those who were asked to leave do so, or stay. */
  settle(): void {
    if (this.random.chance(0.5)) return;
    for (const name of this.#names('drain')) this.#amend(name, { wanted: 'in' });
  }

  /** Who is out of the list, and asked for it, ends. */
  topologyChanged({ current }: TopologyRecord): void {
    const isPart = (name: string): boolean => participantsOf(current).some((member) => member.name === name);
    for (const node of this.world.nodes) {
      if (isPart(node.name)) this.#leaving.delete(node.name);
      else if (this.#recordOf(node.name)?.wanted === 'drain') this.#leave(node);
    }
  }

  #do(kind: 'join' | 'drain' | 'stay' | 'weight' | 'zone' | 'swap' | 'several'): void {
    const { random } = this;
    if (kind === 'join' || kind === 'swap') this.#join();
    if (kind === 'drain' || kind === 'swap') this.#drain();
    if (kind === 'stay') for (const name of this.#names('drain')) this.#amend(name, { wanted: 'in' });
    if (kind === 'weight') this.#amend(random.pick(this.#names('in')), { weight: random.pick(WEIGHTS) });
    if (kind === 'zone') this.#amend(random.pick(this.#names('in')), { zone: `z${random.below(3)}` });
    if (kind !== 'several') return;
    for (const one of ['join', 'weight', 'drain', 'zone'] as const) if (random.chance(0.6)) this.#do(one);
  }

  /** A node that is new, or one that left and is back; or is asked to leave before it is in. */
  #join(): void {
    const gone = this.world.nodes.filter((node) => node.hasLeft);
    const living = this.world.nodes.length - gone.length;
    if (living >= NODES_MAX) return;
    const back = gone.length > 0 && this.random.chance(0.7) ? this.random.pick(gone) : undefined;
    const node = back ?? this.world.addNode(`z${this.random.below(3)}`, this.random.pick(WEIGHTS));
    node.hasLeft = false;
    this.world.sometimes(back !== undefined, 'a member that had left is back');
    this.#enlist(node);
    if (!this.random.chance(0.2)) return;
    this.#soon(() => {
      if (this.#isMember(node.name, true)) this.#amend(node.name, { wanted: 'drain' });
    });
  }

  #enlist(node: SimNode): void {
    const key = memberKey(node.name);
    const found = this.world.registry.peek(key);
    const known = found?.value as MemberRecord | undefined;
    const { name, number, zone, weight } = node.member;
    const { incarnation } = known ?? node.arena;
    const value = { name, number, zone, weight, address: node.address, wanted: 'in', incarnation };
    this.world.registry.put(node.name, { key, value, revision: found?.revision ?? 0 }, (outcome) => {
      if (outcome.kind === 'put' && !node.isUp) node.start();
      else if (outcome.kind !== 'put') this.world.schedule.after(RETRY_MS, () => this.#enlist(node));
    });
  }

  #drain(): void {
    const staying = this.#names('in').filter((name) => this.#isMember(name, false));
    if (staying.length <= Math.max(2, this.world.options.rf)) return;
    const name = this.random.pick(staying);
    this.#amend(name, { wanted: 'drain' });
    if (this.random.chance(0.4)) this.#soon(() => this.#amend(name, { wanted: 'in' }));
  }

  /** In the middle of the change, mostly. */
  #soon(run: () => void): void {
    this.world.schedule.after(this.random.between(0, SOON_MS_MAX), run);
  }

  #leave(node: SimNode): void {
    if (this.#leaving.has(node.name)) return;
    this.#leaving.add(node.name);
    this.world.schedule.after(FAREWELL_MS * this.random.between(0.5, 1), () => {
      const record = this.#recordOf(node.name);
      if (!this.#leaving.delete(node.name) || record?.wanted !== 'drain') return;
      // From here on nobody may ask it to stay: it has to be started.
      this.#amendments.delete(node.name);
      const found = this.world.registry.peek(memberKey(node.name));
      const put = { key: memberKey(node.name), value: { ...record, wanted: 'gone' }, revision: found?.revision ?? 0 };
      this.world.registry.put(node.name, put, (outcome) => {
        if (outcome.kind === 'put') node.leave();
        else this.#leave(node);
      });
    });
  }

  #amend(name: string | undefined, amendment: Amendment): void {
    if (name === undefined) return;
    this.world.note(`operator ${name} ${JSON.stringify(amendment)}`);
    this.#amendments.set(name, { ...this.#amendments.get(name), ...amendment });
    this.#put(name);
  }

  #put(name: string): void {
    const [found, amendment] = [this.world.registry.peek(memberKey(name)), this.#amendments.get(name)];
    const record = found?.value as MemberRecord | undefined;
    if (found === undefined || amendment === undefined || record?.wanted === 'gone') return;
    const value = { ...record, ...amendment };
    this.world.registry.put('operator', { key: memberKey(name), value, revision: found.revision }, (outcome) => {
      if (outcome.kind === 'put') {
        if (this.#amendments.get(name) === amendment) this.#amendments.delete(name);
      } else {
        this.world.schedule.after(RETRY_MS, () => this.#put(name));
      }
    });
  }

  /** Of the list that stands, or that comes. */
  #isMember(name: string, mayBeJoining: boolean): boolean {
    const member = this.world.view.members.find((one) => one.name === name);
    return member !== undefined && (mayBeJoining || member.isJoining !== true);
  }

  #recordOf(name: string): MemberRecord | undefined {
    return this.world.registry.peek(memberKey(name))?.value as MemberRecord | undefined;
  }

  /** Members whose record says so, or is about to. */
  #names(wanted: MemberRecord['wanted']): string[] {
    const names = this.world.nodes.filter(({ hasLeft }) => !hasLeft).map(({ name }) => name);
    return names.filter((name) => {
      const record = this.#recordOf(name);
      return record !== undefined && (this.#amendments.get(name)?.wanted ?? record.wanted) === wanted;
    });
  }
}
