// How all that goes through many items does so: in hash order, a few homes per taking of the lock. Since a home's place
// in that order does not depend on the size of the index, a cursor is a hash: whatever grows meanwhile, an item present
// throughout is met at least once. For the worker's own files only.
#pragma once

#include "worker.h"

namespace henge {

constexpr uint64_t HASHES = 1ULL << 32;  // of the half that orders the index; one past the last: the segment's end
constexpr uint32_t HOMES_PER_LOCK = 8;   // some 70 items: a few microseconds

// Calls visit(index, entry, place) for every entry of the homes from hash `from` on, at most `homes` of them, under one
// lock. Entries of slots that are not in `mask` (bit i: the segment's i-th slot) are passed over by their tags, without
// a look at their records, which would be a cache miss each. Returns the hash to go on at, HASHES at the end. Homes
// before the first that was not finished are never met twice.
template <typename Visit>
uint64_t Worker::visitHomes(uint32_t number, uint64_t from, uint32_t homes, uint32_t mask, Visit visit) {
  Segment* segment = &view_.segments[number];
  if (!locker_.acquire(segment)) return from;
  Index index(view_, number, place_);
  const uint32_t lastSlot = view_.geometry.slotsPerSegment - 1;
  uint64_t at = from;
  bool goesOn = true;
  for (uint32_t i = 0; i < homes && at < HASHES && goesOn; i++) {
    const Home home = index.homeOf(at << 32);
    Bucket* buckets[STRIDE_COUNT + 1];
    const uint32_t count = index.bucketsOf(home, buckets);
    for (uint32_t b = 0; b < count && goesOn; b++) {
      for (uint32_t e = 0; e < ENTRIES && goesOn; e++) {
        if (buckets[b]->offset[e] == 0) continue;
        if ((mask >> (index.slotOfTag(buckets[b]->tag[e]) & lastSlot) & 1) == 0) continue;
        const KeyPlace place = Record(view_, buckets[b]->offset[e]).place();
        const Home its = index.homeOf(place.hash);
        if (its.number != home.number || its.size != home.size) continue;
        goesOn = visit(index, Entry{buckets[b], e}, place);
      }
    }
    if (!goesOn) break;
    const uint64_t next = ((static_cast<uint64_t>(home.number) + 1) * HASHES + home.size - 1) / home.size;
    at = next > at ? next : at + 1;
  }
  locker_.release(segment);
  return at;
}

}  // namespace henge
