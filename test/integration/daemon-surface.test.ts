/** What a node shows to those who start it, probe it and ask it over HTTP. */
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Henge } from '../../src/client/index.js';
import { henge, scratch, TestDaemon } from '../support/daemon.js';

describe('a node is not started', () => {
  const folder = scratch();
  afterAll(() => folder[Symbol.dispose]());
  const registry = `--registry=dir:${folder.path}/registry`;

  test('with a mistyped option: it is named, a near one suggested, exit status 2', async () => {
    const { status, stderr } = await henge(['serve', '--memroy', '1gb']);
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringMatching(/--memroy[\s\S]*--memory/) });
  });

  test('with a wrong value: the sentence says which, exit status 2', async () => {
    const { status, stderr } = await henge(['serve', registry], { HENGE_WORKERS: 'many' });
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining('HENGE_WORKERS: "many"') });
  });

  test('by --print-config, which shows every value with its source', async () => {
    const { status, stdout } = await henge(['serve', '--memory=64mb', '--print-config'], { HENGE_ZONE: 'east' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^memory: 67108864 +# flag --memory$/m);
    expect(stdout).toMatch(/^zone: east +# environment HENGE_ZONE$/m);
  });

  test('by --config: a flag counts before a variable, that before the file', async () => {
    const file = join(folder.path, 'henge.yaml');
    writeFileSync(file, 'memory: 64mb\nzone: west\nweight: 2\n');
    const words = ['serve', '--config', file, '--memory=32mb', '--print-config'];
    const { status, stdout } = await henge(words, { HENGE_ZONE: 'east' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^memory: 33554432 +# flag --memory$/m);
    expect(stdout).toMatch(/^zone: east +# environment HENGE_ZONE$/m);
    expect(stdout).toMatch(/^weight: 2 +# file .*henge\.yaml$/m);
  });

  test('by a file with an option that does not exist: the sentence names both, exit status 2', async () => {
    const file = join(folder.path, 'mistyped.yaml');
    writeFileSync(file, 'memroy: 64mb\n');
    const { status, stderr } = await henge(['serve', '--config', file]);
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringMatching(/mistyped\.yaml.*memroy/) });
  });

  test('where its name runs, its port is taken, or the cluster is another', async () => {
    await using daemon = await TestDaemon.start(folder.path);
    const free = ['--listen=127.0.0.1:0', '--http=127.0.0.1:0', '--memory=32mb', '--workers=1', registry];
    const attempt = async (...words: readonly string[]) => {
      const { status, stdout, stderr } = await henge(['serve', ...free, ...words]);
      return `${status} ${stdout}${stderr}`;
    };
    expect(await attempt('--name=a')).toMatch(/^2 [\s\S]*node a of the cluster in .* runs already/);
    expect(await attempt('--name=b', '--max-value=2mb')).toMatch(/^2 .*--max-value is 2097152 here but 1048576 in/);
    expect(await attempt('--name=a', `--listen=${daemon.address}`)).toMatch(/^1 .*EADDRINUSE/);
  });
});

describe('over HTTP', () => {
  const folder = scratch();
  let daemon: TestDaemon;
  let client: Henge;
  beforeAll(async () => {
    daemon = await TestDaemon.start(folder.path);
    client = await Henge.connect({ seeds: daemon.address });
  });
  afterAll(async () => {
    await client.close();
    await daemon[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });
  const ask = (path: string, options?: RequestInit) => fetch(`${daemon.http}${path}`, options);

  test('a node that serves is live and ready, and knows its topology', async () => {
    expect((await ask('/livez')).status).toBe(200);
    expect(await (await ask('/readyz')).json()).toEqual({ ready: true, reasons: [] });
    expect(await (await ask('/v1/topology')).json()).toMatchObject({
      epoch: 1,
      rf: 2,
      members: [{ name: 'a', number: 1, address: daemon.address, zone: 'default', weight: 1, state: 'in' }],
    });
  });

  test('bytes put come back as they are, until they are deleted or their time is over', async () => {
    const body = Buffer.from([0, 255, 10, 13]);
    expect((await ask('/v1/cache/a%2Fb%FF', { method: 'PUT', body })).status).toBe(204);
    const got = await ask('/v1/cache/a%2Fb%FF');
    expect(Buffer.from(await got.arrayBuffer())).toEqual(body);
    expect(await client.get(Buffer.from('a/b\xff', 'latin1'))).toEqual(body);
    expect((await ask('/v1/cache/a%2Fb%FF', { method: 'DELETE' })).status).toBe(204);
    expect((await ask('/v1/cache/a%2Fb%FF')).status).toBe(404);
    expect((await ask('/v1/cache/a%2Fb%FF', { method: 'DELETE' })).status).toBe(404);

    await ask('/v1/cache/short?ttl=1h', { method: 'PUT', body });
    expect(await client.ttl('short')).toBeGreaterThan(3_500_000);
  });

  test('values of applications come out by what they are', async () => {
    await client.setMany({ text: 'Grüße', number: 42, object: { a: [1, true] } });
    const shown = async (key: string) => {
      const response = await ask(`/v1/cache/${key}`);
      return [response.headers.get('content-type'), await response.text()];
    };
    expect(await shown('text')).toEqual(['text/plain; charset=utf-8', 'Grüße']);
    expect(await shown('number')).toEqual(['text/plain; charset=utf-8', '42']);
    expect(await shown('object')).toEqual(['application/json; charset=utf-8', '{"a":[1,true]}']);
  });

  test('what cannot be is refused with the right status', async () => {
    const status = async (path: string, options?: RequestInit) => (await ask(path, options)).status;
    expect(await status('/v1/cache/', { method: 'PUT', body: 'x' })).toBe(400);
    expect(await status('/v1/cache/100%', { method: 'PUT', body: 'x' })).toBe(400);
    expect(await status('/v1/cache/k?ttl=soon', { method: 'PUT', body: 'x' })).toBe(400);
    expect(await status('/v1/cache/k', { method: 'POST', body: 'x' })).toBe(405);
    expect(await status('/v1/topology', { method: 'DELETE' })).toBe(405);
    expect(await status('/nowhere')).toBe(404);
  });

  test('a body that grows past the largest value is refused before it is all there', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const put = request(`${daemon.http}/v1/cache/large`, { method: 'PUT' }, (response) =>
        resolve(response.statusCode),
      );
      put.on('error', reject);
      put.write(Buffer.alloc(1_048_577));
    });
    expect(status).toBe(413);
  });

  test('the histogram of chunks ends in a bucket for all of them', async () => {
    const all = await daemon.metric('henge_chunk_duration_seconds_bucket{le="+Inf"}');
    expect(all).toBeGreaterThan(0);
    expect(await daemon.metric('henge_chunk_duration_seconds_count')).toBeGreaterThanOrEqual(all);
  });
});
