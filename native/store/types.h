// The words in which the store is spoken to: versions, operations, answers. No logic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "../wire/protocol.h"

namespace henge {

// Order of writes to a key: epoch first, then hybrid time, then node number (REPLICATION rule 1).
struct Version {
  uint32_t epoch = 0;
  uint64_t time = 0;  // u48 milliseconds << 16 | u16 counter
  uint16_t node = 0;

  bool operator==(const Version& o) const { return epoch == o.epoch && time == o.time && node == o.node; }
  bool operator!=(const Version& o) const { return !(*this == o); }
  bool operator<(const Version& o) const {
    if (epoch != o.epoch) return epoch < o.epoch;
    if (time != o.time) return time < o.time;
    return node < o.node;
  }
  bool isZero() const { return epoch == 0 && time == 0 && node == 0; }
};

// One request, as any front door's parser yields it. Views point into the caller's input and outlive the call.
struct Operation {
  protocol::Opcode opcode = protocol::Opcode::NOOP;
  uint8_t flags = 0;     // protocol::RequestFlag
  uint8_t encoding = 0;  // protocol::Encoding, stored with the value
  uint16_t slot = 0;     // filled by Worker::prepare
  uint64_t hash = 0;     // filled by Worker::prepare
  std::string_view key;
  std::string_view value;
  uint64_t ttlMs = 0;    // 0: none
  uint8_t acksNeeded = 0;  // of other copies, before the write counts as done
  Version ifVersion;
  int64_t delta = 0;
  int64_t initial = 0;
};

// What an operation came to. A value, where there is one, has been copied to the caller's buffer.
struct Answer {
  protocol::Status status = protocol::Status::OK;
  uint8_t hints = 0;
  uint8_t encoding = 0;
  uint32_t valueBytes = 0;
  Version version;      // OK: the item's version, VERSION_MISMATCH and EXISTS: the one that was met
  uint64_t ttlMs = 0;   // milliseconds left, 0: does not expire
  int64_t number = 0;   // INCREMENT: the new number; APPEND: the new length
  uint32_t epoch = 0;   // MOVED
  uint8_t rowLinkCount = 0;  // quorum reads: links to the other copies that are up
  uint8_t rowLinks[9] = {};
};

// An item as it travels between nodes or out of a walk. A tombstone, a ghost (what was evicted or expired, and is known
// by its version) and a floor (the highest version a slot has forgotten) have neither key nor value.
struct Item {
  uint8_t kind = protocol::ItemKind::ITEM;
  std::string_view key;
  std::string_view value;
  uint64_t hash = 0;
  uint16_t slot = 0;
  uint8_t encoding = 0;
  uint16_t heat = 0;       // the 16 eviction bits
  uint64_t expiresAt = 0;  // ms since 1970, 0: never
  Version version;
};

// What became of an item from another node. REFUSED_GHOST: a newer version of it was here and is gone. STALE: the
// sender has no say in this slot. NEED_FULL: a change of expiry met another version than its base. AHEAD: its clock is.
enum class Applied : uint8_t { APPLIED, SUPERSEDED, REFUSED_GHOST, NO_MEMORY, BUSY, STALE, NEED_FULL, AHEAD };

}  // namespace henge
