/** The result of `henge verify` for people: what was found, how long calls took, and the verdict. */
import { count, duration, latency, type Paint, table } from '../terminal.js';
import type { Findings } from './findings.js';
import { type RunFacts, type Verdict, verdictOf } from './verdict.js';
import type { WaitSummary } from './waits.js';

const EXAMPLES_SHOWN_MAX = 5;

export function drawResult(findings: Findings, facts: RunFacts, paint: Paint): string[] {
  const { elapsedMs, keys, level, epochs } = facts;
  const [first, last] = epochs;
  const passed = first === last ? `epoch ${first}` : `epochs ${first} to ${last}`;
  const calls = `${count(findings.reads)} reads, ${count(findings.writes)} writes`;
  return [
    `${count(keys)} keys written at ${level} and read at primary for ${duration(elapsedMs)}: ${calls}, ${passed}`,
    '',
    ...faults(findings, facts, paint),
    '',
    ...waits(findings, facts, paint),
    ...examples(findings, paint),
    '',
    sentence(findings, facts, paint),
  ];
}

function faults({ counts, failures, unread }: Findings, { slowMs, allowed }: RunFacts, paint: Paint): string[] {
  const codes = [...failures].map(([code, times]) => `${count(times)} ${code}`).join(', ');
  const row = (name: keyof typeof counts, meaning: string) => {
    const isAllowed = (allowed as readonly string[]).includes(name) || name === 'evicted';
    const colour = counts[name] === 0 ? 'green' : isAllowed ? 'yellow' : 'red';
    return [name, paint(colour, count(counts[name])), paint('dim', meaning)];
  };
  return table(
    [{ title: '' }, { title: 'times', align: 'right' }, { title: '' }],
    [
      row('lost', 'acknowledged, and gone'),
      row('foreign', 'never written, refused, or counted twice'),
      row('stale', 'an older value was read, then the right one'),
      row('failed', codes === '' ? 'calls that ended with an error' : codes),
      row('slow', `answered after more than ${count(slowMs)} ms`),
      ...(counts.evicted > 0 ? [row('evicted', 'missing, and not judged: nodes evicted meanwhile')] : []),
      ...(unread > 0
        ? [['unread', paint('red', count(unread)), paint('dim', 'keys without an answer at the end')]]
        : []),
    ],
    paint,
  );
}

const WAIT_COLUMNS = [
  { title: '' },
  { title: 'calls', align: 'right' },
  { title: 'p50', align: 'right' },
  { title: 'p99', align: 'right' },
  { title: 'longest', align: 'right' },
] as const;

function waits(findings: Findings, { stalledMs }: RunFacts, paint: Paint): string[] {
  const { quiet, during } = findings.waits.summary();
  const row = (title: string, { count: calls, p50Ms, p99Ms, longestMs }: WaitSummary) =>
    calls === 0
      ? [title, '0', '–', '–', '–']
      : [title, count(calls), ...[p50Ms, p99Ms, longestMs].map((ms) => latency(ms * 1000))];
  const own = `this process itself stood still for up to ${latency(stalledMs * 1000)}, which is taken off`;
  return [
    ...table(WAIT_COLUMNS, [row('quiet', quiet), row('during changes', during)], paint),
    ...(stalledMs >= 50 ? [paint('dim', own)] : []),
  ];
}

function examples({ examples: all }: Findings, paint: Paint): string[] {
  const shown = all.slice(0, EXAMPLES_SHOWN_MAX).map(({ kind, key, expected, found, atMs }) => {
    return `${paint('red', kind)} at ${duration(atMs)}: ${key} should hold ${expected}, and holds ${found}`;
  });
  return shown.length === 0 ? [] : ['', ...shown];
}

const MEANINGS: Readonly<Record<Verdict, string>> = {
  lost: 'acknowledged writes are gone',
  foreign: 'there are values that nobody wrote',
  stale: 'older values were read',
  failed: 'calls failed',
  slow: 'calls were slow',
  unjudged: 'too much could not be looked at',
  passed: 'every acknowledged write was there, whenever it was read',
};

function sentence(findings: Findings, facts: RunFacts, paint: Paint): string {
  const verdict = verdictOf(findings, facts);
  const text = `${paint('bold', paint(verdict === 'passed' ? 'green' : 'red', verdict))}: ${MEANINGS[verdict]}`;
  // What was promised belongs to the verdict: at this level a node that dies may take its last writes with it.
  const mayLose = facts.level === 'one' && (verdict === 'lost' || verdict === 'stale');
  return mayLose ? `${text}. At level one that may happen when a node dies unplanned, and must not otherwise.` : text;
}
