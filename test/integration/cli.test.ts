import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Command, commandFor } from '../support/command.js';
import { scratch, TestDaemon } from '../support/daemon.js';

const folder = scratch();
let daemon: TestDaemon;
let henge: Command;

beforeAll(async () => {
  daemon = await TestDaemon.start(folder.path);
  henge = commandFor(daemon.address);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

describe('a value', () => {
  it('comes back from a pipe byte for byte', async () => {
    const value = randomBytes(100_000);
    expect(await henge.fed(value, 'set', 'bytes', '-')).toMatchObject({ status: 0, text: 'stored\n' });
    expect((await henge('get', 'bytes')).bytes.equals(value)).toBe(true);
  });

  it('that is a string is printed raw, and anything else as JSON', async () => {
    await henge('set', 'text', 'good morning');
    await henge('set', 'object', '{"list":[1,null]}', '--type', 'json');
    expect((await henge('get', 'text')).text).toBe('good morning');
    expect((await henge('get', 'object')).text).toBe('{"list":[1,null]}\n');
  });

  it('comes with its version and time to live when JSON is asked for', async () => {
    await henge('set', 'entry', 'v', '--ttl', '1h');
    const entry = JSON.parse((await henge('get', 'entry', '--json')).text) as Record<string, unknown>;
    expect(entry).toMatchObject({ key: 'entry', value: 'v', version: expect.stringMatching(/^[0-9a-f]{28}$/) });
    expect(entry.ttlMs).toBeGreaterThan(3_500_000);
    expect(entry.ttlMs).toBeLessThanOrEqual(3_600_000);
  });

  it('is stored only under its condition', async () => {
    expect((await henge('set', 'lock', 'me', '--if-absent')).status).toBe(0);
    const refused = await henge('set', 'lock', 'you', '--if-absent');
    expect(refused).toMatchObject({ status: 1, text: '' });
    expect(refused.complaint).toContain("'lock' exists already");

    const { version } = JSON.parse((await henge('get', 'lock', '--json')).text) as { version: string };
    expect((await henge('set', 'lock', 'you', '--if-version', version)).status).toBe(0);
    expect((await henge('set', 'lock', 'they', '--if-version', version)).status).toBe(1);
    expect((await henge('get', 'lock')).text).toBe('you');
  });

  it('of a key nobody set is nothing at all, and status 1', async () => {
    const nothing = { status: 1, text: '', complaint: '' };
    expect(await henge('get', 'absent')).toMatchObject(nothing);
    expect(await henge('get', 'absent', '--json')).toMatchObject(nothing);
    expect(await henge('ttl', 'absent')).toMatchObject(nothing);
    expect(await henge('touch', 'absent', '5m')).toMatchObject(nothing);
  });

  it('lives as long as it was told', async () => {
    await henge('set', 'mortal', 'v', '--ttl', '90s');
    expect(Number((await henge('ttl', 'mortal')).text)).toBeGreaterThan(80_000);
    expect((await henge('touch', 'mortal', 'none')).text).toBe('touched\n');
    expect((await henge('ttl', 'mortal')).text).toBe('none\n');
    expect((await henge('ttl', 'mortal', '--json')).text).toBe('{"key":"mortal","ttlMs":null}\n');
  });
});

describe('the other commands on keys', () => {
  it('count, from an initial value and downwards too', async () => {
    expect((await henge('incr', 'visits', '--initial', '41')).text).toBe('42\n');
    expect((await henge('incr', 'visits', '--', '-2')).text).toBe('40\n');
    expect((await henge('incr', 'visits', '5', '--json')).text).toBe('{"key":"visits","value":45}\n');
  });

  it('say in a sentence why they could not', async () => {
    await henge('set', 'word', 'letters');
    expect(await henge('incr', 'word')).toMatchObject({
      status: 1,
      text: '',
      complaint: 'henge: The value is not an integer.\n',
    });
  });

  it('delete, and say how many there were', async () => {
    await henge('set', 'gone', 'v');
    expect((await henge('delete', 'gone', 'never-there')).text).toBe('1\n');
    expect((await henge('get', 'gone')).status).toBe(1);
    expect(await henge('delete', 'gone')).toMatchObject({ status: 0, text: '0\n' });
  });

  it('scan by prefix and stop at a limit', async () => {
    for (const key of ['fruit:apple', 'fruit:pear', 'fruit:with\nnewline']) await henge('set', key, 'v');
    const keys = (await henge('scan', 'fruit:', '--json')).text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as string);
    expect(keys.sort()).toEqual(['fruit:apple', 'fruit:pear', 'fruit:with\nnewline']);
    expect((await henge('scan', 'fruit:', '--json', '--limit', '2')).text.trim().split('\n')).toHaveLength(2);
  });

  it('say nothing when asked to be quiet', async () => {
    for (const words of [
      ['set', 'q', '1', '-t', 'number'],
      ['get', 'q'],
      ['incr', 'q'],
      ['touch', 'q', '5m'],
      ['delete', 'q'],
    ]) {
      expect(await henge(...words, '-q')).toMatchObject({ status: 0, text: '', complaint: '' });
    }
  });
});

describe('the cluster', () => {
  it('tells its status in the form that scripts rely on', async () => {
    await henge('set', 'counted', 'v');
    const status = JSON.parse((await henge('status', '--json')).text) as {
      epoch: number;
      nodes: Record<string, unknown>[];
    };
    expect(status.epoch).toBe(1);
    expect(status.nodes).toHaveLength(1);
    expect(status.nodes[0]).toMatchObject({ name: 'a', address: daemon.address, weight: 1, slots: 16_384 });
    for (const field of ['zone', 'state']) expect(typeof status.nodes[0]?.[field]).toBe('string');
    for (const field of ['items', 'bytes']) expect(status.nodes[0]?.[field]).toBeGreaterThan(0);
  });

  it('shows who leads the slots, and the slot of a key by its hash tag', async () => {
    const ring = JSON.parse((await henge('ring', '--json')).text) as { nodes: unknown[] };
    expect(ring).toMatchObject({ epoch: 1, slots: 16_384, nodes: [{ name: 'a', slots: 16_384, share: 1, target: 1 }] });
    expect((await henge('ring')).text).toContain('100.0 %');
    // Slot 12,182 is what the Redis Cluster specification's CRC16 gives for "foo".
    const places = JSON.parse((await henge('where', 'foo', 'cart:{foo}', '--json')).text) as { slot: number }[];
    expect(places.map((place) => place.slot)).toEqual([12_182, 12_182]);
    expect(places[0]).toMatchObject({ key: 'foo', node: 'a', address: daemon.address, replicas: [] });
  });

  it('can be watched without a terminal, a JSON object for each look', async () => {
    const lines = (await henge('top', '--json', '--count', '2', '--interval', '100ms')).text.trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { epoch: number }).epoch)).toEqual([1, 1]);
  });

  it('is asked what would move if a node came, and nothing moves', async () => {
    await henge('set', 'movable', 'v'.repeat(100_000));
    const { status, text } = await henge('plan', '--add', 'b:3:east', '--rate', '1k', '--json');
    const plan = JSON.parse(text) as { bytesMoved: number; seconds: number; copiesMoved: number };
    expect(status).toBe(0);
    // Two copies are wanted, and there was one node: the newcomer gets a copy of everything.
    expect(plan).toMatchObject({
      epoch: 1,
      copiesMoved: 16_384,
      ratio: 1,
      nodes: [
        { name: 'a', weightBefore: 1, weightAfter: 1, slotsBefore: 16_384, target: 0.25, copiesLost: 0 },
        { name: 'b', zone: 'east', weightAfter: 3, slotsBefore: 0, target: 0.75, copiesGained: 16_384 },
      ],
    });
    expect(plan.bytesMoved).toBeGreaterThan(100_000);
    expect(plan.seconds).toBeCloseTo(plan.bytesMoved / 1024, 3);

    const words = (await henge('plan', '--add', 'b:3:east')).text;
    for (const each of ['100.0 % → 2', '– → 3', 'Nothing was done.']) expect(words).toContain(each);
    expect(JSON.parse((await henge('status', '--json')).text)).toMatchObject({ epoch: 1, nodes: [{ name: 'a' }] });
  });

  it('takes load, and is left as it was', async () => {
    const words = ['bench', '--duration', '500ms', '--warmup', '100ms', '--keys', '1000', '--json'];
    const before = (await henge('scan', 'henge-bench:', '--json')).text;
    for (const more of [[], ['--rate', '1000'], ['--skew', '1', '--read-ratio', '0.5', '--value-bytes', '2k']]) {
      const { status, text } = await henge(...words, ...more);
      expect(status).toBe(0);
      const result = JSON.parse(text) as {
        operations: number;
        hits: number;
        misses: number;
        writes: number;
        failures: object;
      };
      expect(result.operations).toBeGreaterThan(0);
      expect(result).toMatchObject({ failures: {}, misses: 0 });
      expect(result.hits + result.writes).toBe(result.operations);
    }
    expect((await henge('scan', 'henge-bench:', '--json')).text).toBe(before);
  });
});

