/**
 * A write is acknowledged at a level when so many of its row have it: those who have the slot by the list of members
 * that stands, or, once it was handed over or settled, by the one that comes (REPLICATION rules 28 and 30). Looked at
 * in the nodes' memories at the moment at which the caller is told.
 */
import { RowMark } from '../../../src/ring/index.js';
import type { NativeWorker } from '../../../src/store/index.js';
import { ROW_MAX } from '../../../src/store/index.js';
import { GEOMETRY } from '../world/node.js';
import type { World } from '../world/world.js';
import type { Complaint } from './history.js';

/** An item's record in a walk (protocol/spec.ts). */
const RECORD = { kind: 4, time: 8, epoch: 16, node: 20, keyBytes: 40, key: 44 } as const;
const KIND_ITEM = 0;
const WALK_BYTES_MAX = 2 ** 20;
const COUNTER_BITS = 16n;

export interface Acknowledged {
  readonly key: string;
  readonly slot: number;
  readonly version: string;
  readonly level: 'quorum' | 'all';
}

export function checkCopies(world: World, write: Acknowledged): Complaint[] {
  const { layout, options } = world;
  // Of another epoch's row nothing is known here.
  if (Number.parseInt(write.version.slice(0, 8), 16) !== layout.epoch) return [];
  const needed = write.level === 'all' ? options.rf : Math.floor(options.rf / 2) + 1;
  const holders = new Set(world.nodes.filter((node) => node.isUp && holds(node.walk, write)).map(numberOf));
  const count = (row: readonly number[]): number => row.filter((number) => holders.has(number)).length;
  const most = Math.max(count(layout.votersIn(write.slot)), count(nextRow(world, write.slot)));
  if (most >= needed) return [];
  return [
    `${write.key} ${write.version} was acknowledged at ${write.level} and is on ${most} of slot ${write.slot}'s row`,
  ];
}

const numberOf = ({ member }: World['nodes'][number]): number => member.number;

function nextRow({ layout }: World, slot: number): number[] {
  const { rows, roles } = layout.installation;
  const row: number[] = [];
  for (let at = slot * ROW_MAX; at < (slot + 1) * ROW_MAX && rows[at] !== 0; at++) {
    if (((roles[at] as number) & RowMark.NEXT) !== 0) row.push(rows[at] as number);
  }
  return row;
}

/** The key in this version, a younger one, or a delete that is younger than this one. */
function holds(walk: NativeWorker['collect'] | undefined, { key, slot, version }: Acknowledged): boolean {
  if (walk === undefined) return true;
  const { slotsPerSegment } = GEOMETRY;
  const sinceMs = Number(BigInt(`0x${version.slice(8, 24)}`) >> COUNTER_BITS);
  const mask = 1 << (slot % slotsPerSegment);
  const { bytes } = walk(Math.floor(slot / slotsPerSegment), mask, 0, sinceMs, WALK_BYTES_MAX, 0);
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at)) {
    const isItem = bytes[at + RECORD.kind] === KIND_ITEM;
    const keyAt = at + RECORD.key;
    const isOther = isItem && bytes.toString('utf8', keyAt, keyAt + bytes.readUInt16LE(at + RECORD.keyBytes)) !== key;
    if (!isOther && versionAt(bytes, at) >= version) return true;
  }
  return false;
}

function versionAt(bytes: Buffer, at: number): string {
  const hex = (value: bigint | number, digits: number): string => value.toString(16).padStart(digits, '0');
  const { time, epoch, node } = RECORD;
  const stamped = hex(bytes.readUInt32LE(at + epoch), 8) + hex(bytes.readBigUInt64LE(at + time), 16);
  return stamped + hex(bytes.readUInt16LE(at + node), 4);
}
