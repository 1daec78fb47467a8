/** A TCP forwarder between a registry and its etcd, which a test can close, and which can hold watches up. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

const WATCH = 'POST /v3/watch';

interface Passage {
  readonly client: Socket;
  readonly server: Socket;
  /** What the client sent on a connection that is held up, from its watch on. */
  held: Buffer[] | undefined;
  carriesWatch: boolean;
}

export class Gate implements AsyncDisposable {
  readonly #target: URL;
  readonly #server: Server;
  readonly #passages = new Set<Passage>();
  /** Watches asked for from now on wait for release(). */
  isHoldingWatches = false;
  /** Nothing comes back any more on connections that carry a watch, and they stay open. */
  isMutingWatches = false;
  /** Nothing comes back any more on any connection. */
  isMutingAll = false;
  isClosed = false;

  private constructor(url: string) {
    this.#target = new URL(url);
    this.#server = createServer((client) => this.#pass(client));
  }

  static async open(url: string): Promise<Gate> {
    const gate = new Gate(url);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  get heldWatches(): number {
    return [...this.#passages].filter(({ held }) => held !== undefined).length;
  }

  /** Ends all connections. */
  cut(): void {
    for (const { client, server } of this.#passages) {
      client.destroy();
      server.destroy();
    }
  }

  release(): void {
    this.isHoldingWatches = false;
    for (const passage of this.#passages) {
      for (const bytes of passage.held ?? []) passage.server.write(bytes);
      passage.held = undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #pass(client: Socket): void {
    if (this.isClosed) {
      client.destroy();
      return;
    }
    const server = connect(Number(this.#target.port), this.#target.hostname);
    const passage: Passage = { client, server, held: undefined, carriesWatch: false };
    this.#passages.add(passage);
    client.on('data', (bytes: Buffer) => {
      if (bytes.includes(WATCH)) {
        passage.carriesWatch = true;
        if (this.isHoldingWatches) passage.held = [];
      }
      if (passage.held !== undefined) passage.held.push(bytes);
      else server.write(bytes);
    });
    server.on('data', (bytes: Buffer) => {
      const isMuted = this.isMutingAll || (passage.carriesWatch && this.isMutingWatches);
      if (!isMuted) client.write(bytes);
    });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        other.destroy();
        this.#passages.delete(passage);
      });
    }
  }
}
