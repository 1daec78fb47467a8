/**
 * What the demonstration shows: a panel while it runs (or a line a second where there is no terminal), and the balance
 * at the end. Pure functions from numbers to lines; main.ts decides where they go.
 */
import { progressLine, progressLines } from '../src/cli/rebalance/progress.js';
import {
  bar,
  bytes,
  count,
  duration,
  latency,
  nodeColour,
  type Paint,
  padEnd,
  padStart,
  percent,
  sparkline,
  widthOf,
} from '../src/cli/terminal.js';
import type { RebalanceStatus } from '../src/cluster/index.js';
import { CITY_COUNT, ORIGIN_CONCURRENCY, ORIGIN_LATENCY_MS, uncachedMs } from './origin.js';
import type { Tally } from './traffic.js';
import type { Verdict } from './verify.js';

export interface NodeView {
  readonly name: string;
  /** What the topology says of it, or that it does not answer. */
  readonly state: string;
  /** Part of the slots that the node leads. */
  readonly share: number;
  readonly items: number;
  /** Bytes of live records. */
  readonly bytes: number;
  readonly perSecond: number;
}

/** One interval's rates, for the sparklines. */
export interface Sample {
  readonly perSecond: number;
  readonly hitRatio: number;
  readonly originPerSecond: number;
}

/** Microseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
}

export interface Frame {
  readonly elapsedMs: number;
  readonly durationMs: number;
  readonly tally: Readonly<Tally>;
  readonly all: Latency;
  readonly hits: Latency;
  readonly misses: Latency;
  readonly samples: readonly Sample[];
  readonly nodes: readonly NodeView[];
  /** While data moves: how far it is. */
  readonly move: RebalanceStatus | undefined;
  /** What happened to a node, line by line. */
  readonly events: readonly string[];
}

const WIDTH = 76;
const SPARK_COLUMNS = 30;
const SHARE_COLUMNS = 20;
const LABEL_COLUMNS = 12;
const EVENTS_SHOWN_MIN = 1;

export function title(paint: Paint): string[] {
  const origin = `${ORIGIN_LATENCY_MS} ms a look-up, ${ORIGIN_CONCURRENCY} at a time`;
  return [
    '',
    `  ${paint('bold', 'HENGE')}  three nodes on this machine, two copies of everything;`,
    paint('dim', `         ${count(CITY_COUNT)} real cities behind a slow origin (${origin}),`),
    paint('dim', '         asked for as often as they have inhabitants'),
    '',
  ];
}

/** `rows`: what there is room for; of what happened the last lines are shown, as many as fit. */
export function panel(frame: Frame, paint: Paint, rows = Number.POSITIVE_INFINITY): string[] {
  const lines = figureLines(frame, paint);
  const shown = Math.min(frame.events.length, Math.max(EVENTS_SHOWN_MIN, rows - lines.length));
  return [...lines, ...frame.events.slice(frame.events.length - shown).map((event) => `  ${event}`)];
}

function figureLines(frame: Frame, paint: Paint): string[] {
  const { tally, samples } = frame;
  const last = samples.at(-1) ?? { perSecond: 0, hitRatio: 0, originPerSecond: 0 };
  const history = (pick: (sample: Sample) => number, most?: number) =>
    sparkline(samples.map(pick), SPARK_COLUMNS, most);
  const row = (label: string, figure: string, rest = '') =>
    `  ${padEnd(label, LABEL_COLUMNS)}${padStart(figure, 12)}   ${rest}`;
  return [
    `  ${progress(frame, paint)}`,
    '',
    row(
      'requests',
      count(tally.requests),
      `${padEnd(`${count(last.perSecond)}/s`, 18)}${paint(
        'cyan',
        history((s) => s.perSecond),
      )}`,
    ),
    row(
      'hits',
      percent(tally.hits, tally.requests),
      `${padEnd(`now ${percent(last.hitRatio, 1)}`, 18)}${paint(
        'green',
        history((s) => s.hitRatio, 1),
      )}`,
    ),
    row(
      'origin',
      count(tally.misses),
      `${padEnd(`${count(last.originPerSecond)}/s`, 18)}${paint(
        'yellow',
        history((s) => s.originPerSecond),
      )}`,
    ),
    row(
      'failures',
      paint(tally.failures === 0 ? 'green' : 'red', count(tally.failures)),
      paint('red', tally.lastError),
    ),
    '',
    row('latency', 'p50', `   ${padStart('p99', 9)}`),
    ...(['all', 'hits', 'misses'] as const).map((kind) =>
      row(`  ${kind}`, latency(frame[kind].p50), `   ${padStart(latency(frame[kind].p99), 9)}`),
    ),
    '',
    ...nodeLines(frame.nodes, paint),
    '',
    ...moveLines(frame, paint),
  ];
}

/** Empty while nothing moves. */
function moveLines({ move }: Frame, paint: Paint): string[] {
  if (move === undefined || move.state === 'idle') return [];
  return [...progressLines(move, paint).map((line) => `  ${line}`), ''];
}

