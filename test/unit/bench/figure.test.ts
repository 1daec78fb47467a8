import { describe, expect, test } from 'vitest';
import { geometricMean, median, spread, toFigure } from '../../../bench/report/figure.js';

describe('the numbers of a report', () => {
  test('the median is the middle value, whatever the order', () => {
    expect(median([9, 1, 5])).toBe(5);
  });

  test('the median of an even number of values is the mean of the two in the middle', () => {
    expect(median([4, 1, 3, 100])).toBe(3.5);
  });

  test('taking the median leaves the values as they were', () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });

  test('the spread is the width of all rounds as a part of their median', () => {
    expect(spread([90, 100, 110])).toBeCloseTo(0.2);
  });

  test('rounds that agree have no spread, even at zero', () => {
    expect(spread([0, 0, 0])).toBe(0);
  });

  test('the geometric mean takes half and double for equal steps', () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1);
  });
});

describe('a figure', () => {
  const measurement = {
    id: 'node.depth32',
    unit: 'ops/s',
    values: [100, 240, 330],
    against: { name: 'redis-server', values: [100, 200, 300] },
  };

  test('its ratio is the median of the ratios within each round, not the ratio of the medians', () => {
    const slowedTogether = {
      ...measurement,
      values: [10, 300, 200],
      against: { name: 'peer', values: [10, 100, 100] },
    };
    expect(toFigure(slowedTogether, 'command').ratio).toBe(2);
  });

  test('its value and its peer are medians', () => {
    const figure = toFigure(measurement, 'command');
    expect(figure.value).toBe(240);
    expect(figure.against).toEqual({ name: 'redis-server', value: 200 });
    expect(figure.rounds).toBe(3);
  });

  test('its spread is that of the ratios where it has one', () => {
    expect(toFigure(measurement, 'command').spread).toBeCloseTo(0.2 / 1.1);
  });

  test('a cost divides the peer by ours where it says so', () => {
    const cost = { id: 'node.cpu32', unit: 'us/op', values: [1, 1], ratio: 'theirs/ours' } as const;
    expect(toFigure({ ...cost, against: { name: 'redis-server', values: [2, 4] } }, 'command').ratio).toBe(3);
  });

  test('it stands alone where there is no peer', () => {
    const figure = toFigure({ id: 'ring.build100', unit: 'ms', values: [20, 30, 40] }, 'command');
    expect(figure).toMatchObject({ value: 30, against: null, ratio: null });
  });

  test('it is held to the goal of its id', () => {
    expect(toFigure(measurement, 'command')).toMatchObject({ goal: 'at least 1.2 x', isHeld: false });
    const faster = { ...measurement, values: [200, 400, 600] };
    expect(toFigure(faster, 'command').isHeld).toBe(true);
  });

  test('without a goal it is held to nothing', () => {
    expect(toFigure({ ...measurement, id: 'some.figure' }, 'command')).toMatchObject({ goal: null, isHeld: null });
  });

  test('sides of different numbers of rounds are refused', () => {
    const uneven = { ...measurement, against: { name: 'redis-server', values: [1] } };
    expect(() => toFigure(uneven, 'command')).toThrow(RangeError);
  });

  test('no rounds at all are refused', () => {
    expect(() => toFigure({ id: 'x', unit: 'ms', values: [] }, 'command')).toThrow(RangeError);
  });
});
