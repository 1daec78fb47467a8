/**
 * A lock that the kernel frees with the process that holds it, however that ends: a listening abstract Unix socket. Who
 * wants to know whether it is held connects and stays connected, and the kernel says at once when it is freed.
 *
 * It says nothing of a process that is stopped, and is not seen from another network namespace, let alone another
 * machine: lockPlace() tells whether two processes see the same locks.
 */
import { readFile, readlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { isCode } from './versions.js';

/** This boot of this machine, and this network namespace. */
export async function lockPlace(): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  return `${boot.trim()} ${await readlink('/proc/self/ns/net')}`;
}

export class ProcessLock {
  readonly #server: Server;
  readonly #readers = new Set<Socket>();

  private constructor(name: string) {
    this.#server = createServer((socket) => {
      this.#readers.add(socket.unref());
      // A reader that went away is as good as one that closed.
      socket.on('error', () => {}).on('close', () => this.#readers.delete(socket));
      socket.resume();
    });
    this.#server.listen({ path: `\0${name}`, exclusive: true });
    this.#server.unref();
  }

  static async take(name: string): Promise<ProcessLock> {
    const lock = new ProcessLock(name);
    await new Promise<void>((resolve, reject) => {
      lock.#server.once('error', reject);
      lock.#server.once('listening', resolve);
    });
    return lock;
  }

  release(): void {
    this.#server.close();
    for (const socket of this.#readers) socket.destroy();
  }
}

/** Looks at a lock that another process holds, or does not. */
export class LockReader {
  readonly #path: string;
  readonly #onFreed: () => void;
  #socket: Socket | undefined;
  #connecting: Promise<boolean> | undefined;
  #isClosed = false;

  /** `onFreed` is called when a lock that was seen held may be so no longer. */
  constructor(name: string, onFreed: () => void) {
    this.#path = `\0${name}`;
    this.#onFreed = onFreed;
  }

  async isHeld(): Promise<boolean> {
    if (this.#socket !== undefined) return true;
    this.#connecting ??= this.#connect();
    return this.#connecting;
  }

  close(): void {
    this.#isClosed = true;
    this.#socket?.destroy();
  }

  #connect(): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (isHeld: boolean): void => {
        this.#connecting = undefined;
        resolve(isHeld);
      };
      const socket = connect({ path: this.#path });
      socket.once('connect', () => {
        this.#socket = socket.unref();
        socket.resume();
        finish(true);
        if (this.#isClosed) socket.destroy();
      });
      // Refused: nobody listens. Anything else, such as a stopped holder's full backlog, proves nothing.
      socket.on('error', (error) => finish(!isCode(error, 'ECONNREFUSED')));
      socket.once('close', () => {
        if (this.#socket !== socket) return;
        this.#socket = undefined;
        if (!this.#isClosed) this.#onFreed();
      });
    });
  }
}
