import { expect, test } from 'vitest';
import { toFigure } from '../../../bench/report/figure.js';
import { formatNumber, renderTable } from '../../../bench/report/table.js';

test('a table has a line for each figure below its headings, with numbers under each other', () => {
  const fast = {
    id: 'node.depth1',
    unit: 'ops/s',
    values: [120_000],
    against: { name: 'redis-server', values: [100_000] },
  };
  const slow = { id: 'ring.build100', unit: 'ms', values: [300] };
  const [headings, , first, second] = renderTable([toFigure(fast, 'command'), toFigure(slow, 'command')]).split('\n');

  expect(headings).toMatch(/^figure +value +unit/);
  expect(first).toMatch(/^node\.depth1 +120,000 +ops\/s +redis-server +100,000 +1\.200 x .* at least 1\.1 x: held$/);
  expect(second).toMatch(/^ring\.build100 +300 +ms .* at most 250: MISSED$/);
  expect(first?.indexOf('120,000')).toBe((second?.indexOf('300') ?? 0) - '120,'.length);
});

test('a number shows the digits it deserves', () => {
  expect([1_234_567.8, 1_000, 123.456, 12.345, 0.12345].map(formatNumber)).toEqual([
    '1,234,568',
    '1,000',
    '123.5',
    '12.35',
    '0.1235',
  ]);
});
