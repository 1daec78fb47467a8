/**
 * The daemon's configuration: one table of options, read from flags, HENGE_* variables and a file, in that order of
 * precedence, each value remembered with where it came from.
 *
 * A flag `--max-value`, the variable HENGE_MAX_VALUE and the key `maxValue` of the file are the same option. Everything
 * is checked here, so that what follows may trust it; ConfigError's message is meant for the person who typed.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { NodeName } from '../cluster/index.js';
import { Limit } from '../protocol/spec.js';
import { RF_MAX } from '../ring/index.js';
import { parseRegistryLocation } from './registry/location.js';
import { formatHostPort, isLoopback, isWildcard, parseDuration, parseHostPort, parseSize } from './units.js';

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** An arena has 16 places for processes (STORE), and the primary process needs one. */
const WORKERS_MAX = 15;
const ARENA_BYTES_MIN = 8 * 2 ** 20;

/** Below it a pause of a process or of the registry ends leases; above it nobody would call it failover. */
const LEASE_MS_MIN = 1_000;
const LEASE_MS_MAX = 60_000;

const text = z.coerce.string().min(1, 'must not be empty');
const absolutePath = text.transform((path) => resolve(path));
const converted = <T>(parse: (value: string) => T | undefined, what: string) =>
  z.coerce.string().transform((value, context): T => {
    const result = parse(value);
    if (result !== undefined) return result;
    context.addIssue({ code: 'custom', message: what });
    return z.NEVER;
  });
const size = converted(parseSize, 'is not a size; write for instance 512mb, 1gb or a number of bytes');
const duration = converted(parseDuration, 'is not a duration; write for instance 500ms, 90s, 5m or 1h');
const hostPort = converted(parseHostPort, 'is not an address; write HOST:PORT, for instance 127.0.0.1:7411');
const count = (what: string) =>
  converted((value) => (/^\d+$/.test(value) ? Number(value) : undefined), `is not a number of ${what}`);
const yesNo = converted(
  (value) => ({ true: true, '1': true, yes: true, false: false, '0': false, no: false })[value.toLowerCase()],
  'is neither true nor false',
);

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const schema = z.object({
  name: NodeName.default(
    () =>
      hostname()
        .replace(/[^A-Za-z0-9._-]/g, '-')
        .slice(0, 63) || 'henge',
  ),
  listen: hostPort.prefault('127.0.0.1:7411'),
  advertise: hostPort.optional(),
  unix: absolutePath.optional(),
  http: hostPort.prefault('127.0.0.1:7480'),
  registry: text.prefault(() => `dir:${join(homedir(), '.henge', 'registry')}`),
  memory: size.pipe(z.number().min(ARENA_BYTES_MIN, 'is less than 8mb')).prefault('256mb'),
  maxValue: size
    .pipe(z.number().min(1, 'is zero').max(Limit.VALUE_BYTES_MAX, 'is more than 16mb'))
    .prefault(String(Limit.VALUE_BYTES_DEFAULT)),
  workers: count('workers')
    .pipe(z.number().min(1, 'must be at least 1').max(WORKERS_MAX, `must be at most ${WORKERS_MAX}`))
    .prefault(() => String(Math.min(availableParallelism(), WORKERS_MAX))),
  zone: text.prefault('default'),
  weight: z.coerce.number('is not a number').positive('must be above 0').max(100, 'must be at most 100').prefault(1),
  rf: count('copies')
    .pipe(z.number().min(1, 'must be at least 1').max(RF_MAX, `must be at most ${RF_MAX}`))
    .prefault('2'),
  onPartition: z.enum(['serve', 'fence'], 'must be serve or fence').prefault('serve'),
  leaseTtl: duration
    .pipe(z.number().min(LEASE_MS_MIN, 'is less than 1s').max(LEASE_MS_MAX, 'is more than 1m'))
    .prefault('3s'),
  grace: duration.prefault('30s'),
  rejoinWindow: duration.prefault('10m'),
  rebalanceRate: size.prefault('0'),
  drainOnStop: yesNo.prefault('false'),
  arena: absolutePath.optional(),
  secretFile: absolutePath.optional(),
  maxConnections: count('connections').pipe(z.number().min(1, 'must be at least 1')).prefault('10000'),
  idleTimeout: duration.prefault('1h'),
  logLevel: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).prefault('info'),
  insecure: yesNo.prefault('false'),
});

