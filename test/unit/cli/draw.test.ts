import { describe, expect, it } from 'vitest';
import { seededRandom, weightedDraw, zipfWeights } from '../../../src/cli/load/draw.js';

function frequencies(draw: () => number, outcomes: number, draws: number): number[] {
  const seen = new Array<number>(outcomes).fill(0);
  for (let index = 0; index < draws; index++) {
    const outcome = draw();
    seen[outcome] = (seen[outcome] ?? 0) + 1;
  }
  return seen;
}

describe('drawing at random', () => {
  it('gives the same numbers for the same seed, and others for another', () => {
    const numbers = (seed: number) => Array.from({ length: 100 }, seededRandom(seed));
    expect(numbers(7)).toEqual(numbers(7));
    expect(numbers(7)).not.toEqual(numbers(8));
  });

  it('draws each outcome as often as its weight says', () => {
    const weights = [5, 0, 1, 3, 1];
    const draws = 100_000;
    const seen = frequencies(weightedDraw(weights, seededRandom(1)), weights.length, draws);
    for (const [outcome, weight] of weights.entries()) {
      expect(Math.abs((seen[outcome] ?? 0) / draws - weight / 10)).toBeLessThan(0.01);
    }
  });

  it('never draws an outcome of weight 0, wherever it stands', () => {
    for (const weights of [
      [0, 1, 0.1, 0.2, 0],
      [0.3, 0, 0, 0, 0.7],
      [0, 0, 1],
    ]) {
      const seen = frequencies(weightedDraw(weights, seededRandom(3)), weights.length, 20_000);
      for (const [outcome, weight] of weights.entries()) if (weight === 0) expect(seen[outcome]).toBe(0);
    }
  });

  it('refuses weights that leave nothing to draw', () => {
    expect(() => weightedDraw([], seededRandom(1))).toThrow(RangeError);
    expect(() => weightedDraw([0, 0], seededRandom(1))).toThrow(RangeError);
  });

  it("halves the weight at twice the rank under Zipf's law of exponent 1, and knows no ranks at 0", () => {
    const zipf = zipfWeights(8, 1);
    expect(zipf[3]).toBeCloseTo((zipf[1] as number) / 2);
    expect([...zipfWeights(4, 0)]).toEqual([1, 1, 1, 1]);
  });
});
