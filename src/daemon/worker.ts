/**
 * A worker process of node:cluster: attaches to the node's store, listens on sockets of its own, serves
 * (data-plane.ts), and does its part for the copies of everything (cluster/worker/).
 *
 * It takes everything it must know from its environment (messages.ts) and never asks the registry. Signals are the
 * primary process's business: a Ctrl-C reaches the whole process group, and the order of ending must be kept.
 *
 * If the primary process of a node that served dies, the worker is an *orphan*: it serves on, hears of new epochs from
 * other nodes, and ends when it is told to (SIGUSR2, by a daemon that took over, SIGTERM) or when no daemon came for
 * ten minutes.
 */
import cluster from 'node:cluster';
import { type AddressInfo, type Server, Socket } from 'node:net';
import { type TopologyView, WorkerCore } from '../cluster/index.js';
import { loadAddon } from '../store/index.js';
import { optimizeLater } from './compiler.js';
import { Control } from './control.js';
import { DataPlane } from './data-plane.js';
import { createLog } from './log.js';
import { type FromWorker, type ToWorker, WORKER_BOOT_VARIABLE, type WorkerBoot } from './messages.js';
import { workerWorld } from './worker-world.js';

/** Connections that the kernel completes before they are accepted: what a burst of reconnecting clients brings. */
const BACKLOG = 1_024;
const REPORT_MS = 500;

/** Without a daemon for so long a node is thought to be given up: nobody renews its place in the cluster. */
const ORPHAN_MS_MAX = 10 * 60_000;

const boot = JSON.parse(process.env[WORKER_BOOT_VARIABLE] ?? '') as WorkerBoot;
// It holds the secret: nothing that this process might start is to see it.
delete process.env[WORKER_BOOT_VARIABLE];
const log = createLog({ node: boot.nodeName, worker: cluster.worker?.id, pid: process.pid }, boot.logLevel);
// The daemon may have ended a moment ago: that is no reason for a worker to end too.
const tell = (message: FromWorker): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
};

process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.on('SIGHUP', () => {});
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

optimizeLater();
await serve();

async function serve(): Promise<void> {
  const addon = loadAddon();
  const arena = addon.attach(boot.arenaPath);
  const native = arena.worker();
  const control = new Control(boot, arena, native);
  const plane = new DataPlane({
    native,
    control,
    installedEpoch: () => arena.epoch(),
    connectionsMax: boot.connectionsMax,
    idleTimeoutMs: boot.idleTimeoutMs,
  });
  const show = (topology: TopologyView): void => {
    plane.publish(control.adopt(topology));
    plane.releaseAwaiting();
  };
  const learned = (topology: TopologyView): void => {
    show(topology);
    tell({ kind: 'topology', topology });
  };
  const core: WorkerCore = new WorkerCore(
    workerWorld({ boot, arena, native, plane, log, tell, learned, core: () => core }),
  );
  plane.begin(core);
  core.adopt(boot.topology);

  const drain = once(() => void plane.drain().then(() => process.exit(0), fail));
  let isEstablished = false;
  process.on('message', (message: ToWorker) => {
    if (message.kind === 'topology') {
      isEstablished = true;
      if (core.adopt(message.topology)) show(message.topology);
    } else if (message.kind === 'log-level') log.level = message.level;
    else drain();
  });
  process.on('SIGUSR2', drain);
  // A node whose start failed is given up at once.
  cluster.worker?.on('disconnect', () => isEstablished && becomeOrphan(drain));

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

/** The primary process is gone. node:cluster would end this one at once, unless it believes that it was told to end. */
function becomeOrphan(drain: () => void): void {
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
  log.warn({ event: 'orphaned' }, 'the primary process is gone, serving on');
  process.on('SIGTERM', drain);
  process.on('SIGINT', drain);
  setTimeout(drain, ORPHAN_MS_MAX);
}

function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    action();
  };
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
