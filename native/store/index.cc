#include "index.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace henge {

namespace {

constexpr uint32_t FULL_PERCENT = 88;
constexpr uint32_t HOMES_PER_STEP =
    3;  // growing by a quarter leaves 2.2 insertions per home of the old size: 1 would do

// Bit i: tag[i] equals. Two vector compares and two scalar ones, one cache line.
inline uint32_t matchesOf(const Bucket* bucket, uint16_t tag) {
#if defined(__SSE2__)
  const __m128i wanted = _mm_set1_epi16(static_cast<short>(tag));
  const __m128i tags = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bucket->tag));
  const __m128i equal = _mm_packs_epi16(_mm_cmpeq_epi16(tags, wanted), _mm_setzero_si128());
  uint32_t mask = static_cast<uint32_t>(_mm_movemask_epi8(equal));
  for (uint32_t i = 8; i < ENTRIES; i++) mask |= static_cast<uint32_t>(bucket->tag[i] == tag) << i;
#else
  uint32_t mask = 0;
  for (uint32_t i = 0; i < ENTRIES; i++) mask |= static_cast<uint32_t>(bucket->tag[i] == tag) << i;
#endif
  return mask;
}

}  // namespace

// ---- pages ---------------------------------------------------------------------------------------------------------

uint32_t Index::pageAt(uint32_t pageNumber) const {
  if (pageNumber < DIRECT_PAGES) return segment_.direct[pageNumber];
  const uint32_t perDirectory = view_.geometry.pageBytes / 4;
  const uint32_t beyond = pageNumber - DIRECT_PAGES;
  if (beyond / perDirectory >= view_.rootsPerSegment) return 0;
  const uint32_t directory = view_.rootsOf(number_)[beyond / perDirectory];
  if (directory == 0) return 0;
  return reinterpret_cast<const uint32_t*>(view_.at(directory))[beyond % perDirectory];
}

Bucket* Index::bucket(uint32_t number) const {
  const uint32_t page = pageAt(number >> view_.pageShift);
  return reinterpret_cast<Bucket*>(view_.at(page)) + (number & (view_.bucketsPerPage - 1));
}

bool Index::setPage(uint32_t pageNumber, uint32_t offset) {
  if (pageNumber < DIRECT_PAGES) {
    segment_.direct[pageNumber] = offset;
    return true;
  }
  const uint32_t perDirectory = view_.geometry.pageBytes / 4;
  const uint32_t beyond = pageNumber - DIRECT_PAGES;
  if (beyond / perDirectory >= view_.rootsPerSegment) return false;
  uint32_t* root = &view_.rootsOf(number_)[beyond / perDirectory];
  if (*root == 0) {
    const uint32_t directory = Pool(view_).newPage(number_, DIRECTORY_PAGE | beyond / perDirectory, place_);
    if (directory == 0) return false;
    *root = directory;
  }
  reinterpret_cast<uint32_t*>(view_.at(*root))[beyond % perDirectory] = offset;
  return true;
}

bool Index::addPage() {
  if (segment_.pages >= view_.pagesMax()) return false;
  const uint32_t page = Pool(view_).newPage(number_, segment_.pages, place_);
  if (page == 0) return false;
  if (!setPage(segment_.pages, page)) {
    Pool(view_).disown(page);
    return false;
  }
  segment_.pages++;
  return true;
}

void Index::setSize(uint32_t buckets) {
  segment_.buckets = buckets;
  segment_.frontier = 0;
  segment_.bucketsOld = 0;
}

// ---- finding -------------------------------------------------------------------------------------------------------

template <typename Matches>
Entry Index::findWhere(uint64_t hash, uint16_t slot, Matches matches) const {
  const uint16_t tag = tagOf(slot, hash);
  const Home home = homeOf(hash);
  Bucket* here = bucket(home.number);
  const uint32_t strides = here->strides;
  for (uint32_t i = 0;; i++) {
    for (uint32_t mask = matchesOf(here, tag); mask != 0; mask &= mask - 1) {
      const auto at = static_cast<uint32_t>(__builtin_ctz(mask));
      if (here->offset[at] != 0 && matches(Entry{here, at})) return Entry{here, at};
    }
    if (strides == 0) return {};
    while (i < STRIDES_ALLOWED && (strides >> strideIndex(tag, i) & 1) == 0) i++;
    if (i >= STRIDES_ALLOWED) return {};
    here = bucket(displaced(home, strideIndex(tag, i)));
  }
}

Entry Index::find(uint64_t hash, uint16_t slot, std::string_view key) const {
  return findWhere(hash, slot, [&](const Entry& entry) {
    const Record record(view_, entry.offset());
    return record.kind() == RecordKind::ITEM && record.keyEquals(key);
  });
}

Entry Index::findOffset(uint64_t hash, uint16_t slot, uint32_t wanted) const {
  return findWhere(hash, slot, [&](const Entry& entry) { return entry.offset() == wanted; });
}

