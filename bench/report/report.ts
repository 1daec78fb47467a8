/** A suite's whole result: what was measured, on which machine, with which versions. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../paths.js';
import type { Figure } from './figure.js';

export interface Report {
  readonly suite: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly machine: Machine;
  /** Versions of everything that took part, Node and Henge included; absent peers are not named. */
  readonly versions: Readonly<Record<string, string>>;
  readonly figures: readonly Figure[];
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
}

export function describeMachine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryBytes: totalmem(),
    system: `${process.platform} ${process.arch} ${release()}`,
  };
}

/** Version of an installed npm package, or undefined where it is not installed. */
export function packageVersion(name: string): string | undefined {
  return versionIn(join(ROOT, 'node_modules', name, 'package.json'));
}

/** This project's version, with the commit where the checkout is known. */
export function hengeVersion(): string {
  const version = versionIn(join(ROOT, 'package.json')) ?? 'unknown';
  try {
    const commit = execFileSync('git', ['describe', '--always', '--dirty'], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'ignore'],
      encoding: 'utf8',
    });
    return `${version} (${commit.trim()})`;
  } catch {
    return version; // not a git checkout: the package's version is all there is to say
  }
}

function versionIn(file: string): string | undefined {
  try {
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    return version;
  } catch {
    return undefined; // an absent peer is left out of the report, which the suite says
  }
}
