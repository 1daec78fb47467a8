// The pool of regions that logs and indexes are made of. The truth about a region is one atomic word (RegionState),
// taken by compare-and-swap; there are no lists to repair after a death. Looking for a free or the oldest region reads
// all words: some microseconds, once per region filled.
//
//   FREE --claim--> OPEN (a worker's log) --seal--> SEALED --evict--> EVICTING --release--> FREE
//     \--newPage--> INDEX (cut into pages, never given back)
#pragma once

#include "view.h"

namespace henge {

constexpr uint32_t NO_REGION = UINT32_MAX;
constexpr uint32_t LOG_NEW = 0;
constexpr uint32_t LOG_KEPT = 1;

class Pool {
 public:
  explicit Pool(View& view) : view_(view) {}

  void format();
  // A region to append to, or NO_REGION when no more than `reserve` are free.
  uint32_t claim(uint32_t log, uint32_t place, uint32_t reserve);
  void seal(uint32_t region);
  // After a death, or when a worker leaves: its open regions are sealed, those it was evicting too. An index region
  // that it opened and nobody was shown is free again.
  void sealAll(uint32_t place);
  bool beginEviction(uint32_t region, uint32_t place);
  void release(uint32_t region);

  uint32_t freeHint() const { return view_.header->regionsFree.load(std::memory_order_relaxed); }
  uint32_t countFree() const;
  uint32_t oldestSealed(uint32_t log) const;
  bool isSealed(uint32_t region) const {
    return RegionState::kind(view_.regionStates[region].load(std::memory_order_acquire)) == RegionKind::SEALED;
  }

  // A zeroed index page for a segment, as a record offset; 0 when no region is to be had.
  uint32_t newPage(uint32_t segment, uint32_t pageNumber, uint32_t place);
  // Nobody will use this page after all. It is not cut again.
  void disown(uint32_t page) {
    ownersOf(view_.regionOf(page))[view_.bytesInRegion(page) / view_.geometry.pageBytes] = PageOwner{};
  }
  void firstPage(uint32_t segment);

  static uint32_t ownersPerRegion(const View& view) { return view.geometry.regionBytes / view.geometry.pageBytes; }
  // Indexed by page, from 1: the first page holds the region's head and these.
  PageOwner* ownersOf(uint32_t region) const {
    return reinterpret_cast<PageOwner*>(view_.region(region) + REGION_HEAD_BYTES) - 1;
  }
  RegionHead* headOf(uint32_t region) const { return reinterpret_cast<RegionHead*>(view_.region(region)); }
  void writeHead(uint32_t region, uint64_t word) { *headOf(region) = RegionHead{word, ~word}; }

 private:
  uint32_t openIndexRegion(uint64_t cursor, uint32_t place);
  void closeIndexRegion(uint32_t region);
  void set(uint32_t region, RegionKind kind, uint32_t log, uint32_t place, uint64_t sequence) {
    view_.regionStates[region].store(RegionState::make(kind, log, place, sequence), std::memory_order_release);
  }

  View& view_;
};

}  // namespace henge
