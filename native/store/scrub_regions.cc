// The scrub's second half: whose page each page of an index is, and what each region holds.
//
// A segment finds its pages through its directory, and an index region says of each of its pages whose it is. After a
// death the owners are the truth. After damage either may be wrong: an owner that no directory confirms gives way to a
// directory whose own page is nowhere to be found.
#include <algorithm>
#include <vector>

#include "scrub.h"

namespace henge {

namespace {

uint64_t ownedKey(uint32_t segment, uint32_t pageNumber) { return static_cast<uint64_t>(segment) << 32 | pageNumber; }

}  // namespace

// ---- pages ---------------------------------------------------------------------------------------------------------

// Null: no page of an index stands there.
PageOwner* Scrub::ownerOf(uint32_t offset) const {
  if (!view_.inRegions(offset)) return nullptr;
  const uint32_t region = view_.regionOf(offset);
  if (RegionState::kind(view_.regionStates[region].load(std::memory_order_relaxed)) != RegionKind::INDEX)
    return nullptr;
  const uint32_t inRegion = view_.bytesInRegion(offset);
  const uint32_t page = inRegion / view_.geometry.pageBytes;
  if (page == 0 || inRegion % view_.geometry.pageBytes != 0) return nullptr;
  return &Pool(view_).ownersOf(region)[page];
}

bool Scrub::isOwnedBy(uint32_t offset, uint32_t segment, uint32_t pageNumber) const {
  const PageOwner* owner = ownerOf(offset);
  return owner != nullptr && owner->segment == segment + 1 && owner->pageNumber == pageNumber;
}

// visit(segment, page number, offset) for every page that has an owner.
template <typename Visit>
void Scrub::eachOwner(Visit visit) const {
  const uint32_t perRegion = Pool::ownersPerRegion(view_);
  for (uint32_t region = 0; region < view_.regionCount; region++) {
    if (RegionState::kind(view_.regionStates[region].load(std::memory_order_relaxed)) != RegionKind::INDEX) continue;
    const PageOwner* owners = Pool(view_).ownersOf(region);
    for (uint32_t page = 1; page < perRegion; page++) {
      if (owners[page].segment == 0 || owners[page].segment > view_.geometry.segments) continue;
      visit(owners[page].segment - 1, owners[page].pageNumber,
            view_.offsetOf(view_.region(region) + static_cast<size_t>(page) * view_.geometry.pageBytes));
    }
  }
}

void Scrub::restoreRoots(uint32_t segment) {
  uint32_t* roots = view_.rootsOf(segment);
  for (uint32_t i = 0; i < view_.rootsPerSegment; i++) {
    if (!isOwnedBy(roots[i], segment, DIRECTORY_PAGE | i)) roots[i] = 0;
  }
  eachOwner([&](uint32_t owner, uint32_t number, uint32_t offset) {
    const uint32_t root = number & ~DIRECTORY_PAGE;
    if (owner != segment || (number & DIRECTORY_PAGE) == 0 || root >= view_.rootsPerSegment) return;
    if (roots[root] == 0) roots[root] = offset;
  });
}

// Roots come first, since pages beyond the direct ones are named in what they point to.
void Scrub::restorePages(uint32_t number) {
  Segment& segment = view_.segments[number];
  Index index(view_, number, place_);
  uint32_t pagesOwned = 0;
  eachOwner([&](uint32_t owner, uint32_t page, uint32_t offset) {
    if (owner != number || page >= view_.pagesMax()) return;
    if (page >= pagesOwned) pagesOwned = page + 1;
    if (!isOwnedBy(index.pageAt(page), number, page)) index.setPage(page, offset);
  });
  uint32_t pages = 0;
  for (; pages < pagesOwned; pages++) {
    if (isOwnedBy(index.pageAt(pages), number, pages)) continue;
    // A hole below pages that are known is filled, so that those above it are not lost with it.
    const uint32_t fresh = Pool(view_).newPage(number, pages, place_);
    if (fresh == 0 || !index.setPage(pages, fresh)) break;
  }
  segment.pages = pages;
  const uint32_t all = pages << view_.pageShift;
  const bool isSize = segment.buckets > 0 && segment.buckets <= all && segment.buckets % view_.bucketsPerPage == 0;
  const bool isGrowing = segment.bucketsOld > 0 && segment.bucketsOld < segment.buckets && segment.frontier > 0 &&
                         segment.bucketsOld % view_.bucketsPerPage == 0 && segment.frontier <= segment.bucketsOld;
  if (!isSize || !isGrowing) index.setSize(isSize ? segment.buckets : all);
}

uint32_t Scrub::pageNamed(uint32_t segment, uint32_t pageNumber) const {
  if (segment >= view_.geometry.segments) return 0;
  const uint32_t root = pageNumber & ~DIRECTORY_PAGE;
  if (root != pageNumber) return root < view_.rootsPerSegment ? view_.rootsOf(segment)[root] : 0;
  if (pageNumber >= view_.pagesMax()) return 0;
  const uint32_t itsRoot = pageNumber < DIRECT_PAGES ? 0 : (pageNumber - DIRECT_PAGES) / (view_.geometry.pageBytes / 4);
  const bool isReadable =
      pageNumber < DIRECT_PAGES || isOwnedBy(view_.rootsOf(segment)[itsRoot], segment, DIRECTORY_PAGE | itsRoot);
  return isReadable ? Index(view_, segment, place_).pageAt(pageNumber) : 0;
}

// Of a directory and an owner that differ, the owner is right if the directory that it names confirms it, or if the
// segment of the other directory owns the page in question elsewhere.
void Scrub::settleOwner(const Owned& owned, uint32_t segment, uint32_t pageNumber, uint32_t offset) {
  PageOwner* owner = ownerOf(offset);
  if (owner == nullptr || isOwnedBy(offset, segment, pageNumber) || owned.count(ownedKey(segment, pageNumber)) != 0)
    return;
  if (pageNamed(owner->segment - 1, owner->pageNumber) == offset) return;
  *owner = PageOwner{segment + 1, pageNumber};
}

void Scrub::settleOwners() {
  Owned owned;
  eachOwner(
      [&](uint32_t segment, uint32_t number, uint32_t offset) { owned.emplace(ownedKey(segment, number), offset); });
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    for (uint32_t root = 0; root < view_.rootsPerSegment; root++)
      settleOwner(owned, i, DIRECTORY_PAGE | root, view_.rootsOf(i)[root]);
    for (uint32_t page = 0; page < DIRECT_PAGES; page++) settleOwner(owned, i, page, view_.segments[i].direct[page]);
  }
  const uint32_t perDirectory = view_.geometry.pageBytes / 4;
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    for (uint32_t root = 0; root < view_.rootsPerSegment; root++) {
      const uint32_t directory = view_.rootsOf(i)[root];
      if (!isOwnedBy(directory, i, DIRECTORY_PAGE | root)) continue;
      const auto* pages = reinterpret_cast<const uint32_t*>(view_.at(directory));
      for (uint32_t page = 0; page < perDirectory; page++)
        settleOwner(owned, i, DIRECT_PAGES + root * perDirectory + page, pages[page]);
    }
  }
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

