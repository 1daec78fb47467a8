/**
 * The demonstration: three nodes, a slow origin, real cities, and in mid-load a whole node killed, one added, and one
 * that leaves.
 *
 *   npm start                 runs it, then leaves the cluster and its dashboard up until Ctrl-C
 *   npm start -- --once       runs it and stops; exit status 0 only if nothing was lost and no request failed
 *   npm start -- --seconds N  makes the load last N seconds, and until everything has been shown
 */
import { parseArgs } from 'node:util';
import { readCluster } from '../src/cli/report.js';
import { paintFor, screenOf } from '../src/cli/terminal.js';
import { type DemoCluster, startCluster } from './cluster.js';
import { Origin } from './origin.js';
import { Show } from './show.js';
import { tellStory, Verification } from './story.js';
import { Traffic } from './traffic.js';
import { verify } from './verify.js';
import { balance, type Story, title } from './view.js';

const SECONDS_DEFAULT = 30;
/** When the node dies, as a part of the whole. */
const KILL_AT = 0.2;

const screen = screenOf(process.stdout);
const paint = paintFor(screen);
const say = (line: string) => process.stdout.write(`${line}\n`);

const { values: flags } = parseArgs({
  options: { once: { type: 'boolean', default: false }, seconds: { type: 'string', default: String(SECONDS_DEFAULT) } },
});
const durationMs = Number(flags.seconds) * 1000;
if (!(durationMs >= 1_000)) {
  process.stderr.write(`--seconds takes a number from 1 on, not '${flags.seconds}'\n`);
  process.exit(2);
}

async function main(): Promise<number> {
  for (const line of title(paint)) say(line);
  const cluster = await startCluster().catch((error: unknown) => {
    process.stderr.write(`${(error as Error).message}\n`);
    return undefined;
  });
  if (cluster === undefined) return 1;
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stopping.abort());
  try {
    const isGood = await demonstrate(cluster, stopping.signal);
    if (!flags.once && !stopping.signal.aborted) await stayUp(cluster, stopping.signal);
    return isGood ? 0 : 1;
  } finally {
    await cluster.stop();
  }
}

/** Runs the load and the check, shows both, and says whether all went well. */
async function demonstrate(cluster: DemoCluster, stopped: AbortSignal): Promise<boolean> {
  if (cluster.hasOtherPorts) say(`  The usual ports are taken; this cluster listens on ${cluster.seeds.join(', ')}.`);
  say(`  dashboard  ${paint('bold', cluster.dashboard)}\n`);
  const origin = new Origin();
  const traffic = new Traffic(cluster.client, origin);
  const show = new Show({ client: cluster.client, traffic, origin, durationMs, screen, paint });
  const done = new AbortController();
  const verification = await Verification.begin(cluster.seeds);
  let telling = Promise.resolve<Story>({ isWhole: false, longestFallMs: 0, longestChangeMs: 0 });
  // The story is told to its end, and the load goes on as long.
  const end = setTimeout(() => void telling.then(() => done.abort()), durationMs);
  const kill = setTimeout(() => {
    telling = tellStory({ cluster, show, traffic, paint }, stopped, () => verification.expectNoFailures());
  }, durationMs * KILL_AT);
  const stop = () => done.abort();
  stopped.addEventListener('abort', stop, { once: true });
  show.begin();
  await traffic.run(done.signal);
  clearTimeout(end);
  clearTimeout(kill);
  const story = await telling;
  const frame = await show.end();
  const judged = await verification.end(paint);

  const verdict = await verify(cluster.client, traffic.acknowledged, traffic.visited);
  const { nodes } = await readCluster(cluster.client);
  const memory = {
    items: nodes.reduce((sum, node) => sum + node.items, 0),
    bytes: nodes.reduce((sum, node) => sum + node.bytes, 0),
  };
  for (const line of balance({ frame, verdict, memory, story }, paint)) say(line);
  for (const line of judged.lines) say(`  ${line}`.trimEnd());
  say('');
  return story.isWhole && judged.isGood && traffic.tally.failures === 0 && verdict.lost + verdict.wrong === 0;
}

async function stayUp(cluster: DemoCluster, stopped: AbortSignal): Promise<void> {
  const [first] = cluster.seeds;
  const seeds = cluster.hasOtherPorts ? ` --seeds ${first}` : '';
  const command = (words: string, remark: string) =>
    say(`    npx henge ${`${words}${seeds}`.padEnd(34)} ${paint('dim', remark)}`);
  say(`  The cluster is still up. Its dashboard: ${paint('bold', cluster.dashboard)}. In another terminal, try`);
  say('');
  command('status', 'the nodes and what they hold');
  command('ring', 'who leads which part of the keys');
  command('get city:1', 'a city from the cache, if somebody asked for it');
  command('bench', 'as much load as one client can make');
  command('top', 'what the nodes are doing, live');
  say('');
  say('  Ctrl-C stops it all.');
  const wish = new Promise<void>((resolve) => stopped.addEventListener('abort', () => resolve(), { once: true }));
  await Promise.race([wish, cluster.ended]);
}

process.exitCode = await main();
