#include "scrub.h"

#include <vector>

#include "scrub_copies.h"

namespace henge {

void overwriteInPlace(const View& view, uint32_t target, uint32_t staged) {
  const Record to(view, target);
  const Record from(view, staged);
  const Version version = from.version();
  __atomic_store_n(&to.head()->word, to.word() | Word::UPDATING, __ATOMIC_RELEASE);
  const uint32_t skip = static_cast<uint32_t>(sizeof(RecordHead));
  memcpy(view.at(target) + skip, view.at(staged) + skip, from.size() - skip);
  to.setVersion(version, false);
  to.head()->heat = from.head()->heat;
  __atomic_store_n(&to.head()->word, from.word(), __ATOMIC_RELEASE);
}

void Scrub::segment(uint32_t index, Place* dead) {
  const uint32_t target = dead == nullptr ? 0 : dead->intentTarget.load(std::memory_order_acquire);
  if (target != 0) {
    const uint32_t staged = dead->intentStaged.load(std::memory_order_relaxed);
    const bool isWhole = Record::plausible(view_, target) && Record::plausible(view_, staged);
    if (isWhole && view_.segmentOf(Record(view_, staged).place().slot) == index) overwriteInPlace(view_, target, staged);
  }
  restorePages(index);
  lost_ = 0;
  checkEntries(index);
  scrubCopies(view_, index, lost_ > 0);
  view_.counters[place_].scrubs++;
  if (target != 0) dead->intentTarget.store(0, std::memory_order_release);
}

// ---- pages ---------------------------------------------------------------------------------------------------------

PageOwner* Scrub::ownerOf(uint32_t offset) const {
  if (!view_.inRegions(offset)) return nullptr;
  const uint32_t inRegion = view_.bytesInRegion(offset);
  const uint32_t page = inRegion / view_.geometry.pageBytes;
  if (page == 0 || inRegion % view_.geometry.pageBytes != 0) return nullptr;
  return &Pool(view_).ownersOf(view_.regionOf(offset))[page];
}

// A page is a segment's if its owner entry says so, or if that entry was damaged and nobody else's directory claims the page.
bool Scrub::pageHolds(uint32_t segment, uint32_t pageNumber, uint32_t offset) {
  PageOwner* owner = ownerOf(offset);
  if (owner == nullptr) return false;
  if (RegionState::kind(view_.regionStates[view_.regionOf(offset)].load()) != RegionKind::INDEX) return false;
  if (owner->segment == segment + 1 && owner->pageNumber == pageNumber) return true;
  const uint32_t other = owner->segment - 1;
  const bool isDirectory = (owner->pageNumber & DIRECTORY_PAGE) != 0;
  if (other < view_.geometry.segments && !isDirectory && Index(view_, other, place_).pageAt(owner->pageNumber) == offset) return false;
  *owner = PageOwner{segment + 1, pageNumber};
  return true;
}

// Puts every page whose owner entry names this segment back into its directory; returns how many there are.
uint32_t Scrub::restoreOwnedPages(uint32_t segment) {
  Index index(view_, segment, place_);
  uint32_t* roots = view_.rootsOf(segment);
  const uint32_t perRegion = Pool::ownersPerRegion(view_);
  uint32_t owned = 0;
  for (uint32_t pass = 0; pass < 2; pass++) {
    const bool wantsDirectories = pass == 0;
    for (uint32_t region = 0; region < view_.regionCount; region++) {
      if (RegionState::kind(view_.regionStates[region].load(std::memory_order_relaxed)) != RegionKind::INDEX) continue;
      const PageOwner* owners = Pool(view_).ownersOf(region);
      for (uint32_t page = 1; page < perRegion; page++) {
        if (owners[page].segment != segment + 1) continue;
        const uint32_t number = owners[page].pageNumber & ~DIRECTORY_PAGE;
        if (((owners[page].pageNumber & DIRECTORY_PAGE) != 0) != wantsDirectories) continue;
        const uint32_t offset = view_.offsetOf(view_.region(region) + static_cast<size_t>(page) * view_.geometry.pageBytes);
        if (wantsDirectories && number < view_.rootsPerSegment) roots[number] = offset;
        if (!wantsDirectories && number < view_.pagesMax()) {
          owned++;
          index.setPage(number, offset);
        }
      }
    }
  }
  return owned;
}

void Scrub::restorePages(uint32_t number) {
  Segment& segment = view_.segments[number];
  Index index(view_, number, place_);
  uint32_t* roots = view_.rootsOf(number);
  for (uint32_t i = 0; i < view_.rootsPerSegment; i++) {
    const PageOwner* owner = roots[i] == 0 ? nullptr : ownerOf(roots[i]);
    const bool holds = owner != nullptr && RegionState::kind(view_.regionStates[view_.regionOf(roots[i])].load()) == RegionKind::INDEX &&
                       owner->segment == number + 1 && owner->pageNumber == (DIRECTORY_PAGE | i);
    if (!holds) roots[i] = 0;
  }
  const uint32_t owned = restoreOwnedPages(number);
  uint32_t pages = 0;
  while (pages < view_.pagesMax()) {
    const uint32_t offset = index.pageAt(pages);
    if (offset == 0 || !pageHolds(number, pages, offset)) {
      // A hole below the pages known to exist is filled, so that those above it are not lost with it.
      if (pages >= owned) break;
      const uint32_t fresh = Pool(view_).newPage(number, pages, place_);
      if (fresh == 0 || !index.setPage(pages, fresh)) break;
    }
    pages++;
  }
  segment.pages = pages;
  segment.buckets = pages << view_.pageShift;
  const bool isGrowing = segment.bucketsOld != 0 && segment.bucketsOld < segment.buckets && segment.frontier <= segment.bucketsOld &&
                         segment.bucketsOld % view_.bucketsPerPage == 0 && segment.frontier > 0;
  if (!isGrowing) {
    segment.bucketsOld = 0;
    segment.frontier = 0;
  }
}

// ---- entries -------------------------------------------------------------------------------------------------------

bool Scrub::chainHolds(const Record& record, uint64_t hash) const {
  const uint64_t total = static_cast<uint64_t>(record.keyBytes()) + record.valueBytes();
  uint64_t seen = record.inlineBytes();
  uint32_t offset = record.big().firstFragment;
  while (offset != 0) {
    if (!fragmentPlausible(view_, offset) || hashOfFragment(fragmentAt(view_, offset)) != hash) return false;
    seen += Word::payload(fragmentAt(view_, offset)->word);
    if (seen > total) return false;
    offset = fragmentAt(view_, offset)->next;
  }
  return seen == total;
}

bool Scrub::entryHolds(uint32_t segment, uint32_t offset, KeyPlace* place) const {
  if (!Record::plausible(view_, offset)) return false;
  const Record record(view_, offset);
  const RecordKind kind = record.kind();
  if (kind != RecordKind::ITEM && kind != RecordKind::TOMBSTONE) return false;
  const RegionKind region = RegionState::kind(view_.regionStates[view_.regionOf(offset)].load(std::memory_order_relaxed));
  if (region == RegionKind::FREE || region == RegionKind::INDEX) return false;
  *place = record.place();
  if (place->slot >= view_.slotCount() || view_.segmentOf(place->slot) != segment) return false;
  return !record.isBig() || chainHolds(record, place->hash);
}

void Scrub::checkEntry(Index* index, Bucket* bucket, uint32_t number, uint32_t at) {
  const uint32_t offset = bucket->offset[at];
  KeyPlace place;
  if (offset == 0 || !entryHolds(view_.segmentIndex(&index->segment()), offset, &place)) {
    if (offset != 0) lost_++;
    return Index::clear(bucket, at);
  }
  const uint16_t tag = Index::tagOf(place.slot, place.hash);
  bucket->tag[at] = tag;
  const Record record(view_, offset);
  record.head()->word = record.word() & ~Word::UPDATING;
  // A death while moving leaves an entry twice: the one that lookups find first stays.
  const Entry first = index->findOffset(place.hash, place.slot, offset);
  if (first.exists() && (first.bucket != bucket || first.at != at)) return Index::clear(bucket, at);
  if (index->reaches(place.hash, tag, number)) return;
  index->insertEntry(place.hash, tag, offset);
  Index::clear(bucket, at);
}

void Scrub::checkEntries(uint32_t number) {
  Segment& segment = view_.segments[number];
  Index index(view_, number, place_);
  const uint32_t buckets = segment.pages << view_.pageShift;
  for (uint32_t i = 0; i < buckets; i++) {
    Bucket* bucket = index.bucket(i);
    bucket->strides &= (1u << STRIDE_COUNT) - 1;
    for (uint32_t at = 0; at < ENTRIES; at++) {
      if (bucket->offset[at] != 0 || bucket->tag[at] != 0) checkEntry(&index, bucket, i, at);
    }
  }
  // Accounts anew, from what was left.
  const uint32_t firstSlot = number * view_.geometry.slotsPerSegment;
  for (uint32_t i = 0; i < view_.geometry.slotsPerSegment; i++) view_.slots[firstSlot + i].items = 0;
  segment.items = segment.tombstones = segment.entries = 0;
  segment.bytes = 0;
  for (uint32_t i = 0; i < buckets; i++) {
    const Bucket* bucket = index.bucket(i);
    for (uint32_t at = 0; at < ENTRIES; at++) {
      if (bucket->offset[at] == 0) continue;
      const Record record(view_, bucket->offset[at]);
      segment.entries++;
      segment.bytes += index.bytesOf(record);
      if (record.kind() == RecordKind::TOMBSTONE) {
        segment.tombstones++;
      } else {
        segment.items++;
        view_.slots[index.slotOfTag(bucket->tag[at])].items++;
      }
    }
  }
}

// ---- all of it -----------------------------------------------------------------------------------------------------

void Scrub::everything() {
  for (uint32_t i = 0; i < PLACES_MAX; i++) {
    Place& place = view_.places[i];
    const uint32_t target = place.intentTarget.load();
    const uint32_t staged = place.intentStaged.load();
    // Whose segment it is does not matter here: nobody else is attached.
    if (target != 0 && Record::plausible(view_, target) && Record::plausible(view_, staged)) {
      const Record to(view_, target);
      const bool isUnderWay = (to.word() & Word::UPDATING) != 0 && to.size() == Record(view_, staged).size();
      if (isUnderWay) overwriteInPlace(view_, target, staged);
    }
    place.intentTarget.store(0);
    place.pid.store(0);
    place.state.store(static_cast<uint32_t>(PlaceState::FREE));
  }
  findIndexRegions();
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    view_.segments[i].lock.store(0);
    segment(i, nullptr);
  }
  reconcileRegions();
  resumePages();
  scrubAllCopies(view_);
}