function progress(frame: Frame, paint: Paint): string {
  const figure = `${duration(frame.elapsedMs)} of ${duration(frame.durationMs)}`;
  const columns = WIDTH - widthOf(figure) - 2;
  const done = Math.round(Math.min(1, frame.elapsedMs / frame.durationMs) * columns);
  return `${paint('cyan', '━'.repeat(done))}${paint('dim', '─'.repeat(columns - done))}  ${figure}`;
}

function nodeLines(nodes: readonly NodeView[], paint: Paint): string[] {
  const most = Math.max(...nodes.map((node) => node.share), Number.MIN_VALUE);
  const columns = (name: string, share: string, rest: readonly string[]) =>
    `  ${padEnd(name, 8)}${share}  ${rest.map((cell, at) => padStart(cell, at === 0 ? 7 : 12)).join('')}`;
  return [
    paint('dim', columns('node', padEnd('keys led', SHARE_COLUMNS), ['', 'items', 'bytes', 'requests/s'])),
    ...nodes.map((node, index) => {
      const colour = nodeColour(index);
      const share = bar(node.share / most, SHARE_COLUMNS, (text) => paint(colour, text));
      return columns(paint(colour, node.name), share, [
        percent(node.share, 1),
        count(node.items),
        bytes(node.bytes),
        node.state === 'in' ? count(node.perSecond) : paint('red', node.state),
      ]);
    }),
  ];
}

/** One line for logs and pipes. */
export function plainLine(frame: Frame): string {
  const { tally } = frame;
  const last = frame.samples.at(-1);
  return [
    padStart(duration(frame.elapsedMs), 7),
    `${count(tally.requests)} requests (${count(last?.perSecond ?? 0)}/s)`,
    `hits ${percent(tally.hits, tally.requests)}`,
    `misses ${count(tally.misses)}`,
    `failures ${count(tally.failures)}`,
    `p50 ${latency(frame.all.p50)}`,
    `p99 ${latency(frame.all.p99)}`,
    ...(frame.move === undefined || frame.move.state === 'idle' ? [] : [progressLine(frame.move)]),
  ].join('  ');
}

/** What the story of story.ts comes to. */
export interface Story {
  /** It was told to its end. */
  readonly isWhole: boolean;
  /** The longest that a write took to the keys of the node that was killed, */
  readonly longestFallMs: number;
  /** and of all writes while members came and went. */
  readonly longestChangeMs: number;
}

export interface Balance {
  readonly frame: Frame;
  readonly verdict: Verdict;
  readonly memory: { readonly items: number; readonly bytes: number };
  readonly story: Story;
}

export function balance({ frame, verdict, memory, story }: Balance, paint: Paint): string[] {
  const { tally, all, hits, misses } = frame;
  const row = (label: string, figure: string, remark = '') =>
    `  ${padEnd(label, 18)}${padStart(figure, 14)}   ${paint('dim', remark)}`.trimEnd();
  const good = (value: number) => paint(value === 0 ? 'green' : 'red', count(value));
  return [
    '',
    `  ${paint('bold', 'The balance')}`,
    '',
    row('requests', count(tally.requests), `in ${duration(frame.elapsedMs)}`),
    row('hits', count(tally.hits), percent(tally.hits, tally.requests)),
    row('misses', count(tally.misses), 'looked up at the origin'),
    row('joined', count(tally.joined), 'waited for the same look-up of another'),
    row('failures', good(tally.failures), tally.lastError),
    row('writes', count(tally.signatures), `acknowledged; ${count(tally.repeats)} repeated after the kill`),
    row('longest write', duration(story.longestFallMs), 'to the keys of the node that was killed'),
    row('', duration(story.longestChangeMs), 'while a node joined and another one left'),
    row('degraded', count(tally.degraded), 'reads answered by a copy meanwhile'),
    row('lost or wrong', good(verdict.lost + verdict.wrong), `${count(verdict.right)} values read back and right`),
    row('p50', latency(all.p50), `hits ${latency(hits.p50)}, misses ${latency(misses.p50)}`),
    row('p99', latency(all.p99), `hits ${latency(hits.p99)}, misses ${latency(misses.p99)}`),
    row(
      'share of keys',
      frame.nodes.map((node) => percent(node.share, 1).replace(' %', '')).join(' / '),
      `% on ${frame.nodes.map((node) => node.name).join(', ')}`,
    ),
    row(
      'memory per item',
      memory.items > 0 ? `${Math.round(memory.bytes / memory.items)} B` : '–',
      `key, value and header; ${count(memory.items)} copies in ${bytes(memory.bytes)}`,
    ),
    row(
      'without a cache',
      duration(uncachedMs(tally.requests)),
      `${count(tally.requests)} look-ups of ${ORIGIN_LATENCY_MS} ms, ${ORIGIN_CONCURRENCY} at a time`,
    ),
    row(
      '',
      paint('bold', `${(uncachedMs(tally.requests) / frame.elapsedMs).toFixed(1)} ×`),
      'as long, for the same answers',
    ),
    '',
  ];
}
