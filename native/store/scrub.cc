// The scrub's first half: overwrites that a death interrupted, entries, and accounts. scrub.h tells the idea; what lies
// below the entries is scrub_regions.cc.
#include "scrub.h"

#include "lock.h"

#include "scrub_copies.h"

namespace henge {

namespace {

constexpr uint32_t PASSES_MAX = 64;   // each but the last moves an entry; two or three are seen
constexpr uint32_t GROWTHS_MAX = 8;   // pages added for entries that find no place
constexpr uint64_t DAY_MS = 86'400'000;

template <typename Visit>
void eachEntry(const View& view, const Index& index, Visit visit) {
  for (uint32_t number = index.segment().pages << view.pageShift; number-- > 0;) {
    Bucket* bucket = index.bucket(number);
    for (uint32_t at = 0; at < ENTRIES; at++) {
      if (bucket->offset[at] != 0) visit(bucket, number, at);
    }
  }
}

bool isSameKey(const Record& a, const Record& b) {
  const KeyPlace first = a.place();
  const KeyPlace second = b.place();
  return first.hash == second.hash && first.slot == second.slot;
}

}  // namespace

void overwriteInPlace(const View& view, uint32_t target, uint32_t staged) {
  const Record to(view, target);
  const Record from(view, staged);
  const Version version = from.version();
  publish(&to.head()->word, to.word() | Word::UPDATING);
  const uint32_t skip = static_cast<uint32_t>(sizeof(RecordHead));
  memcpy(view.at(target) + skip, view.at(staged) + skip, from.size() - skip);
  to.setVersion(version, false);
  to.head()->heat = from.head()->heat;
  publish(&to.head()->word, from.word());
}

void Scrub::segment(uint32_t index, uint32_t deadWord) {
  // Who died may have been taking over from another that died: everybody's overwrite in this segment is finished.
  Place* dead[PLACES_MAX];
  uint32_t count = 0;
  for (uint32_t word = deadWord; count < PLACES_MAX && holderOf(word) != nullptr;
       word = dead[count - 1]->takingOver.load()) {
    dead[count++] = holderOf(word);
  }
  bool isFinished[PLACES_MAX] = {};
  for (uint32_t i = 0; i < count; i++) isFinished[i] = finishOverwrite(dead[i], index);
  restoreRoots(index);
  restorePages(index);
  lost_ = 0;
  checkEntries(index);
  scrubCopies(view_, index, lost_ > 0);
  view_.counters[place_].scrubs++;
  for (uint32_t i = 0; i < count; i++) {
    if (isFinished[i]) dead[i]->intentTarget.store(0, std::memory_order_release);
  }
}

Place* Scrub::holderOf(uint32_t word) const {
  const uint32_t number = placeOfWord(word);
  if (number >= PLACES_MAX) return nullptr;
  Place* place = &view_.places[number];
  return lockWord(number, place->incarnation.load()) == word ? place : nullptr;
}

// True: the place's overwrite was in this segment, and is done.
bool Scrub::finishOverwrite(Place* place, uint32_t segment) {
  const uint32_t target = place->intentTarget.load(std::memory_order_acquire);
  const uint32_t staged = place->intentStaged.load(std::memory_order_relaxed);
  if (target == 0 || !Record::plausible(view_, target) || !Record::plausible(view_, staged)) return false;
  const Record to(view_, target);
  const Record from(view_, staged);
  if (to.kind() != RecordKind::ITEM || from.kind() != RecordKind::ITEM || to.size() != from.size()) return false;
  if (!from.hasStamp() || !holdsRecords(target) || !isSameKey(from, to)) return false;
  if (view_.segmentOf(from.place().slot) != segment) return false;
  overwriteInPlace(view_, target, staged);
  return true;
}

// ---- entries -------------------------------------------------------------------------------------------------------

bool Scrub::holdsRecords(uint32_t offset) const {
  const RegionKind kind = RegionState::kind(view_.regionStates[view_.regionOf(offset)].load(std::memory_order_relaxed));
  return kind == RegionKind::OPEN || kind == RegionKind::SEALED || kind == RegionKind::EVICTING;
}

bool Scrub::chainHolds(const Record& record, uint64_t hash) const {
  const uint64_t total = static_cast<uint64_t>(record.keyBytes()) + record.valueBytes();
  uint64_t seen = record.inlineBytes();
  uint32_t offset = record.big().firstFragment;
  while (offset != 0) {
    if (!fragmentPlausible(view_, offset) || !holdsRecords(offset)) return false;
    const FragmentHead* fragment = fragmentAt(view_, offset);
    if (hashOfFragment(fragment) != hash) return false;
    seen += Word::payload(fragment->word);
    if (seen > total) return false;
    offset = fragment->next;
  }
  return seen == total;
}

bool Scrub::entryHolds(uint32_t segment, uint32_t offset, KeyPlace* place) const {
  if (!Record::plausible(view_, offset) || !holdsRecords(offset)) return false;
  const Record record(view_, offset);
  if (record.kind() != RecordKind::ITEM && record.kind() != RecordKind::TOMBSTONE) return false;
  // Still UPDATING: nobody could say with what, so it is torn.
  if ((record.word() & Word::UPDATING) != 0 || !record.hasStamp()) return false;
  *place = record.place();
  if (place->slot >= view_.slotCount() || view_.segmentOf(place->slot) != segment) return false;
  return !record.isBig() || chainHolds(record, place->hash);
}

// In this order, so that lookups and insertions meet nothing but whole records.
void Scrub::checkEntries(uint32_t number) {
  Index index(view_, number, place_);
  Segment& segment = view_.segments[number];
  // Who has lost all pages has no entries, whatever the accounts say.
  if (segment.pages == 0) return count(&index);
  clearBroken(&index);
  settleTags(&index);
  chooseSize(&index);
  bool isPlaced = placeEntries(&index);
  for (uint32_t i = 0; i < GROWTHS_MAX && !isPlaced; i++) {
    index.addPage();
    index.setSize(segment.pages << view_.pageShift);
    isPlaced = placeEntries(&index);
  }
  if (!isPlaced) clearUnplaced(&index);
  count(&index);
}

void Scrub::clearBroken(Index* index) {
  const uint32_t segment = view_.segmentIndex(&index->segment());
  for (uint32_t number = 0; number < index->segment().pages << view_.pageShift; number++) {
    Bucket* bucket = index->bucket(number);
    bucket->strides &= (1u << STRIDE_COUNT) - 1;
    for (uint32_t at = 0; at < ENTRIES; at++) {
      KeyPlace place;
      if (bucket->offset[at] != 0 && entryHolds(segment, bucket->offset[at], &place)) continue;
      if (bucket->offset[at] != 0) lost_++;
      Index::clear(bucket, at);
    }
  }
}

// A tag that is not its record's was damaged, or the record's key was. In the second case it may have come to be
// another's.
void Scrub::settleTags(Index* index) {
  eachEntry(view_, *index, [&](Bucket* bucket, uint32_t, uint32_t at) {
    const KeyPlace place = Record(view_, bucket->offset[at]).place();
    const uint16_t tag = Index::tagOf(place.slot, place.hash);
    if (bucket->tag[at] == tag) return;
    if (index->findTwin(place.hash, place.slot, Entry{bucket, at}).exists()) return Index::clear(bucket, at);
    bucket->tag[at] = tag;
  });
}

// A death leaves the entries of one home at most where the stored sizes do not want them. If more of them stand where
// an index of all pages, done with growing, wants them, the sizes were damaged. Every index can be brought to that size
// from the top down.
void Scrub::chooseSize(Index* index) {
  const uint32_t all = index->segment().pages << view_.pageShift;
  uint32_t asStored = 0;
  uint32_t asGrown = 0;
  eachEntry(view_, *index, [&](const Bucket* bucket, uint32_t number, uint32_t at) {
    const uint64_t hash = Record(view_, bucket->offset[at]).place().hash;
    asStored += Index::strideTo(index->homeOf(hash), bucket->tag[at], number) != NOWHERE;
    asGrown +=
        Index::strideTo(Home{static_cast<uint32_t>((hash >> 32) * all >> 32), all}, bucket->tag[at], number) != NOWHERE;
  });
  if (asGrown > asStored) index->setSize(all);
}

bool Scrub::placeEntries(Index* index) {
  for (uint32_t pass = 0; pass < PASSES_MAX; pass++) {
    bool hasMoved = false;
    bool isPlaced = true;
    eachEntry(view_, *index, [&](Bucket* bucket, uint32_t number, uint32_t at) {
      const Placed placed = placeEntry(index, bucket, number, at);
      hasMoved = hasMoved || placed == Placed::MOVED;
      isPlaced = isPlaced && placed != Placed::NOWHERE;
    });
    if (isPlaced || !hasMoved) return isPlaced;
  }
  return false;
}

Scrub::Placed Scrub::placeEntry(Index* index, Bucket* bucket, uint32_t number, uint32_t at) {
  const Record record(view_, bucket->offset[at]);
  const KeyPlace place = record.place();
  // A death while moving leaves an entry twice. Of two records of one key, which only damage can bring back, the older
  // goes.
  const Entry twin = index->findTwin(place.hash, place.slot, Entry{bucket, at});
  if (twin.exists()) {
    const Record other(view_, twin.offset());
    const bool isOlder = other.offset() == record.offset() || !(other.version() < record.version());
    Index::clear(isOlder ? bucket : twin.bucket, isOlder ? at : twin.at);
    if (isOlder) return Placed::MOVED;
  }
  if (index->reaches(place.hash, bucket->tag[at], number)) return Placed::THERE;
  if (!index->insertEntry(place.hash, bucket->tag[at], bucket->offset[at])) return Placed::NOWHERE;
  Index::clear(bucket, at);
  return Placed::MOVED;
}

void Scrub::clearUnplaced(Index* index) {
  eachEntry(view_, *index, [&](Bucket* bucket, uint32_t number, uint32_t at) {
    if (index->reaches(Record(view_, bucket->offset[at]).place().hash, bucket->tag[at], number)) return;
    Index::clear(bucket, at);
    view_.counters[place_].evictions++;
  });
}

// Accounts anew, from what was left.
void Scrub::count(Index* index) {
  Segment& segment = index->segment();
  Slot* slots = view_.slots + view_.segmentIndex(&segment) * view_.geometry.slotsPerSegment;
  for (uint32_t i = 0; i < view_.geometry.slotsPerSegment; i++) slots[i].items = 0;
  segment.items = segment.tombstones = segment.entries = 0;
  segment.bytes = 0;
  // No version is of tomorrow: a clock that says so was damaged, and goes on behind the youngest that is to be seen.
  const uint64_t latest = ((view_.manualClock ? nowMs(view_) : wallMs()) + DAY_MS) << 16;
  uint64_t youngest = 0;
  eachEntry(view_, *index, [&](const Bucket* bucket, uint32_t, uint32_t at) {
    const Record record(view_, bucket->offset[at]);
    segment.entries++;
    segment.bytes += index->bytesOf(record);
    const uint64_t time = record.version().time;
    if (time > youngest && time < latest) youngest = time;
    if (record.kind() == RecordKind::TOMBSTONE) {
      segment.tombstones++;
    } else {
      segment.items++;
      view_.slots[index->slotOfTag(bucket->tag[at])].items++;
    }
  });
  if (segment.clock < youngest || segment.clock > latest) segment.clock = youngest;
  for (uint32_t i = 0; i < view_.geometry.slotsPerSegment; i++) {
    if (slots[i].floorTime > latest) slots[i].floorTime = segment.clock;
  }
}

// Damage must not hide what keeps old copies from coming back.
void Scrub::lookForVersionGhosts(uint32_t number) {
  Segment& segment = view_.segments[number];
  segment.hasVersionGhosts = 1;
  const VersionGhosts ghosts = view_.versionGhostsOf(number);
  for (uint32_t i = 0; i < ghosts.size(); i++) {
    if (ghosts.at(i).hash != 0) return;
  }
  segment.hasVersionGhosts = 0;
}

// ---- all of it -----------------------------------------------------------------------------------------------------

bool Scrub::everything() {
  decideRegions();
  freePlaces();
  settleOwners();
  for (uint32_t i = 0; i < view_.geometry.segments; i++) restoreRoots(i);
  settleOwners();  // what roots found again lead to
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    view_.segments[i].lock.store(0);
    segment(i, 0);
    lookForVersionGhosts(i);
  }
  reconcileRegions();
  resumePages();
  scrubAllCopies(view_);
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    if (view_.segments[i].pages == 0) Pool(view_).firstPage(i);
    if (view_.segments[i].direct[0] == 0) return false;
  }
  return true;
}

// Nobody is attached any more. An overwrite is finished only where the record says that it is under way: nothing else
// vouches for the place's words here.
void Scrub::freePlaces() {
  for (uint32_t i = 0; i < PLACES_MAX; i++) {
    Place& place = view_.places[i];
    const uint32_t target = place.intentTarget.load();
    const bool isUnderWay =
        target != 0 && Record::plausible(view_, target) && (Record(view_, target).word() & Word::UPDATING) != 0;
    if (isUnderWay) finishOverwrite(&place, view_.segmentOf(Record(view_, target).place().slot));
    place.intentTarget.store(0);
    place.takingOver.store(0);
    place.pid.store(0);
    place.state.store(static_cast<uint32_t>(PlaceState::FREE));
  }
}

}  // namespace henge
