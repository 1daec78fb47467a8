/** Whole control planes against a registry, in virtual time: what becomes of a cluster when its nodes fall and rise. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ControlWorld, GRACE_MS, TTL_MS, type WorldOptions } from '../../support/control-world.js';

const seeds = fc.integer({ min: 1, max: 2 ** 31 - 1 });

/** A cluster that has started and is at rest. */
function settled(options: WorldOptions): ControlWorld {
  const world = new ControlWorld(options);
  world.run(10_000);
  return world;
}

const overlays = (world: ControlWorld, from = 1) =>
  world.history.slice(from).map(({ current: { away, returning } }) => `-${away.join()} ~${returning.join()}`);

test('a cluster that starts together stays in its first epoch', () => {
  const property = fc.property(seeds, (seed) => {
    expect(settled({ nodes: 5, seed }).history.length).toBe(1);
  });
  fc.assert(property);
});

test('nodes killed in the same second are lost in one epoch, within a lease and a second of the last', () => {
  fc.assert(
    fc.property(
      seeds,
      fc.shuffledSubarray(['n1', 'n2', 'n3', 'n4', 'n5'], { minLength: 1, maxLength: 2 }),
      (seed, dying) => {
        const world = settled({ nodes: 5, seed });
        dying.forEach((name) => {
          world.node(name).kill();
          world.run(world.draw(999));
        });
        world.run(TTL_MS + 1_000);
        expect(overlays(world)).toEqual([`-${[...dying].sort().join()} ~`]);
      },
    ),
  );
});

test('nodes stopped in the same second are lost in one epoch', () => {
  fc.assert(
    fc.property(
      seeds,
      fc.shuffledSubarray(['n1', 'n2', 'n3', 'n4', 'n5'], { minLength: 2, maxLength: 2 }),
      (seed, dying) => {
        const world = settled({ nodes: 5, seed });
        dying.forEach((name) => {
          world.node(name).stop();
          world.run(world.draw(999));
        });
        world.run(TTL_MS + 3_000);
        expect(overlays(world)).toEqual([`-${[...dying].sort().join()} ~`]);
      },
    ),
  );
});

test('a node that restarts is away, returning, restored: with its memory, and without', () => {
  fc.assert(
    fc.property(seeds, fc.constantFrom('new memory' as const, 'same memory' as const), (seed, memory) => {
      const world = settled({ nodes: 3, seed });
      world.node('n2').kill();
      world.run(8_000);
      world.node('n2').start(memory);
      world.run(8_000);
      expect(overlays(world)).toEqual(['-n2 ~', '- ~n2', '- ~']);
      expect(world.read('members/n2')?.value).toMatchObject({ incarnation: world.node('n2').incarnation });
    }),
  );
});

test('a node back before its lease has lapsed is the same with its memory, and returning without it', () => {
  const fates = { 'same memory': [], 'new memory': ['- ~n2', '- ~'] } as const;
  fc.assert(
    fc.property(seeds, fc.constantFrom('new memory' as const, 'same memory' as const), (seed, memory) => {
      const world = settled({ nodes: 3, seed });
      world.node('n2').kill();
      world.run(100);
      world.node('n2').start(memory);
      world.run(10_000);
      const changes = overlays(world);
      // Without its memory it has to wait for the old lease, and may be found dead before.
      expect(changes.filter((change) => change !== '-n2 ~')).toEqual(fates[memory]);
    }),
  );
});

test('leases taken from nodes that live change nothing', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const world = settled({ nodes: 5, seed });
      for (const { name } of world.nodes) world.revoke(name);
      world.run(20_000);
      expect(overlays(world)).toEqual([]);
    }),
  );
});

test('a registry that is gone for a minute changes nothing', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const world = settled({ nodes: 5, seed });
      world.isRegistryUp = false;
      world.run(60_000);
      world.isRegistryUp = true;
      world.run(20_000);
      expect(overlays(world)).toEqual([]);
    }),
  );
});

test('after the grace period stand-ins are filled, in one more epoch', () => {
  const world = settled({ nodes: 4, seed: 7 });
  world.node('n3').kill();
  world.run(TTL_MS + 1_000 + GRACE_MS + 1_000);
  expect(world.history.map(({ current }) => [current.away.join(), current.isFilling])).toEqual([
    ['', false],
    ['n3', false],
    ['n3', true],
  ]);
});

