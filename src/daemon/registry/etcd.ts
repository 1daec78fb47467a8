/**
 * A registry in etcd v3, for clusters on many machines. Consensus is etcd's business: records are its keys,
 * compare-and-set and guards its transactions, liveness its leases. It is reached through its JSON gateway, which needs
 * no client library; an etcd whose operator switched that off (`--enable-grpc-gateway=false`) cannot be used.
 */
import {
  type Guard,
  isLeased,
  type Lease,
  type RecordKey,
  type Registry,
  type RegistryRecord,
  type RegistryWatch,
} from '../../cluster/index.js';
import { EtcdGateway } from './etcd-gateway.js';
import { EtcdLease } from './etcd-lease.js';
import { EtcdRecords } from './etcd-records.js';
import { EtcdWatch } from './etcd-watch.js';
import type { RegistryListener } from './known.js';

export interface EtcdOptions {
  readonly endpoints: readonly string[];
  readonly prefix: string;
}

export class EtcdRegistry implements Registry {
  readonly location: string;
  readonly #gateway: EtcdGateway;
  readonly #records: EtcdRecords;
  readonly #leases = new Set<Lease>();
  readonly #watches = new Set<EtcdWatch>();

  constructor(location: string, { endpoints, prefix }: EtcdOptions) {
    this.location = location;
    this.#gateway = new EtcdGateway(endpoints);
    this.#records = new EtcdRecords(this.#gateway, prefix);
  }

  async get(key: RecordKey): Promise<RegistryRecord | undefined> {
    const found = await this.#records.get(key);
    return found && recordOf(found);
  }

  async list(prefix: string): Promise<RegistryRecord[]> {
    return (await this.#records.list(prefix)).records.map(recordOf);
  }

  async put(key: RecordKey, value: unknown, revision: number, guard?: Guard): Promise<number | undefined> {
    if (isLeased(key)) throw new RangeError(`${key} is leased: it is changed by Lease.hold()`);
    return this.#records.commit({ key, value, expected: [{ key, revision }, ...(guard ? [guard] : [])] });
  }

  watch(prefix: string, listener: RegistryListener): RegistryWatch {
    const watch = new EtcdWatch({ gateway: this.#gateway, records: this.#records, prefix, listener });
    this.#watches.add(watch);
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async openLease(ttlMs: number): Promise<Lease> {
    const lease = await EtcdLease.open({ gateway: this.#gateway, records: this.#records }, ttlMs);
    this.#leases.add(lease);
    return lease;
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close();
    await Promise.all([...this.#leases].map((lease) => lease.close()));
    this.#gateway.close();
  }
}

const recordOf = ({ key, revision, value }: RegistryRecord): RegistryRecord => ({ key, revision, value });
