// What every other node has of the slots that this one leads: a table of peers, and for each peer and segment some bits
// a slot (REPLICATION.md rules 5 to 8).
//
//   missed   it lacks something written here; nothing lacking is older than the peer's `since`
//   whole    everything must be sent
//   sending  it was missed, and a worker is sending it; becomes missed again if that worker dies
//   synced   it was declared in sync, and every link to it has stood since
//   told     it may believe that it is in sync
//
// Bits are read and changed under their segment's lock. `since` is one word a peer, shared by all segments: lowered
// without a lock, after the bit was set; given up when no bit is left anywhere, unless somebody lowered it meanwhile
// (its low 16 bits count that).
#pragma once

#include "guard.h"

namespace henge {

constexpr uint32_t ALL_SLOTS = 0xffff;  // of a segment

class Peers {
 public:
  explicit Peers(View& view) : view_(view) {}

  // Place in the table, -1 when the node is not there.
  int find(uint16_t node) const;
  // Under the lock of installing. -1: the table is full.
  int add(uint16_t node);

  uint32_t bitOf(uint16_t slot) const { return 1u << (slot & (view_.geometry.slotsPerSegment - 1)); }
  PeerSlots& slotsOf(uint16_t slot, uint32_t peer) const { return *view_.peerSlotsOf(view_.segmentOf(slot), peer); }
  bool isLedHere(uint16_t slot) const;
  // Rank of a peer in a slot's row, -1 when it is not there.
  int rankOf(uint16_t slot, uint32_t peer) const;

  // The next four under the lock of the slot's segment.
  // It lacks a version of these milliseconds. Nothing is noted for slots that are led elsewhere.
  void miss(uint16_t slot, uint32_t peer, uint64_t ms);
  void missWhole(uint16_t slot, uint32_t peer);
  void forget(uint16_t slot, uint32_t peer);
  // What was being sent in a segment was not, or must be thought so.
  void unsend(uint32_t segment, uint32_t peer);

  // Lowest version missed, SINCE_NOTHING when nothing is.
  uint64_t sinceMs(uint32_t peer) const;
  void lower(uint32_t peer, uint64_t ms);
  // Gives `since` up if nothing is missed any more.
  void settle(uint32_t peer);
  bool hasAny(uint32_t peer, uint16_t PeerSlots::* bits) const;

  // After a death under this segment's lock: a bit may have been set whose version was not noted.
  void doubt(uint32_t segment);
  // What this worker was sending is missed again.
  void abandonSending(uint32_t ownerWord, Locker& locker);

 private:
  View& view_;
};

}  // namespace henge
