/**
 * A registry in a folder, for clusters on one machine: versions.ts keeps the records, lease-files.ts says who lives.
 *
 * Changes are noticed by polling; fs.watch says which record to read at once.
 *
 * How far a guard holds here: it is looked at after the version was written and before it is linked, but not in one
 * step with that. A coordinator stopped in between, and replaced meanwhile, publishes one version too late. That
 * version still is a compare-and-set on its own record: the new coordinator has not changed the record yet, and must
 * build on it. To take such a version back after looking a second time would be worse, since nodes may have adopted it,
 * and the number it had would be given twice.
 */
import { type FSWatcher, watch as watchFolder } from 'node:fs';
import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Guard,
  isLeased,
  type Lease,
  type RecordKey,
  type Registry,
  type RegistryRecord,
  type RegistryWatch,
} from '../../cluster/index.js';
import { DirectoryLease, LeasedContent } from './directory-lease.js';
import { KnownRecords, type RegistryListener } from './known.js';
import { LeaseFiles } from './lease-files.js';
import { NEWS, recordOfNews, SINGLE_RECORDS, VersionedFiles } from './versions.js';

/** The longest a change stays unnoticed where fs.watch says nothing. */
const POLL_MS = 500;
/** What is published several times in a row is read once. */
const HINT_MS = 3;
/** How often reading a leased record starts over; each time means that another holder came. */
const LEASED_READS_MAX = 20;

export class DirectoryRegistry implements Registry {
  readonly location: string;
  readonly #folder: string;
  readonly #records: VersionedFiles;
  readonly #leaseFiles: LeaseFiles;
  readonly #leases = new Set<Lease>();
  readonly #watches = new Set<DirectoryWatch>();
  readonly #hints: FSWatcher[] = [];
  /** Records of which there is news. */
  readonly #hinted = new Set<RecordKey>();
  #hintTimer: NodeJS.Timeout | undefined;

  private constructor(folder: string, records: VersionedFiles, leaseFiles: LeaseFiles) {
    this.#folder = folder;
    this.#records = records;
    this.#leaseFiles = leaseFiles;
    leaseFiles.onEnded = () => this.#pollAll();
    this.location = `dir:${folder}`;
  }

  /** Opens the registry in `path`, which is made if it is missing. */
  static async open(path: string): Promise<DirectoryRegistry> {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const folder = await realpath(path);
    return new DirectoryRegistry(folder, await VersionedFiles.open(folder), await LeaseFiles.open(folder));
  }

  async get(key: RecordKey): Promise<RegistryRecord | undefined> {
    return isLeased(key) ? this.#getLeased(key, (lease) => this.#leaseFiles.isAlive(lease)) : this.#getPlain(key);
  }

