/**
 * The wire protocol's numbers: opcodes, statuses, flags, limits and header layouts, and nothing else.
 *
 * This file is the one source. `native/wire/protocol.h` is generated from it (scripts/protocol-header.mjs), and
 * docs/protocol.md explains it to people who write clients. A number that was released is never given a new meaning;
 * bits not named here are sent as 0 and ignored when received.
 *
 * All integers are little-endian. A frame is a header, then (in this order) extras, key, value.
 *
 *   request, 16 bytes                          response, 12 bytes
 *    0  u32  length of what follows this field   0  u32  length of what follows this field
 *    4  u8   opcode                              4  u8   status
 *    5  u8   flags                               5  u8   hints
 *    6  u16  deadline: milliseconds left, 0 none 6  u8   value encoding (see Encoding)
 *    8  u32  request id, never 0                 7  u8   extras length
 *   12  u16  key length                          8  u32  request id; 0: pushed by the server
 *   14  u8   extras length                      12       extras, value
 *   15  u8   value encoding
 *   16       extras, key, value
 */

/** Version of the protocol spoken by this release. A server accepts this one and the one before it. */
export const PROTOCOL_VERSION = 1;
/** First four bytes of a hello's extras: 'HNGE'. A peer that is not Henge is recognised by the first frame. */
export const PROTOCOL_MAGIC = 0x45474e48;

export const REQUEST_HEADER_BYTES = 16;
export const RESPONSE_HEADER_BYTES = 12;

/**
 * Opcodes below 0x40 are open to clients; 0x40 and above travel on authenticated peer links only.
 * Extras of each request, in bytes, stand beside it; `?` marks a part sent only with the flag named.
 */
export const Opcode = {
  /** Answers with the same id and nothing else. */
  NOOP: 0x00,
  /** Value and its encoding. With NO_VALUE only existence; with WANT_META the answer's extras are Meta. */
  GET: 0x01,
  /** Extras: u64 ttl in ms (0 none), then 16 version? (IF_VERSION). Value. Answers Meta with WANT_META. */
  SET: 0x02,
  /** Extras: 16 version? (IF_VERSION). Answers NOT_FOUND when there was nothing. */
  DELETE: 0x03,
  /** Extras: u64 ttl in ms (0: the item no longer expires). */
  TOUCH: 0x04,
  /** Extras: i64 delta, i64 initial, u64 ttl in ms for a created key. Answer's value: the new number, i64. */
  INCREMENT: 0x05,
  /** Extras: u64 ttl in ms for a created key. Value: the bytes to add. Answer's value: u32 new length. */
  APPEND: 0x06,
  /**
   * One step of a walk over this node's items. Extras: u64 cursor (0 to begin), u16 keys wanted.
   * Key: a prefix, perhaps empty. Answer: extras u64 next cursor (0 at the end); value: u16 length + key, repeated.
   * A key present from the first step to the last is returned at least once.
   */
  SCAN: 0x07,
  /**
   * One step of deleting by prefix. Extras: u64 cursor, u64 horizon (0 on the first step). Key: the prefix, perhaps
   * empty. Answer: extras u64 next cursor (0 at the end), u64 horizon to send along, u32 keys deleted in this step.
   * Items written after the first step began are left alone.
   */
  CLEAR: 0x08,

  /**
   * First frame of a connection. Extras: Hello. Key: name of the client. Value: the authentication field (may be
   * empty).
   */
  HELLO: 0x20,
  /** Answer's value: the topology as JSON (docs/protocol.md). */
  TOPOLOGY: 0x21,
  /** From now on the server pushes the topology (request id 0) whenever its epoch changes. */
  SUBSCRIBE: 0x22,
  /** Answer's value: the node's statistics as JSON. */
  STATS: 0x23,
  /** Second frame of a peer's connection. Value: its proof that it knows the secret (hello.ts). */
  AUTHENTICATE: 0x24,

  /**
   * A write, from the node that leads the slot. Extras: ReplicateExtras. Key and value; of a tombstone the key is
   * empty. Request ids on a link count up by one; one OK answers all frames up to its id that were not answered
   * otherwise. Answers: OK applied or superseded, STALE the sender does not lead the slot here, NEED_FULL,
   * OUT_OF_MEMORY, BUSY.
   */
  REPLICATE: 0x40,
  /**
   * Some of a node's items, for a copy that lacks them. Extras: u32 epoch. Value: item records (docs/protocol.md).
   * Answer's value: u32 applied, u32 superseded, u32 refused, u32 not stored for want of memory. STALE as a whole.
   */
  ITEMS: 0x41,
  /**
   * Which version of a key a copy has. Extras: u32 epoch, u16 slot, u16 zero, 16 version (zero: none). Key.
   * Answer: OK it has that version, or, for a version of none, nothing; VERSION_MISMATCH it has an older one, or none;
   * EXISTS it has a newer one, which is in the value as an item record; STALE.
   */
  QUERY: 0x42,
  /**
   * Extras: u32 epoch, u8 fenced, u8 x 3 zero, u64 wall ms, u64 watermark ms. Key: incarnation. Answer: extras u32
   * epoch, u8 lacks being declared in sync, u8 x 3 zero; value: incarnation.
   */
  HEARTBEAT: 0x43,
  /** "You are in sync." Extras: u32 epoch. Value: bitmap of slots. Answer's value: bitmap of those now in sync. */
  SYNCED: 0x44,
  /**
   * "Send me what you have." Extras: u32 epoch, u32 zero, u64 since ms. Value: bitmap of slots. ITEMS come on the asked
   * node's own link; when all were applied there is the answer: value: bitmap of the slots for which the asked node was
   * in sync when the leader before ended, then one of those that it leads itself; extras: u64 ms before which it holds
   * whatever that leader wrote there. STALE, BUSY.
   */
  PULL: 0x45,
  /**
   * "Lead these." Extras: u32 epoch. Value: bitmap of slots, which their leader has given up. Answer's value: bitmap of
   * those that the asked node leads now. STALE: it is in another epoch, and took none.
   */
  HANDOVER: 0x46,
  /** Answer's value: JSON { name, incarnation, epoch, isFenced }. Runs in a worker: it answers for the data path. */
  PROBE: 0x47,
  /** Extras: u32 epoch. Value: u16 slots. Answer's value: u64 sum, u32 items for each. */
  DIGESTS: 0x48,
} as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

