/** What tests of registries share: a holder in a process of its own, and what a watch told, in order. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { RecordKey, Registry, RegistryAbsence, RegistryRecord } from '../../src/cluster/index.js';

const HOLDER = fileURLToPath(new URL('registry-holder.mjs', import.meta.url));

interface HolderLine {
  readonly event: 'held' | 'refused' | 'lost';
  readonly validUntilMs?: number;
}

export interface HolderOptions {
  readonly location: string;
  readonly key: RecordKey;
  readonly value: unknown;
  readonly ttlMs: number;
}

/** Another process that holds a record; killed when the scope ends. */
export class Holder implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: HolderLine[] = [];

  private constructor({ location, key, value, ttlMs }: HolderOptions) {
    const words = [HOLDER, location, key, JSON.stringify(value), String(ttlMs)];
    this.#child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n')) if (line !== '') this.#lines.push(JSON.parse(line) as HolderLine);
    });
  }

  /** Resolves when the process holds the record. */
  static async start(options: HolderOptions): Promise<Holder> {
    const holder = new Holder(options);
    while (holder.#lines.length === 0) await sleep(10);
    if (holder.#lines[0]?.event !== 'held') throw new Error(`the holder was ${holder.#lines[0]?.event}`);
    return holder;
  }

  /** What it said when its lease was lost. */
  get loss(): HolderLine | undefined {
    return this.#lines.find(({ event }) => event === 'lost');
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** What a watch told, as `key=value`, or `key gone`; and the record last told of each key. */
export function follow(registry: Registry, prefix: string) {
  const told: string[] = [];
  const revisions: number[] = [];
  const watch = registry.watch(prefix, (record: RegistryRecord | RegistryAbsence) => {
    told.push(record.value === undefined ? `${record.key} gone` : `${record.key}=${JSON.stringify(record.value)}`);
    revisions.push(record.revision);
  });
  return { told, revisions, close: () => watch.close() };
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
