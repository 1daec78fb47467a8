/** How sizes, durations and addresses are written by people: `512mb`, `90s`, `127.0.0.1:7411`. */

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 2 ** 10,
  mb: 2 ** 20,
  gb: 2 ** 30,
  tb: 2 ** 40,
};
const DURATION_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Bytes of `512mb`, `1gb`, `1.5g` or `65536`; undefined when it is no size. Units are powers of 1,024. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?i?b?)$/i.exec(text.trim());
  if (!match) return undefined;
  const letter = (match[2] ?? '').toLowerCase().replace('i', '');
  const unit = SIZE_UNITS[letter === '' || letter.endsWith('b') ? letter : `${letter}b`];
  return unit === undefined ? undefined : Math.floor(Number(match[1]) * unit);
}

/** Milliseconds of `500`, `500ms`, `90s`, `5m`, `1h` or `1d`; undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)$/i.exec(text.trim());
  if (!match) return undefined;
  const unit = DURATION_UNITS[(match[2] ?? '').toLowerCase()];
  return unit === undefined ? undefined : Math.floor(Number(match[1]) * unit);
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `HOST:PORT`, `[IPV6]:PORT`, or a port alone on 127.0.0.1; undefined when it is neither. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:(?:\[([0-9a-f:.]+)\]|([^\s:[\]]+)):)?(\d{1,5})$/i.exec(text.trim());
  const port = Number(match?.[3]);
  if (!match || port > 65_535) return undefined;
  return { host: match[1] ?? match[2] ?? '127.0.0.1', port };
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether packets to this host cannot come from another machine. A name is believed only if it is `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::' || host === '*';
}
