/**
 * The HTTP face: GET /v1/cache/KEY at a fixed rate, so that latency is measured from when a request was due
 * (autocannon's `overallRate`), against a bare node:http server that answers the same bytes; then as fast as it goes.
 */
import autocannon from 'autocannon';
import { compiledScript } from './paths.js';
import type { Measurement } from './report/figure.js';
import { formatNumber } from './report/table.js';
import { alternate, type Context, type Suite } from './suite.js';
import { freePort, launch } from './targets/process.js';
import { CORES, installed, start } from './targets/targets.js';

const CONNECTIONS = 20;
/** Well below what a bare server can do on one core, so that latency is not that of a queue. */
const RATE = 2_000;

interface Side {
  readonly name: string;
  readonly url: string;
}

interface Samples {
  readonly p99Ms: number[];
  readonly requestsPerSecond: number[];
}

export const httpSuite: Suite = {
  name: 'http',
  summary: 'GET /v1/cache/KEY by autocannon, against a bare node:http server',
  async run(context) {
    if ((await installed(context, ['henge'])).length === 0) return [];
    const sides = [await startHenge(context), await startBare(context)];
    const samples = new Map(sides.map(({ name }): [string, Samples] => [name, { p99Ms: [], requestsPerSecond: [] }]));
    const [rounds, seconds] = context.isQuick ? [3, 2] : [5, 8];
    await alternate(sides, rounds, async (side, round) => {
      const paced = await shoot(side, seconds, RATE);
      const free = await shoot(side, seconds, undefined);
      samples.get(side.name)?.p99Ms.push(paced.latency.p99);
      samples.get(side.name)?.requestsPerSecond.push(free.requests.average);
      const speed = `${formatNumber(free.requests.average)} requests/s`;
      context.note(`round ${round + 1} ${side.name}: ${speed}, p99 ${paced.latency.p99} ms at ${RATE} requests/s`);
    });
    return figures(samples);
  },
};

function figures(samples: ReadonlyMap<string, Samples>): Measurement[] {
  const ours = samples.get('henge');
  const theirs = samples.get('node:http');
  if (ours === undefined || theirs === undefined) return [];
  return [
    {
      id: 'http.get',
      unit: 'requests/s',
      values: ours.requestsPerSecond,
      against: { name: 'node:http', values: theirs.requestsPerSecond },
    },
    // Whole milliseconds are all autocannon tells, so a ratio would say nothing.
    { id: 'http.get.p99', unit: 'ms', values: ours.p99Ms },
  ];
}

async function startHenge(context: Context): Promise<Side> {
  const { host, httpPort } = await start(context, 'henge', { core: CORES.server });
  const url = `http://${host}:${httpPort}/v1/cache/bench`;
  const { ok, status } = await fetch(url, { method: 'PUT', body: 'v'.repeat(100) });
  if (!ok) throw new Error(`PUT ${url} was answered with ${status}`);
  return { name: 'henge', url };
}

async function startBare(context: Context): Promise<Side> {
  const port = await freePort();
  const words = [compiledScript('load/bare-http'), String(port)];
  const server = await launch({ name: 'node:http', command: process.execPath, words, port, core: CORES.server });
  context.defer(() => server.stop());
  return { name: 'node:http', url: `http://${server.host}:${port}/v1/cache/bench` };
}

async function shoot({ name, url }: Side, seconds: number, overallRate: number | undefined) {
  const pace = overallRate === undefined ? {} : { overallRate };
  const result = await autocannon({ url, connections: CONNECTIONS, duration: seconds, ...pace });
  const failed = result.errors + result.non2xx;
  if (failed > 0) throw new Error(`${failed} requests to ${name} failed`);
  return result;
}
