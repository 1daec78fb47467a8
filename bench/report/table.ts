/** A report as people read it: aligned columns, numbers with as many digits as they deserve. */
import type { Figure } from './figure.js';

const HEADINGS = ['figure', 'value', 'unit', 'against', 'its value', 'ratio', 'spread', 'rounds', 'goal'] as const;
/** Columns of numbers stand at the right. */
const RIGHT: ReadonlySet<string> = new Set(['value', 'its value', 'ratio', 'spread', 'rounds']);

export function renderTable(figures: readonly Figure[]): string {
  const rows = [HEADINGS.map(String), ...figures.map(cellsOf)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) => row.map((cell, column) => align(cell, column, widths[column] ?? 0)).join('  '));
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return lines.map((line) => line.trimEnd()).join('\n');
}

function cellsOf(figure: Figure): string[] {
  return [
    figure.id,
    formatNumber(figure.value),
    figure.unit,
    figure.against?.name ?? '',
    figure.against === null ? '' : formatNumber(figure.against.value),
    figure.ratio === null ? '' : `${figure.ratio.toFixed(3)} x`,
    `${(figure.spread * 100).toFixed(1)} %`,
    String(figure.rounds),
    goalCell(figure),
  ];
}

function goalCell({ goal, isHeld }: Figure): string {
  if (goal === null) return '';
  return `${goal}: ${isHeld === true ? 'held' : 'MISSED'}`;
}

function align(cell: string, column: number, width: number): string {
  return RIGHT.has(HEADINGS[column] ?? '') ? cell.padStart(width) : cell.padEnd(width);
}

/** Whole numbers as they are, others to about four digits; thousands are grouped. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 1 ? 2 : 4);
}
