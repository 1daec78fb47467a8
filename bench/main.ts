/**
 * The harness: the same load on Henge and on what people use today, both in one run.
 *
 *   npm run bench                                  lists the suites
 *   npm run bench -- SUITE [--quick] [--json FILE] [--traces DIR] [--kill] [--only CASE]
 *
 * Exit status 0 when the suite ran, whether or not the goals were held; 1 when it failed; 2 for wrong usage.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { clientSuite } from './client.js';
import { failoverSuite } from './failover.js';
import { hitsSuite } from './hits.js';
import { httpSuite } from './http.js';
import { memorySuite } from './memory.js';
import { nodeSuite } from './node.js';
import { rebalanceSuite } from './rebalance.js';
import { replicationSuite } from './replication.js';
import { toFigure } from './report/figure.js';
import { describeMachine, hengeVersion, type Report } from './report/report.js';
import { renderTable } from './report/table.js';
import { ringSuite } from './ring.js';
import type { Context, Suite } from './suite.js';

const SUITES: readonly Suite[] = [
  clientSuite,
  nodeSuite,
  memorySuite,
  ringSuite,
  hitsSuite,
  httpSuite,
  failoverSuite,
  replicationSuite,
  rebalanceSuite,
];

const USAGE = 'npm run bench -- SUITE [--quick] [--json FILE] [--traces DIR] [--kill] [--only CASE]';

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  json: { type: 'string' },
  traces: { type: 'string' },
  kill: { type: 'boolean', default: false },
  only: { type: 'string' },
} as const;

process.exitCode = await main(process.argv.slice(2));

async function main(words: string[]): Promise<number> {
  const parsed = parse(words);
  if (typeof parsed === 'string') return complain(parsed);
  const { values, positionals } = parsed;
  if (positionals.length === 0) return list();
  const suite = SUITES.find(({ name }) => name === positionals[0]);
  if (suite === undefined || positionals.length > 1) return complain(`There is no suite ${positionals.join(' ')}.`);

  const report = await runSuite(suite, values, ['npm run bench --', ...words].join(' '));
  console.log(renderTable(report.figures));
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(report, null, 2)}\n`);
  return 0;
}

type Options = NonNullable<Exclude<ReturnType<typeof parse>, string>>['values'];

function parse(words: string[]) {
  try {
    return parseArgs({ args: words, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    return (error as Error).message;
  }
}

async function runSuite(suite: Suite, options: Options, command: string): Promise<Report> {
  const at = new Date().toISOString();
  const versions: Record<string, string> = { henge: hengeVersion(), node: process.version };
  const cleanUps: (() => Promise<void> | void)[] = [];
  const context: Context = {
    isQuick: options.quick,
    tracesFolder: options.traces,
    isKilling: options.kill,
    only: options.only,
    note: (line) => console.error(`# ${line}`),
    version: (name, version) => {
      versions[name] = version;
    },
    defer: (cleanUp) => cleanUps.push(cleanUp),
  };
  const undo = async () => {
    for (let cleanUp = cleanUps.pop(); cleanUp !== undefined; cleanUp = cleanUps.pop()) await cleanUp();
  };
  // An interrupted run must not leave servers behind.
  process.once('SIGINT', () => void undo().then(() => process.exit(130)));
  try {
    const measurements = await suite.run(context);
    const figures = measurements.map((measurement) => toFigure(measurement, command));
    return { suite: suite.name, at, machine: describeMachine(), versions, figures };
  } finally {
    await undo();
  }
}

function list(): number {
  const width = Math.max(...SUITES.map(({ name }) => name.length));
  for (const { name, summary } of SUITES) console.log(`${name.padEnd(width)}  ${summary}`);
  console.log(`\n${USAGE}`);
  return 0;
}

function complain(problem: string): number {
  console.error(`${problem}\nUsage: ${USAGE}`);
  return 2;
}
