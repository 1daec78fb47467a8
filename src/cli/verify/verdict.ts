/** What a run of `henge verify` comes to: one word, and the figures it rests on. */
import { FAULTS, type Fault, type Findings } from './findings.js';

/**
 * The worst fault there was, but for those that were allowed. `unjudged`: no fault, and yet too little was looked at:
 * keys that could not be read at the end, or as many misses as keys on nodes that evict.
 */
export type Verdict = Fault | 'unjudged' | 'passed';

/** What an operator may expect and accept. Wrong values never are. */
export const ALLOWABLE = ['failed', 'slow'] as const;
export type Allowable = (typeof ALLOWABLE)[number];

export interface RunFacts {
  readonly keys: number;
  readonly level: string;
  readonly rate: number;
  readonly slowMs: number;
  readonly allowed: readonly Allowable[];
  readonly elapsedMs: number;
  readonly epochs: readonly [first: number, last: number];
  /** The longest that this process itself stood still. */
  readonly stalledMs: number;
}

export function verdictOf(findings: Findings, { keys, allowed }: Pick<RunFacts, 'keys' | 'allowed'>): Verdict {
  const { counts, unread } = findings;
  const isCounted = (fault: Fault) => counts[fault] > 0 && !(allowed as readonly Fault[]).includes(fault);
  const worst = FAULTS.find(isCounted);
  if (worst !== undefined) return worst;
  return unread > 0 || counts.evicted >= keys || findings.operations === 0 ? 'unjudged' : 'passed';
}

/** What `--json` prints. The first six names are relied on by scripts. */
export function resultOf(findings: Findings, facts: RunFacts) {
  const { counts, failures, examples, unread, reads, writes, waits } = findings;
  const { all, quiet, during } = waits.summary();
  return {
    lost: counts.lost,
    stale: counts.stale,
    failed: counts.failed,
    slow: counts.slow,
    p99Ms: all.p99Ms,
    verdict: verdictOf(findings, facts),
    foreign: counts.foreign,
    evicted: counts.evicted,
    unread,
    reads,
    writes,
    failures: Object.fromEntries(failures),
    longestMs: all.longestMs,
    quiet,
    during,
    stalledMs: facts.stalledMs,
    epochs: facts.epochs,
    seconds: facts.elapsedMs / 1000,
    keys: facts.keys,
    level: facts.level,
    rate: facts.rate,
    slowMs: facts.slowMs,
    allowed: facts.allowed,
    examples,
  };
}
