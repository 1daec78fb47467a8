/** The world in which a worker's core lives here: the machine's clocks, sockets to other nodes, the primary process. */
import { randomBytes } from 'node:crypto';
import {
  DROP_DELAY_MS,
  type OnPartition,
  type TopologyMember,
  type TopologyView,
  type WorkerEnv,
} from '../cluster/index.js';
import { SLOTS } from '../protocol/index.js';
import type { NativeArena, NativeWorker } from '../store/index.js';
import type { DataPlane, Link } from './data-plane.js';
import type { Logger } from './log.js';
import type { FromWorker, WorkerBoot } from './messages.js';
import { dialPeer } from './peer-dial.js';

/** What a core is told of its connections. */
export interface Dialler {
  dialed(number: number, connection: number): void;
  dialFailed(number: number, why: string): void;
}

export interface WorldParts {
  readonly boot: WorkerBoot;
  readonly arena: NativeArena;
  readonly native: NativeWorker;
  readonly plane: DataPlane;
  readonly log: Logger;
  readonly tell: (message: FromWorker) => void;
  readonly learned: (view: TopologyView) => void;
  /** The core, which is made after its world. */
  readonly core: () => Dialler;
}

/** What happens once a link or an epoch; the rest is for those who look into one. */
const QUIET_EVENTS = new Set(['steward', 'link-up', 'caught-up', 'pulled', 'merged']);

export function workerWorld({ boot, arena, native, plane, log, tell, learned, core }: WorldParts): WorkerEnv {
  const self = { name: boot.nodeName, number: boot.nodeNumber, incarnation: arena.incarnation };
  const onPartition: OnPartition = boot.onPartition;
  return {
    self,
    onPartition,
    rebalanceBytesPerSecond: boot.rebalanceBytesPerSecond,
    native,
    slots: SLOTS,
    slotsPerSegment: arena.slotsPerSegment,
    dropDelayMs: DROP_DELAY_MS,
    installedEpoch: () => arena.epoch(),
    isFenced: () => arena.isFenced(),
    requestsServed: () => arena.stats().requests,
    bytesHeld: () => arena.stats().bytes,
    evictions: () => arena.stats().evictions,
    monoMs: () => Number(process.hrtime.bigint()) / 1_000_000,
    wallMs: () => Date.now(),
    random: () => randomBytes(4).readUInt32LE() / 2 ** 32,
    later: (delayMs, run) => void (delayMs === 0 ? setImmediate(run) : setTimeout(run, delayMs)),
    dial: (member) => void dial(member, { boot, plane, core }),
    hangUp: (connection) => plane.hangUp(connection),
    answer: (connection, frame) => plane.answer(connection, frame),
    flush: () => plane.sendOwed(),
    report: (report) => tell({ kind: 'cluster', ...report }),
    learned,
    log: (event, details) => log[QUIET_EVENTS.has(event) ? 'debug' : 'info']({ event, ...details }, event),
  };
}

async function dial(
  { address, number }: TopologyMember,
  { boot, plane, core }: Pick<WorldParts, 'boot' | 'plane' | 'core'>,
): Promise<void> {
  let link: Link | undefined;
  try {
    const socket = await dialPeer({
      address,
      number,
      self: { name: boot.nodeName, number: boot.nodeNumber },
      secret: boot.secret,
      input: plane.input,
      onChunk: (bytes) => link?.onChunk(bytes) ?? true,
    });
    link = plane.addLink(socket, number);
  } catch (error) {
    core().dialFailed(number, (error as Error).message);
    return;
  }
  if (link === undefined) core().dialFailed(number, 'it closed the connection');
  else core().dialed(number, link.id);
}