/** Request flags, one bit each; which opcode heeds which is said in docs/protocol.md. */
export const RequestFlag = {
  /**
   * The two lowest bits: of a write 0 `one`, 1 `quorum`, 2 `all`; of a GET 0 `primary`, 1 `quorum`, 2 `nearest`,
   * 3 `degraded`: from a copy that was in sync when it last heard of its primary.
   */
  LEVEL_MASK: 0x03,
  /** Answer with Meta in the extras. */
  WANT_META: 0x04,
  /** GET: do not send the value. */
  NO_VALUE: 0x08,
  /** SET: only if the key is absent. */
  IF_ABSENT: 0x10,
  /** SET, DELETE: only if the item has exactly the version in the extras. */
  IF_VERSION: 0x20,
  /** SET: an existing item keeps its expiry. */
  KEEP_TTL: 0x40,
  /** APPEND, INCREMENT: answer NOT_FOUND instead of creating the key. */
  NO_CREATE: 0x80,
} as const;

export const Status = {
  OK: 0x00,
  NOT_FOUND: 0x01,
  /** IF_ABSENT met an item. */
  EXISTS: 0x02,
  /** IF_VERSION met another version. */
  VERSION_MISMATCH: 0x03,
  /** INCREMENT met a value that is not an integer. */
  NOT_A_NUMBER: 0x04,
  /** INCREMENT would leave the signed 64-bit range. */
  OVERFLOW: 0x05,
  /** Key or value can never fit on this node. */
  TOO_LARGE: 0x06,
  /** No memory could be secured; the write did not run. */
  OUT_OF_MEMORY: 0x07,
  /** Overloaded; the request did not run. */
  BUSY: 0x08,
  /** This node does not lead the key's slot. Extras: u32 epoch. The request did not run. */
  MOVED: 0x09,
  /** Its deadline had passed before it ran. */
  EXPIRED: 0x0a,
  /** Understood, but not allowed or not offered here. Value: a sentence. */
  REFUSED: 0x0b,
  /** Too few acknowledgements by the deadline; the write may have been applied. */
  NOT_ENOUGH_REPLICAS: 0x0c,
  /** Value: a sentence. The connection is closed after it. */
  PROTOCOL_ERROR: 0x0d,
  /**
   * The node leads the slot but cannot run this yet: it is taking over, is fenced, or reaches too few copies for the
   * level asked. The request did not run; try again in some milliseconds.
   */
  NOT_READY: 0x0e,
  /** `nearest`, `degraded`: this copy may lack something. Ask the primary. */
  NOT_IN_SYNC: 0x0f,
  /** Peers: the sender does not lead the slot in the newest epoch known here. Extras: u32 epoch. Never counts. */
  STALE: 0x10,
  /** Peers: a change of expiry met another version than the one it is based on. */
  NEED_FULL: 0x11,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

/** Response hints, one bit each; a client ignores those it does not know. */
export const Hint = { HOT_KEY: 0x01, MOVING_SOON: 0x02, SERVER_BUSY: 0x04, DEGRADED: 0x08 } as const;

/**
 * Value encoding, 8 bits stored with the item. The low nibble says how the bytes were made, the high one how they were
 * compressed. The server reads only INTEGER and BIGINT (8 bytes, i64), for INCREMENT.
 */
export const Encoding = {
  BYTES: 0x00,
  UTF8: 0x01,
  MSGPACK: 0x02,
  INTEGER: 0x03,
  BIGINT: 0x04,
  /**
   * MSGPACK with marks for what it cannot say by itself: maps, -0 and keys such as `__proto__` (src/client/marks.ts).
   */
  MARKED: 0x05,
  /**
   * u64 milliseconds since 1970 until which the value is fresh, u8 encoding of the rest, the rest. Only getOrSet
   * writes it.
   */
  FRESH_UNTIL: 0x06,
  KIND_MASK: 0x0f,
  DEFLATE: 0x10,
  BROTLI: 0x20,
  COMPRESSION_MASK: 0xf0,
} as const;

/**
 * What WANT_META puts into a response's extras: version (16), then u64 milliseconds to live (0: does not expire;
 * never 0 otherwise).
 */
export const META_BYTES = 24;
/** A version: u64 (milliseconds << 16 | counter), u32 epoch, u16 node number, u16 zero. */
export const VERSION_BYTES = 16;
/** Hello's extras: u32 magic, u8 highest version spoken, u8 lowest, u8 role, u8 zero, u32 epoch known. */
export const HELLO_BYTES = 12;
/**
 * Answer to hello, extras: u8 version chosen, u8 zero, u16 node number, u32 epoch, u32 largest value, u32 largest
 * frame. Value: the node's name.
 */
export const HELLO_ANSWER_BYTES = 16;
export const Role = { CLIENT: 0, PEER: 1 } as const;

/**
 * Of REPLICATE: u32 epoch of the sender, u16 slot, u8 kind, u8 zero, u64 time, u32 epoch and u16 node of the version,
 * u16 heat, u64 expiry (ms since 1970, 0 never), u64 hash (tombstones: the key's; else 0). Kind EXPIRY has no value,
 * and behind these the 16 bytes of the version it is based on. An item sent again keeps the epoch it was stamped in.
 */
export const REPLICATE_BYTES = 40;
export const ItemKind = {
  ITEM: 0,
  TOMBSTONE: 1,
  EXPIRY: 2,
  /**
   * In records: of the slot everything up to this version may have been forgotten; what the receiver has of it goes.
   */
  FLOOR: 3,
  /** In records: the key with this hash had this version, and was evicted or expired. */
  GHOST: 4,
} as const;
/**
 * An item record in ITEMS and QUERY: u32 length of all, u8 kind (all but EXPIRY), u8 encoding, u16 slot, u64 time,
 * u32 epoch and u16 node of the version, u16 heat, u64 expiry, u64 hash, u16 key length, u16 zero; then key and value.
 */
export const ITEM_RECORD_BYTES = 44;

export const Limit = {
  KEY_BYTES_MAX: 65_535,
  VALUE_BYTES_DEFAULT: 1_048_576,
  /** What `--max-value` may ask for at most. */
  VALUE_BYTES_MAX: 16_777_216,
  EXTRAS_BYTES_MAX: 64,
  /** Name and authentication field of a HELLO: all that a stranger can make a node keep. */
  HELLO_NAME_BYTES_MAX: 255,
  HELLO_AUTH_BYTES_MAX: 4_096,
  SCAN_KEYS_MAX: 1_000,
  /** Longest time to live, 100 years: a larger one is a mistake in units. */
  TTL_MS_MAX: 3_155_760_000_000,
} as const;

export const SLOTS = 16_384;
