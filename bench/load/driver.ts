/**
 * The clients that are measured, behind the two calls the load makes. Each is used as its documentation shows, with its
 * defaults but for what its name here says; values go in and come out as strings.
 */
import { once } from 'node:events';
import { connect as openSocket, type Socket } from 'node:net';
import { type AckLevel, Henge } from '../../src/index.js';

export interface Driver {
  get(key: string): Promise<string | undefined>;
  set(key: string, value: string): Promise<unknown>;
  close(): Promise<void>;
}

export type DriverName = 'henge' | 'ioredis' | 'ioredis-auto' | 'node-redis' | 'memjs' | 'echo';

/** Opens a client of the servers at `seeds`, HOST:PORT each; only Henge's takes more than the first of them. */
export function openDriver(name: DriverName, seeds: readonly string[], ack: AckLevel = 'one'): Promise<Driver> {
  if (name === 'henge') return openHenge(seeds, ack);
  return DRIVERS[name](Number(seeds[0]?.split(':')[1]));
}

const HOST = '127.0.0.1';

const DRIVERS: Readonly<Record<Exclude<DriverName, 'henge'>, (port: number) => Promise<Driver>>> = {
  ioredis: (port) => openIoredis(port, false),
  'ioredis-auto': (port) => openIoredis(port, true),
  'node-redis': openNodeRedis,
  memjs: openMemjs,
  echo: openEcho,
};

async function openHenge(seeds: readonly string[], ack: AckLevel): Promise<Driver> {
  const henge = await Henge.connect({ seeds: [...seeds], ack });
  return {
    get: (key) => henge.get<string>(key),
    set: (key, value) => henge.set(key, value),
    close: () => henge.close(),
  };
}

async function openIoredis(port: number, enableAutoPipelining: boolean): Promise<Driver> {
  const { Redis } = await import('ioredis');
  const redis = new Redis({ host: HOST, port, enableAutoPipelining });
  await once(redis, 'ready');
  return {
    get: async (key) => (await redis.get(key)) ?? undefined,
    set: (key, value) => redis.set(key, value),
    close: async () => redis.disconnect(),
  };
}

async function openNodeRedis(port: number): Promise<Driver> {
  const { createClient } = await import('redis');
  const redis = createClient({ socket: { host: HOST, port } });
  await redis.connect();
  return {
    get: async (key) => (await redis.get(key)) ?? undefined,
    set: (key, value) => redis.set(key, value),
    close: async () => redis.destroy(),
  };
}

async function openMemjs(port: number): Promise<Driver> {
  const { Client } = await import('memjs');
  const memcached = Client.create(`${HOST}:${port}`);
  return {
    get: async (key) => (await memcached.get(key)).value?.toString(),
    set: (key, value) => memcached.set(key, value, {}),
    close: async () => memcached.close(),
  };
}

/** Bytes of a Henge request before its key, and of a response before its value: what the echo's frames imitate. */
const REQUEST_BYTES = 16;
const RESPONSE_BYTES = 12;
const SET_EXTRAS_BYTES = 8;
/** Length of the values the load uses. */
export const VALUE_BYTES = 100;

/**
 * A bare socket to bench/load/echo.ts, one request at a time: as many bytes each way as Henge's frames have, and
 * nothing done with them. What a client can hope for at best.
 */
async function openEcho(port: number): Promise<Driver> {
  const socket = openSocket({ port, host: HOST, noDelay: true });
  await once(socket, 'connect');
  const exchange = exchanger(socket);
  const value = 'v'.repeat(VALUE_BYTES);
  return {
    get: (key) => exchange(REQUEST_BYTES + key.length, RESPONSE_BYTES + VALUE_BYTES).then(() => value),
    set: (key) => exchange(REQUEST_BYTES + SET_EXTRAS_BYTES + key.length + VALUE_BYTES, RESPONSE_BYTES),
    close: async () => void socket.destroy(),
  };
}

/** Sends a frame that says how long it is and how long an answer it wants; resolves when so much has come. */
function exchanger(socket: Socket): (sentBytes: number, wantedBytes: number) => Promise<void> {
  let missingBytes = 0;
  let done: () => void = () => undefined;
  socket.on('data', (chunk) => {
    missingBytes -= chunk.length;
    if (missingBytes === 0) done();
  });
  return (sentBytes, wantedBytes) => {
    const frame = Buffer.allocUnsafe(sentBytes);
    frame.writeUInt32LE(sentBytes, 0);
    frame.writeUInt32LE(wantedBytes, 4);
    missingBytes = wantedBytes;
    socket.write(frame);
    return new Promise((resolve) => {
      done = resolve;
    });
  };
}
