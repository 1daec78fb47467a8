// Version ghosts: for one segment, the versions of items that were evicted or expired, so that an older copy of such an
// item cannot come back from a replica (REPLICATION rule 11). At most a hundredth of the memory; none where there is
// one copy only.
//
// A table of (hash, version) in sets of four, each a queue, newest first. What is displaced is forgotten, and its
// version raises the floor of its slot: from then on an absent key's apply at or below the floor is refused.
//
//   set, 96 B:   newest  [hash 8 | time 8 | epoch 4 | node 2 | slot 2] [..] [..] [..]  oldest     hash 0 = no entry
#pragma once

#include <cstring>

#include "types.h"

namespace henge {

class VersionGhosts {
 public:
  struct Entry {
    uint64_t hash;
    uint64_t time;
    uint32_t epoch;
    uint16_t node;
    uint16_t slot;
    Version version() const { return Version{epoch, time, node}; }
  };
  static constexpr uint32_t WAYS = 4;

  static uint32_t setsFor(uint64_t bytes) {
    const uint64_t sets = bytes / (WAYS * sizeof(Entry));
    return sets == 0 ? 1 : static_cast<uint32_t>(sets);
  }
  static size_t bytesFor(uint32_t sets) { return static_cast<size_t>(sets) * WAYS * sizeof(Entry); }

  VersionGhosts(char* memory, uint32_t sets) : entries_(reinterpret_cast<Entry*>(memory)), sets_(sets) {}

  // The version remembered of a key, or a zero one.
  Version find(uint64_t hash) const {
    if (sets_ == 0) return {};
    const Entry* set = setOf(hash);
    for (uint32_t i = 0; i < WAYS; i++) {
      if (set[i].hash == nonZero(hash)) return set[i].version();
    }
    return {};
  }

  // Remembers; true: *displaced had to be forgotten.
  bool put(uint64_t hash, const Version& version, uint16_t slot, Entry* displaced) {
    if (sets_ == 0) return false;
    Entry* set = setOf(hash);
    uint32_t last = 0;
    while (last + 1 < WAYS && set[last].hash != nonZero(hash)) last++;
    *displaced = set[last];
    memmove(set + 1, set, last * sizeof(Entry));
    set[0] = Entry{nonZero(hash), version.time, version.epoch, version.node, slot};
    return displaced->hash != 0 && displaced->hash != nonZero(hash);
  }

  uint32_t size() const { return sets_ * WAYS; }
  const Entry& at(uint32_t number) const { return entries_[number]; }

  // What a slot's keys had, up to this version, does not matter any more.
  void forgetSlot(uint16_t slot, const Version& version) {
    for (uint32_t i = 0; i < sets_; i++) {
      Entry* set = entries_ + i * WAYS;
      uint32_t kept = 0;
      for (uint32_t j = 0; j < WAYS; j++) {
        const bool goes = set[j].hash != 0 && set[j].slot == slot && !(version < set[j].version());
        if (!goes) set[kept++] = set[j];
      }
      while (kept < WAYS) set[kept++] = Entry{};
    }
  }

  // The key lives again.
  void forget(uint64_t hash) {
    if (sets_ == 0) return;
    Entry* set = setOf(hash);
    for (uint32_t i = 0; i < WAYS; i++) {
      if (set[i].hash != nonZero(hash)) continue;
      memmove(set + i, set + i + 1, (WAYS - 1 - i) * sizeof(Entry));
      set[WAYS - 1] = Entry{};
      return;
    }
  }

 private:
  static uint64_t nonZero(uint64_t hash) { return hash == 0 ? 1 : hash; }
  Entry* setOf(uint64_t hash) const {
    const uint64_t mixed = (hash * 0x9e3779b97f4a7c15ULL) >> 32;
    return entries_ + (mixed * sets_ >> 32) * WAYS;
  }

  Entry* entries_;
  uint32_t sets_;
};

}  // namespace henge
