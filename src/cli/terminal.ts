/**
 * Drawing in a terminal: colours, bars, sparklines, tables, numbers for people, and a panel that is redrawn in place.
 *
 * Everything but Panel and `terminal` is a pure function of its arguments: a string comes out, nothing is written.
 * Colours follow the custom of NO_COLOR (no-color.org) and FORCE_COLOR, and are off when the output is not a terminal.
 */
import type { WriteStream } from 'node:tty';

/** What a screen can show, found once per output stream and passed down. */
export interface Screen {
  readonly isTerminal: boolean;
  readonly hasColour: boolean;
  readonly columns: number;
  readonly rows: number;
}

type Output = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY' | 'columns' | 'rows'>>;

const COLUMNS_DEFAULT = 80;
const ROWS_DEFAULT = 24;

// A terminal that nobody told its size says 0.
const columnsOf = ({ columns }: Output): number => columns || COLUMNS_DEFAULT;
const rowsOf = ({ rows }: Output): number => rows || ROWS_DEFAULT;

export function screenOf(output: Output, environment: NodeJS.ProcessEnv = process.env): Screen {
  const isTerminal = output.isTTY === true && environment.TERM !== 'dumb';
  const isForced = (environment.FORCE_COLOR ?? '0') !== '0';
  const isForbidden = (environment.NO_COLOR ?? '') !== '';
  return {
    isTerminal,
    hasColour: !isForbidden && (isTerminal || isForced),
    columns: columnsOf(output),
    rows: rowsOf(output),
  };
}

const CODES = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  magenta: 35,
  cyan: 36,
} as const;
export type Colour = keyof typeof CODES;

/** Nodes are told apart by these, in the order of their names, wherever they are drawn. */
export const NODE_COLOURS: readonly Colour[] = ['cyan', 'magenta', 'yellow', 'green', 'blue', 'red'];

export function nodeColour(index: number): Colour {
  return NODE_COLOURS[index % NODE_COLOURS.length] ?? 'cyan';
}

export type Paint = (colour: Colour, text: string) => string;

/** A function that colours text, or leaves it as it is on a screen without colours. */
export function paintFor(screen: Screen): Paint {
  return screen.hasColour ? (colour, text) => `\u001b[${CODES[colour]}m${text}\u001b[0m` : (_colour, text) => text;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with a control character
const ESCAPE_SEQUENCE = /\u001b\[[0-9;?]*[A-Za-z]/g;

/** Columns that `text` takes up, escape sequences not counted. Every character we draw is one column wide. */
export function widthOf(text: string): number {
  return [...text.replace(ESCAPE_SEQUENCE, '')].length;
}

export function padEnd(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - widthOf(text)));
}

export function padStart(text: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - widthOf(text))) + text;
}

/** Cuts to at most `columns`, keeping escape sequences whole, so that a line never wraps and a panel stays in place. */
export function cut(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let kept = '';
  let left = columns - 1;
  let position = 0;
  for (const match of text.matchAll(ESCAPE_SEQUENCE)) {
    const plain = [...text.slice(position, match.index)].slice(0, left);
    kept += plain.join('') + match[0];
    left -= plain.length;
    position = match.index + match[0].length;
  }
  return `${kept}${[...text.slice(position)].slice(0, left).join('')}…`;
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of `columns` columns filled to `fraction`, in steps of an eighth of a column. */
export function bar(fraction: number, columns: number, paint?: (text: string) => string): string {
  const eighths = Math.round(Math.min(1, Math.max(0, fraction)) * columns * 8);
  const filled = '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
  const text = paint === undefined ? filled : paint(filled);
  return text + ' '.repeat(columns - widthOf(filled));
}

const STEPS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/** The last `columns` values as a line of small columns, the largest of them (or `most`) as the full height. */
export function sparkline(values: readonly number[], columns: number, most?: number): string {
  const shown = values.slice(-columns);
  const top = most ?? Math.max(...shown, 0);
  return shown
    .map((value) => STEPS[Math.min(7, Math.max(0, Math.floor((top > 0 ? value / top : 0) * 7.999)))])
    .join('');
}

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Lines of a table without rules: titles, then rows, columns two spaces apart. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], paint: Paint): string[] {
  const widths = columns.map((column, at) =>
    Math.max(widthOf(column.title), ...rows.map((row) => widthOf(row[at] ?? ''))),
  );
  const line = (cells: readonly string[]) =>
    columns
      .map((column, at) => (column.align === 'right' ? padStart : padEnd)(cells[at] ?? '', widths[at] ?? 0))
      .join('  ')
      .trimEnd();
  return [paint('dim', line(columns.map((column) => column.title))), ...rows.map(line)];
}

const COUNT_FORMAT = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** `1,234,567` */
export function count(value: number): string {
  return COUNT_FORMAT.format(value);
}

/** `33.4 %`; a dash when there is nothing to take a share of. */
export function percent(part: number, whole: number): string {
  return whole > 0 ? `${((part / whole) * 100).toFixed(1)} %` : '–';
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `512 B`, `4.2 MiB` */
export function bytes(value: number): string {
  let unit = 0;
  let scaled = value;
  while (scaled >= 1024 && unit < BYTE_UNITS.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${unit === 0 || scaled >= 100 ? scaled.toFixed(0) : scaled.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/** A latency: `84 µs`, `0.42 ms`, `21.3 ms`, `1.20 s` */
export function latency(microseconds: number): string {
  if (microseconds < 100) return `${microseconds.toFixed(0)} µs`;
  if (microseconds < 10_000) return `${(microseconds / 1e3).toFixed(2)} ms`;
  if (microseconds < 1e6) return `${(microseconds / 1e3).toFixed(1)} ms`;
  return `${(microseconds / 1e6).toFixed(2)} s`;
}

/** A span of time in words: `8.4 s`, `5 min 12 s`, `3 h 05 min`, `2 d 4 h` */
export function duration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  if (whole < 86_400) {
    return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
  }
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const ENTER_ALTERNATE = '\u001b[?1049h\u001b[H';
const LEAVE_ALTERNATE = '\u001b[?1049l';

/**
 * Lines that are drawn again and again at the same place of a terminal.
 *
 * Each frame is one write: cursor up, every line overwritten and cleared to its end, the rest cleared; so nothing
 * flickers. Lines wider than the screen are cut and lines beyond its height left out, since a wrapped or scrolled line
 * would move the place. `close` leaves the last frame standing (or the screen as it was, in the alternate screen).
 */
export class Panel {
  private readonly output: Output;
  private readonly inAlternateScreen: boolean;
  private linesDrawn = 0;
  private isOpen = false;

  constructor(output: Output, options: { readonly alternateScreen?: boolean } = {}) {
    this.output = output;
    this.inAlternateScreen = options.alternateScreen ?? false;
  }

  draw(lines: readonly string[]): void {
    const columns = columnsOf(this.output);
    const shown = lines.slice(0, rowsOf(this.output) - 1);
    const begin = this.isOpen ? '' : HIDE_CURSOR + (this.inAlternateScreen ? ENTER_ALTERNATE : '');
    this.isOpen = true;
    const up = this.linesDrawn > 0 ? `\u001b[${this.linesDrawn}A` : '';
    const body = shown.map((line) => `\r${cut(line, columns)}\u001b[K\n`).join('');
    this.output.write(`${begin}${up}${body}\u001b[J`);
    this.linesDrawn = shown.length;
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.linesDrawn = 0;
    this.output.write(SHOW_CURSOR + (this.inAlternateScreen ? LEAVE_ALTERNATE : ''));
  }
}