  async #getPlain(key: RecordKey): Promise<RegistryRecord | undefined> {
    const newest = await this.#records.newest(key);
    return newest && { key, revision: newest.revision, value: newest.content };
  }

  /** Who lives is known from the last look at all leases, a quarter of a second ago at most. */
  async list(prefix: string): Promise<RegistryRecord[]> {
    const keys: RecordKey[] = [
      ...SINGLE_RECORDS,
      ...(await this.#records.namesIn('members')).map((name): RecordKey => `members/${name}`),
      ...(await this.#records.namesIn('alive')).map((name): RecordKey => `alive/${name}`),
    ];
    const records = await Promise.all(keys.filter((key) => key.startsWith(prefix)).map((key) => this.#look(key)));
    return records.filter((record) => record !== undefined);
  }

  /** Like get(), but who lives is known from the last look at all leases. */
  #look(key: RecordKey): Promise<RegistryRecord | undefined> {
    if (!isLeased(key)) return this.#getPlain(key);
    return this.#getLeased(key, (lease) => this.#leaseFiles.wasAlive(lease));
  }

  async put(key: RecordKey, value: unknown, revision: number, guard?: Guard): Promise<number | undefined> {
    if (isLeased(key)) throw new RangeError(`${key} is leased: it is changed by Lease.hold()`);
    const isAllowed = async (): Promise<boolean> =>
      guard === undefined || ((await this.get(guard.key))?.revision ?? 0) === guard.revision;
    if (!(await isAllowed())) return undefined;
    return this.#records.publish(key, value, revision, isAllowed);
  }

  watch(prefix: string, listener: RegistryListener): RegistryWatch {
    this.#watchHints();
    const sources = { prefix, list: () => this.list(prefix), look: (key: RecordKey) => this.#look(key) };
    const watch = new DirectoryWatch(sources, listener);
    this.#watches.add(watch);
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async openLease(ttlMs: number): Promise<Lease> {
    const lease = await DirectoryLease.open({ leases: this.#leaseFiles, records: this.#records, ttlMs });
    this.#leases.add(lease);
    return lease;
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close();
    for (const hint of this.#hints) hint.close();
    clearTimeout(this.#hintTimer);
    await Promise.all([...this.#leases].map((lease) => lease.close()));
    this.#leaseFiles.close();
  }

  async #getLeased(key: RecordKey, isAlive: (lease: string) => Promise<boolean>): Promise<RegistryRecord | undefined> {
    let ended = 0;
    for (let attempt = 0; attempt < LEASED_READS_MAX; attempt++) {
      const newest = await this.#records.newest(key);
      const content = LeasedContent.safeParse(newest?.content).data;
      if (newest === undefined || content === undefined) return undefined;
      if (await isAlive(content.lease)) return { key, revision: newest.revision, value: content.value };
      // A holder that was replaced ends after its successor's version is there: only what ended as the newest is
      // absent.
      if (newest.revision === ended) return undefined;
      ended = newest.revision;
    }
    throw new Error(`${this.location}: ${key} changes faster than it can be read`);
  }

  #pollAll(): void {
    for (const watch of this.#watches) watch.poll();
  }

  #lookSoon(key: RecordKey): void {
    this.#hinted.add(key);
    this.#hintTimer ??= setTimeout(() => {
      this.#hintTimer = undefined;
      for (const watch of this.#watches) watch.look(this.#hinted);
      this.#hinted.clear();
    }, HINT_MS);
  }

  #watchHints(): void {
    if (this.#hints.length > 0) return;
    try {
      const versions = watchFolder(join(this.#folder, NEWS), { persistent: false }, (_, name) => {
        const key = recordOfNews(name ?? '');
        if (key !== undefined) this.#lookSoon(key);
      });
      this.#hints.push(versions.on('error', () => versions.close()));
      const leases = watchFolder(this.#leaseFiles.folder, { persistent: false }, (event) => {
        // Keep-alives are changes of a file; leases that begin or end are names.
        if (event === 'rename') this.#leaseFiles.look();
      });
      this.#hints.push(leases.on('error', () => leases.close()));
    } catch {
      // Out of inotify watches, say: polling alone will do.
    }
  }
}

interface Sources {
  readonly prefix: string;
  readonly list: () => Promise<RegistryRecord[]>;
  readonly look: (key: RecordKey) => Promise<RegistryRecord | undefined>;
}

class DirectoryWatch {
  readonly #sources: Sources;
  readonly #known: KnownRecords;
  readonly #timer: NodeJS.Timeout;
  /** What is to be read, one after the other: a list that is older than a record would have it absent. */
  readonly #wanted = new Set<RecordKey>();
  #isAllWanted = false;
  #isReading = false;

  constructor(sources: Sources, listener: RegistryListener) {
    this.#sources = sources;
    this.#known = new KnownRecords(listener);
    this.#timer = setInterval(() => this.poll(), POLL_MS).unref();
    this.poll();
  }

  close(): void {
    this.#known.close();
    clearInterval(this.#timer);
  }

  /** Reads everything. */
  poll(): void {
    this.#isAllWanted = true;
    void this.#read();
  }

  /** Reads these records. */
  look(keys: Iterable<RecordKey>): void {
    for (const key of keys) if (key.startsWith(this.#sources.prefix)) this.#wanted.add(key);
    void this.#read();
  }

  async #read(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    while (this.#isAllWanted || this.#wanted.size > 0) {
      // What cannot be read now is read again at the next poll; whoever must know asks get() and sees the error.
      await (this.#isAllWanted ? this.#readAll() : this.#readWanted()).catch(() => undefined);
    }
    this.#isReading = false;
  }

  async #readAll(): Promise<void> {
    this.#isAllWanted = false;
    this.#wanted.clear();
    this.#known.takeAll(await this.#sources.list());
  }

  async #readWanted(): Promise<void> {
    const keys = [...this.#wanted];
    this.#wanted.clear();
    for (const record of await Promise.all(keys.map(this.#sources.look))) {
      // What is not there any more is told by a poll of everything.
      if (record === undefined) this.#isAllWanted = true;
      else this.#known.take(record);
    }
  }
}
