/**
 * A client on the virtual network: real frames, and the real client's rules about where a request goes and what becomes
 * of it (router.ts, retry.ts, copy-read.ts); links and timers are simpler than the real ones.
 */
import { CopyRead } from '../../../src/client/copy-read.js';
import { Budget, judge, type MishapKind, whyNotReady } from '../../../src/client/retry.js';
import { parseTopology, Routes, type Topology } from '../../../src/client/router.js';
import {
  Encoding,
  frameBytes,
  helloExtras,
  Opcode,
  RequestFlag,
  type RequestFrame,
  type ResponseFrame,
  Role,
  readResponse,
  readVersion,
  requestFrame,
  Status,
  VERSION_BYTES,
  type Version,
  writeVersion,
} from '../../../src/protocol/index.js';
import { NO_NODE, slotOf } from '../../../src/ring/index.js';
import type { End } from './network.js';
import { SLOTS } from './node.js';
import type { Random } from './random.js';
import type { Event } from './schedule.js';
import type { World } from './world.js';

const RECONNECT_MS = 40;
/** A leader that has not answered for so long is gone round. */
const SUSPECT_MS = 250;
const DEGRADED = 3;

export interface Reply {
  /** `unknown`: sent, and may have run. `failed`: surely did not. */
  readonly kind: 'answer' | 'unknown' | 'failed';
  readonly status: number;
  readonly value?: Buffer;
  readonly version?: Version;
}

export interface Request {
  readonly opcode: number;
  readonly key: string;
  readonly flags?: number;
  readonly extras?: Buffer;
  readonly value?: Buffer;
}

interface Link {
  readonly member: number;
  readonly address: string;
  end: End | undefined;
  isGreeted: boolean;
  nextId: number;
  readonly waiting: Map<number, (answer: ResponseFrame | undefined) => void>;
  received: Buffer;
}

export class SimClient {
  readonly #budget = new Budget();
  readonly #links = new Map<string, Link>();
  #routes: Routes;
  #isFetching = false;
  open = 0;

  constructor(
    readonly world: World,
    readonly host: string,
    private readonly random: Random,
    topology: Topology,
    /** Every second client. */
    readonly isOdd: boolean,
  ) {
    this.#routes = Routes.of(topology, undefined, SLOTS);
    this.#linkAll();
  }

  /** Sends a request and tells its fate by its deadline at the latest. */
  request(request: Request, deadlineMs: number, done: (reply: Reply) => void): void {
    const call = new Attempt(this, request, deadlineMs, done);
    this.open++;
    call.send();
  }

  get routes(): Routes {
    return this.#routes;
  }

  get budget(): Budget {
    return this.#budget;
  }

  draw(): number {
    return this.random.next();
  }

  later(delayMs: number, run: () => void): Event {
    return this.world.schedule.after(delayMs, run);
  }

  linkOf(member: number): Link | undefined {
    const name = this.#routes.table.members[member];
    const address = this.#routes.topology.members.find((one) => one.name === name)?.address ?? '';
    return this.#links.get(address);
  }

  /** NO_NODE: the link is to nobody of the topology any more. Members are counted anew with every epoch. */
  memberOf(link: Link | undefined): number {
    const { topology, table } = this.#routes;
    const name = topology.members.find(({ address }) => address === link?.address)?.name;
    const member = name === undefined ? -1 : table.members.indexOf(name);
    return member < 0 ? NO_NODE : member;
  }

  /** False: there is no connection, and nothing was sent. */
  ask(
    member: number,
    frame: Partial<RequestFrame> & { opcode: number },
    answered: (answer: ResponseFrame | undefined) => void,
  ): boolean {
    const link = this.linkOf(member);
    if (link?.end === undefined || !link.isGreeted) return false;
    const id = link.nextId++;
    link.waiting.set(id, answered);
    link.end.write(requestFrame({ ...frame, id }));
    return true;
  }