export type Config = Readonly<z.infer<typeof schema>>;
export type OptionName = keyof Config;

/** What the command line shows of each option; its order is that of the help. */
export const OPTIONS: readonly { readonly name: OptionName; readonly argument?: string; readonly help: string }[] = [
  { name: 'name', argument: 'NAME', help: "the node's name, its identity on the ring (default: the host's name)" },
  { name: 'listen', argument: 'HOST:PORT', help: 'data port; port 0 takes a free one (default: 127.0.0.1:7411)' },
  { name: 'advertise', argument: 'HOST:PORT', help: 'where others reach the data port, if not at --listen' },
  { name: 'unix', argument: 'PATH', help: 'serve on this Unix socket too' },
  {
    name: 'http',
    argument: 'HOST:PORT',
    help: 'health, metrics, dashboard, cache over HTTP (default: 127.0.0.1:7480)',
  },
  {
    name: 'registry',
    argument: 'dir:PATH|etcd:URL',
    help: 'where the cluster keeps its records (default: dir:~/.henge/registry)',
  },
  { name: 'memory', argument: 'SIZE', help: 'all the memory the store may use (default: 256mb)' },
  { name: 'maxValue', argument: 'SIZE', help: 'largest value accepted, at most 16mb (default: 1mb)' },
  { name: 'workers', argument: 'N', help: 'worker processes (default: number of cores)' },
  {
    name: 'zone',
    argument: 'NAME',
    help: 'what fails together: copies go to different zones first (default: default)',
  },
  { name: 'weight', argument: 'W', help: 'share of the slots relative to other nodes (default: 1)' },
  { name: 'rf', argument: 'N', help: `copies of each item, at most ${RF_MAX}, the same on all nodes (default: 2)` },
  {
    name: 'onPartition',
    argument: 'serve|fence',
    help: 'what a node does that cannot reach the registry: go on, or stop writing (default: serve)',
  },
  { name: 'leaseTtl', argument: 'TIME', help: 'a node unheard of for so long may be gone (default: 3s)' },
  { name: 'grace', argument: 'TIME', help: 'after so long without a node its copies are made anew (default: 30s)' },
  {
    name: 'rejoinWindow',
    argument: 'TIME',
    help: 'the same for a node that stopped in good order and has an --arena to return with (default: 10m)',
  },
  {
    name: 'rebalanceRate',
    argument: 'SIZE',
    help: 'bytes a second it sends to others when nodes join or leave, 0 as many as it can (default: 0)',
  },
  { name: 'drainOnStop', help: 'at SIGTERM or SIGINT leave the cluster first, so that others have all it had' },
  { name: 'arena', argument: 'FILE', help: 'keep the store in this file, so that it outlives the daemon' },
  { name: 'secretFile', argument: 'FILE', help: "file with the cluster's secret" },
  { name: 'maxConnections', argument: 'N', help: 'client connections per worker (default: 10000)' },
  { name: 'idleTimeout', argument: 'TIME', help: 'close connections silent for so long, 0 never (default: 1h)' },
  { name: 'logLevel', argument: 'LEVEL', help: `${LOG_LEVELS.join(', ')} (default: info)` },
  { name: 'insecure', help: 'allow an address that other machines can reach, without authentication' },
];

export type Source = 'default' | `flag ${string}` | `environment ${string}` | `file ${string}`;

export interface ConfigInput {
  /** By option name, what was typed; missing or undefined: not given. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly sources: Readonly<Record<OptionName, Source>>;
  /** The file that was read, to read the log level again on SIGHUP. */
  readonly file?: string;
}

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
export const flagOf = (name: OptionName): string => `--${kebab(name)}`;
export const variableOf = (name: OptionName): string => `HENGE_${kebab(name).replaceAll('-', '_').toUpperCase()}`;

