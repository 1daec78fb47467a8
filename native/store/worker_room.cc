// A worker's records: how a draft becomes one, and where the room for it comes from. What is too large for one record
// is cut into fragments. Room is secured before a segment's lock is taken, since that may mean evicting.
#include <cassert>

#include "scrub.h"
#include "worker.h"

namespace henge {

namespace {

// Free regions below which a write pays for a little eviction ahead of need.
uint32_t highWater(const View& view) { return 3 + (view.regionCount >= 512 ? 6 : view.regionCount / 86); }
// Regions that only survivors of eviction may take.
uint32_t reserveOf(const View& view) { return view.regionCount >= 128 ? 3 : 2; }
// Enough for so many free regions. An eviction drops a quarter of a region at least; half of that may be lost again at
// the ends of regions that large survivors are copied to, and another worker may take what was freed.
uint32_t evictionsFor(uint32_t regions) { return 12 * regions; }

}  // namespace

void Worker::fill(Draft* draft, std::string_view key, std::string_view value, const Chain& chain) {
  draft->keyBytes = static_cast<uint32_t>(key.size());
  draft->valueBytes = static_cast<uint32_t>(value.size());
  draft->first = key;
  draft->second = value;
  draft->firstFragment = chain.first;
  if (chain.first == 0) return;
  draft->first = key.substr(0, chain.inlineBytes);
  draft->second = value.substr(0, chain.inlineBytes - draft->first.size());
}

// Key and value as they are; only the head is to change.
void Worker::fillAsBefore(Draft* draft, const Record& record) const {
  draft->first = std::string_view(view_.at(record.offset()) + record.payloadAt(), record.inlineBytes());
  draft->keyBytes = record.keyBytes();
  draft->valueBytes = record.valueBytes();
  draft->firstFragment = record.isBig() ? record.big().firstFragment : 0;
  draft->encoding = record.encoding();
}

void Worker::nameTombstone(char* name, const KeyPlace& place) {
  memcpy(name, &place.hash, sizeof place.hash);
  memcpy(name + sizeof place.hash, &place.slot, sizeof place.slot);
}

// The log that this draft may be appended to now, or null when room must be made first.
Log* Worker::logFor(const Draft& draft) {
  const uint32_t bytesMost = Record::sizeOf(view_, draft, true);
  Log* log = Learner::isNew(draft.heat) ? &new_ : &kept_;
  if (log->hasRoom(bytesMost)) return log;
  return new_.hasRoom(bytesMost) ? &new_ : nullptr;
}

// Under the lock, into a log that has room: nothing here can fail.
void Worker::store(Log* log, Index* index, const Entry& entry, const KeyPlace& place, const Draft& draft,
                   bool sharesFragments) {
  const bool isWide = Record::needsWide(log->baseMs(), draft.version.time);
  const uint32_t bytes = Record::sizeOf(view_, draft, isWide);
  const int stamped = log->intern(draft.version.epoch, draft.version.node, bytes);
  assert(stamped >= 0);
  const uint32_t staged = view_.offsetOf(log->headAt());
  Record::write(view_, log->headAt(), draft, static_cast<uint8_t>(stamped), log->baseMs(), isWide);
  if (entry.exists() && overwrite(entry, staged, sharesFragments)) return;
  log->commit(bytes);
  bytesAdded_ +=
      bytes + draft.keyBytes + draft.valueBytes - static_cast<uint32_t>(draft.first.size() + draft.second.size());
  if (entry.exists()) {
    index->replace(entry, staged, !sharesFragments);
  } else if (!index->insert(place.hash, place.slot, staged)) {
    insertAnyway(index, place, staged);
  }
  if (view_.replicated) view_.versionGhostsOf(view_.segmentOf(place.slot)).forget(place.hash);
  index->growStep();
}

// A record of the same size and shape takes the new content where it stands: counters and refreshed values do not turn
// the log over. The staged copy and the intent let a scrub finish what a death interrupts.
bool Worker::overwrite(const Entry& entry, uint32_t staged, bool sharesFragments) {
  const Record from(view_, staged);
  const Record to(view_, entry.offset());
  constexpr uint32_t SHAPE = Word::TTL | Word::BIG | 3u << 19;
  const bool isSameShape = from.size() == to.size() && (from.word() & SHAPE) == (to.word() & SHAPE) &&
                           from.head()->keyLength == to.head()->keyLength && from.head()->extra == to.head()->extra;
  if (!isSameShape || (to.isBig() && !(sharesFragments && to.keyBytes() == from.keyBytes()))) return false;
  const uint32_t region = view_.regionOf(to.offset());
  const Version version = from.version();
  if (findStamp(view_, region, version.epoch, version.node) < 0) return false;
  const bool isWide = (to.head()->extra & EXTRA_WIDE) != 0;
  if (!isWide && Record::needsWide(view_.regionMetas[region].baseMs, version.time)) return false;
  Place& place = view_.places[place_];
  place.intentStaged.store(staged, std::memory_order_relaxed);
  place.intentTarget.store(entry.offset(), std::memory_order_release);
  overwriteInPlace(view_, entry.offset(), staged);
  place.intentTarget.store(0, std::memory_order_release);
  return true;
}

// The index can neither place the entry nor grow. Something near its home has to go.
void Worker::insertAnyway(Index* index, const KeyPlace& place, uint32_t offset) {
  Bucket* home = index->bucket(index->homeOf(place.hash).number);
  uint32_t cheapest = 0;
  float least = 0;
  for (uint32_t at = 0; at < ENTRIES; at++) {
    const Record record(view_, home->offset[at]);
    const float score = view_.learner->score(record.head()->heat, record.size());
    if (at != 0 && score >= least) continue;
    cheapest = at;
    least = score;
  }
  if (view_.replicated) {
    const Record record(view_, home->offset[cheapest]);
    const KeyPlace its = record.place();
    Evictor::rememberVersion(view_, its.hash, its.slot, record.version());
  }
  index->remove(Entry{home, cheapest});
  counters().evictions++;
  index->insert(place.hash, place.slot, offset);
}

// ---- room ----------------------------------------------------------------------------------------------------------

bool Worker::makeRoom(uint32_t bytes) {
  for (uint32_t tries = 0; !new_.hasRoom(bytes); tries++) {
    if (new_.turn(reserveOf(view_))) continue;
    if (tries >= evictionsFor(1 + reserveOf(view_)) || !evictor_.run(nowMs_)) return false;
  }
  return true;
}

bool Worker::makeFree(uint32_t regions) {
  const Pool pool(view_);
  for (uint32_t tries = 0; pool.countFree() < regions + reserveOf(view_); tries++) {
    if (tries >= evictionsFor(regions + reserveOf(view_)) || !evictor_.run(nowMs_)) return false;
  }
  return true;
}

// The same without evicting anything.
bool Worker::hasFreeRoom(uint32_t bytes) { return new_.hasRoom(bytes) || new_.turn(reserveOf(view_)); }
bool Worker::hasFree(uint32_t regions) const { return Pool(view_).countFree() >= regions + reserveOf(view_); }

// Hot path: one eviction step for a few writes once free regions run short, so that no single write pays for a region.
void Worker::pace() {
  if (Pool(view_).freeHint() >= highWater(view_)) return;
  if (++paceDebt_ % 2 == 0) evictor_.step(8, nowMs_);
}

uint32_t Worker::regionsFor(size_t payloadBytes) const {
  return static_cast<uint32_t>(payloadBytes / view_.payloadBytesMax() / 7) + 2;  // seven pieces fill a region
}

// Writes what does not fit into one record as a chain of fragments, back to front, so that each knows the next. Free
// regions must have been secured; they stay open until unhold(), since nothing points to the pieces yet.
bool Worker::stage(const KeyPlace& place, std::string_view key, std::string_view value, Chain* chain) {
  const uint32_t piece = view_.payloadBytesMax();
  const uint64_t total = key.size() + value.size();
  chain->inlineBytes = static_cast<uint32_t>(key.size() < piece ? key.size() : piece);
  const auto fragments = static_cast<uint32_t>((total - chain->inlineBytes + piece - 1) / piece);
  new_.hold();
  for (uint32_t i = fragments; i > 0; i--) {
    const uint64_t from = chain->inlineBytes + static_cast<uint64_t>(i - 1) * piece;
    const auto bytes = static_cast<uint32_t>(total - from < piece ? total - from : piece);
    const uint32_t size = view_.rounded(static_cast<uint32_t>(sizeof(FragmentHead)) + bytes);
    if (!new_.hasRoom(size) && !new_.turn(0)) {
      unstage(*chain);
      new_.unhold();
      return false;
    }
    auto* fragment = reinterpret_cast<FragmentHead*>(new_.headAt());
    *fragment =
        FragmentHead{chain->first, static_cast<uint32_t>(place.hash), Word::make(bytes, RecordKind::FRAGMENT, 0, 0),
                     static_cast<uint32_t>(place.hash >> 32), place.slot};
    char* to = reinterpret_cast<char*>(fragment + 1);
    const auto ofKey =
        static_cast<uint32_t>(from < key.size() ? (key.size() - from < bytes ? key.size() - from : bytes) : 0);
    if (ofKey > 0) memcpy(to, key.data() + from, ofKey);
    if (bytes > ofKey) memcpy(to + ofKey, value.data() + (from + ofKey - key.size()), bytes - ofKey);
    chain->first = new_.commit(size);
  }
  return true;
}

void Worker::unstage(const Chain& chain) {
  for (uint32_t at = chain.first; at != 0;) {
    FragmentHead* fragment = fragmentAt(view_, at);
    at = fragment->next;
    fragment->hashLow = fragment->hashHigh = fragment->next = 0;
  }
}

}  // namespace henge
