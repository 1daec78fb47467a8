/**
 * A TCP forwarder between a registry and its etcd, which a test can close, slow down, and make lose what it chooses.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

const WATCH = '/v3/watch';

interface Passage {
  readonly client: Socket;
  readonly server: Socket;
  /** What the client sent on a connection that is held up, from its watch on. */
  held: Buffer[] | undefined;
  /** Of the last request. */
  path: string | undefined;
}

export class Gate implements AsyncDisposable {
  readonly #target: URL;
  readonly #server: Server;
  readonly #passages = new Set<Passage>();
  /** Watches asked for from now on wait for release(). */
  isHoldingWatches = false;
  /** Nothing comes back any more for requests with this path, while their connections stay open. */
  mutedPath: '/v3/watch' | '/v3/kv/txn' | undefined;
  isClosed = false;
  /** So late comes what comes back. */
  answerDelayMs = 0;

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
    const passage: Passage = { client, server, held: undefined, path: undefined };
    this.#passages.add(passage);
    client.on('data', (bytes: Buffer) => {
      const path = /^POST (\S+)/.exec(bytes.toString('latin1'))?.[1];
      passage.path = path ?? passage.path;
      if (path === WATCH && this.isHoldingWatches) passage.held = [];
      if (passage.held !== undefined) passage.held.push(bytes);
      else server.write(bytes);
    });
    server.on('data', (bytes: Buffer) => {
      if (passage.path !== undefined && passage.path === this.mutedPath) return;
      if (this.answerDelayMs === 0) client.write(bytes);
      else setTimeout(() => client.write(bytes), this.answerDelayMs);
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
