// Everything of a client or of this node itself that goes through many items: scans and clears by prefix, walks by
// slot, digests, drops, the expiry sweep. What goes to other nodes is in worker_collect.cc.
#include "guard.h"
#include "worker_visit.h"

namespace henge {

namespace {

constexpr uint32_t HOMES_PER_SCAN =
    512;  // a scan whose prefix matches nothing still answers within a fraction of a millisecond
constexpr uint32_t HOMES_PER_SWEEP = 256;
constexpr uint32_t SWEEPS_MAX = 8;
constexpr uint32_t DELETES_PER_CLEAR = 128;  // each is a frame to every copy, and rings hold some thousand

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
    at.hash = visitHomes(at.segment, at.hash, 1, ALL_SLOTS, [&](Index&, const Entry& entry, const KeyPlace&) {
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

uint32_t Worker::clear(uint64_t cursor, std::string_view prefix, uint64_t* horizon, uint64_t* next,
                       const std::function<void(const Written&)>& sent) {
  if (*horizon == 0) *horizon = nowMs_ << 16 | 0xffff;
  Cursor at = Cursor::from(cursor);
  uint32_t deleted = 0;
  *next = 0;
  if (at.segment >= view_.geometry.segments) return 0;
  std::vector<std::string> keys;
  const uint32_t homes = HOMES_PER_SCAN;
  at.hash =
      visitHomes(at.segment, at.hash, homes, ALL_SLOTS, [&](Index& index, const Entry& entry, const KeyPlace& place) {
        const Record record(view_, entry.offset());
        if (record.kind() != RecordKind::ITEM || record.keyBytes() < prefix.size() || record.version().time > *horizon)
          return true;
        if (view_.slots[place.slot].state != static_cast<uint8_t>(SlotState::PRIMARY)) return true;
        std::string key(record.keyBytes(), 0);
        if (!record.copy(0, record.keyBytes(), key.data()) || key.compare(0, prefix.size(), prefix) != 0) return true;
        if (view_.replicated) {
          keys.push_back(std::move(key));  // a tombstone is a write of its own
          return keys.size() < DELETES_PER_CLEAR;
        }
        index.remove(entry);
        deleted++;
        return true;
      });
  for (const std::string& key : keys) {
    Operation operation;
    operation.opcode = protocol::Opcode::DELETE;
    operation.key = key;
    prepare(&operation, 1);
    written_.linkCount = 0;
    if (remove(operation).status == protocol::Status::OK) deleted++;
    if (written_.linkCount > 0) sent(written_);
  }
  *next = at.word(view_.geometry.segments);
  return deleted;
}

// What an entry points to; a large item is put together in *whole. False: its chain is broken.
bool Worker::readItem(const Index& index, const Entry& entry, const KeyPlace& place, std::string* whole,
                      Item* item) const {
  const Record record(view_, entry.offset());
  item->kind = record.kind() == RecordKind::TOMBSTONE ? protocol::ItemKind::TOMBSTONE : protocol::ItemKind::ITEM;
  item->hash = place.hash;
  item->slot = index.slotOfTag(entry.tag());
  item->version = record.version();
  item->encoding = record.encoding();
  item->expiresAt = record.expiresAt();
  item->heat = view_.learner->carried(record.head()->heat);
  if (item->kind == protocol::ItemKind::TOMBSTONE) return true;
  if (!record.isBig()) {
    item->key = record.key();
    item->value = record.value();
    return true;
  }
  whole->resize(static_cast<size_t>(record.keyBytes()) + record.valueBytes());
  if (!record.copy(0, static_cast<uint32_t>(whole->size()), whole->data())) return false;
  item->key = std::string_view(*whole).substr(0, record.keyBytes());
  item->value = std::string_view(*whole).substr(record.keyBytes());
  return true;
}

uint64_t Worker::walk(uint32_t segment, uint32_t mask, uint64_t cursor, const std::function<void(const Item&)>& visit) {
  std::string whole;
  const uint64_t next =
      visitHomes(segment, cursor, HOMES_PER_LOCK, mask, [&](Index& index, const Entry& entry, const KeyPlace& place) {
        const Record record(view_, entry.offset());
        if (record.isExpired(nowMs_)) return true;
        Item item;
        if (!readItem(index, entry, place, &whole, &item)) return true;
        visit(item);
        return true;
      });
  return next >= HASHES ? 0 : next;
}

// Over all that is known of a slot's keys, what was evicted or has expired included: copies evict independently, and
// are equal nevertheless.
Digest Worker::digest(uint16_t slot) {
  Digest digest;
  const uint16_t local = view_.localSlot(slot);
  const uint32_t segment = view_.segmentOf(local);
  const auto add = [&](uint64_t hash, const Version& version) {
    uint64_t word =
        hash ^ version.time * 0x9e3779b97f4a7c15ULL ^ static_cast<uint64_t>(version.epoch) << 20 ^ version.node;
    digest.sum += splitmix(&word);
    digest.items++;
  };
  for (uint64_t at = 0; at < HASHES;) {
    at = visitHomes(segment, at, HOMES_PER_LOCK, ALL_SLOTS, [&](Index&, const Entry& entry, const KeyPlace& place) {
      if (place.slot == local) add(place.hash, Record(view_, entry.offset()).version());
      return true;
    });
  }
  if (!view_.replicated) return digest;
  const Hold hold(locker_, &view_.segments[segment]);
  const VersionGhosts ghosts = view_.versionGhostsOf(segment);
  for (uint32_t i = 0; i < ghosts.size(); i++) {
    const VersionGhosts::Entry& ghost = ghosts.at(i);
    if (ghost.hash != 0 && ghost.slot == local) add(ghost.hash, ghost.version());
  }
  return digest;
}

void Worker::drop(std::string_view slots) {
  for (uint32_t slot = 0; slot < view_.slotCount(); slot++) {
    if (slot / 8 < slots.size() && (static_cast<uint8_t>(slots[slot / 8]) >> (slot & 7) & 1) != 0)
      dropSlot(static_cast<uint16_t>(slot));
  }
}

// Whoever gets the slot back gets it from its leader, and must not be kept from it by what is remembered here.
void Worker::dropSlot(uint16_t slot) {
  const uint32_t segment = view_.segmentOf(slot);
  const auto isFree = [&] { return view_.slots[slot].state == static_cast<uint8_t>(SlotState::NONE); };
  for (uint64_t at = 0; at < HASHES;) {
    const uint32_t homes = HOMES_PER_LOCK;
    at = visitHomes(segment, at, homes, ALL_SLOTS, [&](Index& index, const Entry& entry, const KeyPlace& place) {
      if (place.slot == slot && isFree()) index.remove(entry);
      return true;
    });
  }
  const Hold hold(locker_, &view_.segments[segment]);
  if (view_.replicated && isFree())
    view_.versionGhostsOf(segment).forgetSlot(slot, Version{UINT32_MAX, UINT64_MAX, UINT16_MAX});
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
    sweepHash_ = visitHomes(sweepSegment_, sweepHash_, HOMES_PER_SWEEP, ALL_SLOTS,
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
