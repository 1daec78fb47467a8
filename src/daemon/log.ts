/** The daemon's log: pino, one JSON object per line and event; on a terminal the same, made readable. */
import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

export type { Logger };

export function createLog(bindings: Readonly<Record<string, unknown>>, level: string): Logger {
  const options = {
    level,
    base: bindings,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (!process.stdout.isTTY) return pino(options, pino.destination({ fd: 1, sync: true }));
  return pino(options, pretty({ sync: true, ignore: 'pid,hostname,node,event', translateTime: 'SYS:HH:MM:ss.l' }));
}
