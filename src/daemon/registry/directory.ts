/**
 * A registry in a folder, for clusters on one machine. REPLICATION.md rule 23: rename is not compare-and-swap, link is.
 *
 *   DIR/topology/1.json  2.json  3.json      each version of a record is a file of its own; the highest number counts
 *   DIR/members/a/1.json ...
 *   DIR/.staging/                            versions being written, under names nobody reads
 *
 * A version is written whole to .staging, synced, and published by link(2) under its number, which fails if that file
 * exists: of two writers one wins, and nobody ever sees half a record. Nothing is overwritten. Old versions are removed
 * lowest first, never the first of all, and that order is what keeps compare-and-set true: a writer that slept between
 * reading and linking finds, after its link, that the version it built on is gone, and takes its file back.
 *
 * A name is held by an abstract Unix socket, which the kernel frees with the process, however that ends. Changes are
 * noticed by polling; fs.watch only makes the next poll come at once.
 */
import { createHash, randomUUID } from 'node:crypto';
import { type FSWatcher, watch as watchFolder } from 'node:fs';
import { link, mkdir, open, readdir, readFile, realpath, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Lease, RecordKey, Registry, RegistryRecord, RegistryWatch } from '../../cluster/index.js';

/** Versions kept beside the first: enough that a reader between listing and opening seldom finds its file gone. */
const VERSIONS_KEPT = 8;
/** How often a reader starts over when the version it listed was removed meanwhile; each time means eight newer ones. */
const READ_ATTEMPTS_MAX = 20;
/** The longest a change stays unnoticed where fs.watch says nothing. */
const POLL_MS = 500;
const STAGING = '.staging';

const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException)?.code === code;

/** The numbers of the versions in a record's folder, ascending; none if there is no such folder. */
async function versionsIn(folder: string): Promise<number[]> {
  try {
    const names = await readdir(folder);
    const numbers = names.flatMap((name) => (/^\d+\.json$/.test(name) ? [Number.parseInt(name, 10)] : []));
    return numbers.sort((a, b) => a - b);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return [];
    throw error;
  }
}

export class DirectoryRegistry implements Registry {
  readonly location: string;
  readonly #folder: string;
  readonly #watches = new Set<DirectoryWatch>();
  #nameLock: Server | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
    this.location = `dir:${folder}`;
  }

  /** Opens the registry in `folder`, which is made if it is missing. */
  static async open(folder: string): Promise<DirectoryRegistry> {
    await mkdir(join(folder, STAGING), { recursive: true, mode: 0o700 });
    return new DirectoryRegistry(await realpath(folder));
  }

  async get(key: RecordKey): Promise<RegistryRecord | undefined> {
    for (let attempt = 0; attempt < READ_ATTEMPTS_MAX; attempt++) {
      const revision = (await versionsIn(this.#folderOf(key))).at(-1);
      if (revision === undefined) return undefined;
      try {
        const value: unknown = JSON.parse(await readFile(this.#fileOf(key, revision), 'utf8'));
        return { key, revision, value };
      } catch (error) {
        if (!isCode(error, 'ENOENT')) throw error;
      }
    }
    throw new Error(`${this.location}: ${key} changes faster than it can be read`);
  }

  async list(prefix: string): Promise<RegistryRecord[]> {
    const records = await Promise.all((await this.#keys(prefix)).map((key) => this.get(key)));
    return records.filter((record) => record !== undefined);
  }

  async put(key: RecordKey, value: unknown, revision: number): Promise<number | undefined> {
    const folder = this.#folderOf(key);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const before = (await versionsIn(folder)).at(-1) ?? 0;
    if (before !== revision) return undefined;

    const target = this.#fileOf(key, revision + 1);
    const isPublished = await this.#publish(`${JSON.stringify(value, undefined, 2)}\n`, target);
    if (!isPublished) return undefined;

    const versions = await versionsIn(folder);
    if (revision > 0 && !versions.includes(revision)) {
      await unlink(target);
      return undefined;
    }
    for (const old of versions.slice(1, -VERSIONS_KEPT)) {
      await unlink(this.#fileOf(key, old)).catch((error: unknown) => {
        if (!isCode(error, 'ENOENT')) throw error;
      });
    }
    return revision + 1;
  }

  watch(prefix: string, listener: (record: RegistryRecord) => void): RegistryWatch {
    const watch = new DirectoryWatch(this.#folder, () => this.list(prefix), listener);
    this.#watches.add(watch);
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async hold(nodeName: string): Promise<boolean> {
    const digest = createHash('sha256').update(this.#folder).digest('hex').slice(0, 32);
    const server = createServer((socket) => socket.destroy());
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ path: `\0henge-${digest}-${nodeName}`, exclusive: true }, resolve);
      });
    } catch (error) {
      if (isCode(error, 'EADDRINUSE')) return false;
      throw error;
    }
    server.unref();
    this.#nameLock = server;
    return true;
  }

  openLease(): Promise<Lease> {
    return Promise.reject(new Error('leases are not offered yet'));
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    this.#nameLock?.close();
  }

  #folderOf(key: RecordKey): string {
    return join(this.#folder, key);
  }

  #fileOf(key: RecordKey, revision: number): string {
    return join(this.#folder, key, `${revision}.json`);
  }

  async #keys(prefix: string): Promise<RecordKey[]> {
    const members = (await readdir(join(this.#folder, 'members')).catch(() => [])).sort();
    const keys: RecordKey[] = ['config', 'topology', ...members.map((name): RecordKey => `members/${name}`)];
    return keys.filter((key) => key.startsWith(prefix));
  }

  /** False if `target` existed. */
  async #publish(text: string, target: string): Promise<boolean> {
    const staged = join(this.#folder, STAGING, randomUUID());
    const file = await open(staged, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
      await file.close();
      await link(staged, target);
      return true;
    } catch (error) {
      if (isCode(error, 'EEXIST')) return false;
      throw error;
    } finally {
      await unlink(staged);
    }
  }
}

/** Polls, remembers the revision it last reported of each key, and reports what is newer. */
class DirectoryWatch {
  readonly #read: () => Promise<RegistryRecord[]>;
  readonly #listener: (record: RegistryRecord) => void;
  readonly #reported = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  #hint: FSWatcher | undefined;
  #isPolling = false;
  #isClosed = false;

  constructor(folder: string, read: () => Promise<RegistryRecord[]>, listener: (record: RegistryRecord) => void) {
    this.#read = read;
    this.#listener = listener;
    this.#timer = setInterval(() => void this.#poll(), POLL_MS).unref();
    try {
      this.#hint = watchFolder(join(folder, STAGING), { persistent: false }, () => void this.#poll());
      this.#hint.on('error', () => this.#hint?.close());
    } catch {
      // Out of inotify watches, say: polling alone will do.
    }
    void this.#poll();
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#hint?.close();
  }

  async #poll(): Promise<void> {
    if (this.#isPolling) return;
    this.#isPolling = true;
    // A folder that cannot be read now is read again at the next poll; whoever must know asks get() and sees the error.
    const records = await this.#read().catch(() => []);
    this.#isPolling = false;
    for (const record of records) {
      if (this.#isClosed) return;
      if (record.revision <= (this.#reported.get(record.key) ?? 0)) continue;
      this.#reported.set(record.key, record.revision);
      this.#listener(record);
    }
  }
}
