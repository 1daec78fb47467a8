import { describe, expect, it } from 'vitest';
import { Ledger } from '../../../bench/load/ledger.js';
import { keyNames } from '../../../bench/load/paced.js';
import { KINDS, movingSlots } from '../../../bench/rebalance/kinds.js';
import { buildSlotTable, primaryOf, slotOf } from '../../../src/ring/index.js';

describe('a ledger', () => {
  it('finds the increments that a counter has lost, and those that counted twice', async () => {
    const ledger = new Ledger(3);
    for (const key of [0, 1, 2]) {
      for (let times = 0; times < 5; times++) {
        ledger.begin(key);
        ledger.counted(key);
      }
    }
    const found = [5, 3, 6];
    const verdict = await ledger.judge(async (key) => found[key]);
    expect(verdict).toMatchObject({ lost: [1], lostWrites: 2, foreign: [2] });
  });

  it('accepts an increment of unknown outcome, whether it counted or not', async () => {
    const ledger = new Ledger(2);
    for (const key of [0, 1]) {
      ledger.begin(key);
      ledger.counted(key);
      ledger.begin(key);
    }
    const verdict = await ledger.judge(async (key) => key + 1);
    expect(verdict).toMatchObject({ lost: [], foreign: [] });
  });
});

describe('the keys of a load that is aimed at what moves', () => {
  it('have other leaders after the change', () => {
    const kind = KINDS.find(({ name }) => name === 'join');
    const [before, after] = (kind?.lists ?? []).map((list) => buildSlotTable(list, 2));
    if (kind === undefined || before === undefined || after === undefined) throw new Error('there is no such change');
    const load = { ratePerSecond: 1, writeShare: 1, ack: 'one', keys: 500, writeDeadlineMs: 1 } as const;
    const names = keyNames({ ...load, slots: movingSlots(kind) });
    const isMoved = (name: string) => {
      const slot = slotOf(Buffer.from(name));
      return before.members[primaryOf(before, slot)] !== after.members[primaryOf(after, slot)];
    };
    expect(names.length).toBe(500);
    expect(names.filter((name) => !isMoved(name))).toEqual([]);
  });
});
