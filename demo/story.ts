/**
 * All that is done to the cluster while the load runs: a node is killed and comes back, another one joins, a third one
 * leaves. Told line by line, with `henge verify`'s writers at work from the first to the last.
 */
import { drawResult } from '../src/cli/verify/draw.js';
import { Findings } from '../src/cli/verify/findings.js';
import { runVerification, type VerifyOptions } from '../src/cli/verify/run.js';
import { type RunFacts, verdictOf } from '../src/cli/verify/verdict.js';
import { Henge } from '../src/index.js';
import { showChanges } from './change.js';
import { type Scene, showFall, type Tell } from './fall.js';
import type { Story } from './view.js';

/** Tells it. Resolves early when `stopped` is aborted, or something does not come about; `done` hears of each part. */
export async function tellStory(scene: Scene, stopped: AbortSignal, done: () => void): Promise<Story> {
  const { show, paint } = scene;
  const tell: Tell = (mark, text) => show.tell(`${mark} ${show.time()}  ${text}`);
  let [longestFallMs, longestChangeMs] = [0, 0];
  try {
    longestFallMs = await showFall(scene, tell, stopped);
    done();
    longestChangeMs = await showChanges(scene, tell, stopped);
    return { isWhole: true, longestFallMs, longestChangeMs };
  } catch (error) {
    if (!stopped.aborted) tell(paint('red', '✗'), (error as Error).message);
    return { isWhole: false, longestFallMs, longestChangeMs };
  }
}

/**
 * As one would run it where a node may die: nothing that a majority acknowledged may be lost, and calls may be slow, or
 * fail, until others lead.
 */
const OPTIONS: VerifyOptions = {
  deadline: 5_000,
  rate: 500,
  keys: 400,
  level: 'quorum',
  writers: 32,
  slowMs: 250,
  allow: ['failed', 'slow'],
};

/** `henge verify`, run beside the traffic with clients of its own. */
export class Verification {
  readonly #findings = new Findings(OPTIONS.slowMs);
  readonly #abort = new AbortController();
  readonly #clients: readonly Henge[];
  readonly #facts: Promise<RunFacts>;
  #failedBefore = 0;

  private constructor(reader: Henge, writer: Henge) {
    this.#clients = [reader, writer];
    this.#facts = runVerification({
      reader,
      writer,
      options: OPTIONS,
      findings: this.#findings,
      abort: this.#abort,
    });
    this.#facts.catch(() => undefined); // end() meets it again
  }

  static async begin(seeds: readonly string[]): Promise<Verification> {
    const connect = (ack: 'one' | 'quorum') =>
      Henge.connect({ seeds: [...seeds], name: 'henge-verify', deadlineMs: OPTIONS.deadline, ack });
    return new Verification(await connect('one'), await connect('quorum'));
  }

  /** From now on no call may fail any more: nobody dies. */
  expectNoFailures(): void {
    this.#failedBefore = this.#findings.counts.failed;
  }

  /** Reads every key a last time. Resolves to the verdict as `henge verify` writes it, and whether it is a good one. */
  async end(paint: Scene['paint']): Promise<{ readonly isGood: boolean; readonly lines: readonly string[] }> {
    const failed = this.#findings.counts.failed - this.#failedBefore;
    this.#abort.abort();
    const facts = await this.#facts;
    for (const client of this.#clients) await client.close();
    const isGood = verdictOf(this.#findings, facts) === 'passed' && failed === 0;
    const since = `calls that failed while no node was dead: ${paint(failed === 0 ? 'green' : 'red', String(failed))}`;
    const result = drawResult(this.#findings, facts, paint);
    return { isGood, lines: [paint('bold', 'henge verify'), '', ...result.slice(0, -1), since, ...result.slice(-1)] };
  }
}
