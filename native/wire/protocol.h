// The wire protocol in numbers. Generated from src/protocol/spec.ts by scripts/protocol-header.mjs; do not edit.
#pragma once

#include <cstdint>

namespace henge::protocol {

constexpr uint32_t HELLO_ANSWER_BYTES = 16;
constexpr uint32_t HELLO_BYTES = 12;
constexpr uint32_t ITEM_RECORD_BYTES = 44;
constexpr uint32_t META_BYTES = 24;
constexpr uint32_t PROTOCOL_MAGIC = 1162301000;
constexpr uint32_t PROTOCOL_VERSION = 1;
constexpr uint32_t REPLICATE_BYTES = 40;
constexpr uint32_t REQUEST_HEADER_BYTES = 16;
constexpr uint32_t RESPONSE_HEADER_BYTES = 12;
constexpr uint32_t SLOTS = 16384;
constexpr uint32_t VERSION_BYTES = 16;

namespace Encoding {
constexpr uint8_t BYTES = 0x00;
constexpr uint8_t UTF8 = 0x01;
constexpr uint8_t MSGPACK = 0x02;
constexpr uint8_t INTEGER = 0x03;
constexpr uint8_t BIGINT = 0x04;
constexpr uint8_t MARKED = 0x05;
constexpr uint8_t FRESH_UNTIL = 0x06;
constexpr uint8_t KIND_MASK = 0x0f;
constexpr uint8_t DEFLATE = 0x10;
constexpr uint8_t BROTLI = 0x20;
constexpr uint8_t COMPRESSION_MASK = 0xf0;
}  // namespace Encoding

namespace Hint {
constexpr uint8_t HOT_KEY = 0x01;
constexpr uint8_t MOVING_SOON = 0x02;
constexpr uint8_t SERVER_BUSY = 0x04;
constexpr uint8_t DEGRADED = 0x08;
}  // namespace Hint

namespace ItemKind {
constexpr uint8_t ITEM = 0x00;
constexpr uint8_t TOMBSTONE = 0x01;
constexpr uint8_t EXPIRY = 0x02;
constexpr uint8_t FLOOR = 0x03;
constexpr uint8_t GHOST = 0x04;
}  // namespace ItemKind

namespace Limit {
constexpr uint32_t KEY_BYTES_MAX = 65535;
constexpr uint32_t VALUE_BYTES_DEFAULT = 1048576;
constexpr uint32_t VALUE_BYTES_MAX = 16777216;
constexpr uint32_t EXTRAS_BYTES_MAX = 64;
constexpr uint32_t HELLO_NAME_BYTES_MAX = 255;
constexpr uint32_t HELLO_AUTH_BYTES_MAX = 4096;
constexpr uint32_t SCAN_KEYS_MAX = 1000;
constexpr uint64_t TTL_MS_MAX = 3155760000000;
}  // namespace Limit

enum class Opcode : uint8_t {
  NOOP = 0x00,
  GET = 0x01,
  SET = 0x02,
  DELETE = 0x03,
  TOUCH = 0x04,
  INCREMENT = 0x05,
  APPEND = 0x06,
  SCAN = 0x07,
  CLEAR = 0x08,
  HELLO = 0x20,
  TOPOLOGY = 0x21,
  SUBSCRIBE = 0x22,
  STATS = 0x23,
  AUTHENTICATE = 0x24,
  REPLICATE = 0x40,
  ITEMS = 0x41,
  QUERY = 0x42,
  HEARTBEAT = 0x43,
  SYNCED = 0x44,
  PULL = 0x45,
  HANDOVER = 0x46,
  PROBE = 0x47,
  DIGESTS = 0x48,
};

namespace RequestFlag {
constexpr uint8_t LEVEL_MASK = 0x03;
constexpr uint8_t WANT_META = 0x04;
constexpr uint8_t NO_VALUE = 0x08;
constexpr uint8_t IF_ABSENT = 0x10;
constexpr uint8_t IF_VERSION = 0x20;
constexpr uint8_t KEEP_TTL = 0x40;
constexpr uint8_t NO_CREATE = 0x80;
}  // namespace RequestFlag

namespace Role {
constexpr uint8_t CLIENT = 0x00;
constexpr uint8_t PEER = 0x01;
}  // namespace Role

enum class Status : uint8_t {
  OK = 0x00,
  NOT_FOUND = 0x01,
  EXISTS = 0x02,
  VERSION_MISMATCH = 0x03,
  NOT_A_NUMBER = 0x04,
  OVERFLOW = 0x05,
  TOO_LARGE = 0x06,
  OUT_OF_MEMORY = 0x07,
  BUSY = 0x08,
  MOVED = 0x09,
  EXPIRED = 0x0a,
  REFUSED = 0x0b,
  NOT_ENOUGH_REPLICAS = 0x0c,
  PROTOCOL_ERROR = 0x0d,
  NOT_READY = 0x0e,
  NOT_IN_SYNC = 0x0f,
  STALE = 0x10,
  NEED_FULL = 0x11,
};

}  // namespace henge::protocol
