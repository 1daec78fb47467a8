/**
 * Records as keys of etcd: PREFIX/topology, PREFIX/members/a and so on, JSON values, revisions those of the whole
 * store. Everything that changes one is a transaction that compares mod_revision, which is 0 where there is no key.
 */
import { z } from 'zod';
import type { RecordKey, RegistryRecord } from '../../cluster/index.js';
import type { EtcdGateway } from './etcd-gateway.js';
import { contentOf } from './versions.js';

/** A 64-bit number, a string in JSON, absent when it is 0. Revisions stay below 2 ** 53. */
const Revision = z.coerce.number().default(0);
const Header = z.object({ revision: Revision });

export const KeyValue = z.object({
  key: z.string(),
  value: z.string().default(''),
  mod_revision: Revision,
  /** The identifier in decimal; not made a number, it uses all 63 bits. */
  lease: z.string().default('0'),
});
export type KeyValue = z.infer<typeof KeyValue>;

const RangeAnswer = z.object({ header: Header, kvs: z.array(KeyValue).default([]) });
const TransactionAnswer = z.object({ header: Header, succeeded: z.boolean().default(false) });

export interface EtcdRecord extends RegistryRecord {
  readonly lease: string;
}

export interface Snapshot {
  /** Of the store, when it was read. */
  readonly revision: number;
  readonly records: readonly EtcdRecord[];
}

export interface Change {
  readonly key: RecordKey;
  readonly value: unknown;
  readonly lease?: string;
  /** All of these records must have the revision they are given here. */
  readonly expected: readonly { readonly key: RecordKey; readonly revision: number }[];
}

export class EtcdRecords {
  readonly #gateway: EtcdGateway;
  readonly #prefix: string;

  constructor(gateway: EtcdGateway, prefix: string) {
    this.#gateway = gateway;
    this.#prefix = `${prefix}/`;
  }

  async get(key: RecordKey): Promise<EtcdRecord | undefined> {
    return (await this.#range({ key: this.#encode(key) })).records[0];
  }

  /** All records whose key begins with `prefix`. */
  list(prefix: string): Promise<Snapshot> {
    return this.#range(this.rangeOf(prefix));
  }

  /** Resolves to the revision of the change, or to undefined when a record was not as expected. @throws EtcdError */
  async commit({ key, value, lease = '0', expected }: Change): Promise<number | undefined> {
    const compare = expected.map((record) => ({
      key: this.#encode(record.key),
      target: 'MOD',
      result: 'EQUAL',
      mod_revision: String(record.revision),
    }));
    const put = { key: this.#encode(key), value: base64(JSON.stringify(value)), lease };
    const { header, succeeded } = await this.#gateway.call({
      path: '/v3/kv/txn',
      body: { compare, success: [{ request_put: put }] },
      answer: TransactionAnswer,
      isRepeatable: false,
    });
    return succeeded ? header.revision : undefined;
  }

  /** The keys from `prefix` up to the first that does not begin with it, as etcd wants them. */
  rangeOf(prefix: string): { readonly key: string; readonly range_end: string } {
    const first = Buffer.from(this.#prefix + prefix);
    const end = Buffer.from(first);
    // Keys are letters, digits and a few signs, so the last byte has a successor.
    end.writeUInt8(end.readUInt8(end.length - 1) + 1, end.length - 1);
    return { key: first.toString('base64'), range_end: end.toString('base64') };
  }

  decode(found: KeyValue): EtcdRecord {
    return {
      key: this.keyOf(found),
      revision: found.mod_revision,
      value: contentOf(Buffer.from(found.value, 'base64').toString('utf8')),
      lease: found.lease,
    };
  }

  keyOf({ key }: KeyValue): RecordKey {
    return Buffer.from(key, 'base64').toString('utf8').slice(this.#prefix.length) as RecordKey;
  }

  async #range(body: { readonly key: string }): Promise<Snapshot> {
    const answer = RangeAnswer;
    const { header, kvs } = await this.#gateway.call({ path: '/v3/kv/range', body, answer, isRepeatable: true });
    return { revision: header.revision, records: kvs.map((found) => this.decode(found)) };
  }

  #encode(key: RecordKey): string {
    return base64(this.#prefix + key);
  }
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