Entry Index::findLarge(uint64_t hash, uint16_t slot) const {
  return findWhere(hash, slot, [&](const Entry& entry) {
    const Record record(view_, entry.offset());
    return record.kind() == RecordKind::ITEM && record.isBig() && record.big().firstFragment != 0 &&
           record.place().hash == hash;
  });
}

Entry Index::findLiveHash(uint64_t hash, uint16_t slot) const {
  return findWhere(hash, slot, [&](const Entry& entry) {
    const Record record(view_, entry.offset());
    return record.kind() == RecordKind::ITEM && record.place().hash == hash;
  });
}

Entry Index::findTwin(uint64_t hash, uint16_t slot, const Entry& entry) const {
  return findWhere(hash, slot, [&](const Entry& other) {
    if (other.bucket == entry.bucket && other.at == entry.at) return false;
    if (other.offset() == entry.offset()) return true;
    const KeyPlace its = Record(view_, other.offset()).place();
    return its.hash == hash && its.slot == slot;
  });
}

Entry Index::findTombstone(uint64_t hash, uint16_t slot) const {
  return findWhere(hash, slot, [&](const Entry& entry) {
    const Record record(view_, entry.offset());
    return record.kind() == RecordKind::TOMBSTONE && record.place().hash == hash;
  });
}

uint32_t Index::bucketsOf(const Home& home, Bucket** out) const {
  uint32_t count = 0;
  out[count++] = bucket(home.number);
  const uint32_t strides = out[0]->strides;
  for (uint32_t i = 0; i < STRIDE_COUNT; i++) {
    if ((strides >> i & 1) == 0) continue;
    Bucket* there = bucket(displaced(home, i));
    bool isKnown = false;  // in a small index several strides come to one bucket
    for (uint32_t j = 0; j < count; j++) isKnown = isKnown || out[j] == there;
    if (!isKnown) out[count++] = there;
  }
  return count;
}

uint32_t Index::strideTo(const Home& home, uint16_t tag, uint32_t number) {
  if (home.number == number) return 0;
  for (uint32_t i = 0; i < STRIDES_ALLOWED; i++) {
    if (displaced(home, strideIndex(tag, i)) == number) return 1u << strideIndex(tag, i);
  }
  return NOWHERE;
}

bool Index::reaches(uint64_t hash, uint16_t tag, uint32_t number) {
  const Home home = homeOf(hash);
  const uint32_t stride = strideTo(home, tag, number);
  if (stride != NOWHERE) bucket(home.number)->strides |= stride;
  return stride != NOWHERE;
}

// ---- changing ------------------------------------------------------------------------------------------------------

namespace {

bool putInto(Bucket* bucket, uint16_t tag, uint32_t offset) {
  const uint32_t empty = matchesOf(bucket, 0);
  if (empty == 0) return false;
  const auto at = static_cast<uint32_t>(__builtin_ctz(empty));
  bucket->tag[at] = tag;
  publish(&bucket->offset[at], offset);
  return true;
}

}  // namespace

bool Index::putNear(const Home& home, uint16_t tag, uint32_t offset) {
  Bucket* here = bucket(home.number);
  if (putInto(here, tag, offset)) return true;
  for (uint32_t i = 0; i < STRIDES_ALLOWED; i++) {
    const uint32_t stride = strideIndex(tag, i);
    Bucket* there = bucket(displaced(home, stride));
    if (matchesOf(there, 0) == 0) continue;
    here->strides |= 1u << stride;
    return putInto(there, tag, offset);
  }
  return false;
}

// All seven places full, once in some thousand insertions near the limit: one of their entries goes to another of its
// own places, as in cuckoo hashing (Pagh and Rodler, 2004), one step deep.
bool Index::insertEntry(uint64_t hash, uint16_t tag, uint32_t offset) {
  const Home home = homeOf(hash);
  if (putNear(home, tag, offset)) return true;
  for (uint32_t i = 0; i <= STRIDES_ALLOWED; i++) {
    Bucket* full = bucket(i == 0 ? home.number : displaced(home, strideIndex(tag, i - 1)));
    for (uint32_t at = 0; at < ENTRIES; at++) {
      if (!Record::plausible(view_, full->offset[at])) continue;  // a scrub may not have come this far
      const uint64_t its = Record(view_, full->offset[at]).place().hash;
      if (!putNear(homeOf(its), full->tag[at], full->offset[at])) continue;
      clear(full, at);
      return putNear(home, tag, offset);
    }
  }
  return false;
}

uint32_t Index::bytesOf(const Record& record) const {
  uint32_t bytes = record.size();
  if (record.isBig()) bytes += record.keyBytes() + record.valueBytes() - record.inlineBytes();
  return bytes;
}

