// What is under way from a worker to a peer, kept in shared memory so that no death can hide it (REPLICATION.md rule
// 5).
//
// A ring belongs to one link: one worker, one peer. An entry goes in under the lock of the slot's segment, before the
// write is published, and out when the peer has acknowledged; frames of a link are answered in their order, so the
// oldest entry is the next to go. Whoever finds the link or the worker gone turns every entry into a missed bit, and
// only then frees the ring. The same information as a count for each slot, at the cost of what is under way.
#pragma once

#include "peers.h"

namespace henge {

struct InFlight {
  uint16_t slot = 0;
  uint64_t ms = 0;
};

class Rings {
 public:
  explicit Rings(View& view) : view_(view) {}

  // A ring for a link, -1 when all are taken.
  int claim(uint32_t ownerWord, uint32_t peer);
  uint32_t room(uint32_t ring) const { return view_.ringEntries - used(ring); }
  uint32_t used(uint32_t ring) const;
  // Hot path. There must be room.
  void push(uint32_t ring, uint16_t slot, uint64_t ms);
  InFlight oldest(uint32_t ring) const { return at(ring, view_.ring(ring)->head.load(std::memory_order_relaxed)); }
  void pop(uint32_t ring, uint32_t count);

  // Everything in the ring is missed by its peer, nothing of which is known to be in sync any more; the ring is free.
  void lose(uint32_t ring, Locker& locker);
  void loseAll(uint32_t ownerWord, Locker& locker);
  bool hasRing(uint32_t peer) const;

  // Lowest version under way to a peer, SINCE_NOTHING when nothing is.
  // Slots with a frame under way from any worker to anybody.
  std::string slotsInFlight() const;
  uint64_t lowestMs(uint32_t peer) const;

 private:
  uint64_t* entry(uint32_t ring, uint32_t number) const {
    return reinterpret_cast<uint64_t*>(view_.ring(ring) + 1) + (number & (view_.ringEntries - 1));
  }
  InFlight at(uint32_t ring, uint32_t number) const {
    const uint64_t word = __atomic_load_n(entry(ring, number), __ATOMIC_RELAXED);
    return InFlight{view_.localSlot(static_cast<uint16_t>(word)), word >> 16};
  }

  View& view_;
};

}  // namespace henge