// A region holds an index if a segment's directory and the region's own list of owners agree on one of its pages. Every other
// region is taken to hold records until the entries have been checked.
void Scrub::findIndexRegions() {
  std::vector<bool> holdsIndex(view_.regionCount, false);
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    const auto note = [&](uint32_t offset, uint32_t number) {
      const PageOwner* owner = offset == 0 ? nullptr : ownerOf(offset);
      if (owner == nullptr || owner->segment != i + 1 || owner->pageNumber != number) return false;
      holdsIndex[view_.regionOf(offset)] = true;
      return true;
    };
    for (uint32_t page = 0; page < DIRECT_PAGES; page++) note(view_.segments[i].direct[page], page);
    const uint32_t perDirectory = view_.geometry.pageBytes / 4;
    for (uint32_t root = 0; root < view_.rootsPerSegment; root++) {
      const uint32_t directory = view_.rootsOf(i)[root];
      if (!note(directory, DIRECTORY_PAGE | root)) continue;
      const auto* pages = reinterpret_cast<const uint32_t*>(view_.at(directory));
      for (uint32_t page = 0; page < perDirectory; page++) note(pages[page], DIRECT_PAGES + root * perDirectory + page);
    }
  }
  for (uint32_t region = 0; region < view_.regionCount; region++) {
    const uint64_t word = view_.regionStates[region].load();
    const RegionKind kind = holdsIndex[region] ? RegionKind::INDEX : RegionKind::SEALED;
    view_.regionStates[region].store(RegionState::make(kind, RegionState::log(word), 0, RegionState::sequence(word)));
  }
}