  /** One fetch, however many were refused. */
  refresh(member: number): void {
    if (this.#isFetching) return;
    this.#isFetching = this.ask(member, { opcode: Opcode.TOPOLOGY }, (answer) => {
      this.#isFetching = false;
      if (answer?.status === Status.OK) this.#adopt(answer.value);
    });
  }

  /** Who is connected to the others would have been pushed what is new. */
  refreshAnywhere(): void {
    const member = this.#routes.table.members.findIndex((_, at) => this.linkOf(at)?.isGreeted === true);
    if (member >= 0) this.refresh(member);
  }

  #adopt(value: Buffer): void {
    const topology = parseTopology(value.toString());
    if (topology.epoch <= this.#routes.topology.epoch) return;
    this.#routes = Routes.of(topology, this.#routes, SLOTS);
    this.#linkAll();
  }

  #linkAll(): void {
    this.#routes.topology.members.forEach(({ address }, member) => {
      if (address !== '' && !this.#links.has(address)) this.#connect(this.#makeLink(member, address));
    });
  }

  #makeLink(member: number, address: string): Link {
    const link: Link = {
      member,
      address,
      end: undefined,
      isGreeted: false,
      nextId: 2,
      waiting: new Map(),
      received: Buffer.alloc(0),
    };
    this.#links.set(address, link);
    return link;
  }

  #connect(link: Link): void {
    if (!this.#routes.topology.members.some(({ address }) => address === link.address)) {
      this.#links.delete(link.address);
      return;
    }
    let isSettled = false;
    const again = (): void => {
      if (isSettled) return;
      isSettled = true;
      attempt.cancel();
      this.later(RECONNECT_MS * (0.5 + this.draw()), () => this.#connect(link));
    };
    const timeout = this.later(1_000, again);
    const attempt = this.world.network.connect(this.host, link.address, {
      failed: again,
      opened: (end) => {
        if (isSettled) {
          end.close();
          return { received: () => {}, lost: () => {} };
        }
        isSettled = true;
        timeout.isCancelled = true;
        Object.assign(link, { end, isGreeted: false, received: Buffer.alloc(0) });
        end.write(requestFrame({ opcode: Opcode.HELLO, id: 1, extras: helloExtras(Role.CLIENT, 0) }));
        return { received: (bytes) => this.#received(link, bytes), lost: () => this.#lost(link) };
      },
    });
  }

  #lost(link: Link): void {
    link.end = undefined;
    link.isGreeted = false;
    const waiting = [...link.waiting.values()];
    link.waiting.clear();
    this.later(RECONNECT_MS * this.draw(), () => this.#connect(link));
    for (const answered of waiting) answered(undefined);
    // The real client is pushed every epoch; this one, with tables seconds old, must ask whether the node has left.
    const other = [...this.#links.values()].find(({ isGreeted }) => isGreeted);
    if (other !== undefined) this.refresh(this.memberOf(other));
  }

  /** A node that owes an answer and says nothing is hung up on, as the real client does. */
  hangUp(member: number): void {
    const link = this.linkOf(member);
    if (link?.end === undefined) return;
    link.end.close();
    this.#lost(link);
  }

  #received(link: Link, bytes: Buffer): void {
    link.received = Buffer.concat([link.received, bytes]);
    for (let length = frameBytes(link.received, 0); length !== undefined && link.received.length >= length; ) {
      const answer = readResponse(link.received, 0);
      link.received = link.received.subarray(length);
      this.#answered(link, answer);
      length = frameBytes(link.received, 0);
    }
  }

  #answered(link: Link, answer: ResponseFrame): void {
    if (answer.id === 1) {
      link.isGreeted = answer.status === Status.OK;
      return;
    }
    const answered = link.waiting.get(answer.id);
    if (answered === undefined) {
      this.world.violation(
        `${this.host} got an answer to request ${answer.id}, which it did not send or which was answered`,
      );
      return;
    }
    link.waiting.delete(answer.id);
    answered(answer);
  }
}