/** Puts flags, environment and file together. Throws ConfigError with a sentence per mistake. */
export function loadConfig({ flags, environment }: ConfigInput): LoadedConfig {
  const file = (flags.config ?? environment.HENGE_CONFIG) as string | undefined;
  const fromFile = file === undefined ? {} : readConfigFile(file);
  const raw: Record<string, unknown> = {};
  const sources = {} as Record<OptionName, Source>;
  for (const { name } of OPTIONS) {
    const variable = variableOf(name);
    const candidates: readonly [unknown, Source][] = [
      [flags[name], `flag ${flagOf(name)}`],
      [environment[variable] || undefined, `environment ${variable}`],
      [fromFile[name], `file ${file}`],
    ];
    const [value, source] = candidates.find(([candidate]) => candidate !== undefined) ?? [
      undefined,
      'default' as const,
    ];
    if (value !== undefined) raw[name] = value;
    sources[name] = source;
  }

  const parsed = schema.safeParse(raw);
  if (!parsed.success) {
    const mistakes = parsed.error.issues.map((issue) => {
      const name = issue.path[0] as OptionName;
      return `${sources[name]}: ${JSON.stringify(raw[name])} ${issue.message}`;
    });
    throw new ConfigError(mistakes.join('\n'));
  }
  checkTogether(parsed.data);
  return { config: parsed.data, sources, ...(file !== undefined && { file }) };
}

function readConfigFile(path: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(path, 'utf8')) ?? {};
  } catch (cause) {
    throw new ConfigError(`file ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new ConfigError(`file ${path} must hold options by name, for instance "memory: 512mb"`);
  }
  for (const key of Object.keys(content)) {
    if (OPTIONS.some(({ name }) => name === key)) continue;
    throw new ConfigError(`file ${path}: there is no option ${JSON.stringify(key)}${suggestion(key)}`);
  }
  return content as Record<string, unknown>;
}

function suggestion(key: string): string {
  const plain = key.toLowerCase().replace(/[^a-z]/g, '');
  const near = OPTIONS.find(({ name }) => {
    const candidate = name.toLowerCase();
    return candidate === plain || candidate.startsWith(plain) || isOneEditApart(candidate, plain);
  });
  return near ? ` (did you mean ${JSON.stringify(near.name)}?)` : '';
}

/** One letter added, missing, changed, or two neighbours swapped. */
function isOneEditApart(a: string, b: string): boolean {
  let start = 0;
  while (start < a.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const [middleA, middleB] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  const isSwap = middleA.length === 2 && middleA[0] === middleB[1] && middleA[1] === middleB[0];
  return isSwap || (middleA.length <= 1 && middleB.length <= 1);
}

/** What depends on more than one option. */
function checkTogether(config: Config): void {
  const valueBytesMax = Math.floor(config.memory / 16);
  if (config.maxValue > valueBytesMax) {
    const [maxValue, memory] = [config.maxValue, config.memory];
    throw new ConfigError(
      `a value of ${maxValue} bytes (--max-value) can never fit: ` +
        `a store of ${memory} bytes (--memory) takes at most ${valueBytesMax}`,
    );
  }
  checkRegistry(config);
  for (const option of ['listen', 'http'] as const) {
    const { host, port } = config[option];
    if (isLoopback(host) || config.insecure) continue;
    throw new ConfigError(
      `--${option} ${host}:${port} can be reached by other machines, and there is no authentication; ` +
        'say --insecure if that is meant, or use 127.0.0.1',
    );
  }
  if (isWildcard(config.listen.host) && !config.advertise) {
    throw new ConfigError(
      `--listen ${config.listen.host}: clients cannot be told to connect there; add --advertise HOST:PORT`,
    );
  }
}

/** Nodes on one machine find the secret in the registry's folder (secret.ts); others must be given it. */
function checkRegistry({ registry, secretFile }: Config): void {
  try {
    if (parseRegistryLocation(registry).kind === 'directory' || secretFile !== undefined) return;
  } catch (cause) {
    throw new ConfigError(`--${cause instanceof Error ? cause.message : String(cause)}`);
  }
  throw new ConfigError(
    `--registry ${maskPasswords(registry)}: nodes prove to each other that they belong together; ` +
      'give all of them the same --secret-file FILE with at least 16 characters',
  );
}

/**
 * The effective configuration as `name: value  # source` lines: a valid YAML file. Passwords inside URLs are masked.
 */
export function describeConfig({ config, sources }: LoadedConfig): string {
  const lines = OPTIONS.filter(({ name }) => config[name] !== undefined).map(({ name }) => {
    const value = config[name];
    const shown = typeof value === 'object' ? formatHostPort(value) : String(value);
    return { setting: `${name}: ${maskPasswords(shown)}`, source: sources[name] };
  });
  const width = Math.max(...lines.map(({ setting }) => setting.length));
  return lines.map(({ setting, source }) => `${setting.padEnd(width)}  # ${source}\n`).join('');
}

export function maskPasswords(value: string): string {
  return value.replace(/(\/\/[^/:@\s]*):[^/@\s]*@/g, '$1:***@');
}
