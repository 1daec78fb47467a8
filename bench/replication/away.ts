/**
 * A node away for 10 s under 10,000 writes a second, RF 2: killed whole by SIGKILL, its memory kept in a file
 * (--arena), and started again.
 *
 * How long from its start until it is declared in sync, and how much it was sent for that, against the bytes of what it
 * missed: of every key it keeps a copy of that was written meanwhile, the newest version once. What is written while it
 * catches up reaches it as every write does, and counts on neither side.
 */
import { whereIs } from '../../src/cli/report.js';
import { Henge } from '../../src/index.js';
import { ITEM_RECORD_BYTES } from '../../src/protocol/index.js';
import { VALUE_BYTES } from '../load/driver.js';
import { keyName, type PacedOptions } from '../load/paced.js';
import { PacedProcess } from '../load/paced-process.js';
import type { Measurement } from '../report/figure.js';
import { formatNumber } from '../report/table.js';
import type { Context } from '../suite.js';
import { BenchCluster, type LogLine } from '../targets/cluster.js';

const VICTIM = 'c';
const VICTIM_NUMBER = 3;
const RF = 2;
const AWAY_MS = 10_000;
const WARM_UP_MS = 3_000;
const RESTORED_MS_MAX = 60_000;
/** Items of others that came to be here are told a little later than the epoch that says so. */
const SETTLE_MS = 1_000;

const LOAD: PacedOptions = {
  ratePerSecond: 10_000,
  writeShare: 1,
  ack: 'one',
  keys: 200_000,
  writeDeadlineMs: 30_000,
  tellsWrittenKeys: true,
};

export async function awayFigures(context: Context): Promise<Measurement[]> {
  const cluster = await BenchCluster.start(context, {
    nodes: 3,
    rf: RF,
    hasArenas: true,
    words: ['--log-level=debug'],
  });
  const client = await Henge.connect({ seeds: [...cluster.seeds] });
  context.defer(() => client.close());
  const copies = await keysCopiedTo(client, VICTIM);
  const load = await PacedProcess.start(context, cluster.seeds, LOAD);
  const victim = cluster.node(VICTIM);
  const witness = cluster.node('a');
  await sleep(WARM_UP_MS);
  await load.mark();
  await victim.killAll();
  await sleep(AWAY_MS);
  const away = await load.mark();

  const from = witness.log.length;
  const startedAtMs = performance.now();
  await victim.start();
  const readyAtMs = performance.now();
  const restored = await witness.logged(isWhole, from, RESTORED_MS_MAX);
  await sleep(SETTLE_MS);
  const back = await load.mark();
  const { verdict } = await load.stop();
  await sleep(SETTLE_MS);
  const items = await itemsIn(client, cluster);

  const sent = cluster.nodes.flatMap(({ log }) => log.filter((line) => isSentTo(line) && line.readAtMs >= startedAtMs));
  const sentBytes = sum(sent.map(({ bytes }) => Number(bytes)));
  const missed = away.writtenKeys.filter((key) => copies.has(key));
  const missedBytes = sum(missed.map((key) => ITEM_RECORD_BYTES + keyName(key).length + VALUE_BYTES));
  const rate = away.writes / away.seconds;
  context.note(
    `${formatNumber(Math.round(rate))} writes/s; node ${VICTIM} missed ${formatNumber(missed.length)} keys; ` +
      `it was ready ${Math.round(readyAtMs - startedAtMs)} ms after its start; ${sent.length} streams sent ` +
      `${formatNumber(sum(sent.map((line) => Number(line.items))))} items`,
  );
  await client.close();
  await cluster.stop();
  return [
    figure('replication.away.rate', 'writes/s', rate),
    figure('replication.away.failedWrites', 'writes', away.failedWrites + back.failedWrites),
    figure('replication.away.restored', 'ms', (restored?.readAtMs ?? Number.POSITIVE_INFINITY) - startedAtMs),
    {
      id: 'replication.away.sent',
      unit: 'bytes',
      values: [sentBytes],
      against: { name: 'missed', values: [missedBytes] },
    },
    figure('replication.away.copiesMissing', 'items', Math.max(0, RF * (LOAD.keys - verdict.lost.length) - items)),
    figure('replication.away.lost', 'writes', verdict.lostWrites),
  ];
}

/** An epoch with everybody in. */
const isWhole = ({ event, away, returning }: LogLine): boolean =>
  event === 'topology' && [away, returning].every((names) => Array.isArray(names) && names.length === 0);

const isSentTo = ({ event, peer }: LogLine): boolean =>
  (event === 'caught-up' || event === 'catch-up-failed' || event === 'pulled') && peer === VICTIM_NUMBER;

async function keysCopiedTo(client: Henge, name: string): Promise<ReadonlySet<number>> {
  const places = await whereIs(
    client,
    Array.from({ length: LOAD.keys }, (_, key) => keyName(key)),
  );
  return new Set(places.flatMap(({ node, replicas }, key) => (node === name || replicas.includes(name) ? [key] : [])));
}

async function itemsIn(client: Henge, cluster: BenchCluster): Promise<number> {
  const stats = await Promise.all(cluster.nodes.map(({ name }) => client.stats(name)));
  return sum(stats.map(({ items }) => Number(items)));
}

const figure = (id: string, unit: string, value: number): Measurement => ({ id, unit, values: [value] });

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
