/**
 * One run from one seed: a world is drawn, works under faults, is healed, must converge, and its history is judged.
 */
import { slotOf } from '../../src/ring/index.js';
import { checkCounters } from './check/counters.js';
import { checkDeletes } from './check/deletes.js';
import type { Operation } from './check/history.js';
import { checkLeaders } from './check/leaders.js';
import { checkPlacement } from './check/placement.js';
import { checkQuiet } from './check/quiet.js';
import { checkVersions } from './check/versions.js';
import { checkZones } from './check/zones.js';
import { SimClient } from './world/client.js';
import { Faults } from './world/faults.js';
import type { Mutations } from './world/mutations.js';
import { SLOTS } from './world/node.js';
import type { WorldOptions } from './world/parts.js';
import { Random } from './world/random.js';
import { Workload } from './world/workload.js';
import { World } from './world/world.js';

export interface RunOptions {
  readonly seed: number;
  /** Classes of faults; drawn when missing. */
  readonly faults?: readonly string[];
  /** How the list of members changes; drawn when missing. */
  readonly changes?: Changes;
  readonly safetyMs?: number;
  /** More nodes may be lost at once than is promised: slots that are reported as possible losses are not judged. */
  readonly mayLoseMore?: boolean;
  readonly world?: Partial<WorldOptions>;
  readonly mutations?: Mutations;
}

/** `planned`: nothing else happens. `struck`: with faults, some of them in the middle of a change. */
export type Changes = 'none' | 'planned' | 'struck';

export interface RunResult {
  readonly seed: number;
  readonly problems: readonly string[];
  readonly reached: ReadonlySet<string>;
  readonly faults: readonly string[];
  readonly operations: number;
  readonly steps: number;
  readonly traceHash: string;
  readonly notes: readonly string[];
}

/** By then all copies are in sync. */
const START_MS = 700;
/** Until then items are written that changes have to move. */
const BALLAST_MS = 100;
const BALLAST_KEYS = 100;
/** Two seeds of eight change the list of members and do nothing else, two strike in the middle of that. */
const CHANGES: readonly Changes[] = ['planned', 'none', 'struck', 'none', 'struck', 'none', 'struck', 'none'];
const SAFETY_MS = 2_500;
/** Healed, everything must be in place again within this time. */
const LIVENESS_MS = 30_000;
const DEADLINE_MS = 1_000;
/** How often it is looked whether everything is in place. */
const LOOK_MS = 100;

export function simulate(options: RunOptions): RunResult {
  const random = new Random(options.seed ^ 0x5eed);
  const changes = changesOf(options);
  const isQuiet = changes === 'planned';
  const drawn = { ...drawWorld(random, changes), ...options.world };
  const world = new World(options.seed, drawn, options.mutations, isQuiet);
  const faults = new Faults(world, random.fork(), faultsOf(options, changes));
  let history: readonly Operation[] = [];
  try {
    try {
      const workload = makeWorkload(world, random);
      history = workload.history;
      live(world, { workload, faults, safetyMs: options.safetyMs ?? SAFETY_MS });
    } catch (error) {
      // Where the code itself says that something is wrong.
      world.violation(error instanceof Error ? (error.stack ?? error.message) : String(error));
      history = [];
    }
    const isJudged = ({ key }: Operation): boolean => !world.reportedLosses.has(slotOf(key) % SLOTS);
    const judged = options.mayLoseMore === true ? history.filter(isJudged) : history;
    return {
      seed: options.seed,
      problems: [...world.violations, ...judge(judged, world)],
      reached: world.reached,
      faults: faults.names,
      operations: history.length,
      steps: world.schedule.steps,
      notes: world.notes,
      traceHash: world.traceHash(),
    };
  } finally {
    world.close();
  }
}

function changesOf({ seed, faults, changes }: RunOptions): Changes {
  return changes ?? (faults === undefined ? (CHANGES[seed % CHANGES.length] as Changes) : 'none');
}

function faultsOf(
  { faults }: RunOptions,
  changes: Changes,
): { allowed: ReadonlySet<string> | undefined; always: string[] } {
  const drawn = faults === undefined ? undefined : new Set(faults);
  if (changes === 'planned') return { allowed: drawn ?? new Set(), always: ['members changed'] };
  return { allowed: drawn, always: changes === 'none' ? [] : ['members changed', 'change struck'] };
}

interface Life {
  readonly workload: Workload;
  readonly faults: Faults;
  readonly safetyMs: number;
}