describe('what cannot be done', () => {
  it('is wrong usage, status 2, when the words make no sense', async () => {
    const wrong = [
      ['get'],
      ['get', 'a', 'b'],
      ['nonsense'],
      ['constructor'],
      ['get', 'a', '--seeds', 'nowhere'],
      ['set', 'a', 'b', '--ttl', 'soon'],
      ['set', 'a', 'b', '--if-version', '7'],
      ['set', '', 'empty key'],
      ['bench', '--read-ratio', '2'],
      ['completion', 'tcsh'],
      ['plan'],
      ['plan', '--add', 'a'],
      ['plan', '--remove', 'nobody'],
      ['plan', '--weight', 'a=heavy'],
      ['verify', '--allow', 'lost'],
      ['verify', '--level', 'most'],
    ];
    for (const words of wrong) {
      const { status, text, complaint } = await henge(...words);
      expect([words, status, text]).toEqual([words, 2, '']);
      expect(complaint).not.toBe('');
    }
  });

  it('is one sentence and status 1 when no node answers', async () => {
    const unreachable = commandFor('127.0.0.1:1');
    const { status, text, complaint } = await unreachable('get', 'key', '--deadline', '300ms');
    expect({ status, text }).toEqual({ status: 1, text: '' });
    expect(complaint).toBe(
      'henge: No node answered at 127.0.0.1:1 within 300 ms; is it running? (--seeds says where)\n',
    );
  });

  it('ends by its deadline when something answers nothing', async () => {
    await using silent = await silentServer();
    const { status, complaint } = await commandFor(silent.address)('status', '--deadline', '300ms');
    expect(status).toBe(1);
    expect(complaint.trim().split('\n')).toHaveLength(1);
  });
});

