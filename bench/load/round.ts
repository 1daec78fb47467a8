/**
 * One round of a closed loop, in a process of its own: `node round.js JOB`, JOB and the answer in JSON. A fresh
 * process for each round, because the code V8 has optimised for one client would run, or be thrown away, under the next
 * one's feet.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { whereIs } from '../../src/cli/report.js';
import { type AckLevel, Henge } from '../../src/index.js';
import { compiledScript } from '../paths.js';
import { pinned } from '../targets/process.js';
import { CORES } from '../targets/targets.js';
import { type ClosedLoad, type ClosedResult, fillKeys, keyOf, runClosed } from './closed.js';
import { type DriverName, openDriver } from './driver.js';

export interface Round extends ClosedLoad {
  readonly driver: DriverName;
  readonly seeds: readonly string[];
  /** Acknowledgements that a write of Henge's waits for. */
  readonly ack?: AckLevel;
  /** Only keys that this node of Henge's leads. */
  readonly leader?: string;
  /** Set every key before anything is measured. */
  readonly isFilling: boolean;
}

/** Runs a round in a new process, on the load's core. */
export async function runRound(round: Round): Promise<ClosedResult> {
  const words = [process.execPath, compiledScript('load/round'), JSON.stringify(round)] as const;
  const [program, ...programWords] = pinned(CORES.load, [...words]);
  const { stdout } = await promisify(execFile)(program, programWords);
  return JSON.parse(stdout) as ClosedResult;
}

async function keysOf({ keys, leader, seeds }: Round): Promise<string[]> {
  const all = Array.from({ length: keys }, (_, index) => keyOf(index));
  if (leader === undefined) return all;
  const client = await Henge.connect({ seeds: [...seeds] });
  const places = await whereIs(client, all);
  await client.close();
  return places.filter(({ node }) => node === leader).map(({ key }) => key);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const round = JSON.parse(process.argv[2] ?? '') as Round;
  const driver = await openDriver(round.driver, round.seeds, round.ack);
  const keys = await keysOf(round);
  if (round.isFilling) await fillKeys(driver, keys);
  const result = await runClosed(driver, round, keys);
  await driver.close();
  console.log(JSON.stringify(result));
}
