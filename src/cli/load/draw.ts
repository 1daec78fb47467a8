/**
 * Drawing numbers at random, from a seed, by given weights.
 *
 * Weighted drawing is the alias method (A. J. Walker 1977, in M. D. Vose's form of 1991): n columns of equal height,
 * each split between at most two outcomes, so that a draw costs one random number and two array reads however many
 * outcomes there are. The generator is mulberry32: 32 bits of state, plenty for choosing keys, useless for secrets.
 */

/** Gives numbers in [0, 1), always the same ones for the same seed. */
export type Random = () => number;

export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/**
 * Draws an index of `weights` with a probability proportional to its weight. Throws a RangeError when none is above 0.
 */
export function weightedDraw(weights: ArrayLike<number>, random: Random): () => number {
  const length = weights.length;
  let total = 0;
  for (let at = 0; at < length; at++) total += weights[at] ?? 0;
  if (!(total > 0)) throw new RangeError('At least one weight must be above 0');

  const threshold = new Float64Array(length);
  const alias = new Uint32Array(length);
  const light: number[] = [];
  const heavy: number[] = [];
  for (let at = 0; at < length; at++) {
    threshold[at] = ((weights[at] ?? 0) * length) / total;
    (threshold[at] as number) < 1 ? light.push(at) : heavy.push(at);
  }
  while (light.length > 0 && heavy.length > 0) {
    const poor = light.pop() as number;
    const rich = heavy[heavy.length - 1] as number;
    alias[poor] = rich;
    threshold[rich] = (threshold[rich] as number) - (1 - (threshold[poor] as number));
    if ((threshold[rich] as number) < 1) light.push(heavy.pop() as number);
  }
  // What is left differs from 1 by rounding only, except outcomes of weight 0, which rounding must not bring to life.
  for (const at of heavy) threshold[at] = 1;
  for (const at of light) if ((weights[at] ?? 0) > 0) threshold[at] = 1;

  return () => {
    const place = random() * length;
    const column = Math.floor(place);
    return place - column < (threshold[column] as number) ? column : (alias[column] as number);
  };
}

/** Zipf's law: the outcome of rank r (from 1) has the weight 1 / r^exponent. Exponent 0 is the uniform law. */
export function zipfWeights(outcomes: number, exponent: number): Float64Array {
  const weights = new Float64Array(outcomes);
  for (let rank = 1; rank <= outcomes; rank++) weights[rank - 1] = rank ** -exponent;
  return weights;
}