// ---- regions -------------------------------------------------------------------------------------------------------

// By the head where that is whole, else by the state. What holds no index is taken to hold records until the entries
// were seen.
void Scrub::decideRegions() {
  Pool pool(view_);
  for (uint32_t region = 0; region < view_.regionCount; region++) {
    const uint64_t word = view_.regionStates[region].load();
    const RegionHead head = *pool.headOf(region);
    const bool isWhole = head.check == ~head.word;
    const bool isIndex = isWhole ? head.word == INDEX_REGION : RegionState::kind(word) == RegionKind::INDEX;
    RegionMeta& meta = view_.regionMetas[region];
    if (isWhole && !isIndex) meta.baseMs = head.word;
    if (!isWhole && RegionState::kind(word) != RegionKind::FREE)
      pool.writeHead(region, isIndex ? INDEX_REGION : meta.baseMs);
    const RegionKind kind = isIndex ? RegionKind::INDEX : RegionKind::SEALED;
    view_.regionStates[region].store(
        RegionState::make(kind, RegionState::log(word), NO_OWNER, RegionState::sequence(word)));
  }
}

// Whether a walk from the region's start meets every one of these records, which are in order.
bool Scrub::isWalkable(uint32_t region, uint32_t end, const std::vector<uint32_t>& records) const {
  size_t met = 0;
  for (uint32_t at = REGION_HEAD_BYTES; at < end && met < records.size();) {
    const uint32_t offset = view_.offsetOf(view_.region(region) + at);
    if (records[met] < offset || !Record::plausible(view_, offset)) return false;
    if (records[met] == offset) met++;
    at += Record(view_, offset).size();
  }
  return met == records.size();
}

