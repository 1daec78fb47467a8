/**
 * From the rounds of a measurement to the figure that is reported.
 *
 * A round measures both sides one after the other, so whatever slowed the machine in that minute slowed both: the ratio
 * is taken within each round, and the median over the rounds is reported. The spread says how far the rounds disagreed.
 */
import { goalOf } from './goals.js';

/** What a suite hands in: one value per round, and the peer's values of the same rounds. */
export interface Measurement {
  readonly id: string;
  readonly unit: string;
  readonly values: readonly number[];
  readonly against?: { readonly name: string; readonly values: readonly number[] };
  /** Which side is divided by the other; `ours/theirs` unless said. */
  readonly ratio?: 'ours/theirs' | 'theirs/ours';
}

/** One line of a report; the fields of `npm run bench -- SUITE --json FILE`. */
export interface Figure {
  readonly id: string;
  /** Median over the rounds. */
  readonly value: number;
  readonly unit: string;
  /** The other side, with its median; null where a figure stands alone. */
  readonly against: { readonly name: string; readonly value: number } | null;
  /** Median of the rounds' ratios. */
  readonly ratio: number | null;
  /** (highest - lowest) / median over the rounds, of the ratio where there is one, else of the value. */
  readonly spread: number;
  readonly rounds: number;
  readonly command: string;
  /** What docs/performance.md holds the figure to; null for figures that only inform. */
  readonly goal: string | null;
  readonly isHeld: boolean | null;
}

/** Throws a RangeError when a side has no rounds, or the sides differ in number: that is a bug in the suite. */
export function toFigure(measurement: Measurement, command: string): Figure {
  const { id, unit, values, against } = measurement;
  if (values.length === 0) throw new RangeError(`${id} was measured in no round`);
  const ratios = against === undefined ? undefined : ratiosOf(measurement, against.values);
  const value = median(values);
  const ratio = ratios === undefined ? null : median(ratios);
  const goal = goalOf(id);
  return {
    id,
    value,
    unit,
    against: against === undefined ? null : { name: against.name, value: median(against.values) },
    ratio,
    spread: spread(ratios ?? values),
    rounds: values.length,
    command,
    goal: goal === undefined ? null : goal.text,
    isHeld: goal === undefined ? null : goal.isHeldBy(value, ratio),
  };
}

function ratiosOf({ id, values, ratio }: Measurement, theirs: readonly number[]): number[] {
  if (theirs.length !== values.length) {
    throw new RangeError(`${id} has ${values.length} rounds of ours and ${theirs.length} of theirs`);
  }
  return values.map((ours, round) => {
    const other = theirs[round] ?? Number.NaN;
    return ratio === 'theirs/ours' ? other / ours : ours / other;
  });
}

/** The middle value; the mean of the two middle ones for an even number. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? Number.NaN;
  const lower = sorted[(sorted.length - 1) >> 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** (highest - lowest) / median; 0 when all are equal, whatever they are. */
export function spread(values: readonly number[]): number {
  const width = Math.max(...values) - Math.min(...values);
  return width === 0 ? 0 : width / Math.abs(median(values));
}

/** The mean that treats half and double alike: for ratios. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
