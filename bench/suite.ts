/**
 * What a suite is, and what it is given.
 *
 * A suite measures Henge and its peers in one run: rounds alternate between the sides, so that a machine that grows
 * warm or busy is so for both. It hands back measurements; medians, ratios and goals are the report's affair.
 */
import type { Measurement } from './report/figure.js';

export interface Suite {
  readonly name: string;
  /** One line for the list of suites. */
  readonly summary: string;
  run(context: Context): Promise<readonly Measurement[]>;
}

export interface Context {
  /**
   * Shorter rounds, fewer of them, smaller data: under a minute altogether, but where nodes must be given the time to
   * fall and to return. For a first look, not for a claim.
   */
  readonly isQuick: boolean;
  /** Folder of traces, for `hits`. */
  readonly tracesFolder: string | undefined;
  /** Kill workers under the load, for `client`. */
  readonly isKilling: boolean;
  /** The one case to measure, for `failover`, `replication` and `rebalance`. */
  readonly only: string | undefined;
  /** A line about what is going on or was skipped. */
  note(line: string): void;
  /** Has the version of something that takes part put into the report. */
  version(name: string, version: string): void;
  /** Something to be undone when the suite ends, however it ends; the last one first. */
  defer(cleanUp: () => Promise<void> | void): void;
}

/**
 * Runs `rounds` rounds of both sides, turning the order round each time: the second of a pair runs on a warmer machine.
 */
export async function alternate<Side>(
  sides: readonly Side[],
  rounds: number,
  measure: (side: Side, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? sides : [...sides].reverse();
    for (const side of order) await measure(side, round);
  }
}

/** A part of a suite that can be measured alone. */
export interface Case {
  readonly name: string;
  measure(context: Context): Promise<readonly Measurement[]>;
}

/** One case after the other, or the one that was asked for. */
export async function measureCases(context: Context, cases: readonly Case[]): Promise<readonly Measurement[]> {
  const { only } = context;
  const chosen = only === undefined ? cases : cases.filter(({ name }) => name === only);
  if (chosen.length === 0) throw new RangeError(`--only takes one of ${cases.map(({ name }) => name).join(', ')}`);
  const measurements: Measurement[] = [];
  for (const { measure } of chosen) measurements.push(...(await measure(context)));
  return measurements;
}
