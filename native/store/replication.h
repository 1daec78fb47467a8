// The words of replication: what a slot does on this node, who has copies of it, what a write sends them, and what is
// known of what each has. No logic.
//
// The table of what changes a slot's state is in slot_state.cc; rows and peers are kept in shared memory by
// installer.cc, peers.cc and rings.cc. Bits of slots travel as text: slot s is bit s & 7 of byte s >> 3.
#pragma once

#include <string>

#include "types.h"

namespace henge {

constexpr uint32_t ROW_MAX = 15;     // entries of a slot's row: five copies, a stand-in for each, five who are to come
constexpr uint32_t PEERS_MAX = 128;  // other nodes that are kept account of
constexpr uint32_t LINKS_MAX = 127;  // of a worker: one to every other node
constexpr uint32_t RF_MAX = 5;

enum class SlotState : uint8_t {
  NONE = 0,
  PRIMARY = 1,      // leads
  REPLICA = 2,      // a copy in sync
  JOINING = 3,      // a copy that may lack something
  TAKING_OVER = 4,  // leads, but does not know yet that it has everything
};

namespace SlotFlag {
constexpr uint8_t POSSIBLE_LOSS = 1;
// Of a REPLICA: its primary is not heard any more. Of a slot that is neither that nor led: it was in sync, or led, when
// the leader before ended.
constexpr uint8_t DETACHED = 2;
constexpr uint8_t MERGING = 4;
constexpr uint8_t DEPOSED = 8;
// Of a slot that is led here and about to be handed over: SEALED takes no writes, and can be opened again; GIVEN was
// offered to the next leader, and belongs to whoever that one says.
constexpr uint8_t SEALED = 16;
constexpr uint8_t GIVEN = 32;
// Of a copy: the slot's goal was heard in this epoch, so its former leader has nothing to say any more.
constexpr uint8_t GOAL_HEARD = 64;
// Of a slot that is led here, by both lists of members: acknowledgements count by the list that comes.
constexpr uint8_t SETTLED = 128;
}  // namespace SlotFlag

enum class RowRole : uint8_t { MEMBER = 0, STAND_IN = 1, RETURNING = 2, AWAY = 3, RECEIVER = 4 };

// While the list of members changes, an entry of a row is its role and some of these (src/ring/change.ts).
namespace RowMark {
constexpr uint8_t ROLE = 0x0f;
constexpr uint8_t HOME = 0x10;    // leads by the list that goes
constexpr uint8_t FORMER = 0x20;  // hands the slot over
constexpr uint8_t GOAL = 0x40;    // is to lead it from then on
constexpr uint8_t NEXT = 0x80;    // has a copy by the list that comes
}  // namespace RowMark

inline RowRole roleOf(uint8_t entry) { return static_cast<RowRole>(entry & RowMark::ROLE); }

namespace ReadLevel {
constexpr uint8_t PRIMARY = 0, QUORUM = 1, NEAREST = 2, DEGRADED = 3;
}
namespace WriteLevel {
constexpr uint8_t ONE = 0, QUORUM = 1, ALL = 2;
}

// An epoch. `rows` and `roles` have ROW_MAX entries a slot, leader first, node 0 where there is none.
struct Installation {
  uint32_t epoch = 0;
  uint32_t rf = 1;
  const uint16_t* rows = nullptr;
  const uint8_t* roles = nullptr;
  bool isFounding = false;  // this memory may lead at once
};

// The last write of a worker, for the copies. Views are good until the worker's next operation.
struct Written {
  uint8_t kind = 0;  // protocol::ItemKind
  uint8_t encoding = 0;
  uint16_t slot = 0;
  uint16_t heat = 0;
  uint32_t epoch = 0;  // in which this node leads the slot; an item sent again has an older one in its version
  uint64_t hash = 0;
  uint64_t expiresAt = 0;
  Version version;
  Version base;  // EXPIRY: what the copy must have
  std::string_view key, value;
  uint8_t linkCount = 0;  // links into whose rings it was pushed, under the lock
  uint8_t links[ROW_MAX - 1] = {};
  uint32_t voters = 0;  // a bit for each of these links whose acknowledgement counts for a level
};

// What a copy says of a version it is asked about.
enum class Match : uint8_t { SAME, OLDER, NEWER, STALE, BUSY };

constexpr uint64_t SINCE_NOTHING = (1ULL << 48) - 1;

// What this node knows of what another has, for the slots that it leads.
struct PeerBits {
  std::string missed, whole, synced;
  uint64_t sinceMs = SINCE_NOTHING;  // nothing older is missed; SINCE_NOTHING (to JavaScript Infinity): nothing is
};

struct PeerNews {
  uint64_t heardAtMs = 0;
  uint64_t watermarkMs = 0;
};

// Of every slot, what is known of who led it before the present leader: its number, 0 if not known, and the moment
// before which whatever it wrote is here; SINCE_NOTHING: all of it.
struct Reigns {
  std::string leaders;     // u16 each
  std::string heldUntilMs; // double each
};

// What a walk is to send of a segment.
struct Extract {
  uint32_t segment = 0;
  uint32_t mask = 0;     // bit i: the segment's i-th slot
  uint64_t sinceMs = 0;  // written then or later
  size_t bytesMax = 0;   // of the records together, if it is more than one
  bool isHotOnly = false;  // items with hits; nothing of what is gone
};

struct Collected {
  std::string bytes;  // item records
  uint32_t items = 0;
  uint64_t next = 0;  // 0: the segment is done
};

}  // namespace henge
