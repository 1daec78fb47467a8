/**
 * What goes wrong in a run's first phase. Each class of fault is on with probability one half, with an intensity of its
 * own; each fault that can be mended is mended after a while, and all are when the second phase begins.
 *
 * `failuresMax` keeps what is lost within the promise that is checked: no more memories at once than Q - 1, and the
 * next only after the copies were restored.
 */
import { RowRole } from '../../../src/ring/index.js';
import { SlotState } from '../../../src/store/index.js';
import type { SimNode } from './node.js';
import type { Random } from './random.js';
import { Strikes } from './strikes.js';
import type { World } from './world.js';

export interface FaultPlan {
  readonly name: string;
  readonly meanPauseMs: number;
  /** Not drawn: on only in runs that name it. */
  readonly isAsked?: boolean;
  run(): void;
}

export class Faults {
  readonly #plans: readonly FaultPlan[];
  readonly #undo = new Set<() => void>();
  readonly #isolated = new Set<string>();
  /** Who was lost, until it has again what it is to have. */
  readonly #lost = new Set<SimNode>();
  #strikes: Strikes | undefined;
  #isOver = false;

  /** `always`: these besides what is drawn. */
  constructor(
    private readonly world: World,
    private readonly random: Random,
    { allowed, always }: { readonly allowed: ReadonlySet<string> | undefined; readonly always: readonly string[] },
  ) {
    this.#plans = this.#all().filter(({ name, isAsked }) => {
      if (always.includes(name)) return true;
      if (allowed !== undefined) return allowed.has(name);
      return isAsked !== true && random.chance(0.5);
    });
  }

  get names(): string[] {
    return this.#plans.map(({ name }) => name);
  }

  start(): void {
    for (const plan of this.#plans) this.#again(plan);
    if (!this.names.includes('change struck')) return;
    this.#strikes = new Strikes(this.world, this.random.fork(), {
      mendAfter: (meanMs, undo) => this.#for(meanMs, undo),
      mayLose: (node) => this.#mayLose(node),
    });
  }

  /** Mends everything. */
  heal(): void {
    this.#isOver = true;
    this.#strikes?.stop();
    if (this.names.includes('members changed')) this.world.membership.settle();
    for (const undo of [...this.#undo]) undo();
    this.world.network.mendAll();
    this.world.registry.faults.unreachable.clear();
    Object.assign(this.world.registry.faults, { delayMs: 0.5, watchDelayMs: 1, answerLostChance: 0 });
    for (const node of this.world.nodes) {
      node.resume();
      if (node.hasLeft) continue;
      if (!node.isUp && this.world.isEnlisted(node.name)) node.start();
      node.restartControl();
    }
  }

  #again(plan: FaultPlan): void {
    if (!Number.isFinite(plan.meanPauseMs)) return;
    this.world.schedule.after(plan.meanPauseMs * this.random.between(0.3, 2), () => {
      if (this.#isOver) return;
      this.world.note(`fault ${plan.name}`);
      plan.run();
      this.#again(plan);
    });
  }

  /** Mends after a while, or when the phase ends. */
  #for(meanMs: number, undo: () => void): void {
    const once = (): void => {
      if (!this.#undo.delete(once)) return;
      undo();
    };
    this.#undo.add(once);
    this.world.schedule.after(meanMs * this.random.between(0.3, 2), once);
  }

  #node(): SimNode {
    return this.random.pick(this.#here());
  }

  #here(): SimNode[] {
    return this.world.nodes.filter(({ hasLeft }) => !hasLeft);
  }

  #pair(): [string, string] {
    const [a, b] = this.random.shuffled(this.#here());
    return [a?.name ?? '', b?.name ?? ''];
  }

  #ways(a: string, b: string): [string, string][] {
    return [
      [a, b],
      [b, a],
    ];
  }

  /**
   * At most one node down at a time, and only while all copies are in place: the promises are checked within their
   * bounds.
   */
  #mayLose(node: SimNode): boolean {
    const { view } = this.world;
    if (view.members.some(({ state }) => state === 'away' || state === 'returning')) return false;
    const parts = this.#parts();
    // A change that was just published finds everybody where they were.
    const isInEpoch = ({ arena }: SimNode): boolean => arena.epoch() >= view.epoch - Number(view.next !== undefined);
    const mayBe =
      parts.includes(node) && this.#isolated.size === 0 && this.#isAllInPlace(parts) && parts.every(isInEpoch);
    if (mayBe) this.#lost.add(node);
    return mayBe;
  }

  /** Whoever has what was lost must be within reach meanwhile. */
  #isOneLost(): boolean {
    for (const node of this.#lost) if (node.hasLeft || this.#isAllInPlace([node])) this.#lost.delete(node);
    return this.#lost.size > 0;
  }

  /** Those who have a part in the epoch. */
  #parts(): SimNode[] {
    const { members } = this.world.view;
    return this.#here().filter(({ name }) => members.some((member) => member.name === name));
  }

  /** Nobody is down, or has come back and not got yet what it lost. Who is on the way in need not have it yet. */
  #isAllInPlace(nodes: readonly SimNode[]): boolean {
    const { layout } = this.world;
    const isReceiving = (slot: number, number: number): boolean => layout.roleOf(slot, number) === RowRole.RECEIVER;
    return nodes.every((node) => {
      if (!node.isUp) return false;
      return node.states().every((state, slot) => {
        if (state === SlotState.TAKING_OVER) return false;
        return state !== SlotState.JOINING || isReceiving(slot, node.member.number);
      });
    });
  }

  #all(): FaultPlan[] {
    const { world, random } = this;
    return [
      // Not drawn with the others: a run either has both, or the first alone (run.ts), or neither.
      { name: 'members changed', meanPauseMs: 400, isAsked: true, run: () => world.membership.change() },
      { name: 'change struck', meanPauseMs: Number.POSITIVE_INFINITY, isAsked: true, run: () => {} },
      { name: 'worker killed', meanPauseMs: 300, run: () => this.#node().killWorker() },
      {
        name: 'worker paused',
        meanPauseMs: 500,
        run: () => {
          const worker = this.#node().pauseWorker();
          if (worker !== undefined) this.#for(600, () => worker.resume());
        },
      },
      {
        name: 'control killed',
        meanPauseMs: 1_200,
        run: () => {
          const node = this.#node();
          node.killControl();
          this.#for(2_000, () => node.restartControl());
        },
      },
      {
        name: 'node killed',
        meanPauseMs: 1_200,
        run: () => {
          const node = this.#node();
          if (!node.isUp || !this.#mayLose(node)) return;
          node.crash(random.chance(0.5));
          this.#for(3_000, () => {
            if (!node.isUp && !node.hasLeft) node.start();
          });
        },
      },
      {
        name: 'node paused',
        meanPauseMs: 1_500,
        run: () => {
          const node = this.#node();
          if (!node.isUp) return;
          node.pause();
          this.#for(2_500, () => node.resume());
        },
      },
      { name: 'connection reset', meanPauseMs: 200, run: () => void world.network.resetOne(...this.#pair()) },
      {
        name: 'clogged',
        meanPauseMs: 233,
        run: () => {
          const [from, to] = this.#pair();
          world.network.direction(from, to).cloggedUntilMs = world.schedule.nowMs + random.between(5, 400);
        },
      },
      {
        name: 'cut one way',
        meanPauseMs: 1_200,
        run: () => {
          const [from, to] = this.#pair();
          world.network.cut(from, to);
          this.#for(1_500, () => world.network.mend(from, to));
        },
      },
      {
        // Cut off from the other nodes and from the registry, but not from clients.
        name: 'isolated',
        meanPauseMs: 500,
        run: () => {
          const { name } = this.#node();
          if (this.#isOneLost()) return;
          this.#isolated.add(name);
          const others = this.#here().filter((other) => other.name !== name);
          for (const other of others) for (const way of this.#ways(name, other.name)) world.network.cut(...way);
          world.registry.faults.unreachable.add(name);
          this.#for(2_000, () => {
            for (const other of others) for (const way of this.#ways(name, other.name)) world.network.mend(...way);
            world.registry.faults.unreachable.delete(name);
            this.#isolated.delete(name);
          });
        },
      },
      {
        name: 'registry out of reach',
        meanPauseMs: 1_500,
        run: () => {
          const { name } = this.#node();
          world.registry.faults.unreachable.add(name);
          this.#for(3_000, () => world.registry.faults.unreachable.delete(name));
        },
      },
      {
        name: 'registry slow',
        meanPauseMs: 1_200,
        run: () => {
          Object.assign(world.registry.faults, {
            delayMs: random.between(5, 200),
            watchDelayMs: random.between(5, 400),
          });
          this.#for(2_000, () => Object.assign(world.registry.faults, { delayMs: 0.5, watchDelayMs: 1 }));
        },
      },
      {
        name: 'registry answers lost',
        meanPauseMs: 1_000,
        run: () => {
          world.registry.faults.answerLostChance = 0.5;
          this.#for(2_000, () => {
            world.registry.faults.answerLostChance = 0;
          });
        },
      },
      {
        name: 'lease revoked',
        meanPauseMs: 1_200,
        run: () => {
          const { leases } = world.registry;
          if (leases.length > 0) world.registry.revoke(random.pick(leases));
        },
      },
    ];
  }
}
