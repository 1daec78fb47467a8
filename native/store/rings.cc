#include "rings.h"

#include "slot_bits.h"

namespace henge {

int Rings::claim(uint32_t ownerWord, uint32_t peer) {
  for (uint32_t i = 0; i < view_.ringCount; i++) {
    Ring* ring = view_.ring(i);
    uint32_t nobody = 0;
    if (!ring->owner.compare_exchange_strong(nobody, ownerWord)) continue;
    ring->peer.store(peer);
    return static_cast<int>(i);
  }
  return -1;
}

// Never more than there are entries, whatever stands in a memory that was left unclean.
uint32_t Rings::used(uint32_t ring) const {
  const uint32_t head = view_.ring(ring)->head.load(std::memory_order_acquire);
  const uint32_t count = view_.ring(ring)->tail.load(std::memory_order_acquire) - head;
  return count < view_.ringEntries ? count : view_.ringEntries;
}

void Rings::push(uint32_t ring, uint16_t slot, uint64_t ms) {
  std::atomic<uint32_t>& tail = view_.ring(ring)->tail;
  const uint32_t number = tail.load(std::memory_order_relaxed);
  __atomic_store_n(entry(ring, number), ms << 16 | slot, __ATOMIC_RELAXED);
  tail.store(number + 1, std::memory_order_release);
}

void Rings::pop(uint32_t ring, uint32_t count) {
  const uint32_t most = used(ring);
  std::atomic<uint32_t>& head = view_.ring(ring)->head;
  head.store(head.load(std::memory_order_relaxed) + (count < most ? count : most), std::memory_order_release);
}

void Rings::lose(uint32_t ring, Locker& locker) {
  Peers peers(view_);
  const uint32_t peer = view_.ring(ring)->peer.load();
  const bool isPeer = peer < PEERS_MAX;
  for (uint32_t left = used(ring); left > 0 && isPeer; left--) {
    const InFlight frame = oldest(ring);
    {
      const Hold hold(locker, &view_.segments[view_.segmentOf(frame.slot)]);
      peers.miss(frame.slot, peer, frame.ms);
    }
    pop(ring, 1);
  }
  for (uint32_t i = 0; i < view_.geometry.segments && isPeer; i++) {
    const Hold hold(locker, &view_.segments[i]);
    view_.peerSlotsOf(i, peer)->synced = 0;
  }
  view_.ring(ring)->head.store(view_.ring(ring)->tail.load());
  view_.ring(ring)->owner.store(0, std::memory_order_release);
}

void Rings::loseAll(uint32_t ownerWord, Locker& locker) {
  for (uint32_t i = 0; i < view_.ringCount; i++) {
    if (view_.ring(i)->owner.load(std::memory_order_acquire) == ownerWord) lose(i, locker);
  }
}

bool Rings::hasRing(uint32_t peer) const {
  for (uint32_t i = 0; i < view_.ringCount; i++) {
    if (view_.ring(i)->owner.load(std::memory_order_acquire) != 0 && view_.ring(i)->peer.load() == peer) return true;
  }
  return false;
}

std::string Rings::slotsInFlight() const {
  std::string slots = noSlots(view_);
  for (uint32_t i = 0; i < view_.ringCount; i++) {
    const Ring* ring = view_.ring(i);
    if (ring->owner.load(std::memory_order_acquire) == 0) continue;
    const uint32_t head = ring->head.load(std::memory_order_acquire);
    for (uint32_t left = used(i), number = head; left > 0; left--, number++) addSlot(&slots, at(i, number).slot);
  }
  return slots;
}

// Entries of one ring need not be in the order of their versions: each segment has a clock of its own. So all are
// looked at.
uint64_t Rings::lowestMs(uint32_t peer) const {
  uint64_t lowest = SINCE_NOTHING;
  for (uint32_t i = 0; i < view_.ringCount; i++) {
    const Ring* ring = view_.ring(i);
    if (ring->owner.load(std::memory_order_acquire) == 0 || ring->peer.load(std::memory_order_relaxed) != peer)
      continue;
    const uint32_t head = ring->head.load(std::memory_order_acquire);
    for (uint32_t left = used(i), number = head; left > 0; left--, number++) {
      const uint64_t ms = at(i, number).ms;
      if (ms < lowest) lowest = ms;
    }
  }
  return lowest;
}

}  // namespace henge
