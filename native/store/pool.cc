#include "pool.h"

namespace henge {

void Pool::format() {
  for (uint32_t i = 0; i < view_.regionCount; i++) set(i, RegionKind::FREE, 0, NO_OWNER, 0);
  view_.header->regionsFree.store(view_.regionCount);
  view_.header->regionSequence.store(1);
  view_.header->pageCursor.store(0);
}

uint32_t Pool::claim(uint32_t log, uint32_t place, uint32_t reserve) {
  Header* header = view_.header;
  if (freeHint() <= reserve && countFree() <= reserve) return NO_REGION;
  const uint32_t start = header->freeHint.load(std::memory_order_relaxed) % view_.regionCount;
  for (uint32_t i = 0; i < view_.regionCount; i++) {
    const uint32_t region = start + i < view_.regionCount ? start + i : start + i - view_.regionCount;
    uint64_t word = view_.regionStates[region].load(std::memory_order_relaxed);
    if (RegionState::kind(word) != RegionKind::FREE) continue;
    if (!view_.regionStates[region].compare_exchange_strong(word, RegionState::make(RegionKind::OPEN, log, place, 0)))
      continue;
    header->freeHint.store(region + 1, std::memory_order_relaxed);
    header->regionsFree.fetch_sub(1, std::memory_order_relaxed);
    RegionMeta& meta = view_.regionMetas[region];
    meta = RegionMeta{};
    meta.baseMs = nowMs(view_);
    meta.head = REGION_HEAD_BYTES;
    writeHead(region, meta.baseMs);
    return region;
  }
  header->regionsFree.store(0, std::memory_order_relaxed);
  return NO_REGION;
}

void Pool::seal(uint32_t region) {
  const uint64_t word = view_.regionStates[region].load(std::memory_order_relaxed);
  set(region, RegionKind::SEALED, RegionState::log(word), NO_OWNER, view_.header->regionSequence.fetch_add(1));
}

void Pool::sealAll(uint32_t place) {
  for (uint32_t i = 0; i < view_.regionCount; i++) {
    const uint64_t word = view_.regionStates[i].load(std::memory_order_acquire);
    if (RegionState::owner(word) != place) continue;
    const RegionKind kind = RegionState::kind(word);
    if (kind == RegionKind::OPEN || kind == RegionKind::EVICTING) seal(i);
    if (kind == RegionKind::INDEX) closeIndexRegion(i);
  }
}

bool Pool::beginEviction(uint32_t region, uint32_t place) {
  uint64_t word = view_.regionStates[region].load(std::memory_order_acquire);
  if (RegionState::kind(word) != RegionKind::SEALED) return false;
  const uint64_t evicting =
      RegionState::make(RegionKind::EVICTING, RegionState::log(word), place, RegionState::sequence(word));
  return view_.regionStates[region].compare_exchange_strong(word, evicting);
}

void Pool::release(uint32_t region) {
  set(region, RegionKind::FREE, 0, NO_OWNER, 0);
  view_.header->regionsFree.fetch_add(1, std::memory_order_relaxed);
  view_.header->freeHint.store(region, std::memory_order_relaxed);
}

uint32_t Pool::countFree() const {
  uint32_t count = 0;
  for (uint32_t i = 0; i < view_.regionCount; i++) {
    if (RegionState::kind(view_.regionStates[i].load(std::memory_order_relaxed)) == RegionKind::FREE) count++;
  }
  view_.header->regionsFree.store(count, std::memory_order_relaxed);
  return count;
}

uint32_t Pool::oldestSealed(uint32_t log) const {
  uint32_t oldest = NO_REGION;
  uint64_t oldestSequence = UINT64_MAX;
  for (uint32_t i = 0; i < view_.regionCount; i++) {
    const uint64_t word = view_.regionStates[i].load(std::memory_order_relaxed);
    if (RegionState::kind(word) != RegionKind::SEALED || RegionState::log(word) != log) continue;
    if (RegionState::sequence(word) >= oldestSequence) continue;
    oldest = i;
    oldestSequence = RegionState::sequence(word);
  }
  return oldest;
}

uint32_t Pool::openIndexRegion(uint64_t cursor, uint32_t place) {
  const uint32_t region = claim(LOG_NEW, place, 0);
  if (region == NO_REGION) return NO_REGION;
  memset(view_.region(region), 0, view_.geometry.pageBytes);
  writeHead(region, INDEX_REGION);
  set(region, RegionKind::INDEX, 0, place, 0);
  // Page 0 holds the owners, so cutting begins at 1.
  view_.header->pageCursor.compare_exchange_strong(cursor, static_cast<uint64_t>(region) << 32 | 1);
  closeIndexRegion(region);
  return region;
}

// An index region belongs to who opened it until the cursor says that everybody may cut pages from it, or never will.
void Pool::closeIndexRegion(uint32_t region) {
  const PageOwner* owners = ownersOf(region);
  bool isShown = view_.header->pageCursor.load() >> 32 == region;
  for (uint32_t page = 1; page < ownersPerRegion(view_); page++) isShown = isShown || owners[page].segment != 0;
  if (isShown) return set(region, RegionKind::INDEX, 0, NO_OWNER, 0);
  writeHead(region, 0);
  release(region);
}

uint32_t Pool::newPage(uint32_t segment, uint32_t pageNumber, uint32_t place) {
  const uint32_t pagesPerRegion = ownersPerRegion(view_);
  for (;;) {
    uint64_t cursor = view_.header->pageCursor.load(std::memory_order_acquire);
    const uint32_t region = static_cast<uint32_t>(cursor >> 32);
    const uint32_t page = static_cast<uint32_t>(cursor);
    const bool isUsable = cursor != 0 && region < view_.regionCount && page > 0 && page < pagesPerRegion &&
                          RegionState::kind(view_.regionStates[region].load()) == RegionKind::INDEX;
    if (!isUsable) {
      if (openIndexRegion(cursor, place) == NO_REGION) return 0;
      continue;
    }
    if (!view_.header->pageCursor.compare_exchange_weak(cursor, cursor + 1)) continue;
    char* at = view_.region(region) + static_cast<size_t>(page) * view_.geometry.pageBytes;
    memset(at, 0, view_.geometry.pageBytes);
    ownersOf(region)[page] = PageOwner{segment + 1, pageNumber};
    return view_.offsetOf(at);
  }
}

void Pool::firstPage(uint32_t segment) {
  Segment& s = view_.segments[segment];
  s.direct[0] = newPage(segment, 0, 0);
  s.pages = 1;
  s.buckets = view_.bucketsPerPage;
}

}  // namespace henge
