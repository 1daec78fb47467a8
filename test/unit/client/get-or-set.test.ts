import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Henge, HengeError } from '../../../src/index.js';
import { Opcode, Status } from '../../../src/protocol/index.js';
import { ReferenceServer } from '../../support/client-server.js';

const PORT = 17_130;

let server: ReferenceServer;
let client: Henge;

beforeEach(async () => {
  server = await ReferenceServer.start('a', PORT);
  client = await Henge.connect({ seeds: server.address, deadlineMs: 200, loadsMax: 3 });
});

afterEach(async () => {
  await client.close();
  await server.stop();
});

describe('getOrSet', () => {
  it('loads what is missing and stores it, with its time to live', async () => {
    const load = vi.fn(() => 'loaded');
    expect(await client.getOrSet('k', load, { ttl: '1h' })).toBe('loaded');
    expect(await client.getOrSet('k', load, { ttl: '1h' })).toBe('loaded');
    expect(load).toHaveBeenCalledTimes(1);
    expect(await client.ttl('k')).toBeGreaterThan(3_590_000);
  });

  it('runs one loader for all who ask at once, per key', async () => {
    const load = vi.fn(async () => {
      await pause(20);
      return { of: 'stone' };
    });
    const keys = ['a', 'b', '__proto__', Buffer.from([0xff])];
    const asked = keys.flatMap((key) => Array.from({ length: 100 }, () => client.getOrSet(key, load)));
    expect(new Set((await Promise.all(asked)).map((value) => value.of))).toEqual(new Set(['stone']));
    expect(load).toHaveBeenCalledTimes(4);
    expect(server.count(Opcode.GET)).toBe(4);
  });

  it('does not store undefined, and asks again', async () => {
    const load = vi.fn(() => undefined);
    expect(await client.getOrSet('k', load)).toBeUndefined();
    expect(await client.getOrSet('k', load)).toBeUndefined();
    expect(load).toHaveBeenCalledTimes(2);
    expect(await client.has('k')).toBe(false);
  });

  it("passes the loader's error on to all who wait, and forgets it", async () => {
    const load = vi.fn(async () => {
      await pause(5);
      throw new RangeError('origin is down');
    });
    const asked = await Promise.allSettled([client.getOrSet('k', load), client.getOrSet('k', load)]);
    expect(asked.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(load).toHaveBeenCalledTimes(1);
    await expect(client.getOrSet('k', load)).rejects.toThrow('origin is down');
    expect(load).toHaveBeenCalledTimes(2);
  });

  it('leaves a value alone that was set while it loaded', async () => {
    const load = async () => {
      await client.set('k', 'newer');
      return 'older';
    };
    expect(await client.getOrSet('k', load)).toBe('older');
    expect(await client.get('k')).toBe('newer');
  });

  it('works in namespaces', async () => {
    expect(await client.namespace('n').getOrSet('k', () => 5)).toBe(5);
    expect(await client.get('n:k')).toBe(5);
  });
});

describe('stale values', () => {
  const options = { ttl: 30, staleWhileRevalidate: '1m' } as const;

  it('are given while a new one is loaded in the background', async () => {
    let version = 0;
    const load = vi.fn(() => ++version);
    expect(await client.getOrSet('k', load, options)).toBe(1);
    await pause(50);
    expect(await client.getOrSet('k', load, options)).toBe(1);
    await vi.waitFor(async () => expect(await client.getOrSet('k', load, options)).toBe(2));
  });

  it('are loaded once in the background, however many ask', async () => {
    const load = vi.fn(async () => {
      await pause(20);
      return 1;
    });
    await client.getOrSet('k', load, options);
    await pause(50);
    for (let i = 0; i < 5; i++) expect(await client.getOrSet('k', load, options)).toBe(1);
    await pause(50);
    expect(load).toHaveBeenCalledTimes(2);
  });

  it('are given when the loader fails, for as long as was said', async () => {
    const stale = { ttl: 30, staleIfError: '1m' } as const;
    await client.getOrSet('k', () => 'good', stale);
    await pause(50);
    const fail = () => Promise.reject(new Error('origin is down'));
    expect(await client.getOrSet('k', fail, stale)).toBe('good');
    await expect(client.getOrSet('k', fail, { ttl: 30 })).rejects.toThrow('origin is down');
    expect(await client.getOrSet('k', () => 'better', stale)).toBe('better');
  });

  it('are a miss to those who did not ask for them', async () => {
    await client.getOrSet('k', () => 'value', options);
    expect(await client.get('k')).toBe('value');
    expect((await client.getEntry('k'))?.value).toBe('value');
    await pause(50);
    expect(await client.get('k')).toBeUndefined();
    expect(await client.getEntry('k')).toBeUndefined();
  });

  it('need a ttl', async () => {
    const asked = client.getOrSet('k', () => 1, { staleIfError: '1m' });
    await expect(asked).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('when the cache fails', () => {
  beforeEach(() => {
    server.intercept = ({ opcode }) => (opcode === Opcode.GET ? { status: Status.REFUSED } : 'serve');
  });

  it("'load' asks the loader", async () => {
    expect(await client.getOrSet('k', () => 'loaded')).toBe('loaded');
  });

  it("'throw' passes the cache's error on", async () => {
    const load = vi.fn(() => 1);
    await expect(client.getOrSet('k', load, { onCacheError: 'throw' })).rejects.toBeInstanceOf(HengeError);
    expect(load).not.toHaveBeenCalled();
  });

  it("'stale' gives what this process saw last, or loads", async () => {
    const stale = { onCacheError: 'stale' } as const;
    expect(await client.getOrSet('k', () => 'first', stale)).toBe('first');
    expect(await client.getOrSet('k', () => 'second', stale)).toBe('first');
    expect(await client.getOrSet('k', () => 'third')).toBe('third');
  });

  it('or is gone altogether, values still come', async () => {
    await server.stop();
    expect(await client.getOrSet('k', () => 'loaded')).toBe('loaded');
    server = await ReferenceServer.start('a', PORT);
  });

  it('a wrong call stays wrong', async () => {
    await expect(client.getOrSet('', () => 1)).rejects.toMatchObject({ code: 'INVALID_KEY' });
    await expect(client.getOrSet('k', () => () => 1)).resolves.toBeTypeOf('function');
  });
});

describe('the way to the origin', () => {
  it('is taken by loadsMax loaders at once, the others in turn', async () => {
    let running = 0;
    let runningMost = 0;
    const load = async () => {
      runningMost = Math.max(runningMost, ++running);
      await pause(5);
      running--;
      return 1;
    };
    await Promise.all(Array.from({ length: 20 }, (_, i) => client.getOrSet(`k${i}`, load)));
    expect(runningMost).toBe(3);
  });
});

describe("a caller's signal", () => {
  it('ends its own wait, not the flight of others', async () => {
    const controller = new AbortController();
    const load = vi.fn(async () => {
      await pause(30);
      return 'loaded';
    });
    const impatient = client.getOrSet('k', load, { signal: controller.signal });
    const patient = client.getOrSet('k', load);
    await pause(10);
    controller.abort();
    await expect(impatient).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await patient).toBe('loaded');
    expect(load).toHaveBeenCalledTimes(1);
  });

  it('aborts the loader when nobody waits any more', async () => {
    const controller = new AbortController();
    let loaderSignal: AbortSignal | undefined;
    const load = async ({ signal }: { signal: AbortSignal }) => {
      loaderSignal = signal;
      await pause(1_000, undefined, { signal });
      return 1;
    };
    const asked = client.getOrSet('k', load, { signal: controller.signal });
    await vi.waitFor(() => expect(loaderSignal).toBeDefined());
    controller.abort();
    await expect(asked).rejects.toMatchObject({ code: 'ABORTED' });
    expect(loaderSignal?.aborted).toBe(true);
    expect(await client.getOrSet('k', () => 2)).toBe(2);
  });
});
