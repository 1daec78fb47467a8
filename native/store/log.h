// A worker's two logs: NEW for items nobody has asked for twice, KEPT for the others. Each has one open region that
// this worker alone appends to, so appending needs no lock.
//
// Room is secured before a segment's lock is taken, since that may mean evicting; the record itself is written under
// the lock, where its version and heat are known, and becomes reachable by one store of its offset. The head moves
// before that store: a death in between leaves a dead record, never a reachable one outside the log.
#pragma once

#include <vector>

#include "pool.h"
#include "record.h"

namespace henge {

class Log {
 public:
  Log(View& view, uint32_t place, uint32_t kind) : view_(view), place_(place), kind_(kind) {}
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Whether `bytes` fit into the open region, a new stamp included.
  bool hasRoom(uint32_t bytes) const {
    if (region_ == NO_REGION) return false;
    const RegionMeta& meta = view_.regionMetas[region_];
    const uint64_t end = view_.geometry.regionBytes - (meta.stamps + 1) * sizeof(Stamp);
    return meta.stamps < STAMPS_ROOM && meta.head + static_cast<uint64_t>(bytes) <= end;
  }
  // Turns to a fresh region. False: none beyond the reserve.
  bool turn(uint32_t reserve) {
    const uint32_t fresh = Pool(view_).claim(kind_, place_, reserve);
    if (fresh == NO_REGION) return false;
    sealCurrent();
    region_ = fresh;
    return true;
  }
  // Gives up the open region, before the place that owns it is given back.
  void close() {
    unhold();
    sealCurrent();
  }
  // While held, filled regions stay open, and so cannot be evicted: they hold fragments that nothing points to yet.
  void hold() { isHolding_ = true; }
  void unhold() {
    isHolding_ = false;
    for (const uint32_t region : held_) Pool(view_).seal(region);
    held_.clear();
  }

  uint32_t region() const { return region_; }
  char* headAt() const { return view_.region(region_) + view_.regionMetas[region_].head; }
  uint64_t baseMs() const { return view_.regionMetas[region_].baseMs; }
  int intern(uint32_t epoch, uint16_t node, uint32_t bytes) const {
    return internStamp(view_, region_, epoch, node, view_.regionMetas[region_].head + bytes);
  }

  // Makes the bytes written at the head part of the log; returns their offset.
  uint32_t commit(uint32_t bytes) {
    RegionMeta& meta = view_.regionMetas[region_];
    const uint32_t at = meta.head;
    const uint32_t part = at / (view_.geometry.regionBytes / CHECKPOINTS);
    if (meta.checkpoint[part] == 0) meta.checkpoint[part] = at;
    __atomic_store_n(&meta.head, at + bytes, __ATOMIC_RELEASE);
    return view_.offsetOf(view_.region(region_) + at);
  }

 private:
  static constexpr uint32_t STAMPS_ROOM = 250;

  void sealCurrent() {
    if (region_ == NO_REGION) return;
    if (isHolding_) {
      held_.push_back(region_);
    } else {
      Pool(view_).seal(region_);
    }
    region_ = NO_REGION;
  }

  View& view_;
  uint32_t place_;
  uint32_t kind_;
  uint32_t region_ = NO_REGION;
  bool isHolding_ = false;
  std::vector<uint32_t> held_;
};

}  // namespace henge
