import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeConfig, loadConfig, maskPasswords } from '../../../src/daemon/config.js';
import { parseDuration, parseHostPort, parseSize } from '../../../src/daemon/units.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'henge-config-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const load = (flags: Record<string, unknown> = {}, environment: Record<string, string> = {}) =>
  loadConfig({ flags, environment });

describe('precedence', () => {
  test('a flag counts before the environment, that before the file, that before the default', () => {
    const config = file('all.yaml', 'memory: 32mb\nworkers: 2\nzone: file\n');
    const loaded = load({ memory: '128mb', config }, { HENGE_MEMORY: '64mb', HENGE_WORKERS: '3' });
    expect(loaded.config).toMatchObject({ memory: 128 * 2 ** 20, workers: 3, zone: 'file', rf: 2 });
    expect(loaded.sources).toMatchObject({
      memory: 'flag --memory',
      workers: 'environment HENGE_WORKERS',
      zone: `file ${config}`,
      rf: 'default',
    });
  });

  test('the file may be JSON, and be named by HENGE_CONFIG', () => {
    const HENGE_CONFIG = file('config.json', '{ "maxValue": "2mb", "insecure": true }');
    expect(load({}, { HENGE_CONFIG }).config).toMatchObject({ maxValue: 2 ** 21, insecure: true });
  });

  test('an empty variable is as good as none', () => {
    expect(load({}, { HENGE_ZONE: '' }).sources.zone).toBe('default');
  });

  test('what is printed is a file that gives the same configuration', () => {
    const loaded = load({ memory: '64mb', unix: '/tmp/s', idleTimeout: '5m' });
    const config = file('printed.yaml', describeConfig(loaded));
    expect(load({ config }).config).toEqual(loaded.config);
  });

  test('passwords in what is printed are masked', () => {
    expect(maskPasswords('etcd:http://root:secret@10.0.0.1:2379')).toBe('etcd:http://root:***@10.0.0.1:2379');
  });
});

describe('mistakes are refused with a sentence that names the source and the value', () => {
  test.each([
    [{ memory: '10 apples' }, /flag --memory: "10 apples" is not a size/],
    [{ memory: '1mb' }, /--memory.*less than 8mb/],
    [{ listen: 'nowhere' }, /--listen: "nowhere" is not an address/],
    [{ listen: '127.0.0.1:70000' }, /--listen/],
    [{ workers: '0' }, /--workers: "0" must be at least 1/],
    [{ workers: '16' }, /at most 15/],
    [{ weight: '0' }, /--weight: "0" must be above 0/],
    [{ name: '../a' }, /--name: "..\/a" must be/],
    [{ logLevel: 'loud' }, /--log-level: "loud" must be one of/],
    [{ rf: '6' }, /--rf: "6" must be at most 5/],
    [{ onPartition: 'hope' }, /--on-partition: "hope" must be serve or fence/],
    [{ leaseTtl: '10ms' }, /--lease-ttl: "10ms" is less than 1s/],
    [{ registry: 'etcd:http://10.0.0.1:2379' }, /--registry etcd:http:\/\/10.0.0.1:2379: .* the same --secret-file/],
    [{ registry: 'etcd:10.0.0.1' }, /--registry address 10.0.0.1 is not http/],
    [{ maxValue: '8mb', memory: '64mb' }, /8388608 bytes \(--max-value\) can never fit/],
    [{ maxValue: '17mb', memory: '1gb' }, /--max-value: "17mb" is more than 16mb/],
    [{ registry: 'zookeeper:here' }, /--registry "zookeeper:here" is not understood/],
    [{ listen: '0.0.0.0:7411' }, /--listen 0.0.0.0:7411 can be reached by other machines.*--insecure/],
    [{ http: '10.1.2.3:80' }, /--http 10.1.2.3:80 can be reached by other machines/],
    [{ listen: '0.0.0.0:7411', insecure: true }, /add --advertise/],
    [{ config: '/nowhere/henge.yaml' }, /file \/nowhere\/henge.yaml cannot be read/],
  ])('%j', (flags, sentence) => {
    expect(() => load(flags)).toThrow(sentence);
  });

  test('a mistyped option of the file gets a suggestion', () => {
    expect(() => load({ config: file('typo.yaml', 'memroy: 1gb') })).toThrow(
      /no option "memroy" \(did you mean "memory"\?\)/,
    );
    expect(() => load({ config: file('kebab.yaml', 'max-value: 1mb') })).toThrow(/did you mean "maxValue"/);
  });
});

describe('units', () => {
  test.each([
    ['65536', 65_536],
    ['512mb', 512 * 2 ** 20],
    ['1gb', 2 ** 30],
    ['1.5G', 1.5 * 2 ** 30],
    ['4KiB', 4_096],
    ['10b', 10],
    ['mb', undefined],
    ['-1mb', undefined],
  ])('size %s', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  test.each([
    ['500', 500],
    ['500ms', 500],
    ['90s', 90_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['soon', undefined],
  ])('duration %s', (text, ms) => expect(parseDuration(text)).toBe(ms));

  test.each([
    ['127.0.0.1:7411', { host: '127.0.0.1', port: 7411 }],
    ['[::1]:7411', { host: '::1', port: 7411 }],
    ['7411', { host: '127.0.0.1', port: 7411 }],
    ['cache.local:0', { host: 'cache.local', port: 0 }],
    ['a:b:7411', undefined],
    ['host:', undefined],
  ])('address %s', (text, address) => expect(parseHostPort(text)).toEqual(address));
});
