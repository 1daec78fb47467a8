/**
 * The servers that are measured, each with the settings its own documentation recommends for a cache on one core: no
 * persistence, one thread of work.
 */
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../paths.js';
import type { Context } from '../suite.js';
import { freePort, type Launch, launch, type Target, versionOf } from './process.js';

export type TargetName = 'henge' | 'redis-server' | 'memcached';

export interface TargetOptions {
  /** Bytes of memory; far more than is needed when missing. */
  readonly memoryBytes?: number;
  /** Core to run on. */
  readonly core?: number;
  /** Processes that serve Henge's clients. */
  readonly workers?: number;
}

/** Which dialect of the native load generator a target speaks. */
export const DIALECTS = { henge: 'henge', 'redis-server': 'resp', memcached: 'memcached' } as const;

const MIB = 1024 * 1024;
const MEMORY_BYTES_AMPLE = 1024 * MIB;
/** Where a suite pins what it starts: the server here, the load there. */
export const CORES = { server: 0, load: 1 } as const;

/** Those of the targets that are installed; the others are named. */
export async function installed(context: Context, names: readonly TargetName[]): Promise<TargetName[]> {
  const found: TargetName[] = [];
  for (const name of names) {
    const version = name === 'henge' ? await builtDaemon() : versionOf(name, ['--version']);
    if (version === undefined) {
      context.note(`${name} is ${name === 'henge' ? 'not built' : 'not installed'}: skipped`);
      continue;
    }
    if (name !== 'henge') context.version(name, /\d+(\.\d+)+/.exec(version)?.[0] ?? version);
    found.push(name);
  }
  return found;
}

/** Starts a target; it is stopped when the suite ends, if not before. */
export async function start(
  context: Context,
  name: TargetName,
  options: TargetOptions = {},
): Promise<Target & { readonly httpPort: number }> {
  const port = await freePort();
  const httpPort = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'henge-bench-'));
  context.defer(() => rm(folder, { recursive: true, force: true }));
  const place = { port, httpPort, folder };
  const target = await launch({ name, port, core: options.core, ...COMMANDS[name](place, options) });
  context.defer(() => target.stop());
  return { ...target, httpPort };
}

interface Place {
  readonly port: number;
  readonly httpPort: number;
  /** An empty folder of its own. */
  readonly folder: string;
}

type Command = Pick<Launch, 'command' | 'words' | 'readyUrl'>;

const COMMANDS: Readonly<Record<TargetName, (place: Place, options: TargetOptions) => Command>> = {
  henge: hengeCommand,
  'redis-server': redisCommand,
  memcached: memcachedCommand,
};

const DAEMON = join(ROOT, 'dist/cli/main.js');

async function builtDaemon(): Promise<string | undefined> {
  return access(DAEMON).then(
    () => DAEMON,
    () => undefined, // said by the caller
  );
}

function hengeCommand(
  { port, httpPort, folder }: Place,
  { memoryBytes = MEMORY_BYTES_AMPLE, workers = 1 }: TargetOptions,
): Command {
  const words = ['serve', '--name', 'bench', '--listen', `127.0.0.1:${port}`, '--http', `127.0.0.1:${httpPort}`];
  // A value may take a sixteenth of the memory at most: with the default a small cell's daemon would refuse to start.
  const valueBytesMax = Math.min(MIB, Math.floor(memoryBytes / 32));
  const size = [
    '--memory',
    String(memoryBytes),
    '--max-value',
    String(valueBytesMax),
    '--workers',
    String(workers),
    '--rf',
    '1',
  ];
  const readyUrl = `http://127.0.0.1:${httpPort}/readyz`;
  return { command: process.execPath, readyUrl, words: [DAEMON, ...words, '--registry', `dir:${folder}`, ...size] };
}

function redisCommand({ port, folder }: Place, { memoryBytes = MEMORY_BYTES_AMPLE }: TargetOptions): Command {
  const cache = ['--maxmemory', String(memoryBytes), '--maxmemory-policy', 'allkeys-lru'];
  const words = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  return { command: 'redis-server', words: [...words, ...cache] };
}

function memcachedCommand({ port }: Place, { memoryBytes = MEMORY_BYTES_AMPLE }: TargetOptions): Command {
  const words = [
    '-l',
    '127.0.0.1',
    '-p',
    String(port),
    '-U',
    '0',
    '-t',
    '1',
    '-m',
    String(Math.floor(memoryBytes / MIB)),
  ];
  // It refuses to run as root without being told whom to become.
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  return { command: 'memcached', words: [...words, ...user] };
}
