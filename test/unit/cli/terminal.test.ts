import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  bar,
  bytes,
  count,
  cut,
  duration,
  latency,
  Panel,
  paintFor,
  percent,
  type Screen,
  screenOf,
  sparkline,
  table,
  widthOf,
} from '../../../src/cli/terminal.js';

const PLAIN: Screen = { isTerminal: false, hasColour: false, columns: 80, rows: 24 };
const COLOURED: Screen = { ...PLAIN, isTerminal: true, hasColour: true };

describe('numbers for people', () => {
  it('carry their unit', () => {
    expect(count(1_234_567)).toBe('1,234,567');
    expect(percent(1, 3)).toBe('33.3 %');
    expect(percent(0, 0)).toBe('–');
    expect([0, 512, 1024, 4_404_019, 200 * 1024 ** 3].map(bytes)).toEqual([
      '0 B',
      '512 B',
      '1.0 KiB',
      '4.2 MiB',
      '200 GiB',
    ]);
    expect([84, 420, 21_300, 1_200_000].map(latency)).toEqual(['84 µs', '0.42 ms', '21.3 ms', '1.20 s']);
    expect([8_400, 312_000, 11_100_000, 187_200_000].map(duration)).toEqual([
      '8.4 s',
      '5 min 12 s',
      '3 h 05 min',
      '2 d 4 h',
    ]);
  });
});

describe('drawing', () => {
  it('fills a bar in eighths of a column and keeps its width', () => {
    expect(bar(0.5, 4)).toBe('██  ');
    expect(bar(5 / 32, 4)).toBe('▋   ');
    for (const fraction of [-1, 0, 0.013, 0.999, 1, 7]) expect(widthOf(bar(fraction, 10))).toBe(10);
  });

  it('draws the largest value of a sparkline at full height', () => {
    expect(sparkline([0, 5, 10], 10)).toBe('▁▄█');
    expect(sparkline([1, 2, 3, 4], 2)).toHaveLength(2);
    expect(sparkline([0, 0], 2)).toBe('▁▁');
  });

  it('aligns columns whatever colours their cells have', () => {
    const paint = paintFor(COLOURED);
    const lines = table(
      [{ title: 'node' }, { title: 'items', align: 'right' }],
      [
        [paint('cyan', 'a'), '5'],
        ['long-name', '1,000'],
      ],
      paint,
    );
    expect(new Set(lines.map(widthOf)).size).toBe(1);
  });

  it('cuts a line to the width of the screen without tearing an escape sequence', () => {
    const paint = paintFor(COLOURED);
    const line = `${paint('red', 'abcdef')}${paint('green', 'ghijkl')}`;
    expect(widthOf(cut(line, 8))).toBe(8);
    expect(cut(line, 8)).toBe('\u001b[31mabcdef\u001b[0m\u001b[32mg\u001b[0m…');
    expect(cut('short', 8)).toBe('short');
  });

  it('leaves colours out where they are not wanted', () => {
    expect(paintFor(PLAIN)('red', 'text')).toBe('text');
    const terminal = Object.assign(new PassThrough(), { isTTY: true });
    expect(screenOf(terminal, { NO_COLOR: '1' }).hasColour).toBe(false);
    expect(screenOf(terminal, {}).hasColour).toBe(true);
    expect(screenOf(new PassThrough(), {}).hasColour).toBe(false);
    expect(screenOf(new PassThrough(), { FORCE_COLOR: '1' }).hasColour).toBe(true);
  });
});

describe('a panel', () => {
  it('goes back over the lines of its last frame, and never draws more than the screen holds', () => {
    const output = Object.assign(new PassThrough(), { isTTY: true, columns: 20, rows: 4 });
    const panel = new Panel(output);
    panel.draw(['one', 'two', 'three', 'four', 'five']);
    const first = String(output.read());
    expect(first).toContain('three');
    expect(first).not.toContain('four');
    panel.draw(['1']);
    expect(String(output.read())).toBe('\u001b[3A\r1\u001b[K\n\u001b[J');
    panel.close();
    expect(String(output.read())).toBe('\u001b[?25h');
  });
});
