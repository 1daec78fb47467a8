// What other nodes' items become here. Two ways in: apply() for what the slot's leader writes, merge() for what a walk
// sends (catch-up, take-over) or a quorum read met. All is by version: twice, late or in any order comes to the same.
//
// Who may say something is decided under the segment's lock by the slot's row (REPLICATION.md rule 4): its leader, for
// as long as it has led without a gap; and, while this node leads, anybody with whom it merges.
#include <cstring>

#include "guard.h"
#include "installer.h"
#include "item_record.h"
#include "worker.h"

namespace henge {

namespace {

constexpr uint32_t ROOM_TRIES_MAX = 4;
constexpr uint32_t HEAD_BYTES_MAX = 128;  // more than any record has before its key

}  // namespace

Applied Worker::apply(const Item& item, uint16_t sender, uint32_t epoch, const Version* base) {
  const Applied applied = accept(item, Arrival{sender, epoch, false, base});
  pace();
  return applied;
}

Applied Worker::merge(const Item& item, uint16_t sender, uint32_t epoch) {
  const Applied applied = accept(item, Arrival{sender, epoch, true, nullptr});
  pace();
  return applied;
}

Applied Worker::accept(const Item& item, const Arrival& arrival) {
  if (arrival.sender != 0 && item.version.time >> 16 > nowMs_ + CLOCK_AHEAD_MS_MAX) {
    counters().clockRefusals++;
    return Applied::AHEAD;
  }
  KeyPlace place{item.hash, view_.localSlot(item.slot)};
  if (!item.key.empty()) {
    Operation operation;
    operation.key = item.key;
    prepare(&operation, 1);
    place = KeyPlace{operation.hash, operation.slot};
  }
  if (item.kind == protocol::ItemKind::FLOOR) return acceptFloor(item, arrival);
  if (item.kind == protocol::ItemKind::GHOST) return acceptGhost(item, place, arrival);
  return arrival.base != nullptr ? acceptExpiry(item, place, arrival) : acceptWhole(item, place, arrival);
}

// ---- who has a say -------------------------------------------------------------------------------------------------

bool Worker::isFromLeader(uint16_t slot, const Arrival& arrival) const {
  if (arrival.sender == 0) return !arrival.isMerge;
  const SlotMoment moment = momentOf(view_, slot);
  const bool isCopy = moment.state == SlotState::REPLICA || moment.state == SlotState::JOINING;
  return isCopy && moment.leader == arrival.sender && arrival.epoch >= moment.leaderEpoch;
}

bool Worker::hasSay(uint16_t slot, const Arrival& arrival) {
  if (arrival.sender != 0 && view_.rows != nullptr) {
    const Row& row = view_.rows[slot];
    const bool isKnown = row.nodes[0] == arrival.sender && (row.roles[0] & RowMark::GOAL) == 0;
    if (!isKnown) follow(slot, arrival.sender, arrival.epoch, arrival.isMerge);
  }
  return arrival.sender == 0 || isFromLeader(slot, arrival) || (arrival.isMerge && peers_.isLedHere(slot));
}

// Whether a version from elsewhere is news (REPLICATION rules 4 and 11).
Applied Worker::judge(const Entry& entry, const KeyPlace& place, const Version& version, bool isLeaders) const {
  if (entry.exists()) return Record(view_, entry.offset()).version() < version ? Applied::APPLIED : Applied::SUPERSEDED;
  const Version ghost = view_.versionGhostsOf(view_.segmentOf(place.slot)).find(place.hash);
  if (!ghost.isZero() && !(ghost < version)) return Applied::REFUSED_GHOST;
  const Slot& slot = view_.slots[place.slot];
  const Version floor{slot.floorEpoch, slot.floorTime, slot.floorNode};
  if (!isLeaders && !floor.isZero() && !(floor < version)) return Applied::REFUSED_GHOST;
  return Applied::APPLIED;
}

// What a leader got from one copy the others may lack; catch-up passes it on.
void Worker::passOn(uint16_t slot, const Arrival& arrival, const Version& version) {
  if (view_.rows == nullptr || arrival.sender == 0 || !peers_.isLedHere(slot)) return;
  const Row& row = view_.rows[slot];
  for (uint32_t i = 0; i < row.length && i < ROW_MAX; i++) {
    if (row.peers[i] < PEERS_MAX && row.nodes[i] != arrival.sender) peers_.miss(slot, row.peers[i], version.time >> 16);
  }
}

// What is older than this goes, and is remembered as gone.
void Worker::forgetOlder(Index* index, const Entry& entry, const KeyPlace& place, const Version& version) {
  if (entry.exists()) index->remove(entry);
  if (view_.replicated) Evictor::rememberVersion(view_, place.hash, place.slot, version);
}

// ---- items and tombstones ------------------------------------------------------------------------------------------

// A walk's item takes free space. Only one that was in use may push others out (REPLICATION rules 13 and 26).
bool Worker::makeRoomFor(const Item& item, const Arrival& arrival, uint32_t bytes) {
  const bool mayEvict = !arrival.isMerge || !Learner::isNew(item.heat);
  return mayEvict ? makeRoom(bytes) : hasFreeRoom(bytes);
}

Applied Worker::acceptWhole(const Item& item, const KeyPlace& place, const Arrival& arrival) {
  const bool isTombstone = item.kind == protocol::ItemKind::TOMBSTONE;
  char name[TOMBSTONE_KEY_BYTES];
  nameTombstone(name, place);
  Chain chain;
  const size_t payload = item.key.size() + item.value.size();
  const bool isStaged = !isTombstone && isLarge(item.key.size(), item.value.size());
  bool hasRoom = true;
  if (isStaged) {
    const bool mayEvict = !arrival.isMerge || !Learner::isNew(item.heat);
    hasRoom = (mayEvict ? makeFree(regionsFor(payload)) : hasFree(regionsFor(payload))) &&
              stage(place, item.key, item.value, &chain);
  }
  uint32_t bytes = (isStaged ? chain.inlineBytes : static_cast<uint32_t>(payload)) + HEAD_BYTES_MAX;
  Applied result = Applied::NO_MEMORY;
  for (uint32_t tries = 0; tries < ROOM_TRIES_MAX; tries++) {
    hasRoom = hasRoom && makeRoomFor(item, arrival, bytes);
    const Guard guard(locker_, &view_.segments[view_.segmentOf(place.slot)]);
    if (!guard.holds()) {
      result = Applied::BUSY;
      break;
    }
    if (!hasSay(place.slot, arrival)) {
      result = Applied::STALE;
      break;
    }
    Index index(view_, view_.segmentOf(place.slot), place_);
    Entry entry =
        isTombstone ? index.findLiveHash(place.hash, place.slot) : index.find(place.hash, place.slot, item.key);
    if (!entry.exists()) entry = index.findTombstone(place.hash, place.slot);
    result = judge(entry, place, item.version, isFromLeader(place.slot, arrival));
    if (result != Applied::APPLIED) break;
    Draft draft;
    fill(&draft, isTombstone ? std::string_view(name, sizeof name) : item.key, item.value, chain);
    draft.kind = isTombstone ? RecordKind::TOMBSTONE : RecordKind::ITEM;
    draft.encoding = item.encoding;
    draft.expiresAt = item.expiresAt;
    draft.version = item.version;
    draft.heat = view_.learner->carried(item.heat);
    Log* log = hasRoom ? logFor(draft) : nullptr;
    if (log != nullptr) {
      Segment& segment = index.segment();
      if (item.version.time > segment.clock) segment.clock = item.version.time;
      passOn(place.slot, arrival, item.version);
      store(log, &index, entry, place, draft, false);
      break;
    }
    result = Applied::NO_MEMORY;
    // As if it had been evicted at once: an older version must not be taken for it.
    if (arrival.isMerge && !hasRoom) forgetOlder(&index, entry, place, item.version);
    if (!hasRoom) break;
    bytes = Record::sizeOf(view_, draft, true);
  }
  if (isStaged) {
    if (result != Applied::APPLIED) unstage(chain);
    new_.unhold();
  }
  return result;
}

// A copy that has exactly the base takes the new expiry and version; any other needs the whole item.
Applied Worker::acceptExpiry(const Item& item, const KeyPlace& place, const Arrival& arrival) {
  if (!makeRoom(view_.payloadBytesMax() + HEAD_BYTES_MAX)) return Applied::NO_MEMORY;
  const Guard guard(locker_, &view_.segments[view_.segmentOf(place.slot)]);
  if (!guard.holds()) return Applied::BUSY;
  if (!hasSay(place.slot, arrival)) return Applied::STALE;
  Index index(view_, view_.segmentOf(place.slot), place_);
  const Entry entry = index.find(place.hash, place.slot, item.key);
  if (!entry.exists()) {
    const Applied judged = judge(index.findTombstone(place.hash, place.slot), place, item.version, true);
    return judged == Applied::APPLIED ? Applied::NEED_FULL : judged;
  }
  const Record record(view_, entry.offset());
  if (!(record.version() < item.version)) return Applied::SUPERSEDED;
  if (record.version() != *arrival.base) return Applied::NEED_FULL;
  Draft draft;
  fillAsBefore(&draft, record);
  draft.expiresAt = item.expiresAt;
  draft.version = item.version;
  draft.heat = record.head()->heat;
  Log* log = logFor(draft);
  if (log == nullptr) return Applied::NO_MEMORY;
  Segment& segment = index.segment();
  if (item.version.time > segment.clock) segment.clock = item.version.time;
  store(log, &index, entry, place, draft, true);
  return Applied::APPLIED;
}

// ---- what is gone elsewhere ----------------------------------------------------------------------------------------

Applied Worker::acceptGhost(const Item& item, const KeyPlace& place, const Arrival& arrival) {
  const Guard guard(locker_, &view_.segments[view_.segmentOf(place.slot)]);
  if (!guard.holds()) return Applied::BUSY;
  if (!hasSay(place.slot, arrival)) return Applied::STALE;
  Index index(view_, view_.segmentOf(place.slot), place_);
  Entry entry = index.findLiveHash(place.hash, place.slot);
  if (!entry.exists()) entry = index.findTombstone(place.hash, place.slot);
  const Applied judged = judge(entry, place, item.version, true);
  if (judged != Applied::APPLIED) return judged == Applied::REFUSED_GHOST ? Applied::SUPERSEDED : judged;
  passOn(place.slot, arrival, item.version);
  forgetOlder(&index, entry, place, item.version);
  return Applied::APPLIED;
}

// ---- comparing copies ----------------------------------------------------------------------------------------------

Match Worker::query(const Operation& key, const Version& theirs, uint16_t sender, uint32_t epoch, std::string* newer) {
  const Guard guard(locker_, &view_.segments[view_.segmentOf(key.slot)]);
  if (!guard.holds()) return Match::BUSY;
  if (!hasSay(key.slot, Arrival{sender, epoch, false, nullptr})) return Match::STALE;
  const KeyPlace place{key.hash, key.slot};
  Index index(view_, view_.segmentOf(key.slot), place_);
  Entry entry = findLiving(&index, key);
  const bool isAlive = entry.exists();
  if (!isAlive) entry = index.findTombstone(key.hash, key.slot);
  Item item;
  std::string whole;
  if (entry.exists()) {
    if (!readItem(index, entry, place, &whole, &item)) return Match::OLDER;
  } else {
    item.kind = protocol::ItemKind::GHOST;
    item.hash = place.hash;
    item.slot = place.slot;
    item.version = view_.versionGhostsOf(view_.segmentOf(place.slot)).find(place.hash);
  }
  // Neither has a value: that one of them knows why makes no difference.
  const bool areBothMisses = theirs.isZero() && !isAlive;
  if (areBothMisses || item.version == theirs) return Match::SAME;
  if (item.version < theirs) return Match::OLDER;
  newer->resize(itemRecordBytes(item));
  encodeItemRecord(newer->data(), item);
  return Match::NEWER;
}

bool Worker::describe(const Operation& key, int link, Written* out) {
  const Guard guard(locker_, &view_.segments[view_.segmentOf(key.slot)]);
  if (!guard.holds() || !leads(key.slot) || !canSend(static_cast<uint32_t>(link))) return false;
  Index index(view_, view_.segmentOf(key.slot), place_);
  Entry entry = findLiving(&index, key);
  if (!entry.exists()) entry = index.findTombstone(key.hash, key.slot);
  if (!entry.exists()) return false;
  const Record record(view_, entry.offset());
  const bool isTombstone = record.kind() == RecordKind::TOMBSTONE;
  *out = Written{};
  if (!isTombstone) {
    if (!record.copy(record.keyBytes(), record.valueBytes(), scratch_.get())) return false;
    out->key = key.key;
    out->value = std::string_view(scratch_.get(), record.valueBytes());
  }
  out->kind = isTombstone ? protocol::ItemKind::TOMBSTONE : protocol::ItemKind::ITEM;
  out->encoding = record.encoding();
  out->slot = key.slot;
  out->heat = view_.learner->carried(record.head()->heat);
  out->epoch = view_.slots[key.slot].epoch;
  out->hash = key.hash;
  out->expiresAt = record.expiresAt();
  out->version = record.version();
  out->links[out->linkCount++] = static_cast<uint8_t>(link);
  rings_.push(static_cast<uint32_t>(links_[link].ring), key.slot, out->version.time >> 16);
  return true;
}

}  // namespace henge
