/**
 * The tree itself: rules of the house that no linter knows. Each test names the files that break its rule.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FOLDERS = ['src', 'native', 'bench', 'demo', 'test', 'scripts'];
const CODE = ['.ts', '.mjs', '.cjs', '.cc', '.h'];

/** A file that needs more than this holds two ideas. */
const LINES_MAX = 450;
const COLUMNS_MAX = 120;

const CODE_FILES = FOLDERS.flatMap((folder) => codeFilesIn(join(ROOT, folder))).map((path) => ({
  path: relative(ROOT, path),
  lines: readFileSync(path, 'utf8').split('\n'),
}));

function codeFilesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && CODE.includes(extname(entry.name)))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.startsWith(join(ROOT, 'native/build/')));
}

/** Every line that breaks a rule, as `path:line`. */
function linesWhere(isBroken: (line: string) => boolean): string[] {
  return CODE_FILES.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) => (isBroken(line) ? [`${path}:${index + 1}`] : [])),
  );
}

function filesWhere(isBroken: (file: { path: string; lines: string[] }) => boolean): string[] {
  return CODE_FILES.filter(isBroken).map(({ path }) => path);
}

describe('the tree', () => {
  it('has code in every folder that is looked at', () => {
    for (const folder of FOLDERS) expect(CODE_FILES.some(({ path }) => path.startsWith(`${folder}/`))).toBe(true);
  });

  it(`has no file of more than ${LINES_MAX} lines`, () => {
    expect(filesWhere(({ lines }) => lines.length > LINES_MAX + 1)).toEqual([]);
  });

  it(`has no line of more than ${COLUMNS_MAX} columns`, () => {
    expect(linesWhere((line) => [...line].length > COLUMNS_MAX)).toEqual([]);
  });

  it('opens every file with what it is, but for tests and what a header of its name explains', () => {
    const paths = new Set(CODE_FILES.map(({ path }) => path));
    const isExplainedElsewhere = (path: string) =>
      path.endsWith('.test.ts') || (path.endsWith('.cc') && paths.has(path.replace(/\.cc$/, '.h')));
    const isSilent = ({ path, lines: [first = '', second = ''] }: { path: string; lines: string[] }) =>
      !isExplainedElsewhere(path) && !/^(\/\*|\/\/)/.test(first.startsWith('#!') ? second : first);
    expect(filesWhere(isSilent)).toEqual([]);
  });

  it('leaves nothing marked to be done later', () => {
    // Written so that this line does not find itself.
    const marker = /\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b/;
    expect(linesWhere((line) => marker.test(line))).toEqual([]);
  });

  it('has no room without a concept', () => {
    const nameless = /^(utils?|helpers?|common|misc|shared|lib)$/i;
    const isNameless = ({ path }: { path: string }) =>
      [...dirname(path).split('/'), basename(path, extname(path))].some((name) => nameless.test(name));
    expect(filesWhere(isNameless)).toEqual([]);
  });

  it('has no trailing blanks and no tabs', () => {
    expect(linesWhere((line) => /[ \t]$|\t/.test(line))).toEqual([]);
  });

  it('locks packages by version and hash, for every platform, and names no registry', () => {
    const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { integrity?: string; resolved?: string; optionalDependencies?: object }>;
    };
    const locked = Object.entries(packages).filter(([path]) => path !== '');
    // npm install leaves out what the machine it runs on cannot use, and npm ci then refuses the file everywhere.
    const wanted = locked.flatMap(([, { optionalDependencies = {} }]) => Object.keys(optionalDependencies));
    const names = new Set(
      locked.map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)),
    );
    expect(wanted.filter((name) => !names.has(name))).toEqual([]);
    expect(locked.filter(([, { integrity }]) => integrity === undefined).map(([path]) => path)).toEqual([]);
    expect(locked.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
  });
});
