/**
 * A command's connection to the cluster: opened, used, closed, and whatever goes wrong said in one sentence.
 *
 * The client is loaded here, when a command runs, so that `henge --help` and completion stay quick.
 */
import type { ConnectOptions, Henge, HengeError } from '../client/index.js';
import { type ClusterOptions, Failure } from './command.js';
import { UsageError } from './usage.js';

/** Runs `work` with a client, closes the client, and returns what `work` gave. Throws Failure or UsageError. */
export async function withCluster<T>(
  options: ClusterOptions,
  work: (cluster: Henge) => Promise<T>,
  more: ConnectOptions = {},
): Promise<T> {
  const { Henge, HengeError } = await import('../client/index.js');
  let cluster: Henge | undefined;
  try {
    cluster = await Henge.connect({
      seeds: options.seeds,
      name: 'henge-cli',
      connectDeadlineMs: options.deadline,
      deadlineMs: options.deadline,
      ...more,
    });
    return await work(cluster);
  } catch (error) {
    throw error instanceof HengeError ? told(error, options) : error;
  } finally {
    await cluster?.close();
  }
}

/** The error as a person should read it. */
function told(error: HengeError, { seeds, deadline }: ClusterOptions): Error {
  const nodes = seeds.join(', ');
  if (error.code === 'UNREACHABLE') {
    return new Failure(`No node answered at ${nodes} within ${deadline} ms; is it running? (--seeds says where)`);
  }
  if (error.code === 'PROTOCOL')
    return new Failure(`What answers at ${nodes} does not speak as Henge: ${error.message}.`);
  if (error.code === 'INVALID_ARGUMENT' || error.code === 'INVALID_KEY') return new UsageError(sentence(error.message));
  return new Failure(
    `${sentence(error.message)}${error.maybeApplied ? ' The change may have been made all the same.' : ''}`,
  );
}

function sentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}${message.endsWith('.') ? '' : '.'}`;
}

/** A short stable name for what went wrong, for tables of failures. */
export function errorCode(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : 'ERROR';
}
