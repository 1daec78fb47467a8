/**
 * A worker process of node:cluster: attaches to the node's store, listens on sockets of its own, serves
 * (data-plane.ts).
 *
 * It takes everything it must know from its environment (messages.ts) and never asks the registry. Signals are the
 * primary process's business: a Ctrl-C reaches the whole process group, and the order of ending must be kept.
 */
import cluster from 'node:cluster';
import { type AddressInfo, type Server, Socket } from 'node:net';
import { loadAddon } from '../store/index.js';
import { Control } from './control.js';
import { DataPlane } from './data-plane.js';
import { createLog } from './log.js';
import { type FromWorker, type ToWorker, WORKER_BOOT_VARIABLE, type WorkerBoot } from './messages.js';

/** Connections that the kernel completes before they are accepted: what a burst of reconnecting clients brings. */
const BACKLOG = 1_024;
const REPORT_MS = 500;

const boot = JSON.parse(process.env[WORKER_BOOT_VARIABLE] ?? '') as WorkerBoot;
const log = createLog({ node: boot.nodeName, worker: cluster.worker?.id, pid: process.pid }, boot.logLevel);
const tell = (message: FromWorker): void => void process.send?.(message);

process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.on('SIGHUP', () => {});
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

await serve();

async function serve(): Promise<void> {
  const addon = loadAddon();
  const arena = addon.attach(boot.arenaPath);
  const control = new Control(boot, arena);
  const plane = new DataPlane({
    native: arena.worker(),
    control,
    connectionsMax: boot.connectionsMax,
    idleTimeoutMs: boot.idleTimeoutMs,
  });
  process.on('message', (message: ToWorker) => {
    if (message.kind === 'topology') plane.publish(control.adopt(message.topology));
    else if (message.kind === 'log-level') log.level = message.level;
    else void plane.drain().then(() => process.exit(0), fail);
  });

  const server = plane.server();
  const fd = addon.listenTcp(boot.listen.host, boot.listen.port, BACKLOG);
  // Given a descriptor, listen() would ask the primary process for a socket to share, `exclusive` or not; given a
  // socket, it takes that as it is.
  await listening(server, new Socket({ fd, readable: false, writable: false }));
  // A path can be bound once only: the primary process binds it and, not accepting itself, lends it to all workers.
  if (boot.unix !== undefined) await listening(plane.server(), { path: boot.unix });

  setInterval(() => tell({ kind: 'report', ...plane.report() }), REPORT_MS);
  tell({ kind: 'ready', port: (server.address() as AddressInfo).port });
  log.debug({ event: 'worker-serving' }, 'worker serves');
}

function listening(server: Server, target: Socket | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(target, () => {
      server.off('error', reject);
      server.on('error', (error) => log.warn({ event: 'accept-failed', err: error }, 'a connection was not accepted'));
      resolve();
    });
  });
}

/** A worker that met what it does not understand ends; another takes its place on the same memory. */
function fail(error: unknown): void {
  log.fatal({ event: 'worker-failed', err: error }, 'worker ends');
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  // Leaves the message a moment to get out.
  setTimeout(() => process.exit(1), 50);
}
