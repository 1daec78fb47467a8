// Makes free regions out of full ones: chooses the region that is worth least, drops its cheapest items, and appends
// the others anew (learner.h's essay has the procedure and its sources).
//
// Work comes in small steps, so that no single request pays for a whole region. One victim at a time and worker;
// segment locks are taken one at a time, and none is held while another is wanted. If a survivor finds no room, it is
// dropped: eviction always ends with a free region.
#pragma once

#include "index.h"
#include "lock.h"
#include "log.h"

namespace henge {

class Evictor {
 public:
  Evictor(View& view, Locker& locker, Log& fresh, Log& kept, uint64_t seed)
      : view_(view), locker_(locker), new_(fresh), kept_(kept), cut_(0), random_(seed) {}

  // Does some records' worth of work. True: a region was freed.
  bool step(uint32_t records, uint64_t nowMs);
  // Works until a region was freed; false after REGIONS_MAX victims without one.
  bool run(uint64_t nowMs);
  // Forgets an item under its segment's lock: version ghost where versions matter, floors raised by what that
  // displaces.
  static void rememberVersion(View& view, uint64_t hash, uint16_t slot, const Version& version);
  static void raiseFloor(View& view, uint16_t slot, const Version& version);

  uint32_t random() { return static_cast<uint32_t>(splitmix(&random_)); }

 private:
  enum class Phase { IDLE, WEIGHING, SORTING };
  static constexpr uint32_t VICTIMS_MAX = 64;

  bool chooseVictim(uint64_t nowMs);
  float worthOf(uint32_t region, float threshold, bool isRandom, uint64_t nowMs);
  bool weigh(uint32_t records, uint64_t nowMs);
  bool sort(uint32_t records, uint64_t nowMs);
  void sortOne(uint32_t offset, uint64_t nowMs);
  void sortItem(uint32_t offset, const KeyPlace& place, uint64_t nowMs);
  void sortFragment(uint32_t offset);
  void sortTombstone(Index* index, const Entry& entry, const KeyPlace& place, uint64_t nowMs);
  bool relocate(Index* index, const Entry& entry, Heat heat);
  void drop(Index* index, const Entry& entry, const KeyPlace& place, uint64_t nowMs);
  float scoreOf(uint32_t offset, uint64_t nowMs) const;
  float scoreOfFragment(uint32_t offset);
  float scoreOfLarge(const Entry& entry) const;
  bool ownsFragment(const Entry& entry, uint32_t offset, uint32_t* previous) const;
  void moveFragment(const Entry& entry, uint32_t offset, uint32_t previous);
  uint32_t sizeAt(uint32_t offset) const;
  void finish();
  void purge();
  void relearn();

  View& view_;
  Locker& locker_;
  Log& new_;
  Log& kept_;
  Cut cut_;
  Phase phase_ = Phase::IDLE;
  uint32_t victim_ = NO_REGION;
  uint32_t at_ = 0;   // bytes into the victim
  uint32_t end_ = 0;
  bool isBroken_ = false;
  uint64_t random_;
};

}  // namespace henge