// What no entry reaches is free; the rest ends where the last of its records does, or behind.
void Scrub::reconcileRegions() {
  struct Use {
    uint32_t end = 0;
    uint32_t stamps = 0;
    std::vector<uint32_t> records;
  };
  std::vector<Use> uses(view_.regionCount);
  const auto note = [&](uint32_t offset, uint32_t stamps) {
    Use& use = uses[view_.regionOf(offset)];
    use.end = std::max(use.end, view_.bytesInRegion(offset) + Record(view_, offset).size());
    use.stamps = std::max(use.stamps, stamps);
    use.records.push_back(offset);
  };
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    const Index index(view_, i, place_);
    for (uint32_t b = 0; b < view_.segments[i].pages << view_.pageShift; b++) {
      for (const uint32_t offset : index.bucket(b)->offset) {
        if (offset == 0) continue;
        const Record record(view_, offset);
        note(offset, record.head()->stamp + 1u);
        uint32_t fragment = record.isBig() ? record.big().firstFragment : 0;
        for (; fragment != 0; fragment = fragmentAt(view_, fragment)->next) note(fragment, 0);
      }
    }
  }
  eachOwner(
      [&](uint32_t, uint32_t, uint32_t offset) { uses[view_.regionOf(offset)].end = view_.geometry.regionBytes; });
  for (uint32_t region = 0; region < view_.regionCount; region++) {
    if (uses[region].end == 0) {
      if (RegionState::kind(view_.regionStates[region].load()) == RegionKind::INDEX) Pool(view_).writeHead(region, 0);
      view_.regionStates[region].store(RegionState::make(RegionKind::FREE, 0, NO_OWNER, 0));
      continue;
    }
    RegionMeta& meta = view_.regionMetas[region];
    meta.stamps = static_cast<uint16_t>(uses[region].stamps);
    if (meta.head < uses[region].end || meta.head > view_.geometry.regionBytes) meta.head = uses[region].end;
    std::sort(uses[region].records.begin(), uses[region].records.end());
    meta.isBroken = isWalkable(region, meta.head, uses[region].records) ? 0 : 1;
  }
  orderRegions();
}

// Sequence numbers anew, in the order of the old: one that damage made huge would leave no room above it.
void Scrub::orderRegions() {
  std::vector<uint32_t> sealed;
  for (uint32_t region = 0; region < view_.regionCount; region++) {
    if (Pool(view_).isSealed(region)) sealed.push_back(region);
  }
  const auto sequenceOf = [&](uint32_t region) { return RegionState::sequence(view_.regionStates[region].load()); };
  std::sort(sealed.begin(), sealed.end(), [&](uint32_t a, uint32_t b) { return sequenceOf(a) < sequenceOf(b); });
  uint64_t sequence = 1;
  for (const uint32_t region : sealed) {
    const uint32_t log = RegionState::log(view_.regionStates[region].load());
    view_.regionStates[region].store(RegionState::make(RegionKind::SEALED, log, NO_OWNER, sequence++));
  }
  view_.header->regionSequence.store(sequence);
  Pool(view_).countFree();
}

}  // namespace henge
