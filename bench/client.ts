/**
 * One Node process with a client in it: Henge against ioredis (as it comes, and with auto-pipelining), node-redis and
 * memjs.
 *
 * 90 % gets and 10 % sets of 100-byte strings over 100,000 keys, all present, 64 and 512 calls in flight; then one in
 * flight, against a bare socket. Server on one core, client process on the other, a fresh process for each round. With
 * --kill, instead, what SIGKILL does to Henge's callers (load/kill.ts).
 */
import type { ClosedResult } from './load/closed.js';
import type { DriverName } from './load/driver.js';
import { killFigures } from './load/kill.js';
import { runRound } from './load/round.js';
import { compiledScript } from './paths.js';
import { type Measurement, median } from './report/figure.js';
import { packageVersion } from './report/report.js';
import { formatNumber } from './report/table.js';
import { alternate, type Context, type Suite } from './suite.js';
import { freePort, launch } from './targets/process.js';
import { CORES, installed, start, type TargetName } from './targets/targets.js';

const KEYS = 100_000;

interface Side {
  readonly driver: DriverName;
  readonly port: number;
}

type Results = ReadonlyMap<DriverName, readonly ClosedResult[]>;

/** Clients by the server they speak to, with the npm package they come from. */
const PEERS: readonly { readonly driver: DriverName; readonly target: TargetName; readonly package: string }[] = [
  { driver: 'ioredis-auto', target: 'redis-server', package: 'ioredis' },
  { driver: 'ioredis', target: 'redis-server', package: 'ioredis' },
  { driver: 'node-redis', target: 'redis-server', package: 'redis' },
  { driver: 'memjs', target: 'memcached', package: 'memjs' },
];

export const clientSuite: Suite = {
  name: 'client',
  summary: 'one Node client process against ioredis, node-redis and memjs; --kill: workers killed under the load',
  async run(context) {
    if (context.isKilling) return killFigures(context);
    const sides = await startSides(context);
    const at64 = await measure(context, sides, 64);
    const at512 = await measure(context, sides, 512);
    const echo = await startEcho(context);
    const at1 = await measure(context, [...sides.filter(({ driver }) => driver === 'henge'), echo], 1);
    return [
      ...throughput('client.inflight64', at64),
      ...throughput('client.inflight512', at512),
      ...cpu(at64),
      ...depth1(at1),
    ];
  },
};

async function startSides(context: Context): Promise<Side[]> {
  const names = await installed(context, ['henge', 'redis-server', 'memcached']);
  const sides: Side[] = [];
  for (const name of names) {
    const { port } = await start(context, name, { core: CORES.server });
    const drivers = name === 'henge' ? ['henge' as const] : clientsOf(context, name);
    // One filling for each server: what the first client set, the others find.
    for (const [index, driver] of drivers.entries()) {
      if (index === 0)
        await runRound({
          driver,
          seeds: [`127.0.0.1:${port}`],
          isFilling: true,
          ...shape(64),
          warmUpMs: 0,
          durationMs: 1,
        });
      sides.push({ driver, port });
    }
  }
  return sides;
}

function clientsOf(context: Context, target: TargetName): DriverName[] {
  return PEERS.filter((peer) => peer.target === target).flatMap((peer) => {
    const version = packageVersion(peer.package);
    if (version === undefined) {
      context.note(`npm package ${peer.package} is not installed: ${peer.driver} skipped`);
      return [];
    }
    context.version(peer.package, version);
    return [peer.driver];
  });
}

async function startEcho(context: Context): Promise<Side> {
  const port = await freePort();
  const words = [compiledScript('load/echo'), String(port)];
  const echo = await launch({ name: 'echo', command: process.execPath, words, port, core: CORES.server });
  context.defer(() => echo.stop());
  return { driver: 'echo', port };
}

function shape(inFlight: number) {
  return { inFlight, keys: KEYS, seed: 1 };
}

async function measure(context: Context, sides: readonly Side[], inFlight: number): Promise<Results> {
  const [rounds, durationMs] = context.isQuick ? [3, 500] : [9, 4000];
  const results = new Map<DriverName, ClosedResult[]>(sides.map(({ driver }) => [driver, []]));
  await alternate(sides, rounds, async ({ driver, port }, round) => {
    const job = { ...shape(inFlight), driver, seeds: [`127.0.0.1:${port}`], seed: round + 1, isFilling: false };
    const result = await runRound({ ...job, warmUpMs: durationMs / 4, durationMs });
    results.get(driver)?.push(result);
    const speed = `${formatNumber(Math.round(result.operationsPerSecond))} ops/s`;
    const cost = `${formatNumber(result.cpuMicrosecondsPerOperation)} us of CPU an operation`;
    context.note(
      `${inFlight} in flight, round ${round + 1}, ${driver}: ${speed}, ${cost}, p50 ${formatNumber(result.p50)} us`,
    );
    if (result.misses > 0) context.note(`${driver} missed ${result.misses} keys that had been set`);
  });
  return results;
}

/** The goal's figure is against the faster of ioredis and node-redis; every peer has a figure of its own beside it. */
function throughput(id: string, results: Results): Measurement[] {
  const compare = (name: string, driver: DriverName): Measurement => ({
    id: name,
    unit: 'ops/s',
    values: speeds(results, 'henge'),
    against: { name: driver, values: speeds(results, driver) },
  });
  const redis = present(results, ['ioredis-auto', 'ioredis', 'node-redis']);
  const fastest = redis.sort((a, b) => median(speeds(results, b)) - median(speeds(results, a))).slice(0, 1);
  const all = present(results, ['ioredis-auto', 'ioredis', 'node-redis', 'memjs']);
  return [...fastest.map((driver) => compare(id, driver)), ...all.map((driver) => compare(`${id}.${driver}`, driver))];
}

function present(results: Results, drivers: readonly DriverName[]): DriverName[] {
  return drivers.filter((driver) => results.has(driver));
}

function speeds(results: Results, driver: DriverName): number[] {
  return (results.get(driver) ?? []).map(({ operationsPerSecond }) => operationsPerSecond);
}

/** CPU time of the client's process for an operation, 64 in flight. */
function cpu(results: Results): Measurement[] {
  const costs = (driver: DriverName) => (results.get(driver) ?? []).map((result) => result.cpuMicrosecondsPerOperation);
  return present(results, ['ioredis-auto', 'ioredis', 'node-redis', 'memjs']).map((driver) => ({
    id: driver === 'ioredis-auto' ? 'client.cpu' : `client.cpu.${driver}`,
    unit: 'us/op',
    values: costs('henge'),
    against: { name: driver, values: costs(driver) },
  }));
}

function depth1(results: Results): Measurement[] {
  const p50 = (driver: DriverName) => (results.get(driver) ?? []).map((result) => result.p50);
  return [
    { id: 'client.depth1', unit: 'us', values: p50('henge'), against: { name: 'bare echo', values: p50('echo') } },
  ];
}
