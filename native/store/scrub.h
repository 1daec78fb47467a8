// Makes a segment's index true again after its lock's holder died at an arbitrary instruction, or after an unclean stop
// of everything, or after damage.
//
// Stores to an index are ordered so that any prefix of them can be finished or undone: an entry is published by its
// offset and cleared by it; a moved entry is copied before it is cleared; a record overwritten in place is marked
// UPDATING and its new content stands complete in the dead worker's log. The scrub trusts nothing: it checks every
// page, entry and record, clears single entries that do not hold, puts those at the wrong place where lookups find
// them, and counts anew. It may itself be killed at any point and be run again.
//
// Against damage every word that leads to more than one item stands twice (directory and page owners, region state and
// head), and of two that differ the one is believed that the rest agrees with.
#pragma once

#include <unordered_map>
#include <vector>

#include "index.h"

namespace henge {

class Scrub {
 public:
  Scrub(View& view, uint32_t place) : view_(view), place_(place) {}

  // Under the segment's lock. `deadWord`: the lock's word of the holder that died, whose unfinished overwrite is
  // completed, or 0.
  void segment(uint32_t index, uint32_t deadWord);

  // An unclean arena, nobody else attached: what each region holds, then every segment, then which regions are free.
  // False: nothing is left that could be a store.
  bool everything();

 private:
  enum class Placed { THERE, MOVED, NOWHERE };

  // scrub.cc: entries
  Place* holderOf(uint32_t word) const;
  bool finishOverwrite(Place* place, uint32_t segment);
  void checkEntries(uint32_t segment);
  void clearBroken(Index* index);
  void settleTags(Index* index);
  void chooseSize(Index* index);
  bool placeEntries(Index* index);
  Placed placeEntry(Index* index, Bucket* bucket, uint32_t number, uint32_t at);
  void clearUnplaced(Index* index);
  void count(Index* index);
  void lookForVersionGhosts(uint32_t number);
  bool entryHolds(uint32_t segment, uint32_t offset, KeyPlace* place) const;
  bool chainHolds(const Record& record, uint64_t hash) const;
  bool holdsRecords(uint32_t offset) const;
  void freePlaces();

  // scrub_regions.cc: pages and regions
  using Owned = std::unordered_map<uint64_t, uint32_t>;  // segment and page number to page
  PageOwner* ownerOf(uint32_t offset) const;
  bool isOwnedBy(uint32_t offset, uint32_t segment, uint32_t pageNumber) const;
  template <typename Visit>
  void eachOwner(Visit visit) const;
  void restoreRoots(uint32_t segment);
  void restorePages(uint32_t segment);
  uint32_t pageNamed(uint32_t segment, uint32_t pageNumber) const;
  void settleOwners();
  void settleOwner(const Owned& owned, uint32_t segment, uint32_t pageNumber, uint32_t offset);
  void decideRegions();
  bool isWalkable(uint32_t region, uint32_t end, const std::vector<uint32_t>& records) const;
  void reconcileRegions();
  void orderRegions();
  void resumePages();

  View& view_;
  uint32_t place_;
  uint32_t lost_ = 0;  // entries of the segment in hand whose records did not hold
};

// Gives the record at `target` the staged content, keeping what is relative to its own region. Safe to repeat.
void overwriteInPlace(const View& view, uint32_t target, uint32_t staged);

}  // namespace henge
