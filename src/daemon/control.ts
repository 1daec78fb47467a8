/**
 * Answers the frames that native code hands over and that are not about copies: hello, proof, topology, subscription,
 * statistics. None is on the hot path.
 *
 * A client's hello is accepted as it is; what stands in its authentication field is not looked at. A node's is answered
 * with a challenge, and only the proof that follows opens the connection (protocol/hello.ts).
 */
import type { TopologyView } from '../cluster/index.js';
import {
  HELLO_BYTES,
  helloAnswerExtras,
  Limit,
  Opcode,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  peerChallenge,
  REQUEST_HEADER_BYTES,
  Role,
  readPeerHello,
  responseFrame,
  Status,
} from '../protocol/index.js';
import type { ControlFrame, NativeArena, NativeWorker } from '../store/index.js';
import { copyFigures } from './copy-figures.js';
import type { WorkerBoot } from './messages.js';
import { freshNonce, type Handshake, isProof, prove } from './peer-secret.js';

export interface ControlAnswer {
  readonly frame: Buffer;
  /** Who is at the other end, once that is settled; a client has number 0. */
  readonly greet?: { readonly role: (typeof Role)[keyof typeof Role]; readonly nodeNumber: number };
  /** Close the connection after this. */
  readonly isLast?: boolean;
}

/** What Control may change of a connection. */
export interface Greetable {
  isGreeted: boolean;
  isSubscribed: boolean;
  /** Of a node that said hello and has not proved yet who it is. */
  challenge: Handshake | undefined;
}

/** The request id of what nobody asked for. */
const PUSHED = 0;

export class Control {
  readonly #boot: WorkerBoot;
  readonly #arena: NativeArena;
  readonly #native: Pick<NativeWorker, 'slotSets'>;
  #topology: TopologyView;

  constructor(boot: WorkerBoot, arena: NativeArena, native: Pick<NativeWorker, 'slotSets'>) {
    this.#boot = boot;
    this.#arena = arena;
    this.#native = native;
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
      case Opcode.AUTHENTICATE:
        return this.#authenticate(frame, connection);
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

  #hello(frame: ControlFrame, connection: Greetable): ControlAnswer {
    const { requestId: id, extras } = frame;
    if (connection.isGreeted) return last(Status.PROTOCOL_ERROR, id, 'hello was said already');
    if (extras.length < HELLO_BYTES || extras.readUInt32LE(0) !== PROTOCOL_MAGIC) {
      return last(Status.PROTOCOL_ERROR, id, 'this is not a Henge hello');
    }
    const [highest, lowest, role] = [extras.readUInt8(4), extras.readUInt8(5), extras.readUInt8(6)];
    if (lowest > PROTOCOL_VERSION || highest < PROTOCOL_VERSION) {
      return last(
        Status.REFUSED,
        id,
        `this node speaks version ${PROTOCOL_VERSION}, you speak ${lowest} to ${highest}`,
      );
    }
    if (role === Role.PEER) return this.#challenge(frame, connection);
    if (role !== Role.CLIENT) return last(Status.REFUSED, id, `role ${role} is not offered here`);

    connection.isGreeted = true;
    const value = Buffer.from(this.#boot.nodeName);
    const answer = responseFrame({ status: Status.OK, id, extras: this.#helloExtras(), value });
    return { frame: answer, greet: { role, nodeNumber: 0 } };
  }

  /** A member, and no other, is told that this node knows the secret, and asked whether it does. */
  #challenge({ requestId: id, key, value }: ControlFrame, connection: Greetable): ControlAnswer {
    const hello = readPeerHello(value);
    if (hello === undefined) return last(Status.PROTOCOL_ERROR, id, "this is not a node's hello");
    const name = key.toString();
    const { nodeName, nodeNumber, secret } = this.#boot;
    const isMember = this.#topology.members.some((member) => member.number === hello.number && member.name === name);
    if (!isMember || hello.number === nodeNumber) {
      return last(Status.REFUSED, id, `node ${name}, number ${hello.number}, is no member that this node knows`);
    }
    const listenerNonce = freshNonce();
    // A view of the frame would keep all of it.
    const dialerNonce = Buffer.from(hello.nonce);
    const handshake = { dialer: hello.number, dialerNonce, listener: nodeNumber, listenerNonce };
    connection.challenge = handshake;
    const challenge = { nonce: listenerNonce, proof: prove(secret, 'listener', handshake) };
    return {
      frame: responseFrame({
        status: Status.OK,
        id,
        extras: this.#helloExtras(),
        value: peerChallenge(challenge, nodeName),
      }),
    };
  }

  #authenticate({ requestId: id, value }: ControlFrame, connection: Greetable): ControlAnswer {
    const { challenge } = connection;
    connection.challenge = undefined;
    if (challenge === undefined) return last(Status.PROTOCOL_ERROR, id, 'nothing is to be proved');
    if (!isProof(this.#boot.secret, 'dialer', challenge, value)) {
      return last(Status.REFUSED, id, "this node's secret is another one");
    }
    connection.isGreeted = true;
    const frame = responseFrame({ status: Status.OK, id });
    return { frame, greet: { role: Role.PEER, nodeNumber: challenge.dialer } };
  }

  #helloExtras(): Buffer {
    const { nodeNumber, valueBytesMax } = this.#boot;
    return helloAnswerExtras({
      version: PROTOCOL_VERSION,
      nodeNumber,
      epoch: this.#arena.epoch(),
      valueBytesMax,
      frameBytesMax: REQUEST_HEADER_BYTES + Limit.EXTRAS_BYTES_MAX + Limit.KEY_BYTES_MAX + valueBytesMax,
    });
  }

  #topologyFrame(id: number): Buffer {
    return responseFrame({ status: Status.OK, id, value: Buffer.from(JSON.stringify(this.#topology)) });
  }

  #stats(): Record<string, unknown> {
    const { nodeName, nodeNumber, workers, startedAtMs, rebalanceBytesPerSecond } = this.#boot;
    return {
      name: nodeName,
      number: nodeNumber,
      epoch: this.#arena.epoch(),
      workers,
      uptimeMs: Date.now() - startedAtMs,
      rebalanceBytesPerSecond,
      ...copyFigures(this.#native),
      ...this.#arena.stats(),
    };
  }
}

/** The sentence, and the end of the connection. */
const last = (status: Status, id: number, sentence: string): ControlAnswer => ({
  frame: refusal(status, id, sentence),
  isLast: true,
});

function refusal(status: Status, id: number, sentence: string): Buffer {
  return responseFrame({ status, id, value: Buffer.from(sentence) });
}
