/**
 * `npm start`: sets a fresh clone up, builds it, and runs the demonstration (demo/main.ts says what it shows and which
 * options it takes). Plain Node without dependencies, since it runs before there are any.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { installNpmPackages } from './setup.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

if (process.platform === 'linux') {
  if (installNpmPackages() && build()) await import('../dist-demo/demo/main.js');
  else process.exitCode = 1;
} else {
  console.error('The daemon runs on Linux; on this system run npm start in a container (README.md says how).');
  process.exitCode = 1;
}

function build() {
  return run('scripts/build.mjs') && run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.demo.json');
}

function run(...script) {
  return spawnSync(process.execPath, script, { cwd: ROOT, stdio: 'inherit' }).status === 0;
}
