/** A node as its operator meets it: what a kill, a restart and a signal cost. Real processes, real memory. */
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { Henge } from '../../src/client/index.js';
import {
  frameBytes,
  helloExtras,
  NONCE_BYTES,
  Opcode,
  peerHello,
  Role,
  readResponse,
  requestFrame,
  Status,
} from '../../src/protocol/index.js';
import { scratch, TestDaemon } from '../support/daemon.js';

/** Long enough for a loaded machine; what is promised is checked by other means. */
const TIMEOUT_MS = 30_000;

/** Writes keys until told to stop; each value is its key's number. Returns the numbers that were acknowledged. */
function writeSteadily(client: Henge): { stop(): Promise<readonly number[]> } {
  const acknowledged: number[] = [];
  let isStopped = false;
  const write = async (): Promise<void> => {
    for (let next = 0; !isStopped; next++) {
      const numbers = Array.from({ length: 20 }, (_, index) => next * 20 + index);
      const outcomes = await Promise.allSettled(numbers.map((number) => client.set(`key-${number}`, number)));
      outcomes.forEach((outcome, index) => {
        if (outcome.status === 'fulfilled') acknowledged.push(numbers[index] ?? -1);
      });
    }
  };
  const writing = write();
  return {
    stop: async () => {
      isStopped = true;
      await writing;
      return acknowledged;
    },
  };
}

async function missing(client: Henge, numbers: readonly number[]): Promise<number[]> {
  const values = await client.getMany(numbers.map((number) => `key-${number}`));
  return numbers.filter((number, index) => values[index] !== number);
}

test('a worker killed under load is replaced, and nothing it acknowledged is lost', {
  timeout: TIMEOUT_MS,
}, async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path);
  await using client = await Henge.connect({ seeds: daemon.address });
  const writing = writeSteadily(client);
  for (let kills = 0; kills < 4; kills++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const from = daemon.log.length;
    process.kill(daemon.workerPids.at(-1) ?? 0, 'SIGKILL');
    await daemon.event('worker-died', from);
    await daemon.event('worker-ready', from);
  }
  const acknowledged = await writing.stop();
  expect(acknowledged.length).toBeGreaterThan(0);
  expect(await missing(client, acknowledged)).toEqual([]);
});

test('what workers counted is still counted after their death', { timeout: TIMEOUT_MS }, async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path);
  const client = await Henge.connect({ seeds: daemon.address });
  await client.setMany(Array.from({ length: 500 }, (_, index) => [`key-${index}`, index] as const));
  await client.close();
  for (const pid of daemon.workerPids) {
    const from = daemon.log.length;
    process.kill(pid, 'SIGKILL');
    await daemon.event('worker-ready', from);
  }
  expect(await daemon.metric('henge_commands_total{command="set"}')).toBe(500);
  expect(await daemon.metric('henge_items')).toBe(500);
  expect(await daemon.metric('henge_worker_restarts_total')).toBe(2);
});

test('SIGTERM and a restart on the same arena file keep every item', { timeout: TIMEOUT_MS }, async () => {
  using folder = scratch();
  const arena = `--arena=${folder.path}/arena`;
  {
    await using daemon = await TestDaemon.start(folder.path, arena);
    await using client = await Henge.connect({ seeds: daemon.address });
    await client.setMany(Array.from({ length: 2_000 }, (_, index) => [`key-${index}`, index] as const));
    daemon.signal('SIGTERM');
    expect(await daemon.ended).toBe(0);
  }
  await using daemon = await TestDaemon.start(folder.path, arena);
  await using client = await Henge.connect({ seeds: daemon.address });
  expect((await daemon.event('arena')).origin).toBe('warm');
  expect(
    await missing(
      client,
      Array.from({ length: 2_000 }, (_, index) => index),
    ),
  ).toEqual([]);
});

