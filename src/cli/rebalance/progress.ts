/**
 * How a change of the list of members is shown while it goes on: as lines with a bar, as one line, and redrawn in place
 * until nothing moves any more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RebalanceStatus } from '../../cluster/index.js';
import { print } from '../command.js';
import { bar, bytes, count, duration, type Paint, Panel, paintFor, percent, screenOf } from '../terminal.js';

const BAR_COLUMNS = 40;
/** Between two looks: as often as a person sees a bar move, and as seldom as a log should have a line. */
const LIVE_MS = 250;
const PLAIN_MS = 1_000;

/** Of 1. What is sent and what is handed over count as halves, for the one ends long before the other. */
export function fractionDone({ slotsDone, slotsTotal, bytesDone, bytesTotal }: RebalanceStatus): number {
  const slots = slotsTotal === 0 ? 1 : slotsDone / slotsTotal;
  return bytesTotal === 0 ? slots : (slots + bytesDone / bytesTotal) / 2;
}

/** What changes: `c joins, a leaves`. */
export function whatChanges({ joining, leaving, changing, isCancelled }: RebalanceStatus): string {
  const all = [
    ...joining.map((name) => `${name} joins`),
    ...leaving.map((name) => `${name} leaves`),
    ...changing.map((name) => `${name} gets another weight or zone`),
  ].join(', ');
  return isCancelled ? `called off, and what moved goes back: ${all}` : all;
}

/** `62.1 %, 10,174 of 16,384 slots, 12 MiB of 40 MiB, about 8.0 s left` */
function figures(status: RebalanceStatus): string {
  const { slotsDone, slotsTotal, bytesDone, bytesTotal, etaMs, state } = status;
  return [
    percent(fractionDone(status), 1),
    `${count(slotsDone)} of ${count(slotsTotal)} slots`,
    ...(bytesTotal > 0 ? [`${bytes(bytesDone)} of ${bytes(bytesTotal)}`] : []),
    ...(state === 'paused' ? ['paused'] : []),
    ...(etaMs === null ? [] : [`about ${duration(etaMs)} left`]),
  ].join(', ');
}

/** One line for a log or among others. */
export function progressLine(status: RebalanceStatus): string {
  if (status.state === 'idle') return idleLine(status);
  return `${whatChanges(status)}: ${figures(status)}`;
}

function idleLine({ isPaused }: RebalanceStatus): string {
  return isPaused ? 'nothing moves, and nothing will: paused (henge rebalance resume)' : 'nothing moves';
}

const doneLine = ({ epoch }: RebalanceStatus): string => `done, with epoch ${epoch}`;

/** Lines with a bar. */
export function progressLines(status: RebalanceStatus, paint: Paint): string[] {
  const { state, isCancelled, bytesPerSecond } = status;
  if (state === 'idle') return [idleLine(status)];
  const colour = state === 'paused' || isCancelled ? 'yellow' : 'green';
  return [
    paint('bold', whatChanges(status)),
    `${bar(fractionDone(status), BAR_COLUMNS, (text) => paint(colour, text))} ${figures(status)}`,
    ...(bytesPerSecond === null ? [] : [paint('dim', limitOf(bytesPerSecond))]),
  ];
}

/** A limit that an operator set. */
export function limitOf(bytesPerSecond: number): string {
  return bytesPerSecond === 0
    ? 'each node sends as much as it can'
    : `each node sends at most ${bytes(bytesPerSecond)} a second`;
}

export interface Watching {
  /** undefined: there is nothing to show at the moment. */
  readonly look: () => Promise<RebalanceStatus | undefined>;
  /** Whether the waiting is over; asked after each look. */
  readonly isDone: (status: RebalanceStatus | undefined) => boolean | Promise<boolean>;
  readonly isJson?: boolean;
}

/**
 * Shows how far a change is until it is done: redrawn in place on a terminal, else a line whenever there is news; as
 * JSON an object for each look.
 */
export async function watchProgress({ look, isDone, isJson = false }: Watching): Promise<void> {
  const screen = screenOf(process.stdout);
  const panel = screen.isTerminal && !isJson ? new Panel(process.stdout) : undefined;
  let shown = '';
  let hasMoved = false;
  const show = (status: RebalanceStatus): void => {
    const isOver = hasMoved && status.state === 'idle';
    hasMoved ||= status.state !== 'idle';
    const line = isJson ? JSON.stringify(status) : isOver ? doneLine(status) : progressLine(status);
    if (panel !== undefined) panel.draw(isOver ? [line] : progressLines(status, paintFor(screen)));
    else if (isJson || line !== shown) print(line);
    shown = line;
  };
  try {
    for (;;) {
      const status = await look();
      if (status !== undefined) show(status);
      if (await isDone(status)) return;
      await sleep(panel === undefined && status !== undefined ? PLAIN_MS : LIVE_MS);
    }
  } finally {
    // The cursor comes back whatever ends the waiting.
    panel?.close();
  }
}
