/** Whether a node's addresses are free: found out before anything is started on them. */
import { statSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { type Config, ConfigError } from './config.js';

/**
 * SO_REUSEPORT, which lets workers share a port, would also let two daemons share one unnoticed: each would get half of
 * the connections. So the address is bound once without it, which fails if anybody has it.
 * @param ownPort where workers of this node serve that outlived their daemon, and are to be joined
 */
export async function refuseTakenAddress({ listen, unix }: Config, ownPort: number | undefined): Promise<void> {
  if (listen.port !== 0 && listen.port !== ownPort) {
    await new Promise<void>((resolve, reject) => {
      const probe = createServer().once('error', reject);
      probe.listen({ ...listen, exclusive: true }, () => probe.close(() => resolve()));
    });
  }
  if (unix === undefined) return;
  // Orphans keep the socket that they accept from, also when its path is another's.
  if (ownPort === undefined && (await isServed(unix))) {
    throw new ConfigError(`--unix ${unix}: another process serves this socket`);
  }
  removeStaleSocket(unix);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path }, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

/** What a killed daemon leaves behind. Only a socket is removed: a mistyped path must not cost a file. */
function removeStaleSocket(path: string): void {
  try {
    if (!statSync(path).isSocket()) throw new ConfigError(`--unix ${path}: there is a file that is no socket`);
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
