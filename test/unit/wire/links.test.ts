/**
 * Two arenas of one cluster, joined by a link whose bytes the test carries: the addon's door to replication. What the
 * native code does behind it is tested in native/test/replicate_test.cc.
 */
import { afterEach, describe, expect, it } from 'vitest';
import {
  helloExtras,
  Opcode,
  Role,
  readRequest,
  readResponse,
  requestFrame,
  responseFrame,
  SLOTS,
  Status,
} from '../../../src/protocol/index.js';
import {
  loadAddon,
  type NativeArena,
  type NativeWorker,
  OutputFlag,
  ROW_MAX,
  SlotState,
} from '../../../src/store/index.js';

const addon = loadAddon();
const LEADER = 1;
const COPY = 2;
const QUORUM = 1;
const LOST = 0xff;
const ALL_SLOTS = Buffer.alloc(SLOTS / 8, 0xff);

/** One worker of a node, its buffers, and what its connections were owed. */
class Node {
  readonly arena: NativeArena;
  readonly worker: NativeWorker;
  readonly #input = Buffer.alloc(256 * 1024);
  readonly #output: Buffer;

  constructor(readonly number: number) {
    this.arena = addon.create({
      bytes: 16 * 1024 * 1024,
      valueBytesMax: 64 * 1024,
      nodeName: `node-${number}`,
      nodeNumber: number,
      replicated: true,
      clock: 'manual',
      hashSeed: 7n,
    });
    this.arena.setClock(1_700_000_000_000);
    this.worker = this.arena.worker();
    this.#output = Buffer.alloc(this.worker.outputBytesMin);
    this.worker.useInput(this.#input);
    this.worker.useOutput(this.#output);
    this.install(1);
  }

  install(epoch: number, row = [LEADER, COPY]): boolean {
    const rows = new Uint16Array(SLOTS * ROW_MAX);
    for (let slot = 0; slot < SLOTS; slot++) rows.set(row, slot * ROW_MAX);
    return this.worker.install({ epoch, rf: 2, rows, roles: new Uint8Array(SLOTS * ROW_MAX), isFounding: true });
  }

  execute(connection: number, bytes: Buffer): Buffer {
    bytes.copy(this.#input);
    return Buffer.from(this.#output.subarray(0, this.worker.execute(connection, bytes.length)));
  }

  /** All that is owed, by connection. */
  owed(): Map<number, Buffer> {
    const owed = new Map<number, Buffer>();
    for (let connection = this.worker.nextOutput(); connection >= 0; connection = this.worker.nextOutput()) {
      const bytes = this.#output.subarray(0, this.worker.flags[1]);
      owed.set(connection, Buffer.concat([owed.get(connection) ?? Buffer.alloc(0), bytes]));
    }
    return owed;
  }

  greeted(role: (typeof Role)[keyof typeof Role], nodeNumber?: number): number {
    const connection = this.worker.connect();
    this.execute(connection, requestFrame({ opcode: Opcode.HELLO, id: 1, extras: helloExtras(role, 0) }));
    this.worker.takeControl();
    this.worker.greet(connection, role, nodeNumber);
    return connection;
  }

  close(): void {
    this.worker.close();
    this.arena.close(false);
  }
}

const nodes: Node[] = [];

/** The leader with a link to its copy, and both ends of it. */
function joined() {
  const [leader, copy] = [new Node(LEADER), new Node(COPY)];
  nodes.push(leader, copy);
  const inbound = copy.greeted(Role.PEER, LEADER);
  const link = leader.worker.connect();
  leader.worker.linkUp(link, COPY);
  return { leader, copy, link, inbound };
}

const set = (id: number, level = 0, deadlineMs = 0) =>
  requestFrame({
    opcode: Opcode.SET,
    id,
    flags: level,
    deadlineMs,
    extras: Buffer.alloc(8),
    key: Buffer.from('city:3'),
    value: Buffer.from('Lagos'),
  });

const probe = () => requestFrame({ opcode: Opcode.PROBE, id: 1 });

afterEach(() => {
  for (const node of nodes.splice(0)) node.close();
});

describe('a link', () => {
  it('takes a write to the copy, and its acknowledgement to the client', () => {
    const { leader, copy, link, inbound } = joined();
    const client = leader.greeted(Role.CLIENT);
    expect(leader.execute(client, set(2, QUORUM))).toHaveLength(0);
    expect(leader.worker.flags[0]).toBe(OutputFlag.OTHERS);
    const requests = leader.owed().get(link) ?? Buffer.alloc(0);
    expect(readRequest(requests, 0)).toMatchObject({ opcode: Opcode.REPLICATE, key: Buffer.from('city:3') });
    const acknowledgement = copy.execute(inbound, requests);
    expect(copy.arena.stats().items).toBe(1);
    leader.execute(link, acknowledgement);
    expect(leader.worker.flags[0]).toBe(OutputFlag.OTHERS);
    expect(readResponse(leader.owed().get(client) ?? Buffer.alloc(0), 0)).toMatchObject({ id: 2, status: Status.OK });
  });

  it("takes a frame of JavaScript's to JavaScript, with the sender's number, and the answer back", () => {
    const { leader, copy, link, inbound } = joined();
    const id = leader.worker.request(link, probe());
    copy.execute(inbound, leader.owed().get(link) ?? Buffer.alloc(0));
    expect(copy.worker.flags[0]).toBe(OutputFlag.CONTROL);
    expect(copy.worker.takeControl()).toMatchObject([
      { connection: inbound, nodeNumber: LEADER, requestId: id, opcode: Opcode.PROBE },
    ]);
    leader.execute(link, responseFrame({ id, status: Status.OK, value: Buffer.from('{}') }));
    expect(leader.worker.flags[0]).toBe(OutputFlag.CONTROL);
    expect(leader.worker.takeAnswers()).toEqual([
      { connection: link, requestId: id, status: Status.OK, extras: Buffer.alloc(0), value: Buffer.from('{}') },
    ]);
  });

  it('says when it ends what was lost, and to whom an answer is owed', () => {
    const { leader, link } = joined();
    const client = leader.greeted(Role.CLIENT);
    const id = leader.worker.request(link, probe());
    leader.execute(client, set(2, QUORUM));
    leader.worker.disconnect(link);
    expect(leader.worker.flags[0]).toBe(OutputFlag.CONTROL | OutputFlag.OTHERS);
    expect(leader.worker.takeAnswers()).toMatchObject([{ requestId: id, status: LOST }]);
    expect(readResponse(leader.owed().get(client) ?? Buffer.alloc(0), 0).status).toBe(Status.NOT_ENOUGH_REPLICAS);
    expect(leader.worker.peerBits(COPY).missed.some((byte) => byte !== 0)).toBe(true);
  });

  it('takes requests until it is closed when the other end broke the rules, and answers them as lost', () => {
    const { leader, link } = joined();
    leader.execute(link, responseFrame({ status: Status.OK, id: 99 }));
    expect((leader.worker.flags[0] ?? 0) & OutputFlag.CLOSE).toBe(OutputFlag.CLOSE);
    const id = leader.worker.request(link, probe());
    leader.worker.disconnect(link);
    expect(leader.worker.takeAnswers()).toMatchObject([{ requestId: id, status: LOST }]);
  });

  it('is read by the clock of the arena: a write waits to its deadline', () => {
    const { leader, link } = joined();
    const client = leader.greeted(Role.CLIENT);
    leader.execute(client, set(2, QUORUM, 500));
    leader.owed();
    leader.arena.setClock(1_700_000_000_499);
    leader.worker.tick();
    expect(leader.worker.flags[0]).toBe(0);
    leader.arena.setClock(1_700_000_000_500);
    leader.worker.tick();
    expect(leader.worker.flags[0]).toBe(OutputFlag.OTHERS);
    const owed = leader.owed();
    expect(readResponse(owed.get(client) ?? Buffer.alloc(0), 0).status).toBe(Status.NOT_ENOUGH_REPLICAS);
    expect(owed.has(link)).toBe(false);
  });

  it('holds frames of an epoch that is not here, and names it', () => {
    const { leader, copy, link, inbound } = joined();
    expect(leader.install(2)).toBe(true);
    leader.execute(leader.greeted(Role.CLIENT), set(2));
    expect(copy.execute(inbound, leader.owed().get(link) ?? Buffer.alloc(0))).toHaveLength(0);
    expect([copy.worker.flags[0], copy.worker.flags[2]]).toEqual([OutputFlag.BEHIND, 2]);
    copy.install(2);
    expect(readResponse(copy.execute(inbound, Buffer.alloc(0)), 0).status).toBe(Status.OK);
    expect(copy.worker.flags[0]).toBe(0);
  });

  it('refuses what cannot be, by name', () => {
    const { leader, link } = joined();
    const { worker } = leader;
    expect(() => worker.linkUp(worker.connect(), COPY)).toThrow(/link to node 2/);
    expect(() => worker.linkUp(worker.connect(), 0)).toThrow(/nodeNumber .* 1 to 65535/);
    expect(() => worker.request(worker.connect(), probe())).toThrow(/is no link/);
    expect(() => worker.request(link, Buffer.alloc(3))).toThrow(RangeError);
    expect(() => worker.greet(worker.connect(), Role.PEER, 70_000)).toThrow(/nodeNumber/);
    for (let count = 0; count < 1024; count++) worker.request(link, probe());
    expect(() => worker.request(link, probe())).toThrow(/Too many requests/);
  });
});

describe('slots', () => {
  it('are led by one node and joined by the other until it is told that it is in sync', () => {
    const { leader, copy } = joined();
    expect(leader.worker.states().every((state) => state === SlotState.PRIMARY)).toBe(true);
    expect(copy.worker.states().every((state) => state === SlotState.JOINING)).toBe(true);
    const declared = leader.worker.declareSynced(COPY, ALL_SLOTS);
    expect(declared).toEqual(ALL_SLOTS);
    expect(copy.worker.acceptSynced(LEADER, 1, declared)).toEqual(ALL_SLOTS);
    expect(copy.worker.states().every((state) => state === SlotState.REPLICA)).toBe(true);
    expect(leader.worker.peerBits(COPY).synced).toEqual(ALL_SLOTS);
  });

  it('give their items as records, which another node takes as ITEMS', () => {
    const { leader, copy, inbound } = joined();
    leader.execute(leader.greeted(Role.CLIENT), set(2));
    let items = 0;
    for (let segment = 0; segment < SLOTS / leader.arena.slotsPerSegment; segment++) {
      const collected = leader.worker.collect(segment, 0xffff, 0, 0, 64 * 1024, 0);
      expect(collected.next).toBe(0);
      items += collected.items;
      if (collected.items === 0) continue;
      const extras = Buffer.from([1, 0, 0, 0]);
      const frame = requestFrame({ opcode: Opcode.ITEMS, id: 5, extras, value: collected.bytes });
      const answer = readResponse(copy.execute(inbound, frame), 0);
      expect([answer.status, answer.value.readUInt32LE(0)]).toEqual([Status.OK, 1]);
    }
    expect(items).toBe(1);
    expect(copy.arena.stats().items).toBe(1);
  });

  it('refuse arguments that are not of this memory', () => {
    const { worker } = joined().leader;
    expect(() => worker.declareSynced(COPY, Buffer.alloc(5))).toThrow(/slots has 2048 bytes here, not 5/);
    expect(() => worker.collect(SLOTS, 0, 0, 0, 1, 0)).toThrow(/segment/);
    expect(() => worker.digest(SLOTS)).toThrow(/slot .* 0 to 16383/);
    expect(() => worker.clearFlags(ALL_SLOTS, 255)).toThrow(/flags/);
  });
});
