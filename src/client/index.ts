/** The client's public face. */
export type { Entry } from './answer.js';
export type { CompressionMethod } from './codec.js';
export { HengeError, type HengeErrorCode } from './errors.js';
export type { GetOrSetOptions, Loader } from './flight.js';
export { Henge, type HengeEvents } from './henge.js';
export type { Keyspace } from './keyspace.js';
export type {
  AckLevel,
  CallOptions,
  ConditionalSetOptions,
  ConnectOptions,
  CreateOptions,
  DeleteOptions,
  IncrementOptions,
  Key,
  ReadLevel,
  ReadOptions,
  ScanOptions,
  SetOptions,
  Ttl,
  WriteOptions,
} from './options.js';
export type { RouteMember as Member, Topology } from './router.js';
