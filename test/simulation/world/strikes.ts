/**
 * Faults that strike in the middle of a change of the list of members, on purpose: one of those who take part in it at
 * each of its phases (moves.ts). The first pair of phase and victim goes by the seed, so that a set of seeds meets all;
 * those that follow are drawn.
 */
import type { CoordinatorRecord } from '../../../src/cluster/index.js';
import { type Moment, PHASES, type Phase } from './moves.js';
import type { SimNode } from './node.js';
import type { Random } from './random.js';
import type { World } from './world.js';

export const VICTIMS = ['source', 'receiver', 'coordinator', 'registry', 'link'] as const;
export type Victim = (typeof VICTIMS)[number];

export interface Strike {
  readonly victim: Victim;
  readonly phase: Phase;
}

export const STRIKES: readonly Strike[] = VICTIMS.flatMap((victim) => PHASES.map((phase) => ({ victim, phase })));

/** What a run that was struck says it reached. */
export const strikeState = (victim: Victim, phase: Phase): string => `${victim} struck while ${phase}`;

/** About a round trip: what was just sent has arrived, or has not, or was answered. */
const AFTER_MS_MAX = 0.8;
/** By then all have heard of a change that was published. */
const INSTALL_MS_MAX = 4;
const PAUSE_MS = 250;

/** What strikes need of those who mend. */
export interface Mending {
  /** Undone after about so long, or when the first phase of the run ends. */
  mendAfter(meanMs: number, undo: () => void): void;
  /** Whether one more node may be lost, within the promises that are checked. */
  mayLose(node: SimNode): boolean;
}

export class Strikes {
  #wanted: Strike | undefined;
  #isOver = false;

  constructor(
    private readonly world: World,
    private readonly random: Random,
    private readonly mending: Mending,
  ) {
    this.#wanted = STRIKES[world.seed % STRIKES.length];
    world.moves.onPhase((moment) => this.#consider(moment));
  }

  stop(): void {
    this.#isOver = true;
  }

  #consider(moment: Moment): void {
    const wanted = this.#wanted;
    if (wanted === undefined || wanted.phase !== moment.phase || this.#isOver) return;
    this.#wanted = undefined;
    const afterMs = moment.phase === 'doubling' ? INSTALL_MS_MAX : AFTER_MS_MAX;
    this.world.schedule.after(this.random.between(0, afterMs), () => {
      if (this.#isOver) return;
      const isStruck = this.#strike(wanted.victim, moment);
      if (isStruck) this.world.note(`strike ${wanted.victim} ${moment.phase} ${moment.source} ${moment.receiver}`);
      this.world.sometimes(isStruck, strikeState(wanted.victim, moment.phase));
      this.world.sometimes(isStruck, 'a change was struck');
      if (isStruck) this.world.schedule.after(PAUSE_MS, () => this.#draw());
      else this.#wanted ??= wanted;
    });
  }

  #draw(): void {
    this.#wanted = this.random.pick(STRIKES);
  }

  /** False: that may not be lost now. */
  #strike(victim: Victim, { source, receiver }: Moment): boolean {
    switch (victim) {
      case 'source':
        return this.#kill(source);
      case 'receiver':
        return this.#kill(receiver);
      case 'coordinator':
        return this.#killCoordinator();
      case 'registry':
        return this.#loseRegistry();
      case 'link':
        return this.#breakLink(source, receiver);
    }
  }

  #kill(name: string): boolean {
    const node = this.world.nodes.find((one) => one.name === name);
    if (node === undefined || !node.isUp || !this.mending.mayLose(node)) return false;
    node.crash(this.random.chance(0.5));
    this.mending.mendAfter(800, () => {
      if (!node.isUp && !node.hasLeft) node.start();
    });
    return true;
  }

  #killCoordinator(): boolean {
    const { value } = this.world.registry.peek('coordinator') ?? {};
    const node = this.world.nodes.find(({ name }) => name === (value as CoordinatorRecord | undefined)?.name);
    if (node === undefined || !node.hasControl) return false;
    if (this.random.chance(0.3) && this.#kill(node.name)) return true;
    node.killControl();
    this.mending.mendAfter(1_000, () => node.restartControl());
    return true;
  }

  #loseRegistry(): boolean {
    const { unreachable } = this.world.registry.faults;
    const hosts = this.world.nodes.map(({ name }) => name).filter((name) => !unreachable.has(name));
    for (const host of hosts) unreachable.add(host);
    this.mending.mendAfter(500, () => {
      for (const host of hosts) unreachable.delete(host);
    });
    return true;
  }

  #breakLink(source: string, receiver: string): boolean {
    if (source === '' || receiver === '' || source === receiver) return false;
    const { network } = this.world;
    network.resetOne(source, receiver);
    if (this.random.chance(0.5)) return true;
    const ways = [
      [source, receiver],
      [receiver, source],
    ] as const;
    for (const way of ways) network.cut(...way);
    this.mending.mendAfter(500, () => {
      for (const way of ways) network.mend(...way);
    });
    return true;
  }
}
