// What must be true of a store in which nobody is at work: every lock free, every entry findable and whole, no two
// entries for one record or fragment, and the accounts equal to a recount. Returns the first thing that is not so, or
// an empty string.
#pragma once

#include <set>
#include <string>

#include "../../store/index.h"
#include "../../store/memory.h"

namespace audit {

using namespace henge;

inline std::string at(const char* what, uint64_t a, uint64_t b = 0) {
  return std::string(what) + " (" + std::to_string(a) + ", " + std::to_string(b) + ")";
}

struct Sums {
  uint64_t entries = 0;
  uint64_t items = 0;
  uint64_t tombstones = 0;
  uint64_t bytes = 0;
};

class Audit {
 public:
  explicit Audit(Memory& memory) : view_(memory.view()) {}

  std::string run() {
    for (uint32_t i = 0; i < view_.geometry.segments && problem_.empty(); i++) segment(i);
    return problem_;
  }

 private:
  void wrong(const std::string& what) {
    if (problem_.empty()) problem_ = what;
  }

  void segment(uint32_t number) {
    Segment& segment = view_.segments[number];
    if (segment.lock.load() != 0) wrong(at("a lock is held", number, segment.lock.load()));
    if (segment.pages << view_.pageShift < segment.buckets)
      wrong(at("fewer pages than buckets need", number, segment.pages));
    Index index(view_, number, 0);
    Sums sums;
    uint64_t slotItems[16] = {};
    for (uint32_t b = 0; b < segment.pages << view_.pageShift; b++) {
      const Bucket* bucket = index.bucket(b);
      for (uint32_t e = 0; e < ENTRIES; e++) {
        if (bucket->offset[e] != 0) entry(index, bucket, b, e, &sums, slotItems);
        if (bucket->offset[e] == 0 && bucket->tag[e] != 0) wrong(at("a tag without an entry", number, b));
        if (!problem_.empty()) return;
      }
    }
    if (sums.entries != segment.entries) wrong(at("entries miscounted", segment.entries, sums.entries));
    if (sums.items != segment.items) wrong(at("items miscounted", segment.items, sums.items));
    if (sums.tombstones != segment.tombstones) wrong(at("tombstones miscounted", segment.tombstones, sums.tombstones));
    if (sums.bytes != segment.bytes) wrong(at("bytes miscounted", segment.bytes, sums.bytes));
    for (uint32_t i = 0; i < view_.geometry.slotsPerSegment; i++) {
      const uint32_t slot = number * view_.geometry.slotsPerSegment + i;
      if (view_.slots[slot].items != slotItems[i])
        wrong(at("a slot's items miscounted", view_.slots[slot].items, slotItems[i]));
    }
  }

  void entry(Index& index, const Bucket* bucket, uint32_t number, uint32_t e, Sums* sums, uint64_t* slotItems) {
    const uint32_t offset = bucket->offset[e];
    if (!Record::plausible(view_, offset)) return wrong(at("an entry without a record", number, offset));
    const Record record(view_, offset);
    if (record.kind() != RecordKind::ITEM && record.kind() != RecordKind::TOMBSTONE)
      return wrong(at("an entry of a dead record", offset));
    if ((record.word() & Word::UPDATING) != 0) return wrong(at("a record left in the middle of an overwrite", offset));
    claim(offset, record.size());
    const KeyPlace place = record.place();
    const Entry found = index.findOffset(place.hash, place.slot, offset);
    if (found.bucket != bucket || found.at != e) return wrong(at("an entry that lookups do not find", number, e));
    if (record.isBig()) chain(record, place.hash);
    sums->entries++;
    sums->bytes += index.bytesOf(record);
    if (record.kind() == RecordKind::TOMBSTONE) {
      sums->tombstones++;
    } else {
      sums->items++;
      slotItems[place.slot & (view_.geometry.slotsPerSegment - 1)]++;
    }
  }

  void chain(const Record& record, uint64_t hash) {
    uint64_t bytes = record.inlineBytes();
    for (uint32_t offset = record.big().firstFragment; offset != 0 && problem_.empty();) {
      if (!fragmentPlausible(view_, offset)) return wrong(at("a chain that breaks", record.offset(), offset));
      if (hashOfFragment(fragmentAt(view_, offset)) != hash)
        return wrong(at("a chain that ends in another's", record.offset(), offset));
      claim(offset, Record(view_, offset).size());
      bytes += Word::payload(fragmentAt(view_, offset)->word);
      offset = fragmentAt(view_, offset)->next;
    }
    if (bytes != static_cast<uint64_t>(record.keyBytes()) + record.valueBytes())
      wrong(at("a chain of another length", record.offset(), bytes));
  }

  void claim(uint32_t offset, uint32_t bytes) {
    if (!claimed_.insert(offset).second) wrong(at("two claims on one record", offset));
    const uint32_t region = view_.regionOf(offset);
    const RegionKind kind = RegionState::kind(view_.regionStates[region].load());
    if (kind == RegionKind::FREE || kind == RegionKind::INDEX)
      wrong(at("a record in a region that holds none", offset, region));
    if (view_.bytesInRegion(offset) + bytes > view_.regionMetas[region].head)
      wrong(at("a record beyond its log's head", offset, region));
  }

  View& view_;
  std::set<uint32_t> claimed_;
  std::string problem_;
};

inline std::string problemOf(Memory& memory) { return Audit(memory).run(); }

}  // namespace audit
