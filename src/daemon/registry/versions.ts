/**
 * Records in a folder as numbered files, changed by compare-and-set. REPLICATION.md rule 23: rename is not
 * compare-and-swap, link is.
 *
 *   DIR/topology/1.json  2.json  3.json      each version of a record is a file of its own; the highest number counts
 *   DIR/members/a/1.json ...
 *   DIR/.staging/                            versions being written, under names nobody reads
 *   DIR/.news/topology  members%2Fa          written anew with every version of that record, for those who watch
 *
 * A version is written whole to .staging, synced, and published by link(2) under its number, which fails if that file
 * exists: of two writers one wins, and nobody ever sees half a record. Nothing is overwritten. Old versions are removed
 * lowest first, never the first of all, and that order is what keeps compare-and-set true: a writer that slept between
 * reading and linking finds, after its link, that the version it built on is gone, and takes its file back.
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordKey } from '../../cluster/index.js';

/** Versions kept beside the first: enough that a reader between listing and opening seldom finds its file gone. */
const VERSIONS_KEPT = 8;
/**
 * How often a reader starts over when the version it listed was removed meanwhile; each time means eight newer ones.
 */
const READ_ATTEMPTS_MAX = 20;

/** Where files are written before they get the name they are known by. */
export const STAGING = '.staging';
/** Has a file for each record, which changes with every version. */
export const NEWS = '.news';
/** Records of which there is one; the others that are listed and watched are `members/NAME` and `alive/NAME`. */
export const SINGLE_RECORDS = [
  'config',
  'topology',
  'coordinator',
  'rebalance',
] as const satisfies readonly RecordKey[];
const NEWS_FILE = new RegExp(`^(?:${SINGLE_RECORDS.join('|')}|(?:members|alive)%2F[\\w.-]+)$`);

/** The record whose file that is in NEWS; undefined: none that is watched. */
export const recordOfNews = (name: string): RecordKey | undefined =>
  NEWS_FILE.test(name) ? (decodeURIComponent(name) as RecordKey) : undefined;

export const isCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException)?.code === code;

/** For a removal that another process may have done already. */
export function ignoreMissing(error: unknown): void {
  if (!isCode(error, 'ENOENT')) throw error;
}

export interface Version {
  readonly revision: number;
  readonly content: unknown;
}

export class VersionedFiles {
  readonly #folder: string;
  /** By record, the newest version that was read: a version never changes. As many as there ever were names. */
  readonly #read = new Map<RecordKey, Version>();

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<VersionedFiles> {
    await mkdir(join(folder, STAGING), { recursive: true, mode: 0o700 });
    await mkdir(join(folder, NEWS), { recursive: true, mode: 0o700 });
    return new VersionedFiles(folder);
  }

  async newest(key: RecordKey): Promise<Version | undefined> {
    for (let attempt = 0; attempt < READ_ATTEMPTS_MAX; attempt++) {
      const revision = (await versionsIn(this.#folderOf(key))).at(-1);
      if (revision === undefined) return undefined;
      const known = this.#read.get(key);
      if (known?.revision === revision) return known;
      try {
        const version = { revision, content: contentOf(await readFile(this.#fileOf(key, revision), 'utf8')) };
        this.#read.set(key, version);
        return version;
      } catch (error) {
        if (!isCode(error, 'ENOENT')) throw error;
      }
    }
    throw new Error(`${key} in ${this.#folder} changes faster than it can be read`);
  }

  /**
   * Publishes the version after `revision`, if that is the newest and `isAllowed`, asked last of all, agrees. Resolves
   * to its revision, or to undefined.
   */
  async publish(
    key: RecordKey,
    content: unknown,
    revision: number,
    isAllowed: () => Promise<boolean>,
  ): Promise<number | undefined> {
    const folder = this.#folderOf(key);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const before = (await versionsIn(folder)).at(-1) ?? 0;
    if (before !== revision) return undefined;

    const target = this.#fileOf(key, revision + 1);
    const isPublished = await this.#linkWhole(`${JSON.stringify(content, undefined, 2)}\n`, target, isAllowed);
    if (!isPublished) return undefined;

    const versions = await versionsIn(folder);
    if (revision > 0 && !versions.includes(revision)) {
      await unlink(target);
      return undefined;
    }
    // A hint: who does not get it finds the version at its next poll, and it is published whatever becomes of this.
    const news = join(this.#folder, NEWS, encodeURIComponent(key));
    await writeFile(news, `${revision + 1}\n`, { mode: 0o600 }).catch(() => undefined);
    for (const old of versions.slice(1, -VERSIONS_KEPT)) await unlink(this.#fileOf(key, old)).catch(ignoreMissing);
    return revision + 1;
  }

  /** The names of the records of one kind, sorted. */
  async namesIn(kind: 'members' | 'alive'): Promise<string[]> {
    try {
      return (await readdir(join(this.#folder, kind))).sort();
    } catch (error) {
      if (isCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  #folderOf(key: RecordKey): string {
    return join(this.#folder, key);
  }

  #fileOf(key: RecordKey, revision: number): string {
    return join(this.#folder, key, `${revision}.json`);
  }

  /** False if `target` existed or it was not allowed. */
  async #linkWhole(text: string, target: string, isAllowed: () => Promise<boolean>): Promise<boolean> {
    const staged = join(this.#folder, STAGING, randomUUID());
    const file = await open(staged, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
      if (!(await isAllowed())) return false;
      await link(staged, target);
      return true;
    } catch (error) {
      if (isCode(error, 'EEXIST')) return false;
      throw error;
    } finally {
      await file.close();
      await unlink(staged);
    }
  }
}

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

/** What is not JSON was written by a hand, and is given as text, which no record's schema takes. */
export function contentOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
