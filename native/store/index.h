// A segment's index: from a key's hash to its record. Every call is under the segment's lock.
//
// Buckets of ten entries in hash order: home = hash * buckets >> 32, so a walk in bucket order is a walk in hash order
// whatever the size, and a cursor is a hash. An entry that finds its home full goes to home + stride, for one of six
// strides that its tag allows; the home's mask says which strides are in use (ten entries to a line and a dozen places
// to look keep the index full to 0.88 at 7.3 bytes an item).
//
// Growing happens in place and a few homes at a time: the size becomes `buckets`, homes are moved from the top down,
// and `frontier` says how far that came. A home below the frontier still follows `bucketsOld`. Since a larger size
// never lowers a home, entries only ever move upwards, into buckets that were thinned out before.
//
// An entry is published by one store of its offset, and taken back by one. Accounts (items, bytes) are kept here as
// well.
#pragma once

#include "pool.h"
#include "record.h"

namespace henge {

constexpr uint32_t STRIDES[12] = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233};
constexpr uint32_t STRIDE_COUNT = 12;
constexpr uint32_t STRIDES_ALLOWED = 6;
constexpr uint32_t NOWHERE = UINT32_MAX;

// The store that publishes or takes back. What stands before it in the program happens before it, and what stands
// behind happens behind: a death must never find a record dead that an entry still names.
inline void publish(uint32_t* word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

struct Entry {
  Bucket* bucket = nullptr;
  uint32_t at = 0;
  bool exists() const { return bucket != nullptr; }
  uint32_t offset() const { return bucket->offset[at]; }
  uint16_t tag() const { return bucket->tag[at]; }
};

struct Home {
  uint32_t number;
  uint32_t size;  // of the index it follows
};

class Index {
 public:
  Index(View& view, uint32_t segment, uint32_t place)
      : view_(view), number_(segment), segment_(view.segments[segment]), place_(place) {}

  static uint16_t tagOf(uint16_t slot, uint64_t hash) {
    const uint32_t bits = static_cast<uint32_t>(hash) & 0xfff;
    return static_cast<uint16_t>((slot & 15u) << 12 | (bits == 0 ? 1 : bits));
  }
  uint16_t slotOfTag(uint16_t tag) const {
    const uint32_t inSegment = static_cast<uint32_t>(tag >> 12) & (view_.geometry.slotsPerSegment - 1);
    return static_cast<uint16_t>(number_ * view_.geometry.slotsPerSegment + inSegment);
  }

  Entry find(uint64_t hash, uint16_t slot, std::string_view key) const;
  // The entry of exactly this record.
  Entry findOffset(uint64_t hash, uint16_t slot, uint32_t offset) const;
  // The item whose chain of fragments this hash names.
  Entry findLarge(uint64_t hash, uint16_t slot) const;
  // The item with this hash, where a tombstone from elsewhere names no key.
  Entry findLiveHash(uint64_t hash, uint16_t slot) const;
  // Another entry that lookups may take for this one: of the same record, or of another of the same key.
  Entry findTwin(uint64_t hash, uint16_t slot, const Entry& entry) const;
  // A tombstone with this hash.
  Entry findTombstone(uint64_t hash, uint16_t slot) const;

  // Adds an entry. False: no place, even though the index grew where it could.
  bool insert(uint64_t hash, uint16_t slot, uint32_t offset);
  // Points an entry to another record of the same key; the old one becomes dead. Fragments go along unless dropped.
  void replace(const Entry& entry, uint32_t offset, bool dropFragments);
  // Points an entry to a copy of its record. Accounts stay as they are.
  void relocate(const Entry& entry, uint32_t offset) { publish(&entry.bucket->offset[entry.at], offset); }
  // Takes an entry out; its record, and its fragments, become dead.
  void remove(const Entry& entry);

  // Grows by a few homes if growing, begins to if the index is too full. Call after insertions.
  void growStep();

  Bucket* bucket(uint32_t number) const;
  Home homeOf(uint64_t hash) const {
    const uint64_t high = hash >> 32;
    if (segment_.bucketsOld != 0) {
      const auto old = static_cast<uint32_t>(high * segment_.bucketsOld >> 32);
      if (old < segment_.frontier) return {old, segment_.bucketsOld};
    }
    return {static_cast<uint32_t>(high * segment_.buckets >> 32), segment_.buckets};
  }
  static uint32_t strideIndex(uint16_t tag, uint32_t i) { return (tag + i) % STRIDE_COUNT; }
  // Reflected at the end, not wrapped to the start: while the index grows, it is the upper end that has room.
  static uint32_t displaced(const Home& home, uint32_t stride) {
    const uint32_t by = STRIDES[stride];
    if (home.number + by < home.size) return home.number + by;
    return home.number >= by ? home.number - by : by % home.size;
  }

  // The buckets that may hold entries of a home, itself first; returns how many.
  uint32_t bucketsOf(const Home& home, Bucket** out) const;
  // Whether lookups of this hash look into bucket `number`; if so the home's mask is made to say it.
  bool reaches(uint64_t hash, uint16_t tag, uint32_t number);
  // The bits of the home's mask that lead from it to bucket `number`: none if it is the home itself, else one, or
  // NOWHERE.
  static uint32_t strideTo(const Home& home, uint16_t tag, uint32_t number);
  bool insertEntry(uint64_t hash, uint16_t tag, uint32_t offset);
  static void clear(Bucket* bucket, uint32_t at) {
    publish(&bucket->offset[at], 0);
    bucket->tag[at] = 0;
  }
  uint32_t bytesOf(const Record& record) const;
  void bury(uint32_t offset, bool withFragments);

  Segment& segment() const { return segment_; }
  bool setPage(uint32_t pageNumber, uint32_t offset);
  bool addPage();
  // Declares the index to be of this size, and not growing.
  void setSize(uint32_t buckets);
  uint32_t pageAt(uint32_t pageNumber) const;

 private:
  template <typename Matches>
  Entry findWhere(uint64_t hash, uint16_t slot, Matches matches) const;
  bool putNear(const Home& home, uint16_t tag, uint32_t offset);
  void beginGrowth();
  void moveHome(uint32_t home);

  View& view_;
  uint32_t number_;
  Segment& segment_;
  uint32_t place_;
};

}  // namespace henge
