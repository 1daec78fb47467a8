/**
 * Workers SIGKILLed under load: what their callers see.
 *
 * Each lane owns one key and counts it up: set, then get, again and again. It knows the last number that was
 * acknowledged and those that may have been written since, so every get can be judged:
 *   lost       a get, or the last read of all, found an older number than the last acknowledged, or none
 *   mismarked  a set failed with `maybeApplied` false, and yet its number was read
 *   hung       a call was not settled long after its deadline
 *   outside    a call failed that was begun when no worker had been killed within the last second
 *   failed     calls that failed with an error at all
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Henge, HengeError } from '../../src/index.js';
import type { Measurement } from '../report/figure.js';
import type { Context } from '../suite.js';
import { type start, start as startTarget } from '../targets/targets.js';

/** Several clients, so that every worker has connections when it is killed. */
const CLIENTS = 4;
const LANES_PER_CLIENT = 16;
const WORKERS = 2;
const KILLS = 10;
const DEADLINE_MS = 1_000;
/** Past its deadline by this much, a call hangs. */
const HANG_MS = 5_000;
/** A killed worker is replaced within a second, and a call may wait for its deadline before it fails. */
const REPLACED_MS_MAX = 1_000;

interface Counts {
  operations: number;
  lost: number;
  mismarked: number;
  hung: number;
  outside: number;
  failed: number;
}

type Server = Awaited<ReturnType<typeof start>>;

export async function killFigures(context: Context): Promise<Measurement[]> {
  const server = await startTarget(context, 'henge', { workers: WORKERS });
  const counts: Counts = { operations: 0, lost: 0, mismarked: 0, hung: 0, outside: 0, failed: 0 };
  const run = new KilledRun(counts);
  const lanes: Promise<void>[] = [];
  for (let index = 0; index < CLIENTS; index++) {
    const client = await Henge.connect({ seeds: [`${server.host}:${server.port}`], deadlineMs: DEADLINE_MS });
    context.defer(() => client.close());
    for (let lane = 0; lane < LANES_PER_CLIENT; lane++) lanes.push(run.lane(client, `kill:${index}:${lane}`));
  }
  await killWorkers(context, server, run);
  run.isOver = true;
  await Promise.all(lanes);
  return Object.entries(counts).map(([name, value]) => ({ id: `client.kill.${name}`, unit: 'calls', values: [value] }));
}

async function killWorkers(context: Context, server: Server, run: KilledRun): Promise<void> {
  const pauseMs = context.isQuick ? 1_500 : 3_000;
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(pauseMs);
    // The oldest: connections stay where they were made, so a new worker has few or none yet.
    const victim = server.children()[0];
    if (victim === undefined) throw new Error('the daemon has no worker to kill: the last one was not replaced');
    run.killedAtMs = performance.now();
    process.kill(victim, 'SIGKILL');
    context.note(`killed worker ${victim} (${kill + 1} of ${KILLS}); ${run.counts.failed} calls failed so far`);
  }
  await sleep(pauseMs);
}

class KilledRun {
  isOver = false;
  killedAtMs = Number.NEGATIVE_INFINITY;

  constructor(readonly counts: Counts) {}

  async lane(client: Henge, key: string): Promise<void> {
    const ledger = new Ledger();
    await this.settle(() => client.set(key, '0'));
    for (let number = 1; !this.isOver; number++) {
      const outcome = await this.settle(() => client.set(key, String(number)));
      ledger.wrote(number, outcome);
      await this.readBack(client, key, ledger);
    }
    await this.readBack(client, key, ledger);
  }

  private async readBack(client: Henge, key: string, ledger: Ledger): Promise<void> {
    const found = await this.settle(() => client.get<string>(key));
    if (found.kind !== 'done') return;
    const verdict = ledger.judge(found.value === undefined ? undefined : Number(found.value));
    if (verdict !== 'right') this.counts[verdict] += 1;
  }

  private async settle<T>(call: () => Promise<T>): Promise<Outcome<T>> {
    const begunAtMs = performance.now();
    const outcome = await Promise.race([outcomeOf(call()), hang<T>()]);
    this.counts.operations += 1;
    if (outcome.kind === 'hung') this.counts.hung += 1;
    if (outcome.kind === 'failed') {
      this.counts.failed += 1;
      if (!this.isNearKill(begunAtMs)) this.counts.outside += 1;
    }
    return outcome;
  }

  /** A call that fails because of a kill was in flight at that moment, or begun before the worker was replaced. */
  private isNearKill(begunAtMs: number): boolean {
    return begunAtMs < this.killedAtMs + REPLACED_MS_MAX && performance.now() > this.killedAtMs;
  }
}

type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'failed'; readonly maybeApplied: boolean }
  | { readonly kind: 'hung' };

function outcomeOf<T>(call: Promise<T>): Promise<Outcome<T>> {
  return call.then(
    (value) => ({ kind: 'done', value }),
    (error: unknown) => {
      if (!(error instanceof HengeError)) throw error;
      return { kind: 'failed', maybeApplied: error.maybeApplied };
    },
  );
}

async function hang<T>(): Promise<Outcome<T>> {
  await sleep(DEADLINE_MS + HANG_MS, undefined, { ref: false });
  return { kind: 'hung' };
}

/** What one lane may find under its key. */
class Ledger {
  private acknowledged = 0;
  /** Written after the last acknowledged, with no acknowledgement. */
  private readonly perhaps = new Set<number>();
  private readonly surelyNot = new Set<number>();

  wrote(number: number, outcome: Outcome<unknown>): void {
    if (outcome.kind === 'done') {
      this.acknowledged = number;
      this.perhaps.clear();
    } else if (outcome.kind === 'failed' && !outcome.maybeApplied) {
      this.surelyNot.add(number);
    } else {
      this.perhaps.add(number);
    }
  }

  judge(found: number | undefined): 'right' | 'lost' | 'mismarked' {
    if (found !== undefined && this.surelyNot.has(found)) return 'mismarked';
    return found === this.acknowledged || (found !== undefined && this.perhaps.has(found)) ? 'right' : 'lost';
  }
}