/** Both phases: work under faults, and then everything must come to rest. */
function live(world: World, { workload, faults, safetyMs }: Life): void {
  for (const node of world.nodes) node.start();
  world.schedule.runUntil(START_MS);
  if (faults.names.includes('members changed')) {
    workload.load(BALLAST_KEYS, BALLAST_MS);
    world.schedule.runUntil(START_MS + BALLAST_MS);
  }
  workload.start();
  faults.start();
  world.schedule.runUntil(world.schedule.nowMs + safetyMs);
  workload.stop();
  faults.heal();
  if (converges(world, workload)) {
    // What is missing now is lost.
    workload.readAll();
    world.schedule.runUntil(world.schedule.nowMs + BALLAST_KEYS + DEADLINE_MS);
    if (workload.open > 0) world.violation(`${workload.open} calls have no answer`);
    return;
  }
  world.violation(`not converged ${LIVENESS_MS} ms after healing: ${whyNotSettled(world, workload)}`);
}

function drawWorld(random: Random, changes: Changes): WorldOptions {
  const nodes = 3 + random.below(2);
  // One copy where no machine fails, so that it is not lost: worlds.ts has the rest.
  const rf = random.pick([...(changes === 'planned' ? [1] : []), 2, 3, 3, Math.min(4, nodes)]);
  return {
    nodes,
    rf,
    zones: random.pick([1, 2, 3]),
    workers: random.pick([1, 1, 2, 3]),
    onPartition: random.pick(['serve', 'fence']),
    ttlMs: random.pick([600, 1_500]),
    graceMs: random.pick([500, 2_000, 30_000]),
    memoryBytes: 4 * 2 ** 20,
    clockOffsetMsMax: random.pick([0, 20, 150]),
    clockDriftMax: random.pick([0, 0.001]),
    dropDelayMs: 500,
    // Where a hand-over's time counts, what is in flight must get through in a part of it.
    linkBytesPerMs: random.pick(changes === 'planned' ? [100_000, 20_000] : [100_000, 20_000, 1_000]),
  };
}

function makeWorkload(world: World, random: Random): Workload {
  const topology = world.view;
  const clients = Array.from({ length: 4 }, (_, index) => {
    return new SimClient(world, `c${index}`, random.fork(), topology, index % 2 === 1);
  });
  const pauseMs = random.pick([5, 10, 20]);
  const options = { keys: 3 + random.below(10), pauseMs, deadlineMs: DEADLINE_MS, isQuiet: world.isQuiet };
  return new Workload(world, clients, random.fork(), options);
}

function converges(world: World, workload: Workload): boolean {
  const endMs = world.schedule.nowMs + LIVENESS_MS;
  while (world.schedule.nowMs < endMs) {
    world.schedule.runUntil(world.schedule.nowMs + LOOK_MS);
    if (whyNotSettled(world, workload) === undefined) return true;
  }
  return false;
}

function whyNotSettled(world: World, workload: Workload): string | undefined {
  if (workload.open > 0) return `${workload.open} calls are open`;
  const { members, epoch, next } = world.view;
  if (next !== undefined) return `a change is under way in epoch ${epoch}`;
  const [listed, wanted] = [members.map(({ name }) => name), world.wantedNames()].map((names) => names.sort().join());
  if (listed !== wanted) return `the members are ${listed}, and are to be ${wanted}`;
  const member = members.find(({ state }) => state !== 'in');
  if (member !== undefined) return `${member.name} is ${member.state}`;
  for (const node of world.nodes.filter(({ hasLeft }) => !hasLeft)) {
    if (world.isAskedToGo(node.name)) return `${node.name} is asked to leave, and has not ended`;
    if (node.arena.epoch() !== epoch) return `${node.name} is in epoch ${node.arena.epoch()}, not ${epoch}`;
    if (!node.isWhole()) return `${node.name} has slots that are not in sync`;
  }
  return checkPlacement(world)[0];
}

/** Keys at level one, and reads of any copy, promise more where nothing but planned changes happens. */
function judge(history: readonly Operation[], { changes, isQuiet }: World): string[] {
  const strict = history.filter(({ key }) => !key.startsWith('o') && (isQuiet || !key.startsWith('p')));
  return [
    ...checkVersions(strict, { missesAreExplained: true }),
    ...checkZones(strict),
    ...checkCounters(strict),
    ...checkDeletes(strict),
    ...checkLeaders(strict, (key) => slotOf(key) % SLOTS, { changes, isEveryLevel: isQuiet }),
    ...(isQuiet ? checkQuiet(history) : []),
  ];
}
