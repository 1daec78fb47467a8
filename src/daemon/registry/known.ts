/**
 * What a watch has told its listener, so that it tells each version and each absence once, whatever order they come in:
 * a stream of changes and a reading of everything may overtake each other, and the revisions say which is newer.
 */
import type { RecordKey, RegistryAbsence, RegistryRecord } from '../../cluster/index.js';

export type RegistryListener = (record: RegistryRecord | RegistryAbsence) => void;

export class KnownRecords {
  readonly #listener: RegistryListener;
  /**
   * Absent ones too: an older version that comes late must not bring a record back. As many as there ever were names.
   */
  readonly #told = new Map<RecordKey, { readonly revision: number; readonly isPresent: boolean }>();
  #isClosed = false;

  constructor(listener: RegistryListener) {
    this.#listener = listener;
  }

  /** Nothing is told any more. */
  close(): void {
    this.#isClosed = true;
  }

  /** Takes one version or absence. Returns whether it was news, and so was told. */
  take(record: RegistryRecord | RegistryAbsence): boolean {
    const known = this.#told.get(record.key) ?? { revision: 0, isPresent: false };
    const isPresent = record.value !== undefined;
    const isEnd = known.isPresent && !isPresent;
    if (record.revision < known.revision || (record.revision === known.revision && !isEnd)) return false;
    this.#told.set(record.key, { revision: record.revision, isPresent });
    if (!isPresent && !known.isPresent) return false;
    if (!this.#isClosed) this.#listener(record);
    return true;
  }

  /**
   * Takes all records there are; what was told and is missing is absent, as of `revision` where the registry counts
   * over all its records. Returns whether anything was news.
   */
  takeAll(records: readonly RegistryRecord[], revision = 0): boolean {
    const present = new Set(records.map(({ key }) => key));
    let isNews = false;
    for (const [key, told] of this.#told) {
      if (!told.isPresent || present.has(key) || (revision !== 0 && told.revision > revision)) continue;
      isNews = this.take({ key, revision: Math.max(revision, told.revision), value: undefined }) || isNews;
    }
    for (const record of records) isNews = this.take(record) || isNews;
    return isNews;
  }

  /** The registry began anew, at lower revisions: whatever is read next counts as newer than what was told. */
  restart(): void {
    for (const [key, { isPresent }] of this.#told) this.#told.set(key, { revision: 0, isPresent });
  }
}