describe('help and completion', () => {
  it('show an example of every command', async () => {
    const overview = (await henge('--help')).text;
    const names = [...overview.matchAll(/^ {2}([a-z]+)(?: \[| <)/gm)].map(([, name]) => name as string);
    expect(names).toEqual(
      expect.arrayContaining([
        'serve',
        'dev',
        'get',
        'set',
        'scan',
        'status',
        'ring',
        'where',
        'top',
        'plan',
        'verify',
        'bench',
      ]),
    );
    for (const name of names.filter((each) => each !== 'help')) {
      const { status, text } = await henge(name, '--help');
      expect(status).toBe(0);
      expect(text).toContain(`$ henge ${name}`.replace('$ henge completion', 'henge completion'));
    }
  });

  it('gives scripts that their shells accept, with every command in them', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { status, text } = await henge('completion', shell);
      expect(status).toBe(0);
      for (const name of ['status', 'bench', 'where']) expect(text).toContain(name);
      const check = spawnSync(shell, ['-n'], { input: text });
      // A shell that is not installed has no opinion.
      if (check.error === undefined) expect(check.stderr.toString()).toBe('');
    }
  });

  it('completes commands and their options in bash', async () => {
    const { text } = await henge('completion', 'bash');
    const complete = (words: string, at: number) =>
      spawnSync('bash', ['-c', `${text}\nCOMP_WORDS=(${words}); COMP_CWORD=${at}; _henge; echo "\${COMPREPLY[@]}"`])
        .stdout.toString()
        .trim();
    expect(complete('henge st', 1)).toBe('status');
    expect(complete('henge get --js', 2)).toBe('--json');
  });
});

/** Accepts connections and never says a word. */
async function silentServer(): Promise<AsyncDisposable & { readonly address: string }> {
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    address: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.close();
    },
  };
}
