/**
 * Processes by more than their number: a pid is given anew, the moment at which its process began is not.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** A process of this boot of this machine. */
export const ProcessMark = z.object({ pid: z.int().min(1), startedAt: z.string() });
export type ProcessMark = Readonly<z.infer<typeof ProcessMark>>;

/** Fields of /proc/PID/stat behind the command, which may hold anything and ends with the last bracket: state, ... */
const STATE_FIELD = 0;
const START_FIELD = 19;

/** Undefined when there is no such process, or only what is left of one that nobody has waited for. */
export function processMark(pid: number): ProcessMark | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    // Gone, which is the answer.
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startedAt] = [fields[STATE_FIELD], fields[START_FIELD]];
  return startedAt === undefined || state === 'Z' || state === 'X' ? undefined : { pid, startedAt };
}

export const isRunning = (mark: ProcessMark): boolean => processMark(mark.pid)?.startedAt === mark.startedAt;

export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