bool Index::insert(uint64_t hash, uint16_t slot, uint32_t offset) {
  const uint16_t tag = tagOf(slot, hash);
  if (!insertEntry(hash, tag, offset)) return false;
  const Record record(view_, offset);
  segment_.entries++;
  segment_.bytes += bytesOf(record);
  if (record.kind() == RecordKind::TOMBSTONE) {
    segment_.tombstones++;
  } else {
    segment_.items++;
    view_.slots[slotOfTag(tag)].items++;
  }
  return true;
}

void Index::bury(uint32_t offset, bool withFragments) {
  const Record record(view_, offset);
  if (withFragments && record.isBig()) {
    uint32_t fragment = record.big().firstFragment;
    while (fragment != 0 && fragmentPlausible(view_, fragment)) {
      FragmentHead* head = fragmentAt(view_, fragment);
      fragment = head->next;
      // A dead fragment keeps its length, so that a walk of its region goes on behind it; its hash can match nothing.
      head->hashLow = 0;
      head->hashHigh = 0;
      head->next = 0;
    }
  }
  record.head()->word = Word::withKind(record.word(), RecordKind::DEAD);
}

void Index::replace(const Entry& entry, uint32_t offset, bool dropFragments) {
  const uint32_t old = entry.offset();
  const Record before(view_, old);
  const Record after(view_, offset);
  const uint16_t slot = slotOfTag(entry.tag());
  segment_.bytes += bytesOf(after);
  segment_.bytes -= bytesOf(before);
  if (before.kind() != after.kind()) {
    const bool wasItem = before.kind() == RecordKind::ITEM;
    segment_.items = wasItem ? segment_.items - 1 : segment_.items + 1;
    segment_.tombstones = wasItem ? segment_.tombstones + 1 : segment_.tombstones - 1;
    view_.slots[slot].items = wasItem ? view_.slots[slot].items - 1 : view_.slots[slot].items + 1;
  }
  publish(&entry.bucket->offset[entry.at], offset);
  bury(old, dropFragments);
}

void Index::remove(const Entry& entry) {
  const uint32_t offset = entry.offset();
  const Record record(view_, offset);
  const uint16_t slot = slotOfTag(entry.tag());
  segment_.entries--;
  segment_.bytes -= bytesOf(record);
  if (record.kind() == RecordKind::TOMBSTONE) {
    segment_.tombstones--;
  } else {
    segment_.items--;
    view_.slots[slot].items--;
  }
  clear(entry.bucket, entry.at);
  bury(offset, true);
}

// ---- growing -------------------------------------------------------------------------------------------------------

void Index::growStep() {
  if (segment_.bucketsOld == 0) {
    if (static_cast<uint64_t>(segment_.entries) * 100 <
        static_cast<uint64_t>(segment_.buckets) * ENTRIES * FULL_PERCENT)
      return;
    beginGrowth();
  }
  for (uint32_t i = 0; i < HOMES_PER_STEP && segment_.bucketsOld != 0; i++) {
    moveHome(segment_.frontier - 1);
    if (segment_.frontier == 0) segment_.bucketsOld = 0;
  }
}

void Index::beginGrowth() {
  const uint32_t pagesBefore = segment_.buckets >> view_.pageShift;
  const uint32_t wanted = pagesBefore + (pagesBefore / 4 == 0 ? 1 : pagesBefore / 4);
  while (segment_.pages < wanted && addPage()) {
  }
  if (segment_.pages <= pagesBefore) return;
  // Each store says no more than the next one can make true: a size that nobody grows to, from a frontier above all
  // homes.
  publish(&segment_.frontier, segment_.buckets);
  publish(&segment_.bucketsOld, segment_.buckets);
  publish(&segment_.buckets, segment_.pages << view_.pageShift);
}

// All entries whose old home this is go to where the new size wants them. Top down: their new home is never below.
void Index::moveHome(uint32_t home) {
  const uint32_t oldSize = segment_.bucketsOld;
  Bucket* places[STRIDE_COUNT + 1];
  const uint32_t count = bucketsOf(Home{home, oldSize}, places);
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t at = 0; at < ENTRIES; at++) {
      if (places[i]->offset[at] != 0) __builtin_prefetch(view_.at(places[i]->offset[at]));
    }
  }
  places[0]->strides = 0;
  publish(&segment_.frontier,
          home);  // homeOf() answers with the new size now; a death before the end is the scrub's to mend
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t at = 0; at < ENTRIES; at++) {
      const uint32_t offset = places[i]->offset[at];
      if (offset == 0) continue;
      const uint64_t hash = Record(view_, offset).place().hash;
      if (static_cast<uint32_t>((hash >> 32) * oldSize >> 32) != home) continue;
      const uint16_t tag = places[i]->tag[at];
      if (bucket(homeOf(hash).number) == places[i]) continue;
      if (insertEntry(hash, tag, offset)) {
        clear(places[i], at);
      } else {
        remove(Entry{places[i], at});
        view_.counters[place_].evictions++;
      }
    }
  }
}

}  // namespace henge
