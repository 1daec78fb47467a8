/**
 * Answers the frames that native code hands over: hello, topology, subscription, statistics. None is on the hot path.
 *
 * The hello's value is the authentication field: clients send it empty, and what they send is not looked at. A peer's
 * hello will carry the HMAC challenge there; until nodes talk to each other, a peer is refused.
 */
import type { TopologyView } from '../cluster/index.js';
import {
  HELLO_ANSWER_BYTES,
  HELLO_BYTES,
  Limit,
  Opcode,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  REQUEST_HEADER_BYTES,
  Role,
  responseFrame,
  Status,
} from '../protocol/index.js';
import type { ControlFrame, NativeArena } from '../store/index.js';
import type { WorkerBoot } from './messages.js';

export interface ControlAnswer {
  readonly frame: Buffer;
  /** The connection's role, when its hello was accepted. */
  readonly greetAs?: (typeof Role)[keyof typeof Role];
  /** Close the connection after this. */
  readonly isLast?: boolean;
}

/** What Control may change of a connection. */
export interface Greetable {
  isGreeted: boolean;
  isSubscribed: boolean;
}

/** The request id of what nobody asked for. */
const PUSHED = 0;

export class Control {
  readonly #boot: WorkerBoot;
  readonly #arena: NativeArena;
  #topology: TopologyView;

  constructor(boot: WorkerBoot, arena: NativeArena) {
    this.#boot = boot;
    this.#arena = arena;
    this.#topology = boot.topology;
  }

  /** Takes a newer topology; returns the frame that tells subscribers. */
  adopt(topology: TopologyView): Buffer {
    this.#topology = topology;
    return this.#topologyFrame(PUSHED);
  }

  answer(frame: ControlFrame, connection: Greetable): ControlAnswer {
    const { requestId: id, opcode } = frame;
    switch (opcode) {
      case Opcode.HELLO:
        return this.#hello(frame, connection);
      case Opcode.TOPOLOGY:
        return { frame: this.#topologyFrame(id) };
      case Opcode.SUBSCRIBE:
        connection.isSubscribed = true;
        return { frame: responseFrame({ status: Status.OK, id }) };
      case Opcode.STATS:
        return { frame: responseFrame({ status: Status.OK, id, value: Buffer.from(JSON.stringify(this.#stats())) }) };
      default:
        return { frame: refusal(Status.REFUSED, id, `opcode 0x${opcode.toString(16)} is not offered here`) };
    }
  }

  #hello({ requestId: id, extras }: ControlFrame, connection: Greetable): ControlAnswer {
    const last = (status: Status, sentence: string): ControlAnswer => ({
      frame: refusal(status, id, sentence),
      isLast: true,
    });
    if (connection.isGreeted) return last(Status.PROTOCOL_ERROR, 'hello was said already');
    if (extras.length < HELLO_BYTES || extras.readUInt32LE(0) !== PROTOCOL_MAGIC) {
      return last(Status.PROTOCOL_ERROR, 'this is not a Henge hello');
    }
    const [highest, lowest, role] = [extras.readUInt8(4), extras.readUInt8(5), extras.readUInt8(6)];
    if (lowest > PROTOCOL_VERSION || highest < PROTOCOL_VERSION) {
      return last(Status.REFUSED, `this node speaks version ${PROTOCOL_VERSION}, you speak ${lowest} to ${highest}`);
    }
    if (role !== Role.CLIENT) return last(Status.REFUSED, `role ${role} is not offered here`);

    connection.isGreeted = true;
    const { nodeName, nodeNumber, valueBytesMax } = this.#boot;
    const answer = Buffer.alloc(HELLO_ANSWER_BYTES);
    answer.writeUInt8(PROTOCOL_VERSION, 0);
    answer.writeUInt16LE(nodeNumber, 2);
    answer.writeUInt32LE(this.#arena.epoch(), 4);
    answer.writeUInt32LE(valueBytesMax, 8);
    answer.writeUInt32LE(REQUEST_HEADER_BYTES + Limit.EXTRAS_BYTES_MAX + Limit.KEY_BYTES_MAX + valueBytesMax, 12);
    const frame = responseFrame({ status: Status.OK, id, extras: answer, value: Buffer.from(nodeName) });
    return { frame, greetAs: Role.CLIENT };
  }

  #topologyFrame(id: number): Buffer {
    return responseFrame({ status: Status.OK, id, value: Buffer.from(JSON.stringify(this.#topology)) });
  }

  #stats(): Record<string, unknown> {
    const { nodeName, nodeNumber, slots, workers, startedAtMs } = this.#boot;
    return {
      name: nodeName,
      number: nodeNumber,
      epoch: this.#arena.epoch(),
      slots,
      workers,
      uptimeMs: Date.now() - startedAtMs,
      ...this.#arena.stats(),
    };
  }
}

function refusal(status: Status, id: number, sentence: string): Buffer {
  return responseFrame({ status, id, value: Buffer.from(sentence) });
}