/** One call, until its fate is told. */
class Attempt {
  readonly #deadlineAt: number;
  #attempts = 0;
  #isOver = false;
  /** A write that was handed to a connection and not refused may have run. */
  #mayHaveRun = false;

  constructor(
    private readonly client: SimClient,
    private readonly request: Request,
    deadlineMs: number,
    private readonly done: (reply: Reply) => void,
  ) {
    this.#deadlineAt = client.world.schedule.nowMs + deadlineMs;
    if (client.world.mutations.has('noDeadline')) return;
    client.later(deadlineMs, () => this.#end({ kind: this.#mayHaveRun ? 'unknown' : 'failed', status: -1 }));
  }

  send(): void {
    if (this.#isOver) return;
    const slot = slotOf(this.request.key) % SLOTS;
    const leader = this.#leaderOf(slot);
    const level = (this.request.flags ?? 0) & RequestFlag.LEVEL_MASK;
    let target = leader;
    if (this.request.opcode === Opcode.GET && level === 2 && this.#attempts === 0) {
      target = this.client.routes.cheapestCopy(
        slot,
        (member) => (this.client.linkOf(member)?.isGreeted ? 0 : undefined),
        Math.floor(this.client.draw() * 8),
      );
    }
    const isSent = target !== NO_NODE && this.#ask(target);
    if (isSent) return;
    this.client.refreshAnywhere();
    this.#mishap('notReady', slot);
  }

  #leaderOf(slot: number): number {
    const { routes, world, isOdd } = this.client;
    const isMutated = isOdd && world.mutations.has('secondLeader');
    return (isMutated ? routes.detourOf(slot, () => true)[0] : undefined) ?? routes.leaderOf(slot);
  }

  #ask(target: number): boolean {
    let isAnswered = false;
    const link = this.client.linkOf(target);
    const isSent = this.client.ask(target, this.#frame(this.request.flags ?? 0), (answer) => {
      isAnswered = true;
      if (this.#isOver) return;
      if (answer === undefined) this.#lost();
      else this.#answer(answer, this.client.memberOf(link));
    });
    if (!isSent) return false;
    this.#mayHaveRun = this.#isWrite;
    if (!this.#isWrite) {
      this.client.later(SUSPECT_MS, () => {
        if (!isAnswered && !this.#isOver) this.#mishap('lost', slotOf(this.request.key) % SLOTS);
      });
    }
    return true;
  }

  get #isWrite(): boolean {
    return this.request.opcode !== Opcode.GET;
  }

  #frame(flags: number): Partial<RequestFrame> & { opcode: number } {
    return {
      opcode: this.request.opcode,
      flags: flags | RequestFlag.WANT_META,
      deadlineMs: Math.max(1, Math.floor(this.#deadlineAt - this.client.world.schedule.nowMs)),
      encoding: this.request.opcode === Opcode.SET ? Encoding.UTF8 : 0,
      key: Buffer.from(this.request.key),
      ...(this.request.extras !== undefined && { extras: this.request.extras }),
      ...(this.request.value !== undefined && { value: this.request.value }),
    };
  }

  #answer(answer: ResponseFrame, from: number): void {
    const slot = slotOf(this.request.key) % SLOTS;
    switch (answer.status) {
      case Status.MOVED:
        this.#mayHaveRun = false;
        this.client.refresh(from);
        this.#mishap(this.#whyMoved(answer, slot, from), slot);
        break;
      case Status.BUSY:
        this.#mayHaveRun = false;
        this.#mishap('busy', slot);
        break;
      case Status.NOT_READY:
        this.#mayHaveRun = false;
        this.client.refresh(from);
        this.#mishap(whyNotReady(this.client.routes.isChanging, this.#attempts), slot);
        break;
      case Status.NOT_IN_SYNC:
        this.#mishap('notInSync', slot);
        break;
      case Status.NOT_ENOUGH_REPLICAS:
        this.#end({ kind: 'unknown', status: answer.status });
        break;
      default:
        this.#end(replyOf(answer));
        break;
    }
  }

