// Puts an epoch in place on one node: each slot's state, row and what is known of its copies change together, under
// their segment's lock (REPLICATION.md rules 14 and 25). Called by the primary process or by any worker that learns of
// an epoch.
//
// One at a time, by a lock that names its holder. A death on the way leaves some slots in the new epoch and the header
// in the old one; whoever comes next does the rest. A slot caught in the middle has no part in anything until then.
#pragma once

#include <vector>

#include "rings.h"
#include "slot_state.h"

namespace henge {

// The lock of installing, which also guards who is in the table of peers.
class InstallLock {
 public:
  InstallLock(View& view, uint32_t place);
  ~InstallLock() { lock_.store(0, std::memory_order_release); }
  InstallLock(const InstallLock&) = delete;
  InstallLock& operator=(const InstallLock&) = delete;

 private:
  std::atomic<uint32_t>& lock_;
};

class Installer {
 public:
  Installer(View& view, uint32_t place) : view_(view), locker_(view, place), place_(place) {}

  // False: this epoch, or a newer one, stands already.
  bool install(const Installation& installation);
  void resume(bool isWhole);

 private:
  void enlist(const Installation& installation, std::vector<bool>* isLeaving);
  void dismiss(const std::vector<bool>& isLeaving);
  void endReigns(const std::vector<bool>& isLeading);
  void installSlot(const Installation& installation, uint16_t slot);
  void noteReign(Row* row, const SlotMoment& before, const SlotMoment& after, const Row& old) const;
  void rewrite(uint16_t slot, const SlotMoment& before, const SlotMoment& after, const Row& row);
  void noteCopies(uint16_t slot, const SlotMoment& before, const SlotMoment& after, const Row& old, const Row& row);
  void resumeSlot(uint16_t slot, bool isWhole);

  View& view_;
  Locker locker_;
  uint32_t place_;
  std::vector<uint8_t> peerOf_;  // by node number; empty where there is one copy of everything
};

// -1: it is not in the row.
int rankOfNode(const Row& row, uint16_t node);
// The entry of this rank leads; the others keep their order.
void putFirst(Row* row, uint32_t rank);
// A slot's words, together. Both under the segment's lock.
SlotMoment momentOf(const View& view, uint16_t slot);
void setMoment(const View& view, uint16_t slot, const SlotMoment& moment);
// A scrub lost something of this segment.
void distrustSegment(View& view, uint32_t segment);

}  // namespace henge
