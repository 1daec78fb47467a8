/**
 * The paced load in a process of its own: a client does not share its thread with who kills nodes and counts epochs.
 * Keys are grouped by the node that leads them when the load begins.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { whereIs } from '../../src/cli/report.js';
import { Henge } from '../../src/index.js';
import { compiledScript } from '../paths.js';
import type { Context } from '../suite.js';
import { type CallersName, connectCallers } from './callers.js';
import type { Verdict } from './ledger.js';
import { keyNames, PacedLoad, type PacedOptions, type Phase } from './paced.js';

interface Order {
  readonly callers: CallersName;
  readonly seeds: readonly string[];
  readonly load: PacedOptions;
}

type Answer = { readonly kind: 'begun'; readonly leaders: readonly string[] } | Marked | Judged;
type Marked = { readonly kind: 'marked'; readonly phase: Phase };
type Judged = { readonly kind: 'judged'; readonly phase: Phase; readonly verdict: Verdict };
type Wish = 'mark' | 'stop';

export class PacedProcess {
  private constructor(
    private readonly child: ChildProcess,
    /** Names of the nodes, in the order of a phase's groups. */
    readonly leaders: readonly string[],
  ) {}

  /** Fills the keys and begins. The process ends with the suite, if not before. */
  static async start(
    context: Context,
    seeds: readonly string[],
    load: PacedOptions,
    callers: CallersName = 'henge',
  ): Promise<PacedProcess> {
    const order: Order = { callers, seeds, load };
    const child = fork(compiledScript('load/paced-process'), [JSON.stringify(order)]);
    context.defer(() => void child.kill('SIGKILL'));
    const begun = await answerOf(child);
    if (begun.kind !== 'begun') throw new Error('the load answered before it was asked');
    return new PacedProcess(child, begun.leaders);
  }

  /** Ends a phase and begins the next. */
  async mark(): Promise<Phase> {
    const answer = await this.#ask('mark');
    if (answer.kind !== 'marked') throw new Error(`the load answered ${answer.kind}`);
    return answer.phase;
  }

  /** Ends the load, and reads all keys. */
  async stop(): Promise<{ readonly phase: Phase; readonly verdict: Verdict }> {
    const answer = await this.#ask('stop');
    if (answer.kind !== 'judged') throw new Error(`the load answered ${answer.kind}`);
    return answer;
  }

  #ask(wish: Wish): Promise<Answer> {
    this.child.send(wish);
    return answerOf(this.child);
  }
}

async function answerOf(child: ChildProcess): Promise<Answer> {
  const ended = once(child, 'exit').then(([status]) => {
    throw new Error(`the load ended with ${status}`);
  });
  ended.catch(() => undefined); // it may end after it has answered
  const [answer] = (await Promise.race([once(child, 'message'), ended])) as [Answer];
  return answer;
}

async function serve({ callers, seeds, load }: Order): Promise<void> {
  const client = await connectCallers(callers, seeds);
  const places = client instanceof Henge ? await whereIs(client, keyNames(load)) : [];
  const leaders = [...new Set(places.map(({ node }) => node))].sort();
  const groups = new Map(places.map(({ key, node }) => [key, leaders.indexOf(node)]));
  const paced = new PacedLoad(client, load, (name) => groups.get(name) ?? 0);
  await paced.fill();
  paced.start();
  // Whoever asked for the load is gone: it must not go on for ever beside whatever is measured next.
  process.on('disconnect', () => process.exit());
  const tell = (answer: Answer) => process.send?.(answer);
  process.on('message', async (wish: Wish) => {
    if (wish === 'mark') return tell({ kind: 'marked', phase: paced.mark() });
    await paced.stop();
    tell({ kind: 'judged', phase: paced.mark(), verdict: await paced.judge() });
    await client.close();
    process.disconnect();
  });
  tell({ kind: 'begun', leaders });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await serve(JSON.parse(process.argv[2] ?? '') as Order);