  #whyMoved({ extras }: ResponseFrame, slot: number, from: number): MishapKind {
    const { routes } = this.client;
    const epoch = extras.length < 4 ? 0 : extras.readUInt32LE(0);
    if (epoch !== 0 && epoch < routes.topology.epoch) return 'behind';
    return epoch === routes.topology.epoch && routes.turn(slot, from) ? 'handed' : 'moved';
  }

  #lost(): void {
    if (this.#isWrite && !this.client.world.mutations.has('blindResend')) this.#end({ kind: 'unknown', status: -1 });
    else this.#mishap('lost', slotOf(this.request.key) % SLOTS);
  }

  #mishap(kind: MishapKind, slot: number): void {
    const level = (this.request.flags ?? 0) & RequestFlag.LEVEL_MASK;
    const isUsable = (member: number): boolean => this.client.linkOf(member)?.isGreeted === true;
    const copies = this.#isWrite || level === 1 ? [] : this.client.routes.detourOf(slot, isUsable);
    const verdict = judge(
      {
        kind,
        isWrite: this.#isWrite && !this.client.world.mutations.has('blindResend'),
        canDetour: copies.length >= this.client.routes.detourCopies,
        attempts: this.#attempts++,
        msLeft: this.#deadlineAt - this.client.world.schedule.nowMs,
      },
      this.client.budget,
      () => this.client.draw(),
    );
    if (verdict.kind === 'fail') this.#end({ kind: this.#mayHaveRun ? 'unknown' : 'failed', status: -1 });
    else if (verdict.kind === 'retry') this.client.later(Math.max(1, verdict.delayMs), () => this.send());
    else this.#detour(copies, slot);
  }

  #detour(copies: readonly number[], slot: number): void {
    const read = new CopyRead<number, ResponseFrame>(copies, this.client.routes.detourCopies);
    let isSettled = false;
    const settle = (): void => {
      if (isSettled || this.#isOver) return;
      if (read.state === 'done' && read.newest !== undefined) {
        isSettled = true;
        this.client.world.sometimes(true, 'a degraded read is answered');
        this.#end(replyOf(read.newest));
      } else if (read.state === 'short') {
        isSettled = true;
        this.#mishap('short', slot);
      }
    };
    const askMore = (): void => {
      for (let copy = read.next(); copy !== undefined; copy = read.next()) {
        const isSent = this.client.ask(copy, this.#frame(DEGRADED), (answer) => {
          if (answer !== undefined && (answer.status === Status.OK || answer.status === Status.NOT_FOUND)) {
            const isMiss = answer.status === Status.NOT_FOUND;
            read.answered({ version: versionOf(answer) ?? '', isMiss, answer });
          } else {
            read.failed();
          }
          askMore();
        });
        if (!isSent) read.failed();
      }
      settle();
    };
    askMore();
  }

  #end(reply: Reply): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.client.open--;
    this.done(reply);
  }
}

function replyOf(answer: ResponseFrame): Reply {
  const version = versionOf(answer);
  return { kind: 'answer', status: answer.status, value: answer.value, ...(version !== undefined && { version }) };
}

function versionOf({ extras }: ResponseFrame): Version | undefined {
  if (extras.length < VERSION_BYTES) return undefined;
  return readVersion(new DataView(extras.buffer, extras.byteOffset, extras.length), 0);
}

/** Extras of a SET or DELETE that depends on a version. */
export function versionExtras(prefix: Buffer, version: Version): Buffer {
  const extras = Buffer.concat([prefix, Buffer.alloc(VERSION_BYTES)]);
  writeVersion(new DataView(extras.buffer, extras.byteOffset, extras.length), prefix.length, version);
  return extras;
}
