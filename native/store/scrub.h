// Makes a segment's index true again after its lock's holder died at an arbitrary instruction, or after an unclean stop of
// everything, or after damage.
//
// Stores to an index are ordered so that any prefix of them can be finished or undone: an entry is published by its offset
// and cleared by it; a moved entry is copied before it is cleared; a record overwritten in place is marked UPDATING and its
// new content stands complete in the dead worker's log. The scrub trusts nothing: it checks every page, entry and record,
// clears single entries that do not hold, puts those at the wrong place where lookups find them, and counts anew.
// It may itself be killed at any point and be run again.
#pragma once

#include "index.h"

namespace henge {

class Scrub {
 public:
  Scrub(View& view, uint32_t place) : view_(view), place_(place) {}

  // Under the segment's lock. `dead`: the place whose unfinished overwrite is to be completed, or null.
  void segment(uint32_t index, Place* dead);

  // An unclean arena, nobody else attached: which regions hold an index, then every segment, then which regions hold items.
  void everything();

 private:
  bool pageHolds(uint32_t segment, uint32_t pageNumber, uint32_t offset);
  PageOwner* ownerOf(uint32_t offset) const;
  uint32_t restoreOwnedPages(uint32_t segment);
  void restorePages(uint32_t segment);
  void checkEntries(uint32_t segment);
  void checkEntry(Index* index, Bucket* bucket, uint32_t number, uint32_t at);
  bool entryHolds(uint32_t segment, uint32_t offset, KeyPlace* place) const;
  bool chainHolds(const Record& record, uint64_t hash) const;
  void findIndexRegions();
  void reconcileRegions();
  void resumePages();

  View& view_;
  uint32_t place_;
  uint32_t lost_ = 0;  // entries of the segment in hand whose records did not hold
};

// Gives the record at `target` the staged content, keeping what is relative to its own region. Safe to repeat.
void overwriteInPlace(const View& view, uint32_t target, uint32_t staged);

}  // namespace henge
