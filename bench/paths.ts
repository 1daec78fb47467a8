/**
 * Where things are. The harness runs compiled, from dist-bench/bench, and uncompiled in the tests: the root is searched
 * for.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));

/** What the harness builds; ignored by git. */
export const BUILD = join(ROOT, 'dist-bench');

/** A compiled script of the harness, to be run in a process of its own. */
export function compiledScript(name: string): string {
  return join(BUILD, 'bench', `${name}.js`);
}

function findRoot(from: string): string {
  let folder = from;
  while (!existsSync(join(folder, 'package-lock.json'))) folder = dirname(folder);
  return folder;
}
