// What goes to other nodes from a walk: items as records, and what is known of those that are gone. A copy that was
// away may still have what was deleted, overwritten or evicted here meanwhile, so it is told of that too
// (REPLICATION.md rule 11).
//
//   cursor   0 .. sets of version ghosts       ghosts of the segment, floors before the first
//            ITEMS_FROM + hash                 its items and tombstones, in hash order
#include <algorithm>
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

// A record in a buffer, and where in the segment's order it stands.
struct Piece {
  uint64_t hash;
  size_t at;
  size_t bytes;
};

}  // namespace

Collected Worker::collect(uint32_t segment, uint32_t mask, uint64_t cursor, uint64_t sinceMs, size_t bytesMax) {
  Collected out;
  if (segment >= view_.geometry.segments) return out;
  if (cursor < ITEMS_FROM) {
    const uint64_t ghost = collectGone(segment, mask, cursor, sinceMs, bytesMax, &out);
    const bool isDone = !view_.replicated || ghost >= view_.versionGhostsOf(segment).size();
    out.next = isDone ? ITEMS_FROM : ghost;
    if (!isDone || out.bytes.size() >= bytesMax) return out;
    cursor = ITEMS_FROM;
  }
  const uint64_t hash = collectItems(segment, mask, cursor - ITEMS_FROM, sinceMs, bytesMax, &out);
  out.next = hash >= HASHES ? 0 : ITEMS_FROM + hash;
  return out;
}

// Returns the number of the next ghost. Only who gets a whole slot is told its floor: what is older goes there.
uint64_t Worker::collectGone(uint32_t segment, uint32_t mask, uint64_t from, uint64_t sinceMs, size_t bytesMax,
                             Collected* out) {
  if (!view_.replicated) return 0;
  const uint32_t perSegment = view_.geometry.slotsPerSegment;
  const VersionGhosts ghosts = view_.versionGhostsOf(segment);
  const auto isWanted = [&](uint32_t slot) { return (mask >> (slot & (perSegment - 1)) & 1) != 0; };
  if (from == 0 && sinceMs == 0) {
    const Hold hold(locker_, &view_.segments[segment]);
    for (uint32_t slot = segment * perSegment; slot < (segment + 1) * perSegment; slot++) {
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
  while (at < ghosts.size() && out->bytes.size() < bytesMax) {
    const Hold hold(locker_, &view_.segments[segment]);
    for (uint32_t i = 0; i < GHOSTS_PER_LOCK && at < ghosts.size() && out->bytes.size() < bytesMax; i++, at++) {
      const VersionGhosts::Entry& ghost = ghosts.at(static_cast<uint32_t>(at));
      if (ghost.hash == 0 || !isWanted(ghost.slot) || ghost.time >> 16 < sinceMs) continue;
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

// Returns the hash to go on at. A home that does not fit is cut at a hash.
uint64_t Worker::collectItems(uint32_t segment, uint32_t mask, uint64_t from, uint64_t sinceMs, size_t bytesMax,
                              Collected* out) {
  std::string whole;
  std::vector<Piece> pieces;
  uint64_t at = from;
  for (uint32_t homes = 0; homes < HOMES_PER_COLLECT && at < HASHES && out->bytes.size() < bytesMax; homes++) {
    Collected home;
    pieces.clear();
    const uint64_t next = visitHomes(segment, at, 1, [&](Index& index, const Entry& entry, const KeyPlace& place) {
      const bool isWanted = (mask >> (place.slot & (view_.geometry.slotsPerSegment - 1)) & 1) != 0;
      const Record record(view_, entry.offset());
      if (!isWanted || place.hash >> 32 < at || record.version().time >> 16 < sinceMs) return true;
      Item item;
      if (!readItem(index, entry, place, &whole, &item)) return true;
      if (record.isExpired(nowMs_)) {
        item.kind = protocol::ItemKind::GHOST;
        item.key = item.value = {};
      }
      const size_t before = home.bytes.size();
      addRecord(&home, item);
      pieces.push_back(Piece{place.hash >> 32, before, home.bytes.size() - before});
      return true;
    });
    if (next == at) break;  // its lock is held for long: the caller comes again
    std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.hash < b.hash; });
    for (const Piece& piece : pieces) {
      // What has the very hash that the step began at goes along in any case, so that every step goes on.
      const bool fits = out->bytes.empty() || out->bytes.size() + piece.bytes <= bytesMax || piece.hash == from;
      if (!fits) return piece.hash;
      out->bytes.append(home.bytes, piece.at, piece.bytes);
      out->items++;
    }
    at = next;
  }
  return at;
}

// The leader no longer knows what it deleted up to this version, so everything older goes; what is left of it comes
// anew, since a floor is sent only where the whole slot is.
Applied Worker::acceptFloor(const Item& item, const Arrival& arrival) {
  const uint16_t slot = view_.localSlot(item.slot);
  const uint32_t number = view_.segmentOf(slot);
  for (uint64_t at = 0; at < HASHES;) {
    at = visitHomes(number, at, HOMES_PER_LOCK, [&](Index& index, const Entry& entry, const KeyPlace& place) {
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
