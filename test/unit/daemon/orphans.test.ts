/** Memory and processes left behind by a daemon that died alone. Real processes, real memory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig } from '../../../src/daemon/config.js';
import { type Footprint, FootprintFile } from '../../../src/daemon/footprint.js';
import { createLog } from '../../../src/daemon/log.js';
import { Orphans } from '../../../src/daemon/orphans.js';
import { bootId, isRunning, type ProcessMark, processMark } from '../../../src/daemon/processes.js';
import { loadAddon } from '../../../src/store/index.js';
import { scratch } from '../../support/daemon.js';

const MIB = 2 ** 20;
const log = createLog({}, 'silent');
const addon = loadAddon();
const children: ChildProcess[] = [];

/** A process that runs `code` with the addon as `addon` and `path` given, and says a word when it is done. */
async function child(code: string, path = ''): Promise<{ readonly process: ChildProcess; readonly said: string }> {
  const library = new URL('../../../native/build/henge.node', import.meta.url).pathname;
  const script = `const addon = require(${JSON.stringify(library)}); const path = ${JSON.stringify(path)}; ${code}`;
  const started = spawn(process.execPath, ['-e', `${script}; setInterval(() => {}, 1000)`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(started);
  const [said] = (await once(started.stdout as NodeJS.EventEmitter, 'data')) as [Buffer];
  return { process: started, said: said.toString().trim() };
}

const creates = `globalThis.arena = addon.create({
  bytes: ${32 * MIB}, valueBytesMax: ${MIB}, nodeName: 'a', nodeNumber: 1, replicated: true, hashSeed: 7n,
}); console.log(arena.path + ' ' + arena.incarnation)`;
/** Ends as a worker does when it is told to drain. */
const works = `globalThis.arena = addon.attach(path); globalThis.worker = arena.worker();
  process.on('SIGUSR2', () => { worker.close(); process.exit(0); }); console.log('works')`;

const markOf = ({ pid }: ChildProcess): ProcessMark => processMark(pid ?? 0) as ProcessMark;

async function kill(victim: ChildProcess): Promise<void> {
  const ended = once(victim, 'exit');
  victim.kill('SIGKILL');
  await ended;
}

afterEach(async () => {
  const running = children.splice(0).filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
  await Promise.all(running.map(kill));
});

test('a process is known by the moment it began, and gone when nobody waited for it', async () => {
  const { process: other } = await child("console.log('here')");
  const mark = markOf(other);
  expect(isRunning(mark)).toBe(true);
  expect(isRunning({ ...mark, startedAt: '1' })).toBe(false);
  await kill(other);
  expect(isRunning(mark)).toBe(false);
  expect(processMark(2 ** 30)).toBeUndefined();
});

describe('workers whose daemon was killed alone', () => {
  let footprint: Footprint;
  let path: string;
  let daemon: ChildProcess;
  let worker: ChildProcess;
  const { config } = loadConfig({
    flags: { memory: '32mb', maxValue: '1mb', registry: 'dir:/nowhere', name: 'a' },
    environment: {},
  });

  beforeEach(async () => {
    const made = await child(creates);
    const [madeAt = '', incarnation = ''] = made.said.split(' ');
    path = madeAt;
    daemon = made.process;
    worker = (await child(works, path)).process;
    footprint = {
      name: 'a',
      incarnation,
      bootId: bootId(),
      port: 7411,
      memory: 32 * MIB,
      maxValue: MIB,
      rf: 2,
      primary: markOf(daemon),
      workers: [markOf(worker)],
    };
  });

  test('are no orphans while it lives, nor after another boot, nor when they are gone', async () => {
    expect(Orphans.find(footprint, log)).toBeUndefined();
    await kill(daemon);
    expect(Orphans.find({ ...footprint, bootId: 'another' }, log)).toBeUndefined();
    expect(Orphans.find(footprint, log)?.count).toBe(1);
    await kill(worker);
    expect(Orphans.find(footprint, log)).toBeUndefined();
  });

  test('leave their memory to the next, with what was in it, and then drain', async () => {
    await kill(daemon);
    const orphans = Orphans.find(footprint, log);
    const arena = await orphans?.adoptMemory(addon, config);
    expect(arena?.incarnation).toBe(footprint.incarnation);
    expect(arena?.path).toMatch(new RegExp(`^/proc/${process.pid}/fd/`));
    if (arena === undefined) return;
    const own = arena.worker();
    await orphans?.drain(arena);
    expect(orphans?.count).toBe(0);
    if (worker.exitCode === null) await once(worker, 'exit');
    expect(worker.exitCode).toBe(0);
    // From here on this process is what others find the memory by.
    expect(addon.attach(arena.path).incarnation).toBe(footprint.incarnation);
    own.close();
    arena.close(true);
  });

  test('are not taken from a daemon that lives', () => {
    expect(() => addon.takeOver(path)).toThrow(expect.objectContaining({ code: 'IN_USE' }));
  });

  test('are ended when their memory was made for other settings', async () => {
    await kill(daemon);
    const orphans = Orphans.find(footprint, log);
    expect(await orphans?.adoptMemory(addon, { ...config, memory: 64 * MIB })).toBeUndefined();
    expect(isRunning(footprint.workers[0] as ProcessMark)).toBe(false);
  });

  test('that are stuck are killed, and their places are free', { timeout: 30_000 }, async () => {
    await kill(daemon);
    const orphans = Orphans.find(footprint, log);
    const arena = await orphans?.adoptMemory(addon, config);
    worker.kill('SIGSTOP');
    if (arena === undefined) throw new Error('not adopted');
    await orphans?.drain(arena);
    expect(arena.stats().workerDeaths).toBeGreaterThan(0);
    arena.close(true);
  });
});

test('a footprint is read as it was written, and not at all when it is cut off', () => {
  using folder = scratch();
  const file = new FootprintFile({ name: 'a', registry: `dir:${folder.path}` });
  expect(file.read()).toBeUndefined();
  const mark = processMark(process.pid) as ProcessMark;
  const footprint: Footprint = {
    name: 'a',
    incarnation: 'x',
    bootId: bootId(),
    port: 1,
    memory: 1,
    maxValue: 1,
    rf: 1,
    primary: mark,
    workers: [],
  };
  file.write(footprint);
  expect(file.read()).toEqual(footprint);
  file.remove();
  expect(file.read()).toBeUndefined();
});
