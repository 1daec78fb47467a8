/** The load of all cases of the suite, and how its phases are told and added up. */
import type { PacedOptions, Phase } from '../load/paced.js';
import type { Measurement } from '../report/figure.js';
import { formatNumber } from '../report/table.js';
import type { Context } from '../suite.js';
import type { BenchCluster } from '../targets/cluster.js';

export const LEASE_MS = 3_000;

/** Writes wait for the next epoch as long as it takes; reads have the client's default deadline of a second. */
export const LOAD: PacedOptions = {
  ratePerSecond: 20_000,
  writeShare: 0.2,
  ack: 'quorum',
  keys: 20_000,
  writeDeadlineMs: 30_000,
};

/** Before anything is killed: the code of daemons and client is compiled while it runs. */
export const WARM_UP_MS = 3_000;

export function ratePerSecond({ reads, writes, failedReads, failedWrites, seconds }: Phase): number {
  return (reads + writes + failedReads + failedWrites) / seconds;
}

export function tell(context: Context, what: string, phase: Phase): void {
  const { readMs, writeMs, failedReads, failedWrites, staleReads, degraded, errors, notIssued } = phase;
  const ms = ({ p50, p99, max }: Phase['readMs']) => [p50, p99, max].map((time) => time.toFixed(1)).join('/');
  context.note(
    `${what}: ${formatNumber(Math.round(ratePerSecond(phase)))} requests/s for ${phase.seconds.toFixed(1)} s, ` +
      `p50/p99/max ms: reads ${ms(readMs)}, writes ${ms(writeMs)}; failed: ${failedReads} reads, ` +
      `${failedWrites} writes; ${staleReads} reads found something older, copies answered ${degraded}`,
  );
  if (notIssued > 0) context.note(`${what}: ${notIssued} requests were not issued, for too many were open`);
  for (const [error, times] of Object.entries(errors)) context.note(`  ${times} x ${error}`);
}

export const failed = ({ failedReads, failedWrites }: Phase): number => failedReads + failedWrites;

export function figure(id: string, unit: string, value: number): Measurement {
  return { id, unit, values: [value] };
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const TOLD_EVENTS: ReadonlySet<string> = new Set([
  'topology',
  'take-over',
  'taken-over',
  'possible-loss',
  'catch-up-failed',
]);

/** What nodes logged of epochs and take-overs since a moment, with the time from then on. */
export function tellOfEpochs(context: Context, cluster: BenchCluster, sinceMs: number): void {
  for (const { name, log } of cluster.nodes) {
    const lines = log.filter(({ event, readAtMs }) => readAtMs >= sinceMs && TOLD_EVENTS.has(event ?? ''));
    for (const { event, readAtMs, epoch, slots, tookMs, away, msg } of lines) {
      const details = event === 'topology' ? `${msg}, away: ${away}` : `epoch ${epoch}, ${slots} slots`;
      const took = tookMs === undefined ? '' : ` after ${tookMs} ms`;
      context.note(`  ${(readAtMs - sinceMs).toFixed(0).padStart(6)} ms  node ${name}: ${event}: ${details}${took}`);
    }
  }
}
