/**
 * Bugs planted on purpose, to see whether the checks bite: each takes out one rule, or breaks one promise, where the
 * shell of the simulator meets the code under test. Nothing of this is in the product.
 *
 * Frames that a mutation rewrites come whole and one to a chunk, for that is how the simulated clients write them; what
 * a node writes is a row of whole frames.
 */

import { TopologyRecord, type TopologyView } from '../../../src/cluster/index.js';
import { Opcode, RequestFlag, readRequest, requestFrame, Status, VERSION_BYTES } from '../../../src/protocol/index.js';
import { RowRole } from '../../../src/ring/index.js';
import {
  type Installation,
  type NativeArena,
  type NativeWorker,
  ROW_MAX,
  type SlotBits,
} from '../../../src/store/index.js';

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
  undoubled: 'rule 25: who gets a slot says that it has the writes of the first moments, and has not',
  filteredWalk: 'rule 26: the walk behind the one over items with hits leaves items with hits out',
  countReceivers: 'rule 28: who is to have a slot counts towards a level before it was handed over',
  undrained: 'rule 29: slots are handed over whatever is in flight',
  unsettled: 'rule 30: a change ends although slots were neither handed over nor settled',
  openGiven: 'rule 32: a slot that was given is opened before its goal has answered',
  sealLong: 'a write waits 50 ms at most: sealed slots stay so for longer, and are not opened',
  refuseMoved: 'no request fails of a planned change: who does not lead a slot any more refuses it for good',
  keepDropped: 'copies are where the table says: nothing is dropped that was moved away',
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

/** What native code answers a client: responses, one behind the other. */
export function mutatedReplies(bytes: Buffer, mutations: Mutations): Buffer {
  if (!mutations.has('refuseMoved')) return bytes;
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32LE(at)) {
    if (bytes[at + STATUS_AT] === Status.MOVED) bytes[at + STATUS_AT] = Status.REFUSED;
  }
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
  if (mutations.has('countReceivers')) {
    const roles = installation.roles.map((entry) => ((entry & ROLE) === RowRole.RECEIVER ? entry & ~ROLE : entry));
    return arena.install({ ...installation, roles });
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
    ...handOverMutations(native, mutations),
    collect: (...wanted) => {
      const collected = native.collect(...wanted);
      const records = recordsOf(collected.bytes);
      const left = mutations.has('forgetDeletes') ? records.filter(isItem) : records;
      if (mutations.has('loseItems')) left.pop();
      const isFiltered = mutations.has('filteredWalk') && wanted[IS_HOT_ONLY] === 0;
      const kept = isFiltered ? left.filter((record) => record.readUInt16LE(HEAT_AT) === 0) : left;
      return { ...collected, bytes: Buffer.concat(kept), items: kept.length };
    },
  };
  return new Proxy(native, {
    get: (target, name) => {
      const own = replaced[name as keyof NativeWorker] ?? target[name as keyof NativeWorker];
      return typeof own === 'function' ? own.bind(target) : own;
    },
  });
}

const SEALED_MS = 60;

function handOverMutations(native: NativeWorker, mutations: Mutations): Partial<NativeWorker> {
  return {
    ...(mutations.has('undrained') && { give: (slots: SlotBits) => slots }),
    ...(mutations.has('openGiven') && {
      give: (slots: SlotBits) => {
        const given = native.give(slots);
        native.unseal(given, 1);
        return given;
      },
    }),
    ...(mutations.has('keepDropped') && { drop: () => {} }),
  };
}

/** Seals stand for longer: `nowMs` is the node's clock. */
export function sealLong(native: NativeWorker, nowMs: () => number): void {
  const [seal, give, settle] = [native.seal.bind(native), native.give.bind(native), native.settle.bind(native)];
  let sealedAtMs = 0;
  const isOver = (): boolean => nowMs() - sealedAtMs > SEALED_MS;
  native.seal = (goal, slots, slotsMax) => {
    sealedAtMs = nowMs();
    return seal(goal, slots, slotsMax);
  };
  native.give = (slots) => (isOver() ? give(slots) : slots.map(() => 0));
  native.settle = (slots) => (isOver() ? settle(slots) : slots.map(() => 0));
  native.unseal = () => {};
}

/** Frames of a peer, in order; those that are to be taken for applied are told apart. */
export function undoubledFrames(
  bytes: Buffer,
  isUndoubled: (slot: number) => boolean,
): readonly { readonly frame: Buffer; readonly id: number; readonly isSkipped: boolean }[] {
  const frames: { frame: Buffer; id: number; isSkipped: boolean }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const frame = bytes.subarray(at, at + 4 + bytes.readUInt32LE(at));
    const { opcode, id, extras } = readRequest(frame, 0);
    const isSkipped = opcode === Opcode.REPLICATE && isUndoubled(extras.readUInt16LE(SLOT_AT));
    frames.push({ frame, id, isSkipped });
    at += frame.length;
  }
  return frames;
}

/** After links of a worker broke: what became missed by it is taken for sent. */
export function forgetMissed(native: NativeWorker, node: number, missedBefore: Uint8Array): void {
  const missed = native.peerBits(node).missed.map((byte, at) => byte & ~(missedBefore[at] ?? 0));
  native.beginCatchUp(node, missed);
  native.declareSynced(node, missed);
}

const KIND_AT = 4;
/** Of an item's record; the last argument of a walk; and of a slot in REPLICATE's extras. */
const HEAT_AT = 22;
const IS_HOT_ONLY = 5;
const SLOT_AT = 4;
/** Of a row's entry, whose upper bits are marks. */
const ROLE = 0x0f;

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