void Scrub::reconcileRegions() {
  std::vector<uint32_t> reach(view_.regionCount, 0);
  const auto note = [&](uint32_t offset, uint32_t bytes) {
    const uint32_t end = view_.bytesInRegion(offset) + bytes;
    uint32_t& reached = reach[view_.regionOf(offset)];
    if (end > reached) reached = end;
  };
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    Index index(view_, i, place_);
    for (uint32_t b = 0; b < view_.segments[i].pages << view_.pageShift; b++) {
      const Bucket* bucket = index.bucket(b);
      for (uint32_t at = 0; at < ENTRIES; at++) {
        if (bucket->offset[at] == 0) continue;
        const Record record(view_, bucket->offset[at]);
        note(record.offset(), record.size());
        uint32_t fragment = record.isBig() ? record.big().firstFragment : 0;
        while (fragment != 0) {
          note(fragment, Record(view_, fragment).size());
          fragment = fragmentAt(view_, fragment)->next;
        }
      }
    }
  }
  uint64_t sequenceMax = 0;
  uint32_t free = 0;
  for (uint32_t region = 0; region < view_.regionCount; region++) {
    const uint64_t word = view_.regionStates[region].load();
    if (RegionState::kind(word) == RegionKind::INDEX) continue;
    if (reach[region] == 0) {
      view_.regionStates[region].store(RegionState::make(RegionKind::FREE, 0, 0, 0));
      free++;
      continue;
    }
    RegionMeta& meta = view_.regionMetas[region];
    if (meta.head < reach[region] || meta.head > view_.geometry.regionBytes) meta.head = reach[region];
    if (RegionState::sequence(word) > sequenceMax) sequenceMax = RegionState::sequence(word);
  }
  view_.header->regionSequence.store(sequenceMax + 1);
  view_.header->regionsFree.store(free);
}

// Cutting pages goes on in the index region with the most pages left.
void Scrub::resumePages() {
  const uint32_t perRegion = Pool::ownersPerRegion(view_);
  uint64_t cursor = 0;
  uint32_t leftMost = 0;
  for (uint32_t region = 0; region < view_.regionCount; region++) {
    if (RegionState::kind(view_.regionStates[region].load()) != RegionKind::INDEX) continue;
    const PageOwner* owners = Pool(view_).ownersOf(region);
    uint32_t next = perRegion;
    while (next > 1 && owners[next - 1].segment == 0) next--;
    if (perRegion - next <= leftMost) continue;
    leftMost = perRegion - next;
    cursor = static_cast<uint64_t>(region) << 32 | next;
  }
  view_.header->pageCursor.store(cursor);
}

}  // namespace henge
