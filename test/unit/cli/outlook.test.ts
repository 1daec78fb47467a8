/** What `henge plan` makes of a cluster and wishes. */
import { describe, expect, it } from 'vitest';
import { lookAhead, type Question } from '../../../src/cli/plan/outlook.js';
import { parseAdd, parseRemove, parseRezone } from '../../../src/cli/plan/wishes.js';
import type { NodeReport } from '../../../src/cli/report.js';
import type { Topology } from '../../../src/client/index.js';

const MIB = 1024 ** 2;

interface Node {
  readonly zone?: string;
  readonly bytes?: number;
  readonly memory?: number;
  /** Of its configuration, bytes a second. */
  readonly rate?: number;
  readonly isSilent?: boolean;
}

function cluster(nodes: Readonly<Record<string, Node>>, more: Partial<Topology> = {}) {
  const names = Object.keys(nodes);
  const topology: Topology = {
    epoch: 3,
    rf: 2,
    members: names.map((name, index) => ({
      name,
      number: index + 1,
      address: '',
      zone: nodes[name]?.zone ?? 'z',
      weight: 1,
      state: 'in',
    })),
    ...more,
  };
  const report = {
    epoch: 3,
    rf: 2,
    nodes: names.map(
      (name) =>
        ({
          name,
          isAnswering: nodes[name]?.isSilent !== true,
          items: nodes[name]?.bytes ?? 100 * MIB,
          bytes: nodes[name]?.bytes ?? 100 * MIB,
          memoryLimit: nodes[name]?.memory ?? 1_024 * MIB,
          rebalanceBytesPerSecond: nodes[name]?.rate ?? 0,
        }) as NodeReport,
    ),
  };
  return (question: Partial<Question>) =>
    lookAhead({ topology, report, wishes: [parseAdd('d:1:z')], rate: undefined, ...question });
}

describe('the time of a change', () => {
  it('follows the option, else the word of an operator, else what the nodes are configured for', () => {
    const nodes = { a: { rate: 4 * MIB }, b: { rate: 4 * MIB }, c: { rate: 4 * MIB } };
    const own = cluster(nodes)({});
    expect(own).toMatchObject({ rate: 4 * MIB, rateFrom: 'node' });
    const word = cluster(nodes, { rebalance: { isPaused: false, bytesPerSecond: 2 * MIB } })({});
    expect(word).toMatchObject({ rate: 2 * MIB, rateFrom: 'operator' });
    expect(word.seconds).toBeCloseTo(own.seconds * 2);
    const option = cluster(nodes, { rebalance: { isPaused: false, bytesPerSecond: 2 * MIB } })({ rate: 8 * MIB });
    expect(option).toMatchObject({ rate: 8 * MIB, rateFrom: 'option' });
  });

  it('is that of the slowest sender, and says so when nothing limits it', () => {
    const slow = cluster({ a: { rate: 100 * MIB }, b: { rate: MIB }, c: { rate: 100 * MIB } })({});
    expect(slow.rate).toBe(MIB);
    expect(cluster({ a: {}, b: {}, c: {} })({}).rateFrom).toBe('assumed');
    const lifted = cluster({ a: { rate: 1 } }, { rebalance: { isPaused: false, bytesPerSecond: 0 } })({});
    expect(lifted.rateFrom).toBe('assumed');
  });
});

describe('an operator is warned', () => {
  it('of nothing, when there is nothing to mind', () => {
    expect(cluster({ a: {}, b: {}, c: {} })({}).warnings).toEqual([]);
  });

  it('when zones leave a node more than its share, or copies in one zone', () => {
    const three = cluster({ a: { zone: 'x' }, b: { zone: 'x' }, c: { zone: 'y' } });
    const [uneven = ''] = three({ wishes: [parseAdd('d:1:x')] }).warnings;
    expect(uneven).toMatch(/^c holds \d\.\d+ × its share, and [\d,]+ copies are above 1\.05 × the shares/);
    expect(three({ wishes: [parseRezone('b=y'), parseAdd('d:1:x')] }).warnings).toEqual([]);
    const sharing = cluster({ a: { zone: 'x' }, b: { zone: 'y' } }, { rf: 3 })({ wishes: [parseAdd('c:1:y')] });
    expect(sharing.warnings).toContain('16,384 slots have two copies or more in one zone');
  });

  it('when a node would hold more than fits', () => {
    const full = { bytes: 100 * MIB, memory: 120 * MIB };
    const { warnings } = cluster({ a: full, b: full, c: full })({ wishes: [parseRemove('c')] });
    expect(warnings.join()).toMatch(/^a would hold 1\d\d MiB in 120 MiB: it evicts .*,b would hold 1\d\d MiB/);
  });

  it('of silent nodes, of a pause, of a change that is under way, and of copies that find no node', () => {
    const nodes = { a: {}, b: { isSilent: true } };
    const next = [{ name: 'a', zone: 'z', weight: 1 }];
    const more = { next, rebalance: { isPaused: true } };
    const { warnings } = cluster(nodes, more)({ wishes: [parseRemove('b')] });
    for (const word of ['b did not answer', 'paused', 'a change is under way', '1 node cannot hold 2 copies']) {
      expect(warnings.join()).toContain(word);
    }
  });
});