test('SIGKILL of the whole daemon and a restart keep every acknowledged item', { timeout: TIMEOUT_MS }, async () => {
  using folder = scratch();
  const arena = `--arena=${folder.path}/arena`;
  let acknowledged: readonly number[];
  {
    await using daemon = await TestDaemon.start(folder.path, arena);
    await using client = await Henge.connect({ seeds: daemon.address, deadlineMs: 300 });
    const writing = writeSteadily(client);
    await new Promise((resolve) => setTimeout(resolve, 300));
    daemon.killAll();
    await daemon.ended;
    acknowledged = await writing.stop();
  }
  await using daemon = await TestDaemon.start(folder.path, arena);
  await using client = await Henge.connect({ seeds: daemon.address });
  expect((await daemon.event('arena')).origin).toBe('scrubbed');
  expect(acknowledged.length).toBeGreaterThan(0);
  expect(await missing(client, acknowledged)).toEqual([]);
});

test('a second signal ends a draining daemon at once, and not with status 0', { timeout: TIMEOUT_MS }, async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path);
  process.kill(daemon.workerPids[0] ?? 0, 'SIGSTOP');
  daemon.signal('SIGTERM');
  await daemon.event('draining');
  daemon.signal('SIGTERM');
  expect(await daemon.ended).toBe(1);
  process.kill(daemon.workerPids[0] ?? 0, 'SIGKILL');
});

test('a daemon whose parent is gone drains', { timeout: TIMEOUT_MS }, async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path);
  daemon.child.disconnect();
  expect(await daemon.ended).toBe(0);
});

test('a client that never reads stops being read, and the node goes on serving', { timeout: TIMEOUT_MS }, async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path, '--workers=1');
  await using client = await Henge.connect({ seeds: daemon.address, deadlineMs: 10_000 });
  await client.set('large', Buffer.alloc(500_000));
  const greedy = await greeted(daemon.address);
  greedy.pause();
  const get = requestFrame({ opcode: Opcode.GET, id: 1, key: Buffer.from('large') });
  // 20,000 reads of half a megabyte: ten gigabytes, if the node answered them all.
  greedy.write(Buffer.concat(Array.from({ length: 20_000 }, () => get)));
  for (let round = 0; round < 20; round++) expect(await client.get('other')).toBeUndefined();
  // Taken off the node: two buffers of the kernel's, and no more than a few answers of ours.
  expect(await daemon.metric('henge_hits_total')).toBeLessThan(200);
  greedy.destroy();
});

test('a stranger is told, and put out', { timeout: TIMEOUT_MS }, async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path);
  const { socket, answer } = await firstAnswer(
    daemon.address,
    requestFrame({ opcode: Opcode.HELLO, id: 7, extras: Buffer.alloc(12) }),
  );
  expect(answer).toMatchObject({ id: 7, status: Status.PROTOCOL_ERROR });
  await new Promise((resolve) => socket.once('close', resolve));
});

test('a stranger that calls itself a node is refused', { timeout: TIMEOUT_MS }, async () => {
  using folder = scratch();
  await using daemon = await TestDaemon.start(folder.path);
  const value = peerHello({ number: 9, nonce: Buffer.alloc(NONCE_BYTES) });
  const hello = requestFrame({ opcode: Opcode.HELLO, id: 7, extras: helloExtras(Role.PEER, 0), value });
  const { answer } = await firstAnswer(daemon.address, hello);
  expect(answer).toMatchObject({ id: 7, status: Status.REFUSED });
});

async function firstAnswer(address: string, request: Buffer) {
  const [host = '', port] = address.split(':');
  const socket = connect({ host, port: Number(port) });
  socket.on('error', () => {});
  socket.write(request);
  let received = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    received = Buffer.concat([received, chunk as Buffer]);
    const bytes = frameBytes(received, 0);
    if (bytes !== undefined && received.length >= bytes) break;
  }
  return { socket, answer: readResponse(received, 0) };
}

async function greeted(address: string): Promise<Socket> {
  const hello = requestFrame({ opcode: Opcode.HELLO, id: 1, extras: helloExtras(Role.CLIENT, 0) });
  return (await firstAnswer(address, hello)).socket;
}
