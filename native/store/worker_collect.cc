// What goes to other nodes from a walk: items as records, and what is known of those that are gone. A copy that was
// away may still have what was deleted, overwritten or evicted here meanwhile, so it is told of that too
// (REPLICATION.md rule 11).
//
//   cursor   0 .. sets of version ghosts       ghosts of the segment, floors before the first
//            ITEMS_FROM + hash                 its items and tombstones, in hash order
#include <algorithm>
#include <utility>
#include <vector>

#include "guard.h"
#include "item_record.h"
#include "worker_visit.h"

namespace henge {

namespace {

constexpr uint64_t ITEMS_FROM = 1ULL << 40;
constexpr uint32_t HOMES_PER_COLLECT = 256;
constexpr uint32_t GHOSTS_PER_LOCK = 256;

void addRecord(Collected* out, const Item& item) {
  const size_t before = out->bytes.size();
  out->bytes.resize(before + itemRecordBytes(item));
  encodeItemRecord(out->bytes.data() + before, item);
  out->items++;
}

}  // namespace

Collected Worker::collect(const Extract& wanted, uint64_t cursor) {
  Collected out;
  if (wanted.segment >= view_.geometry.segments) return out;
  if (cursor < ITEMS_FROM) {
    const uint64_t ghost = wanted.isHotOnly ? 0 : collectGone(wanted, cursor, &out);
    const bool isDone =
        wanted.isHotOnly || !view_.replicated || ghost >= view_.versionGhostsOf(wanted.segment).size();
    out.next = isDone ? ITEMS_FROM : ghost;
    if (!isDone || out.bytes.size() >= wanted.bytesMax) return out;
    cursor = ITEMS_FROM;
  }
  const uint64_t hash = collectItems(wanted, cursor - ITEMS_FROM, &out);
  out.next = hash >= HASHES ? 0 : ITEMS_FROM + hash;
  return out;
}

// Returns the number of the next ghost. Only who gets a whole slot is told its floor: what is older goes there.
uint64_t Worker::collectGone(const Extract& wanted, uint64_t from, Collected* out) {
  if (!view_.replicated) return 0;
  const uint32_t perSegment = view_.geometry.slotsPerSegment;
  const VersionGhosts ghosts = view_.versionGhostsOf(wanted.segment);
  const auto isWanted = [&](uint32_t slot) { return (wanted.mask >> (slot & (perSegment - 1)) & 1) != 0; };
  if (from == 0 && wanted.sinceMs == 0) {
    const Hold hold(locker_, &view_.segments[wanted.segment]);
    for (uint32_t slot = wanted.segment * perSegment; slot < (wanted.segment + 1) * perSegment; slot++) {
      const Slot& word = view_.slots[slot];
      if (!isWanted(slot) || word.floorTime == 0) continue;
      Item item;
      item.kind = protocol::ItemKind::FLOOR;
      item.slot = static_cast<uint16_t>(slot);
      item.version = Version{word.floorEpoch, word.floorTime, word.floorNode};
      addRecord(out, item);
    }
  }
  uint64_t at = from;
  while (at < ghosts.size() && out->bytes.size() < wanted.bytesMax) {
    const Hold hold(locker_, &view_.segments[wanted.segment]);
    for (uint32_t i = 0; i < GHOSTS_PER_LOCK && at < ghosts.size() && out->bytes.size() < wanted.bytesMax; i++, at++) {
      const VersionGhosts::Entry& ghost = ghosts.at(static_cast<uint32_t>(at));
      if (ghost.hash == 0 || !isWanted(ghost.slot) || ghost.time >> 16 < wanted.sinceMs) continue;
      Item item;
      item.kind = protocol::ItemKind::GHOST;
      item.hash = ghost.hash;
      item.slot = ghost.slot;
      item.version = ghost.version();
      addRecord(out, item);
    }
  }
  return at;
}

// Returns the hash to go on at. A home that does not fit is left to the next step, or, if it is more than one step
// holds, cut at a hash.
uint64_t Worker::collectItems(const Extract& wanted, uint64_t from, Collected* out) {
  uint64_t at = from;
  for (uint32_t homes = 0; homes < HOMES_PER_COLLECT && at < HASHES && out->bytes.size() < wanted.bytesMax; homes++) {
    const size_t bytesBefore = out->bytes.size();
    const uint32_t itemsBefore = out->items;
    const uint64_t next = collectHome(wanted, at, out);
    if (next == at) break;  // its lock is held for long: the caller comes again
    if (out->bytes.size() > wanted.bytesMax) {
      if (bytesBefore == 0) return cutHome(wanted, at, next, out);
      out->bytes.resize(bytesBefore);
      out->items = itemsBefore;
      return at;
    }
    at = next;
  }
  return at;
}

// HOT while a node joins or returns: every item goes through here, straight into the frame it travels in.
uint64_t Worker::collectHome(const Extract& wanted, uint64_t from, Collected* out) {
  return visitHomes(wanted.segment, from, 1, wanted.mask, [&](Index& index, const Entry& entry, const KeyPlace& place) {
    const Record record(view_, entry.offset());
    if (place.hash >> 32 < from || record.version().time >> 16 < wanted.sinceMs) return true;
    if (wanted.isHotOnly && Learner::isNew(record.head()->heat)) return true;
    Item item;
    if (!readItem(index, entry, place, &whole_, &item)) return true;
    if (record.isExpired(nowMs_)) {
      item.kind = protocol::ItemKind::GHOST;
      item.key = item.value = {};
    }
    addRecord(out, item);
    return true;
  });
}

// Keeps of a home's records the lowest hashes that fit, and returns the hash of the first that does not. What has the
// very hash that the step began at goes along in any case, so that every step goes on.
uint64_t Worker::cutHome(const Extract& wanted, uint64_t from, uint64_t next, Collected* home) const {
  std::vector<std::pair<uint64_t, std::string>> records;
  std::string_view left = home->bytes;
  while (!left.empty()) {
    const std::string_view all = left;
    Item item;
    if (!decodeItemRecord(&left, &item)) break;
    records.emplace_back(item.hash >> 32, all.substr(0, all.size() - left.size()));
  }
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  *home = Collected{};
  for (const auto& [hash, bytes] : records) {
    const bool fits = home->bytes.empty() || home->bytes.size() + bytes.size() <= wanted.bytesMax || hash == from;
    if (!fits) return hash;
    home->bytes += bytes;
    home->items++;
  }
  return next;
}

// The leader no longer knows what it deleted up to this version, so everything older goes; what is left of it comes
// anew, since a floor is sent only where the whole slot is.
Applied Worker::acceptFloor(const Item& item, const Arrival& arrival) {
  const uint16_t slot = view_.localSlot(item.slot);
  const uint32_t number = view_.segmentOf(slot);
  for (uint64_t at = 0; at < HASHES;) {
    const uint32_t homes = HOMES_PER_LOCK;
    at = visitHomes(number, at, homes, ALL_SLOTS, [&](Index& index, const Entry& entry, const KeyPlace& place) {
      const bool isOlder = place.slot == slot && !(item.version < Record(view_, entry.offset()).version());
      if (isOlder && isFromLeader(slot, arrival)) index.remove(entry);
      return true;
    });
  }
  const Hold hold(locker_, &view_.segments[number]);
  if (!isFromLeader(slot, arrival)) return hasSay(slot, arrival) ? Applied::SUPERSEDED : Applied::STALE;
  if (!view_.replicated) return Applied::APPLIED;
  view_.versionGhostsOf(number).forgetSlot(slot, item.version);
  Evictor::raiseFloor(view_, slot, item.version);
  return Applied::APPLIED;
}

}  // namespace henge
