/** How far a change is, as people are shown it. */
import { describe, expect, it } from 'vitest';
import { fractionDone, progressLine, progressLines, whatChanges } from '../../../src/cli/rebalance/progress.js';
import type { RebalanceStatus } from '../../../src/cluster/index.js';

const MIB = 1024 ** 2;

const IDLE: RebalanceStatus = {
  state: 'idle',
  epoch: 5,
  next: null,
  slotsTotal: 0,
  slotsDone: 0,
  bytesTotal: 0,
  bytesDone: 0,
  etaMs: null,
  isPaused: false,
  isCancelled: false,
  bytesPerSecond: null,
  joining: [],
  leaving: [],
  changing: [],
  nodes: [],
};
const MOVING: RebalanceStatus = {
  ...IDLE,
  state: 'moving',
  next: 6,
  slotsTotal: 8_000,
  slotsDone: 2_000,
  bytesTotal: 40 * MIB,
  bytesDone: 30 * MIB,
  etaMs: 8_000,
  joining: ['c', 'd'],
  leaving: ['a'],
};
const plain = (_colour: string, text: string): string => text;

describe('a change', () => {
  it('is as far as the mean of what was sent and what was handed over', () => {
    expect(fractionDone(MOVING)).toBe(0.5);
    expect(fractionDone({ ...MOVING, bytesTotal: 0, bytesDone: 0 })).toBe(0.25);
    expect(fractionDone({ ...MOVING, slotsTotal: 0, slotsDone: 0, bytesDone: 0 })).toBe(0.5);
  });

  it('is one line for a log', () => {
    expect(progressLine(MOVING)).toBe(
      'c joins, d joins, a leaves: 50.0 %, 2,000 of 8,000 slots, 30.0 MiB of 40.0 MiB, about 8.0 s left',
    );
    expect(progressLine(IDLE)).toBe('nothing moves');
    expect(progressLine({ ...IDLE, isPaused: true })).toContain('paused');
  });

  it('has a bar, and says what holds it back', () => {
    const lines = progressLines({ ...MOVING, state: 'paused', etaMs: null, bytesPerSecond: 16 * MIB }, plain);
    expect(lines).toEqual([
      'c joins, d joins, a leaves',
      `${'█'.repeat(20)}${' '.repeat(20)} 50.0 %, 2,000 of 8,000 slots, 30.0 MiB of 40.0 MiB, paused`,
      'each node sends at most 16.0 MiB a second',
    ]);
  });

  it('says when it is called off, and who gets another weight', () => {
    const words = whatChanges({ ...MOVING, joining: [], leaving: [], changing: ['b'], isCancelled: true });
    expect(words).toBe('called off, and what moved goes back: b gets another weight or zone');
  });
});
