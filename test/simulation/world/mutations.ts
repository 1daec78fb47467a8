/**
 * Bugs planted on purpose, to see whether the checks bite: each takes out one rule, or breaks one promise, where the
 * shell of the simulator meets the code under test. Nothing of this is in the product.
 *
 * Frames that a mutation rewrites come whole and one to a chunk, for that is how the simulated clients write them; what
 * a node writes is a row of whole frames.
 */

import { TopologyRecord, type TopologyView } from '../../../src/cluster/index.js';
import { Opcode, RequestFlag, readRequest, requestFrame, Status, VERSION_BYTES } from '../../../src/protocol/index.js';
import { type Installation, type NativeArena, type NativeWorker, ROW_MAX } from '../../../src/store/index.js';

export const MUTATIONS = {
  publishUnderOldEpoch: 'epochs grow: a change is published under the number of the epoch before',
  secondLeader: 'one primary an epoch: the second of a row leads too, and half of the clients go there',
  acknowledgeEarly: 'no acknowledged write is lost: levels quorum and all are acknowledged without a copy',
  forgetDeletes: 'rule 11, no deleted key comes back: streams and take-overs leave tombstones, floors and ghosts out',
  loseItems: 'copies become equal: every batch of a stream lacks its last item',
  noDeadline: 'calls end by their deadline: neither node nor client looks at it',
  readAlone: 'quorum reads are linearizable: the primary answers them without asking a copy',
  ignoreVersion: 'compare-and-set: the version it names is not compared',
  acknowledgeStale: 'rule 4: a frame that is refused as stale counts as acknowledged, whoever leads',
  forgetInFlight: 'rule 5: what was in flight when a link broke is not noted as missed, and no digest is compared',
  missedEpochIsNone: 'rule 14: a node that missed epochs goes on as if it had seen them',
  coldIsWarm: 'rule 14: an empty memory is put into use as if it had founded the cluster',
  skipTakeOver: 'rule 15: who takes a slot over leads it at once, and asks no other copy',
  blindResend: 'rule 18: a write that may have run is sent again',
  shrunkList: 'rule 19: slots go by the table of the members that are there, whose first is taken to hold everything',
} as const;

export type Mutation = keyof typeof MUTATIONS;
export type Mutations = ReadonlySet<Mutation>;

const STATUS_AT = 4;

/** A client's request as the node gets to see it. */
export function mutatedRequest(bytes: Buffer, mutations: Mutations): Buffer {
  if (mutations.size === 0) return bytes;
  const frame = readRequest(bytes, 0);
  const { opcode, flags, extras } = frame;
  const isWrite = opcode === Opcode.SET || opcode === Opcode.DELETE || opcode === Opcode.INCREMENT;
  const isRead = opcode === Opcode.GET;
  if ((isWrite && mutations.has('acknowledgeEarly')) || (isRead && mutations.has('readAlone'))) {
    const isQuorumRead = isRead && (flags & RequestFlag.LEVEL_MASK) === 1;
    if (isWrite || isQuorumRead) return requestFrame({ ...frame, flags: flags & ~RequestFlag.LEVEL_MASK });
  }
  if (opcode === Opcode.SET && (flags & RequestFlag.IF_VERSION) !== 0 && mutations.has('ignoreVersion')) {
    const shorter = extras.subarray(0, extras.length - VERSION_BYTES);
    return requestFrame({ ...frame, flags: flags & ~RequestFlag.IF_VERSION, extras: shorter });
  }
  if ((isWrite || isRead) && mutations.has('noDeadline')) return requestFrame({ ...frame, deadlineMs: 0 });
  return bytes;
}

/** What native code answers a peer: responses, one behind the other. */
export function mutatedAnswers(bytes: Buffer, mutations: Mutations): Buffer {
  if (!mutations.has('acknowledgeStale') && !mutations.has('secondLeader')) return bytes;
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32LE(at)) {
    if (bytes[at + STATUS_AT] === Status.STALE) bytes[at + STATUS_AT] = Status.OK;
  }
  return bytes;
}

/** The topology as nodes and clients get to see it. */
export function mutatedView(view: TopologyView, mutations: Mutations): TopologyView {
  if (!mutations.has('shrunkList')) return view;
  return { ...view, members: view.members.filter(({ state }) => state !== 'away') };
}

/** What a coordinator puts into the registry. */
export function mutatedPut<Put extends { readonly key: string; readonly value: unknown }>(
  put: Put,
  mutations: Mutations,
): Put {
  if (put.key !== 'topology' || !mutations.has('publishUnderOldEpoch')) return put;
  const topology = TopologyRecord.parse(put.value);
  return { ...put, value: { ...topology, current: { ...topology.current, epoch: topology.current.epoch - 1 } } };
}

export interface InstallOptions {
  readonly arena: NativeArena;
  readonly self: number;
  readonly mutations: Mutations;
}

/** Puts an epoch in place in a node's memory. */
export function install(installation: Installation, { arena, self, mutations }: InstallOptions): boolean {
  if (mutations.has('missedEpochIsNone') && arena.epoch() > 0) {
    for (let epoch = arena.epoch() + 1; epoch < installation.epoch; epoch++) arena.install({ ...installation, epoch });
  }
  if (!mutations.has('secondLeader')) return arena.install(installation);
  const rows = installation.rows.slice();
  for (let at = 0; at < rows.length; at += ROW_MAX) {
    if (rows[at + 1] === self) rows.copyWithin(at + 1, at, at + 1).set([self], at);
  }
  return arena.install({ ...installation, rows });
}

/** The native worker as the core gets to see it. */
export function mutatedNative(native: NativeWorker, options: InstallOptions): NativeWorker {
  const { mutations } = options;
  if (mutations.size === 0) return native;
  const replaced: Partial<NativeWorker> = {
    install: (installation) => install(installation, options),
    collect: (...wanted) => {
      const collected = native.collect(...wanted);
      const records = recordsOf(collected.bytes);
      const left = mutations.has('forgetDeletes') ? records.filter(isItem) : records;
      if (mutations.has('loseItems')) left.pop();
      return { ...collected, bytes: Buffer.concat(left), items: left.length };
    },
  };
  return new Proxy(native, {
    get: (target, name) => {
      const own = replaced[name as keyof NativeWorker] ?? target[name as keyof NativeWorker];
      return typeof own === 'function' ? own.bind(target) : own;
    },
  });
}

/** After links of a worker broke: what became missed by it is taken for sent. */
export function forgetMissed(native: NativeWorker, node: number, missedBefore: Uint8Array): void {
  const missed = native.peerBits(node).missed.map((byte, at) => byte & ~(missedBefore[at] ?? 0));
  native.beginCatchUp(node, missed);
  native.declareSynced(node, missed);
}

const KIND_AT = 4;

/** ITEMS records: a u32 length, and then the kind. */
function recordsOf(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    records.push(bytes.subarray(at, at + length));
    at += length;
  }
  return records;
}

const isItem = (record: Buffer): boolean => record[KIND_AT] === 0;
