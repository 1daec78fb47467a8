// Eviction ghosts: for one segment, the heat of items that were dropped, so that the learner sees whether they are
// missed.
//
// A table of 4-byte entries, about as many as the segment has items (capacity / mean item size), in buckets of 8. An
// entry is a 16-bit fingerprint and the 16 bits of heat; a bucket is a queue, newest first, so the one displaced is the
// one that entered first. A false match (about 1 in 10,000 insertions) gives a new item a stranger's heat and harms
// nobody.
//
//   bucket, 32 B:   newest  [fp:16|heat:16] [..] [..] [..] [..] [..] [..] [..]  oldest     0 = no entry
//
// Called under the segment's lock. The entries lie in shared memory, all zero is an empty table and every content is a
// valid one: a process killed in the middle of a shift leaves an entry twice or not at all. A table of another size
// starts empty (all zero); the learner is blind to the past for as long as it takes to fill. Versions are not kept
// here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "learner.h"

namespace henge {

class GhostTable {
 public:
  static constexpr uint32_t WAYS = 8;

  // Bytes of a table of at least `entries`; a multiple of the 32 of a bucket.
  static size_t bytesFor(uint32_t entries) { return static_cast<size_t>(buckets(entries)) * WAYS * sizeof(uint32_t); }

  // A view over bytesFor(entries) bytes at `memory`, aligned to 4 (32 avoids straddled cache lines).
  GhostTable(void* memory, uint32_t entries) : entries_(static_cast<uint32_t*>(memory)), buckets_(buckets(entries)) {}

  // For a prefetch ahead of the lock.
  const void* bucketOf(uint64_t hash) const { return bucket(hash); }

  // Finds and removes the ghost of this hash.
  bool take(uint64_t hash, Heat* heat) {
    uint32_t* entry = bucket(hash);
    const uint32_t wanted = fingerprint(hash);
    for (uint32_t i = 0; i < WAYS; ++i) {
      if (entry[i] >> 16 != wanted) continue;
      *heat = static_cast<Heat>(entry[i]);
      for (; i + 1 < WAYS; ++i) entry[i] = entry[i + 1];
      entry[WAYS - 1] = 0;
      return true;
    }
    return false;
  }

  // Remembers a dropped item. True: an older one had to go, whose heat is in *displaced and should be counted as lost.
  bool put(uint64_t hash, Heat heat, Heat* displaced) {
    uint32_t* entry = bucket(hash);
    const uint32_t oldest = entry[WAYS - 1];
    for (uint32_t i = WAYS - 1; i > 0; --i) entry[i] = entry[i - 1];
    entry[0] = fingerprint(hash) << 16 | heat;
    *displaced = static_cast<Heat>(oldest);
    return oldest != 0;
  }

 private:
  static uint32_t buckets(uint32_t entries) { return entries < WAYS ? 1 : (entries + WAYS - 1) / WAYS; }

  // Low bits: a segment's keys share the high bits that chose it or order its index, so neither may be used here as is.
  uint32_t* bucket(uint64_t hash) const {
    const uint64_t mixed = (hash * 0x9E3779B97F4A7C15ull) >> 32;
    return entries_ + (mixed * buckets_ >> 32) * WAYS;
  }

  // 1 to 65,535: an entry is never zero.
  static uint32_t fingerprint(uint64_t hash) {
    const auto bits = static_cast<uint32_t>(hash * 0x9E3779B97F4A7C15ull >> 16) & 0xFFFFu;
    return bits == 0 ? 1 : bits;
  }

  uint32_t* entries_;
  uint32_t buckets_;
};

}  // namespace henge