test('a node that fences takes no writes once its lease can have ended, and is taken out', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const world = settled({ nodes: 3, seed, isFencing: true });
      world.node('n2').isCut = true;
      world.run(TTL_MS);
      expect(world.node('n2').isFenced).toBe(true);
      world.run(2 * TTL_MS + 2_000);
      expect(overlays(world)).toEqual(['-n2 ~']);
      world.node('n2').isCut = false;
      world.run(10_000);
      expect(world.node('n2').isFenced).toBe(false);
      expect(overlays(world).at(-1)).toBe('- ~');
    }),
  );
});

const KINDS = ['kill', 'restart', 'restart empty', 'stop', 'resume', 'cut', 'mend', 'revoke', 'registry'] as const;

interface Fault {
  readonly node: number;
  readonly kind: (typeof KINDS)[number];
  readonly thenMs: number;
}

/** Seed, faults, and whether nodes fence. */
type FaultRun = [number, Fault[], boolean];

const fault: fc.Arbitrary<Fault> = fc.record({
  node: fc.integer({ min: 0, max: 4 }),
  kind: fc.constantFrom(...KINDS),
  thenMs: fc.integer({ min: 0, max: 6_000 }),
});

test('whatever falls, epochs grow by one, are well formed, and the cluster is whole again when all is mended', () => {
  const property = fc.property(seeds, fc.array(fault, { maxLength: 25 }), fc.boolean(), (seed, faults, isFencing) => {
    const world = settled({ nodes: 5, seed, isFencing, losesAnswers: true });
    for (const { node: index, kind, thenMs } of faults) {
      const node = world.nodes[index];
      if (kind === 'kill') node?.kill();
      else if (kind === 'restart') node?.start('same memory');
      else if (kind === 'restart empty') node?.start('new memory');
      else if (kind === 'stop') node?.stop();
      else if (kind === 'resume') node?.resume();
      else if (kind === 'cut' && node) node.isCut = true;
      else if (kind === 'mend' && node) node.isCut = false;
      else if (kind === 'revoke' && node) world.revoke(node.name);
      else if (kind === 'registry') world.isRegistryUp = !world.isRegistryUp;
      world.run(thenMs);
    }
    world.isRegistryUp = true;
    for (const node of world.nodes) {
      node.isCut = false;
      node.resume();
      node.start('same memory');
    }
    world.run(40_000);
    expect(world.topology.current).toMatchObject({ away: [], returning: [], isFilling: false });
    for (const { adopted } of world.nodes) {
      const epochs = adopted.map(({ epoch }) => epoch);
      expect(epochs.at(-1)).toBe(world.topology.current.epoch);
    }
  });
  const lateReports: FaultRun = [
    8,
    [
      { node: 0, kind: 'kill', thenMs: 5_492 },
      { node: 1, kind: 'revoke', thenMs: 5_406 },
      { node: 2, kind: 'revoke', thenMs: 5_806 },
      { node: 2, kind: 'cut', thenMs: 5_493 },
      { node: 0, kind: 'registry', thenMs: 266 },
      { node: 0, kind: 'kill', thenMs: 5_151 },
    ],
    true,
  ];
  // `HENGE_RUNS=5000 npx vitest run test/unit/cluster/control.test.ts` looks further.
  fc.assert(property, { numRuns: Number(process.env.HENGE_RUNS ?? 150), examples: [lateReports] });
});

test('what an operator says of how data moves is shown to every worker, in the epoch that stands', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const world = settled({ nodes: 3, seed });
      const words = [{ isPaused: true }, { isPaused: false, bytesPerSecond: 1_000 }];
      for (const word of words) {
        world.write('rebalance', word);
        world.run(1_000);
        for (const { adopted, plane } of world.nodes) {
          expect(adopted.at(-1)).toMatchObject({ epoch: 1, rebalance: word });
          expect(plane?.rebalance).toMatchObject({ state: 'idle', isPaused: word.isPaused });
        }
      }
      expect(world.history.length).toBe(1);
    }),
  );
});

test('a node that starts obeys what was said before, and nobody obeys a record that makes no sense', () => {
  const world = settled({ nodes: 3, seed: 7 });
  world.write('rebalance', { isPaused: true });
  world.node('n2').kill();
  world.run(TTL_MS + 1_000);
  world.node('n2').start('same memory');
  expect(world.node('n2').plane?.view.rebalance).toEqual({ isPaused: true });
  world.write('rebalance', { isPaused: 'perhaps' });
  world.run(5_000);
  for (const { plane } of world.nodes) expect(plane?.view.rebalance).toEqual({ isPaused: true });
});
