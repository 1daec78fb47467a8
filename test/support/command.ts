/** The `henge` command as a shell runs it: words and input in, bytes and an exit status out. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Outcome {
  readonly status: number | null;
  /** Standard output, as text and as it came. */
  readonly text: string;
  readonly bytes: Buffer;
  readonly complaint: string;
}

export interface Command {
  (...words: readonly string[]): Promise<Outcome>;
  /** The same with something on standard input. */
  fed(input: string | Uint8Array, ...words: readonly string[]): Promise<Outcome>;
}

/** A `henge` whose HENGE_SEEDS are these. */
export function commandFor(seeds: string): Command {
  const run = async (input: string | Uint8Array, words: readonly string[]): Promise<Outcome> => {
    const child = spawn(process.execPath, [MAIN, ...words], { env: { PATH: process.env.PATH, HENGE_SEEDS: seeds } });
    const output: Buffer[] = [];
    let complaint = '';
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      complaint += chunk.toString();
    });
    // A command that does not read its input may be gone before it is written.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [status] = (await once(child, 'close')) as [number | null];
    const bytes = Buffer.concat(output);
    return { status, bytes, text: bytes.toString(), complaint };
  };
  return Object.assign((...words: readonly string[]) => run('', words), {
    fed: (input: string | Uint8Array, ...words: readonly string[]) => run(input, words),
  });
}
