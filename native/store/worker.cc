#include "worker.h"

#include "guard.h"

namespace henge {

namespace {

Answer answerOf(protocol::Status status) {
  Answer answer;
  answer.status = status;
  return answer;
}

}  // namespace

std::unique_ptr<Worker> Worker::open(Memory& memory, Failure* failure) {
  const int place = memory.takePlace();
  if (place < 0) {
    *failure = Failure{"WORKERS_EXHAUSTED", "All 16 places for workers are taken."};
    return nullptr;
  }
  return std::unique_ptr<Worker>(new Worker(memory, static_cast<uint32_t>(place)));
}

Worker::Worker(Memory& memory, uint32_t place)
    : memory_(memory),
      view_(memory.view()),
      place_(place),
      locker_(view_, place),
      new_(view_, place, LOG_NEW),
      kept_(view_, place, LOG_KEPT),
      evictor_(view_, locker_, new_, kept_, view_.seed.first ^ place ^ view_.places[place].incarnation.load()),
      peers_(view_),
      rings_(view_),
      random_(view_.seed.second ^ place),
      scratch_(new char[view_.valueBytesMax]),
      sealedAtMicroseconds_(view_.slotCount()) {
  beginChunk();
}

Worker::~Worker() {
  if (isAbandoned_) {
    memory_.reapPlace(place_);
    return;
  }
  new_.close();
  kept_.close();
  memory_.leavePlace(place_);
}

void Worker::beginChunk() {
  const uint64_t mono = monotonicMs();
  nowMs_ = nowMs(view_);
  view_.places[place_].stampMs.store(nowMs_, std::memory_order_release);
  view_.places[place_].heartbeatMs.store(mono, std::memory_order_relaxed);
  if (bytesAdded_ == 0) return;
  view_.learner->advance(bytesAdded_, view_.regionArea());
  bytesAdded_ = 0;
}

// Hot path. Three passes over the batch, each asking for the next one's cache lines: segment, bucket, record. What is
// read here is not locked, so every number is checked and none is believed afterwards.
void Worker::prepare(Operation* operations, size_t count) {
  for (size_t i = 0; i < count; i++) {
    Operation& operation = operations[i];
    operation.slot = view_.localSlot(slotOf(operation.key));
    operation.hash = view_.hash(operation.key);
    const Segment* segment = &view_.segments[view_.segmentOf(operation.slot)];
    __builtin_prefetch(segment);
    __builtin_prefetch(reinterpret_cast<const char*>(segment) + CACHE_LINE);
    __builtin_prefetch(&view_.slots[operation.slot]);
  }
  const Bucket* buckets[16];
  for (size_t i = 0; i < count; i++) {
    const uint32_t number = view_.segmentOf(operations[i].slot);
    const Index index(view_, number, place_);
    const uint32_t home = index.homeOf(operations[i].hash).number;
    buckets[i] = nullptr;
    const uint32_t page = index.pageAt(home >> view_.pageShift);
    if (!view_.inRegions(page)) continue;
    buckets[i] = reinterpret_cast<const Bucket*>(view_.at(page)) + (home & (view_.bucketsPerPage - 1));
    __builtin_prefetch(buckets[i]);
    const bool mayHaveGhost = operations[i].opcode == protocol::Opcode::SET && view_.segments[number].hasGhosts != 0;
    if (mayHaveGhost) __builtin_prefetch(view_.ghostsOf(number).bucketOf(operations[i].hash));
  }
  for (size_t i = 0; i < count; i++) {
    if (buckets[i] == nullptr) continue;
    const uint16_t tag = Index::tagOf(operations[i].slot, operations[i].hash);
    for (uint32_t at = 0; at < ENTRIES; at++) {
      if (buckets[i]->tag[at] != tag) continue;
      const uint32_t offset = buckets[i]->offset[at];
      if (!view_.inRegions(offset)) continue;
      __builtin_prefetch(view_.at(offset));
      __builtin_prefetch(view_.at(offset) + CACHE_LINE);
      __builtin_prefetch(view_.at(offset) + 2 * CACHE_LINE);
    }
  }
}

Answer Worker::execute(const Operation& operation, char* out) {
  written_.linkCount = 0;
  switch (operation.opcode) {
    case protocol::Opcode::GET:
      return get(operation, out);
    case protocol::Opcode::SET:
      return set(operation);
    case protocol::Opcode::DELETE:
      return remove(operation);
    case protocol::Opcode::TOUCH:
      return touch(operation);
    case protocol::Opcode::INCREMENT:
      return increment(operation);
    case protocol::Opcode::APPEND:
      return append(operation);
    default:
      return answerOf(protocol::Status::REFUSED);
  }
}

// ---- parts of every operation --------------------------------------------------------------------------------------

bool Worker::refuse(Answer* answer, protocol::Status status) const {
  answer->status = status;
  if (status != protocol::Status::MOVED) return false;
  answer->epoch = view_.header->epoch.load(std::memory_order_relaxed);
  view_.counters[place_].moved++;
  return false;
}

Entry Worker::findLiving(Index* index, const Operation& operation) {
  const Entry entry = index->find(operation.hash, operation.slot, operation.key);
  if (!entry.exists() || !Record(view_, entry.offset()).isExpired(nowMs_)) return entry;
  expire(index, entry, KeyPlace{operation.hash, operation.slot});
  return {};
}

void Worker::expire(Index* index, const Entry& entry, const KeyPlace& place) {
  if (view_.replicated)
    Evictor::rememberVersion(view_, place.hash, place.slot, Record(view_, entry.offset()).version());
  index->remove(entry);
  counters().expirations++;
}

// Above everything this segment has stamped, and everything known of the key (REPLICATION rules 1 and 11).
Version Worker::stamp(Segment* segment, uint16_t slot, uint64_t hash, const Version& before) {
  const Slot& word = view_.slots[slot];
  uint64_t time = nowMs_ << 16;
  if (time <= segment->clock) time = segment->clock + 1;
  if (time <= before.time) time = before.time + 1;
  if (view_.replicated) {
    const Version ghost = view_.versionGhostsOf(view_.segmentOf(slot)).find(hash);
    if (time <= ghost.time) time = ghost.time + 1;
    if (time <= word.floorTime) time = word.floorTime + 1;
  }
  segment->clock = time;
  return Version{word.epoch, time, view_.nodeNumber};
}

Heat Worker::heatOfNew(uint32_t segment, uint64_t hash) {
  Heat heat = 0;
  if (view_.segments[segment].hasGhosts == 0 || !view_.ghostsOf(segment).take(hash, &heat))
    return view_.learner->fresh();
  return view_.learner->touched(heat, place_, static_cast<uint32_t>(splitmix(&random_)));
}

// ---- reads ---------------------------------------------------------------------------------------------------------

// Hot path: one comparison for a read of a slot that is led here and in order.
bool Worker::mayRead(const Operation& operation, Answer* answer) const {
  const Slot& word = view_.slots[operation.slot];
  const uint32_t level = operation.flags & protocol::RequestFlag::LEVEL_MASK;
  if (word.state == static_cast<uint8_t>(SlotState::PRIMARY) && (word.flags | level) == 0) return true;
  return mayReadOther(operation, answer);
}

bool Worker::mayReadOther(const Operation& operation, Answer* answer) const {
  const Slot& word = view_.slots[operation.slot];
  const auto state = static_cast<SlotState>(word.state);
  const uint32_t level = operation.flags & protocol::RequestFlag::LEVEL_MASK;
  const bool isDeposed = (word.flags & SlotFlag::DEPOSED) != 0;
  const bool isDetached = (word.flags & SlotFlag::DETACHED) != 0;
  const bool isLeader = state == SlotState::PRIMARY && !isDeposed;
  const bool isGiven = state == SlotState::PRIMARY && (word.flags & SlotFlag::GIVEN) != 0;
  if (state == SlotState::NONE || isGiven) return refuse(answer, protocol::Status::MOVED);
  if (level == ReadLevel::NEAREST || level == ReadLevel::DEGRADED) {
    if (isLeader || (state == SlotState::REPLICA && !isDetached)) return true;
    const bool wasInSync = isDetached && (state == SlotState::REPLICA || state == SlotState::TAKING_OVER);
    if (level == ReadLevel::NEAREST || !wasInSync) return refuse(answer, protocol::Status::NOT_IN_SYNC);
    answer->hints |= protocol::Hint::DEGRADED;
    return true;
  }
  if (state == SlotState::REPLICA || state == SlotState::JOINING) return refuse(answer, protocol::Status::MOVED);
  if (!isLeader) return refuse(answer, protocol::Status::NOT_READY);
  if (level != ReadLevel::QUORUM) return true;
  answer->rowLinkCount = static_cast<uint8_t>(linksUp(operation.slot, answer->rowLinks));
  const bool isMerging = (word.flags & SlotFlag::MERGING) != 0;
  return !isMerging && answer->rowLinkCount >= acksFor(WriteLevel::QUORUM)
             ? true
             : refuse(answer, protocol::Status::NOT_READY);
}

// What is known of a key that is not here, for those who compare with other copies.
Version Worker::versionOfGone(const Index& index, const Operation& operation) const {
  const Entry tombstone = index.findTombstone(operation.hash, operation.slot);
  if (tombstone.exists()) return Record(view_, tombstone.offset()).version();
  return view_.versionGhostsOf(view_.segmentOf(operation.slot)).find(operation.hash);
}

Answer Worker::get(const Operation& operation, char* out) {
  const uint32_t number = view_.segmentOf(operation.slot);
  Segment* segment = &view_.segments[number];
  const Guard guard(locker_, segment);
  if (!guard.holds()) {
    counters().busy++;
    return answerOf(protocol::Status::BUSY);
  }
  Answer answer;
  if (!mayRead(operation, &answer)) return answer;
  Index index(view_, number, place_);
  const Entry entry = findLiving(&index, operation);
  if (!entry.exists()) {
    counters().misses++;
    answer.status = protocol::Status::NOT_FOUND;
    if (view_.replicated) answer.version = versionOfGone(index, operation);
    return answer;
  }
  const Record record(view_, entry.offset());
  counters().hits++;
  const Heat heat = view_.learner->touched(record.head()->heat, place_, static_cast<uint32_t>(splitmix(&random_)));
  if (heat != record.head()->heat) record.head()->heat = heat;
  answer.encoding = record.encoding();
  const bool isQuorum = (operation.flags & protocol::RequestFlag::LEVEL_MASK) == ReadLevel::QUORUM;
  if (isQuorum || (operation.flags & protocol::RequestFlag::WANT_META) != 0) {
    answer.version = record.version();
    answer.ttlMs = record.expiresAt() == 0 ? 0 : record.expiresAt() - nowMs_;
  }
  if ((operation.flags & protocol::RequestFlag::NO_VALUE) != 0) return answer;
  answer.valueBytes = record.valueBytes();
  if (!record.isBig()) {
    memcpy(out, record.valueAt(), answer.valueBytes);
  } else if (!record.copy(record.keyBytes(), answer.valueBytes, out)) {
    index.remove(entry);  // a broken chain: damage that the scrub has not met yet
    return answerOf(protocol::Status::NOT_FOUND);
  }
  return answer;
}

}  // namespace henge
