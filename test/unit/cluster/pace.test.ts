/** Whether a node is busy with its clients, by how much it has served since it was last looked. */
import { expect, test } from 'vitest';
import { Pace } from '../../../src/cluster/worker/pace.js';

class Node {
  served = 0;
  nowMs = 10_000;
  readonly pace = new Pace({ requestsServed: () => this.served, rebalanceBytesPerSecond: 0 } as never);

  /** Whether it is busy so much later, having served so many meanwhile. */
  isBusyAfter(ms: number, requests: number): boolean {
    this.nowMs += ms;
    this.served += requests;
    return this.pace.isBusy(this.nowMs);
  }
}

test('what a node served long ago does not make it busy', () => {
  const node = new Node();
  expect(node.isBusyAfter(0, 1_000_000)).toBe(true);
  expect([node.isBusyAfter(20, 0), node.isBusyAfter(20, 0)]).toEqual([false, false]);
  expect(node.isBusyAfter(60_000, 1_000_000)).toBe(true);
  expect(node.isBusyAfter(20, 3)).toBe(false);
});

test('who serves some hundred requests a second is busy, and for a while after', () => {
  const node = new Node();
  node.isBusyAfter(0, 0);
  expect(node.isBusyAfter(20, 8)).toBe(true);
  expect([node.isBusyAfter(200, 0), node.isBusyAfter(200, 0), node.isBusyAfter(200, 0)]).toEqual([true, true, false]);
});
