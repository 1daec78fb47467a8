/**
 * Worlds that the seeds of seeds/ draw seldom, since their runs are short and their leases long: leaders that are cut
 * off for longer than their lease and serve on, nodes that miss epochs, clusters that keep one copy of everything. More
 * nodes may be gone at once there than is promised; then slots are reported, and only the others are judged.
 */
import type { RunOptions } from './run.js';

type WorldOf = Omit<RunOptions, 'seed' | 'mutations'>;

export const CUT_OFF_FOR_LONG: WorldOf = {
  faults: ['isolated', 'connection reset', 'clogged'],
  safetyMs: 6_000,
  mayLoseMore: true,
  world: { ttlMs: 600, onPartition: 'serve', rf: 3, nodes: 3, graceMs: 30_000 },
};

export const EPOCHS_MISSED: WorldOf = {
  faults: ['node paused', 'isolated', 'registry slow', 'node killed'],
  safetyMs: 6_000,
  mayLoseMore: true,
  world: { ttlMs: 600, graceMs: 500, rf: 2 },
};

/** Nothing but members changes, so that not even one copy is lost. */
export const ONE_COPY: WorldOf = { changes: 'planned', world: { rf: 1 } };

/** No machine loses its memory here, for that is then lost. */
export const ONE_COPY_STRUCK: WorldOf = {
  faults: [
    ...['members changed', 'worker killed', 'worker paused', 'node paused', 'connection reset', 'clogged'],
    ...['cut one way', 'isolated', 'registry out of reach', 'registry slow', 'registry answers lost', 'lease revoked'],
  ],
  mayLoseMore: true,
  world: { rf: 1 },
};
