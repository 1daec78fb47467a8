// Everything that goes through many items: walks by slot, scans and clears by prefix, digests, drops, the expiry sweep,
// and what another node's items become here.
//
// A walk goes in hash order, a few homes per taking of the lock. Since a home's place in that order does not depend on
// the size of the index, a cursor is a hash: whatever grows meanwhile, an item present throughout is met at least once.
#include "worker.h"

namespace henge {

namespace {

constexpr uint64_t HASHES = 1ULL << 32;      // of the half that orders the index; one past the last: the segment's end
constexpr uint32_t HOMES_PER_LOCK = 8;       // some 70 items: a few microseconds
constexpr uint32_t HOMES_PER_SCAN =
    512;  // a scan whose prefix matches nothing still answers within a fraction of a millisecond
constexpr uint32_t HOMES_PER_SWEEP = 256;
constexpr uint32_t SWEEPS_MAX = 8;

// A scan's cursor: segment and hash. The end of one segment is the start of the next.
struct Cursor {
  uint32_t segment;
  uint64_t hash;
  static Cursor from(uint64_t word) { return Cursor{static_cast<uint32_t>(word >> 33), word & (2 * HASHES - 1)}; }
  uint64_t word(uint32_t segments) const {
    if (hash < HASHES) return static_cast<uint64_t>(segment) << 33 | hash;
    return segment + 1 < segments ? static_cast<uint64_t>(segment + 1) << 33 : 0;
  }
};

}  // namespace

// Calls visit(index, entry, place) for every entry of the homes from hash `from` on, at most `homes` of them, under one
// lock. Returns the hash to go on at, HASHES at the end. Homes before the first that was not finished are never met
// twice.
template <typename Visit>
uint64_t Worker::visitHomes(uint32_t number, uint64_t from, uint32_t homes, Visit visit) {
  Segment* segment = &view_.segments[number];
  if (!locker_.acquire(segment)) return from;
  Index index(view_, number, place_);
  uint64_t at = from;
  bool goesOn = true;
  for (uint32_t i = 0; i < homes && at < HASHES && goesOn; i++) {
    const Home home = index.homeOf(at << 32);
    Bucket* buckets[STRIDE_COUNT + 1];
    const uint32_t count = index.bucketsOf(home, buckets);
    for (uint32_t b = 0; b < count && goesOn; b++) {
      for (uint32_t e = 0; e < ENTRIES && goesOn; e++) {
        if (buckets[b]->offset[e] == 0) continue;
        const KeyPlace place = Record(view_, buckets[b]->offset[e]).place();
        const Home its = index.homeOf(place.hash);
        if (its.number != home.number || its.size != home.size) continue;
        goesOn = visit(index, Entry{buckets[b], e}, place);
      }
    }
    if (!goesOn) break;
    const uint64_t next = ((static_cast<uint64_t>(home.number) + 1) * HASHES + home.size - 1) / home.size;
    at = next > at ? next : at + 1;
  }
  locker_.release(segment);
  return at;
}

size_t Worker::scan(uint64_t cursor, std::string_view prefix, uint32_t wanted, char* out, size_t outBytes,
                    uint64_t* next) {
  Cursor at = Cursor::from(cursor);
  size_t used = 0;
  size_t usedBeforeHome = 0;
  uint32_t keys = 0;
  uint64_t homeHash = at.hash;
  *next = 0;
  for (uint32_t homes = 0; homes < HOMES_PER_SCAN && keys < wanted && at.segment < view_.geometry.segments; homes++) {
    usedBeforeHome = used;
    homeHash = at.hash;
    bool isFull = false;
    at.hash = visitHomes(at.segment, at.hash, 1, [&](Index&, const Entry& entry, const KeyPlace&) {
      const Record record(view_, entry.offset());
      if (record.kind() != RecordKind::ITEM || record.isExpired(nowMs_) || record.keyBytes() < prefix.size())
        return true;
      const auto length = static_cast<uint16_t>(record.keyBytes());
      if (used + sizeof length + length > outBytes) {
        isFull = true;
        return false;
      }
      record.copy(0, length, out + used + sizeof length);
      if (memcmp(out + used + sizeof length, prefix.data(), prefix.size()) != 0) return true;
      memcpy(out + used, &length, sizeof length);
      used += sizeof length + length;
      keys++;
      return true;
    });
    // The answer is full in the middle of a home: that home is left to the next step, unless it is more than one answer
    // holds.
    if (isFull && usedBeforeHome > 0) {
      *next = Cursor{at.segment, homeHash}.word(view_.geometry.segments);
      return usedBeforeHome;
    }
    if (isFull) at.hash = homeHash + 1;
    if (at.hash >= HASHES) at = Cursor{at.segment + 1, 0};
  }
  if (at.segment < view_.geometry.segments) *next = at.word(view_.geometry.segments);
  return used;
}

uint32_t Worker::clear(uint64_t cursor, std::string_view prefix, uint64_t* horizon, uint64_t* next) {
  if (*horizon == 0) *horizon = nowMs_ << 16 | 0xffff;
  Cursor at = Cursor::from(cursor);
  uint32_t deleted = 0;
  *next = 0;
  if (at.segment >= view_.geometry.segments) return 0;
  std::vector<std::string> keys;
  at.hash =
      visitHomes(at.segment, at.hash, HOMES_PER_SCAN, [&](Index& index, const Entry& entry, const KeyPlace& place) {
        const Record record(view_, entry.offset());
        if (record.kind() != RecordKind::ITEM || record.keyBytes() < prefix.size() || record.version().time > *horizon)
          return true;
        if (view_.slots[place.slot].state != static_cast<uint8_t>(SlotState::PRIMARY)) return true;
        std::string key(record.keyBytes(), 0);
        if (!record.copy(0, record.keyBytes(), key.data()) || key.compare(0, prefix.size(), prefix) != 0) return true;
        if (view_.replicated) {
          keys.push_back(std::move(key));  // a tombstone is a write of its own
        } else {
          index.remove(entry);
          deleted++;
        }
        return true;
      });
  for (const std::string& key : keys) {
    Operation operation;
    operation.opcode = protocol::Opcode::DELETE;
    operation.key = key;
    prepare(&operation, 1);
    if (remove(operation).status == protocol::Status::OK) deleted++;
  }
  *next = at.word(view_.geometry.segments);
  return deleted;
}

uint64_t Worker::walk(uint32_t segment, uint32_t mask, uint64_t cursor, const std::function<void(const Item&)>& visit) {
  std::string whole;
  const uint64_t next =
      visitHomes(segment, cursor, HOMES_PER_LOCK, [&](Index& index, const Entry& entry, const KeyPlace& place) {
        const uint32_t inSegment = place.slot & (view_.geometry.slotsPerSegment - 1);
        if ((mask >> inSegment & 1) == 0) return true;
        const Record record(view_, entry.offset());
        if (record.isExpired(nowMs_)) return true;
        Item item;
        item.hash = place.hash;
        item.slot = index.slotOfTag(entry.tag());
        item.version = record.version();
        item.encoding = record.encoding();
        item.expiresAt = record.expiresAt();
        item.heat = view_.learner->carried(record.head()->heat);
        item.isTombstone = record.kind() == RecordKind::TOMBSTONE;
        if (!item.isTombstone && !record.isBig()) {
          item.key = record.key();
          item.value = record.value();
        } else if (!item.isTombstone) {
          whole.resize(static_cast<size_t>(record.keyBytes()) + record.valueBytes());
          if (!record.copy(0, static_cast<uint32_t>(whole.size()), whole.data())) return true;
          item.key = std::string_view(whole).substr(0, record.keyBytes());
          item.value = std::string_view(whole).substr(record.keyBytes());
        }
        visit(item);
        return true;
      });
  return next >= HASHES ? 0 : next;
}

Digest Worker::digest(uint16_t slot) {
  Digest digest;
  const uint16_t local = view_.localSlot(slot);
  const uint32_t segment = view_.segmentOf(local);
  const uint32_t mask = 1u << (local & (view_.geometry.slotsPerSegment - 1));
  uint64_t cursor = 0;
  do {
    cursor = walk(segment, mask, cursor, [&](const Item& item) {
      uint64_t word = item.hash ^ item.version.time * 0x9e3779b97f4a7c15ULL ^
                      static_cast<uint64_t>(item.version.epoch) << 20 ^ item.version.node;
      digest.sum += splitmix(&word);
      digest.items++;
    });
  } while (cursor != 0);
  return digest;
}

void Worker::drop(uint16_t slot) {
  const uint16_t local = view_.localSlot(slot);
  const uint32_t segment = view_.segmentOf(local);
  for (uint64_t at = 0; at < HASHES;) {
    at = visitHomes(segment, at, HOMES_PER_LOCK, [&](Index& index, const Entry& entry, const KeyPlace& place) {
      if (place.slot == local) index.remove(entry);
      return true;
    });
  }
}

Applied Worker::apply(const Item& item, bool fromPrimary) {
  Operation operation;
  operation.opcode = protocol::Opcode::SET;
  operation.key = item.key;
  operation.hash = item.hash;
  operation.slot = view_.localSlot(item.slot);
  if (!item.isTombstone) prepare(&operation, 1);
  const KeyPlace place{operation.hash, operation.slot};
  const uint32_t number = view_.segmentOf(place.slot);
  char name[TOMBSTONE_KEY_BYTES];
  memcpy(name, &place.hash, sizeof place.hash);
  memcpy(name + sizeof place.hash, &place.slot, sizeof place.slot);
  Chain chain;
  const size_t payload = item.key.size() + item.value.size();
  const bool isStaged = !item.isTombstone && isLarge(item.key.size(), item.value.size());
  if (isStaged && !(makeFree(regionsFor(payload)) && stage(place, item.key, item.value, &chain)))
    return Applied::NO_MEMORY;
  Applied result = Applied::NO_MEMORY;
  for (uint32_t tries = 0; tries < 4 && result == Applied::NO_MEMORY; tries++) {
    if (!makeRoom((isStaged ? chain.inlineBytes : static_cast<uint32_t>(payload)) + 128)) break;
    Segment* segment = &view_.segments[number];
    if (!locker_.acquire(segment)) {
      result = Applied::BUSY;
      break;
    }
    Index index(view_, number, place_);
    Entry entry =
        item.isTombstone ? index.findLiveHash(place.hash, place.slot) : index.find(place.hash, place.slot, item.key);
    if (!entry.exists()) entry = index.findTombstone(place.hash, place.slot);
    result = judge(entry, place, item.version, fromPrimary);
    if (result == Applied::APPLIED) {
      Draft draft;
      fill(&draft, item.isTombstone ? std::string_view(name, sizeof name) : item.key, item.value, chain);
      draft.kind = item.isTombstone ? RecordKind::TOMBSTONE : RecordKind::ITEM;
      draft.encoding = item.encoding;
      draft.expiresAt = item.expiresAt;
      draft.version = item.version;
      draft.heat = view_.learner->carried(item.heat);
      if (item.version.time > segment->clock) segment->clock = item.version.time;
      if (store(&index, entry, place, draft, false) != Stored::DONE) result = Applied::NO_MEMORY;
    }
    locker_.release(segment);
  }
  if (isStaged) {
    if (result != Applied::APPLIED) unstage(chain);
    new_.unhold();
  }
  return result;
}

// Whether a version from elsewhere is news (REPLICATION rules 4 and 11). Under the segment's lock.
Applied Worker::judge(const Entry& entry, const KeyPlace& place, const Version& version, bool fromPrimary) const {
  if (entry.exists()) return Record(view_, entry.offset()).version() < version ? Applied::APPLIED : Applied::SUPERSEDED;
  const Version ghost = view_.versionGhostsOf(view_.segmentOf(place.slot)).find(place.hash);
  if (!ghost.isZero() && !(ghost < version)) return Applied::REFUSED_GHOST;
  const Slot& slot = view_.slots[place.slot];
  const Version floor{slot.floorEpoch, slot.floorTime, slot.floorNode};
  if (!fromPrimary && !floor.isZero() && !(floor < version)) return Applied::REFUSED_GHOST;
  return Applied::APPLIED;
}

// ---- background ----------------------------------------------------------------------------------------------------

void Worker::tick() {
  beginChunk();
  Memory::slewClock(view_);
  sweep();
  if (Pool(view_).countFree() < 3 + (view_.regionCount >= 512 ? 6u : 0u)) evictor_.step(256, nowMs_);
}

// Walks on through the store and takes out what has expired; goes on at once where it finds much.
void Worker::sweep() {
  for (uint32_t i = 0; i < SWEEPS_MAX; i++) {
    uint32_t seen = 0;
    uint32_t expired = 0;
    sweepHash_ = visitHomes(sweepSegment_, sweepHash_, HOMES_PER_SWEEP,
                            [&](Index& index, const Entry& entry, const KeyPlace& place) {
                              seen++;
                              if (!Record(view_, entry.offset()).isExpired(nowMs_)) return true;
                              expire(&index, entry, place);
                              expired++;
                              return true;
                            });
    if (sweepHash_ >= HASHES) {
      sweepHash_ = 0;
      sweepSegment_ = (sweepSegment_ + 1) % view_.geometry.segments;
    }
    if (expired * 8 < seen || seen == 0) return;
  }
}

}  // namespace henge
