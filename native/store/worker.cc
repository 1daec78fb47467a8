#include "worker.h"

namespace henge {

namespace {

constexpr uint32_t WRITE_TRIES_MAX = 6;

class Guard {
 public:
  Guard(Locker& locker, Segment* segment) : locker_(locker), segment_(segment), holds_(locker.acquire(segment)) {}
  ~Guard() {
    if (holds_) locker_.release(segment_);
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  bool holds() const { return holds_; }

 private:
  Locker& locker_;
  Segment* segment_;
  bool holds_;
};

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
      random_(view_.seed.second ^ place),
      scratch_(new char[view_.valueBytesMax]) {
  beginChunk();
}

Worker::~Worker() {
  new_.close();
  kept_.close();
  memory_.leavePlace(place_);
}

void Worker::beginChunk() {
  const uint64_t mono = monotonicMs();
  nowMs_ = nowMs(view_);
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

bool Worker::isServed(uint16_t slot, Answer* answer) const {
  if (view_.slots[slot].state == static_cast<uint8_t>(SlotState::PRIMARY)) return true;
  answer->status = protocol::Status::MOVED;
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

// The heart of every write.
template <typename Decide>
Answer Worker::write(const Operation& operation, uint32_t bytesGuess, bool sharesFragments, Decide decide) {
  const uint32_t number = view_.segmentOf(operation.slot);
  Segment* segment = &view_.segments[number];
  const KeyPlace place{operation.hash, operation.slot};
  for (uint32_t tries = 0; tries < WRITE_TRIES_MAX; tries++) {
    if (!makeRoom(bytesGuess)) break;
    Answer answer;
    Draft draft;
    {
      const Guard guard(locker_, segment);
      if (!guard.holds()) {
        counters().busy++;
        return answerOf(protocol::Status::BUSY);
      }
      if (!isServed(operation.slot, &answer)) return answer;
      Index index(view_, number, place_);
      Entry entry = findLiving(&index, operation);
      const Record record = entry.exists() ? Record(view_, entry.offset()) : Record();
      if (!decide(entry.exists() ? &record : nullptr, &draft, &answer)) return answer;
      if (!entry.exists() && view_.replicated) entry = index.findTombstone(operation.hash, operation.slot);
      const Version before = entry.exists() ? Record(view_, entry.offset()).version() : Version();
      draft.version = stamp(segment, operation.slot, operation.hash, before);
      const bool isAlive = entry.exists() && Record(view_, entry.offset()).kind() == RecordKind::ITEM;
      draft.heat = isAlive ? Record(view_, entry.offset()).head()->heat : heatOfNew(number, operation.hash);
      if (store(&index, entry, place, draft, sharesFragments) == Stored::DONE) {
        answer.version = draft.version;
        answer.ttlMs = draft.expiresAt == 0 ? 0 : draft.expiresAt - nowMs_;
        return answer;
      }
      bytesGuess = Record::sizeOf(view_, draft, true);
    }
  }
  counters().outOfMemory++;
  return answerOf(protocol::Status::OUT_OF_MEMORY);
}

// ---- the operations ------------------------------------------------------------------------------------------------

Answer Worker::get(const Operation& operation, char* out) {
  const uint32_t number = view_.segmentOf(operation.slot);
  Segment* segment = &view_.segments[number];
  const Guard guard(locker_, segment);
  if (!guard.holds()) {
    counters().busy++;
    return answerOf(protocol::Status::BUSY);
  }
  Answer answer;
  if (!isServed(operation.slot, &answer)) return answer;
  Index index(view_, number, place_);
  const Entry entry = findLiving(&index, operation);
  if (!entry.exists()) {
    counters().misses++;
    return answerOf(protocol::Status::NOT_FOUND);
  }
  const Record record(view_, entry.offset());
  counters().hits++;
  const Heat heat = view_.learner->touched(record.head()->heat, place_, static_cast<uint32_t>(splitmix(&random_)));
  if (heat != record.head()->heat) record.head()->heat = heat;
  answer.encoding = record.encoding();
  if ((operation.flags & protocol::RequestFlag::WANT_META) != 0) {
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

Answer Worker::set(const Operation& operation) {
  counters().sets++;
  if (operation.value.size() > view_.valueBytesMax) return answerOf(protocol::Status::TOO_LARGE);
  const KeyPlace place{operation.hash, operation.slot};
  Chain chain;
  const size_t payloadBytes = operation.key.size() + operation.value.size();
  const bool isStaged = isLarge(operation.key.size(), operation.value.size());
  if (isStaged && !(makeFree(regionsFor(payloadBytes)) && stage(place, operation.key, operation.value, &chain))) {
    counters().outOfMemory++;
    return answerOf(protocol::Status::OUT_OF_MEMORY);
  }
  const uint8_t flags = operation.flags;
  const uint32_t inlineBytes = isStaged ? chain.inlineBytes : static_cast<uint32_t>(payloadBytes);
  const Answer answer = write(operation, inlineBytes + 64, false, [&](const Record* record, Draft* draft, Answer* met) {
    if ((flags & protocol::RequestFlag::IF_ABSENT) != 0 && record != nullptr) {
      met->status = protocol::Status::EXISTS;
      met->version = record->version();
      return false;
    }
    if ((flags & protocol::RequestFlag::IF_VERSION) != 0) {
      met->status = record == nullptr ? protocol::Status::NOT_FOUND : protocol::Status::VERSION_MISMATCH;
      if (record == nullptr) return false;
      met->version = record->version();
      if (met->version != operation.ifVersion) return false;
      met->status = protocol::Status::OK;
    }
    fill(draft, operation.key, operation.value, chain);
    draft->encoding = operation.encoding;
    draft->expiresAt = operation.ttlMs == 0 ? 0 : nowMs_ + operation.ttlMs;
    if ((flags & protocol::RequestFlag::KEEP_TTL) != 0 && record != nullptr) draft->expiresAt = record->expiresAt();
    return true;
  });
  if (isStaged) {
    if (answer.status != protocol::Status::OK) unstage(chain);
    new_.unhold();
  }
  pace();
  return answer;
}

Answer Worker::remove(const Operation& operation) {
  counters().deletes++;
  if (view_.replicated) {
    char name[TOMBSTONE_KEY_BYTES];
    memcpy(name, &operation.hash, sizeof operation.hash);
    memcpy(name + sizeof operation.hash, &operation.slot, sizeof operation.slot);
    return write(operation, 128, false, [&](const Record* record, Draft* draft, Answer* met) {
      if (record != nullptr && (operation.flags & protocol::RequestFlag::IF_VERSION) != 0 &&
          record->version() != operation.ifVersion) {
        met->status = protocol::Status::VERSION_MISMATCH;
        met->version = record->version();
        return false;
      }
      // An absent key gets a tombstone too: an older copy of it may be on another node.
      if (record == nullptr) met->status = protocol::Status::NOT_FOUND;
      draft->kind = RecordKind::TOMBSTONE;
      draft->first = std::string_view(name, sizeof name);
      draft->keyBytes = TOMBSTONE_KEY_BYTES;
      draft->expiresAt = nowMs_ + TOMBSTONE_LIFE_MS;
      return true;
    });
  }
  const uint32_t number = view_.segmentOf(operation.slot);
  Segment* segment = &view_.segments[number];
  const Guard guard(locker_, segment);
  if (!guard.holds()) {
    counters().busy++;
    return answerOf(protocol::Status::BUSY);
  }
  Answer answer;
  if (!isServed(operation.slot, &answer)) return answer;
  Index index(view_, number, place_);
  const Entry entry = findLiving(&index, operation);
  if (!entry.exists()) return answerOf(protocol::Status::NOT_FOUND);
  const Version version = Record(view_, entry.offset()).version();
  if ((operation.flags & protocol::RequestFlag::IF_VERSION) != 0 && version != operation.ifVersion) {
    answer.status = protocol::Status::VERSION_MISMATCH;
    answer.version = version;
    return answer;
  }
  answer.version = stamp(segment, operation.slot, operation.hash, version);
  index.remove(entry);
  return answer;
}

Answer Worker::touch(const Operation& operation) {
  counters().touches++;
  const uint32_t guess = view_.payloadBytesMax() + 64 + static_cast<uint32_t>(sizeof(Big));
  return write(operation, guess, true, [&](const Record* record, Draft* draft, Answer* met) {
    if (record == nullptr) {
      met->status = protocol::Status::NOT_FOUND;
      return false;
    }
    draft->first = std::string_view(view_.at(record->offset()) + record->payloadAt(), record->inlineBytes());
    draft->keyBytes = record->keyBytes();
    draft->valueBytes = record->valueBytes();
    draft->firstFragment = record->isBig() ? record->big().firstFragment : 0;
    draft->encoding = record->encoding();
    draft->expiresAt = operation.ttlMs == 0 ? 0 : nowMs_ + operation.ttlMs;
    return true;
  });
}

Answer Worker::increment(const Operation& operation) {
  counters().increments++;
  int64_t number = 0;
  Answer answer = write(
      operation, static_cast<uint32_t>(operation.key.size()) + 128, false,
      [&](const Record* record, Draft* draft, Answer* met) {
        if (record == nullptr) {
          if ((operation.flags & protocol::RequestFlag::NO_CREATE) != 0) {
            met->status = protocol::Status::NOT_FOUND;
            return false;
          }
          number = operation.initial;
          draft->encoding = operation.encoding == protocol::Encoding::BIGINT ? protocol::Encoding::BIGINT
                                                                             : protocol::Encoding::INTEGER;
          draft->expiresAt = operation.ttlMs == 0 ? 0 : nowMs_ + operation.ttlMs;
        } else {
          const uint8_t encoding = record->encoding();
          const bool isNumber = encoding == protocol::Encoding::INTEGER || encoding == protocol::Encoding::BIGINT;
          if (!isNumber || record->valueBytes() != sizeof number ||
              !record->copy(record->keyBytes(), sizeof number, reinterpret_cast<char*>(&number))) {
            met->status = protocol::Status::NOT_A_NUMBER;
            return false;
          }
          draft->encoding = encoding;
          draft->expiresAt = record->expiresAt();
          if (__builtin_add_overflow(number, operation.delta, &number)) {
            met->status = protocol::Status::OVERFLOW;
            return false;
          }
        }
        met->number = number;
        fill(draft, operation.key, std::string_view(reinterpret_cast<const char*>(&number), sizeof number), Chain());
        return true;
      });
  pace();
  return answer;
}

// A value that outgrows one record is cut into fragments under the lock, where eviction is out of the question: regions
// for it are secured before, and when they turn out too few the whole is tried again.
Answer Worker::append(const Operation& operation) {
  counters().appends++;
  uint32_t regionsWanted = 0;
  Answer answer;
  for (uint32_t tries = 0; tries < WRITE_TRIES_MAX; tries++) {
    const uint32_t regionsSecured = regionsWanted;
    if (regionsSecured > 0 && !makeFree(regionsSecured)) break;
    answer = appendOnce(operation, &regionsWanted);
    if (regionsWanted == regionsSecured) break;
  }
  if (answer.status == protocol::Status::OUT_OF_MEMORY) counters().outOfMemory++;
  pace();
  return answer;
}

Answer Worker::appendOnce(const Operation& operation, uint32_t* regionsWanted) {
  const KeyPlace place{operation.hash, operation.slot};
  const uint32_t regionsSecured = *regionsWanted;
  Chain chain;
  const auto decide = [&](const Record* record, Draft* draft, Answer* met) {
    unstage(chain);  // the try before found no room for its head
    chain = Chain();
    const uint32_t before = record == nullptr ? 0 : record->valueBytes();
    const size_t total = before + operation.value.size();
    if (record == nullptr && (operation.flags & protocol::RequestFlag::NO_CREATE) != 0) {
      met->status = protocol::Status::NOT_FOUND;
      return false;
    }
    if (total > view_.valueBytesMax) {
      met->status = protocol::Status::TOO_LARGE;
      return false;
    }
    if (record != nullptr) record->copy(record->keyBytes(), before, scratch_.get());
    memcpy(scratch_.get() + before, operation.value.data(), operation.value.size());
    const std::string_view value(scratch_.get(), total);
    if (isLarge(operation.key.size(), total)) {
      *regionsWanted = regionsFor(operation.key.size() + total);
      met->status = protocol::Status::OUT_OF_MEMORY;
      if (*regionsWanted > regionsSecured || !stage(place, operation.key, value, &chain)) return false;
      met->status = protocol::Status::OK;
    }
    met->number = static_cast<int64_t>(total);
    fill(draft, operation.key, value, chain);
    draft->encoding = record == nullptr ? operation.encoding : record->encoding();
    draft->expiresAt = record != nullptr ? record->expiresAt() : operation.ttlMs == 0 ? 0 : nowMs_ + operation.ttlMs;
    return true;
  };
  const auto guess = static_cast<uint32_t>(operation.key.size() + operation.value.size()) + 64;
  const Answer answer =
      write(operation, guess < view_.payloadBytesMax() ? guess : view_.payloadBytesMax(), false, decide);
  if (answer.status != protocol::Status::OK) unstage(chain);
  new_.unhold();
  return answer;
}

}  // namespace henge
