// Writes of clients to single keys. Everything is decided under the segment's lock: whether this node may write at all,
// the condition, the version, and which copies get it.
#include "guard.h"
#include "worker.h"

namespace henge {

namespace {

constexpr uint32_t ROOM_TRIES_MAX = 6;

Answer answerOf(protocol::Status status) {
  Answer answer;
  answer.status = status;
  return answer;
}

}  // namespace

// Whether this node may write the slot now, at the level asked for. Hot path: where all is in order and no copy has to
// answer, two loads.
bool Worker::mayWrite(const Operation& operation, Answer* answer) const {
  const Slot& word = view_.slots[operation.slot];
  const bool isPlain =
      word.state == static_cast<uint8_t>(SlotState::PRIMARY) && (word.flags | operation.acksNeeded) == 0;
  if (__builtin_expect(isPlain && view_.header->fenceAtMs.load(std::memory_order_relaxed) == 0, 1)) return true;
  const auto state = static_cast<SlotState>(word.state);
  const bool isLedHere = state == SlotState::PRIMARY || state == SlotState::TAKING_OVER;
  if (!isLedHere) return refuse(answer, protocol::Status::MOVED);
  if ((word.flags & SlotFlag::GIVEN) != 0) return refuse(answer, protocol::Status::MOVED);
  constexpr uint8_t SHUT = SlotFlag::DEPOSED | SlotFlag::SEALED;
  const bool isReady = state == SlotState::PRIMARY && (word.flags & SHUT) == 0 && !isFenced();
  if (!isReady) return refuse(answer, protocol::Status::NOT_READY);
  if (operation.acksNeeded == 0) return true;
  uint8_t links[ROW_MAX - 1];
  const bool isMerging = (word.flags & SlotFlag::MERGING) != 0;
  const bool canSucceed = !isMerging && linksUp(operation.slot, links) >= operation.acksNeeded;
  return canSucceed ? true : refuse(answer, protocol::Status::NOT_READY);
}

// Looked at for every write, not once a chunk: this process may have been stopped since the chunk began.
bool Worker::isFenced() const {
  const uint64_t deadlineMs = view_.header->fenceAtMs.load(std::memory_order_acquire);
  return deadlineMs != 0 && steadyMs(view_) >= deadlineMs;
}

// Before the write is published: to every copy it is in flight, or missed (REPLICATION rules 5 and 6).
void Worker::noteCopies(const Operation& operation, const Draft& draft, const Version& base) {
  const Row& row = view_.rows[operation.slot];
  const uint64_t ms = draft.version.time >> 16;
  written_.linkCount = 0;
  written_.voters = 0;
  for (uint32_t i = 0; i < row.length && i < ROW_MAX; i++) {
    const uint32_t peer = row.peers[i];
    if (peer >= PEERS_MAX) continue;
    const bool isSent =
        roleOf(row.roles[i]) != RowRole::AWAY && canSend(peer) && written_.linkCount < ROW_MAX - 1;
    if (!isSent) {
      peers_.miss(operation.slot, peer, ms);
      continue;
    }
    rings_.push(static_cast<uint32_t>(links_[peer].ring), operation.slot, ms);
    if (isVoter(operation.slot, i)) written_.voters |= 1u << written_.linkCount;
    written_.links[written_.linkCount++] = static_cast<uint8_t>(peer);
  }
  written_.slot = operation.slot;
  written_.epoch = draft.version.epoch;
  written_.hash = operation.hash;
  written_.encoding = draft.encoding;
  written_.heat = view_.learner->carried(draft.heat);
  written_.expiresAt = draft.expiresAt;
  written_.version = draft.version;
  written_.base = base;
}

void Worker::describeWrite(uint8_t kind, std::string_view key, std::string_view value) {
  if (written_.linkCount == 0) return;
  written_.kind = kind;
  written_.key = key;
  written_.value = value;
}

// The heart of every write.
template <typename Decide>
Answer Worker::write(const Operation& operation, uint32_t bytesGuess, bool sharesFragments, Decide decide) {
  const uint32_t number = view_.segmentOf(operation.slot);
  Segment* segment = &view_.segments[number];
  const KeyPlace place{operation.hash, operation.slot};
  for (uint32_t tries = 0; tries < ROOM_TRIES_MAX; tries++) {
    if (!makeRoom(bytesGuess)) break;
    Answer answer;
    Draft draft;
    {
      const Guard guard(locker_, segment);
      if (!guard.holds()) {
        counters().busy++;
        return answerOf(protocol::Status::BUSY);
      }
      if (!mayWrite(operation, &answer)) return answer;
      Index index(view_, number, place_);
      Entry entry = findLiving(&index, operation);
      const Record record = entry.exists() ? Record(view_, entry.offset()) : Record();
      if (!decide(entry.exists() ? &record : nullptr, &draft, &answer)) return answer;
      if (!entry.exists() && view_.replicated) entry = index.findTombstone(operation.hash, operation.slot);
      const Version before = entry.exists() ? Record(view_, entry.offset()).version() : Version();
      draft.version = stamp(segment, operation.slot, operation.hash, before);
      const bool isAlive = entry.exists() && Record(view_, entry.offset()).kind() == RecordKind::ITEM;
      draft.heat = isAlive ? Record(view_, entry.offset()).head()->heat : heatOfNew(number, operation.hash);
      if (Log* log = logFor(draft); log != nullptr) {
        if (view_.replicated) noteCopies(operation, draft, before);
        store(log, &index, entry, place, draft, sharesFragments);
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
  describeWrite(protocol::ItemKind::ITEM, operation.key, operation.value);
  pace();
  return answer;
}

Answer Worker::remove(const Operation& operation) {
  counters().deletes++;
  if (!view_.replicated) return removeOnly(operation);
  char name[TOMBSTONE_KEY_BYTES];
  nameTombstone(name, KeyPlace{operation.hash, operation.slot});
  const Answer answer = write(operation, 128, false, [&](const Record* record, Draft* draft, Answer* met) {
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
  describeWrite(protocol::ItemKind::TOMBSTONE, {}, {});
  return answer;
}

// Where there is one copy of everything, what is gone needs no mark.
Answer Worker::removeOnly(const Operation& operation) {
  const uint32_t number = view_.segmentOf(operation.slot);
  Segment* segment = &view_.segments[number];
  const Guard guard(locker_, segment);
  if (!guard.holds()) {
    counters().busy++;
    return answerOf(protocol::Status::BUSY);
  }
  Answer answer;
  if (!mayWrite(operation, &answer)) return answer;
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
  const Answer answer = write(operation, guess, true, [&](const Record* record, Draft* draft, Answer* met) {
    if (record == nullptr) {
      met->status = protocol::Status::NOT_FOUND;
      return false;
    }
    fillAsBefore(draft, *record);
    draft->expiresAt = operation.ttlMs == 0 ? 0 : nowMs_ + operation.ttlMs;
    return true;
  });
  describeWrite(protocol::ItemKind::EXPIRY, operation.key, {});
  return answer;
}

Answer Worker::increment(const Operation& operation) {
  counters().increments++;
  int64_t number = 0;
  const Answer answer = write(
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
  writtenNumber_ = number;
  describeWrite(protocol::ItemKind::ITEM, operation.key,
                std::string_view(reinterpret_cast<const char*>(&writtenNumber_), sizeof number));
  pace();
  return answer;
}

// A value that outgrows one record is cut into fragments under the lock, where eviction is out of the question: regions
// for it are secured before, and when they turn out too few the whole is tried again.
Answer Worker::append(const Operation& operation) {
  counters().appends++;
  uint32_t regionsWanted = 0;
  Answer answer;
  for (uint32_t tries = 0; tries < ROOM_TRIES_MAX; tries++) {
    const uint32_t regionsSecured = regionsWanted;
    if (regionsSecured > 0 && !makeFree(regionsSecured)) break;
    answer = appendOnce(operation, &regionsWanted);
    if (regionsWanted == regionsSecured) break;
  }
  if (answer.status == protocol::Status::OUT_OF_MEMORY) counters().outOfMemory++;
  describeWrite(protocol::ItemKind::ITEM, operation.key,
                std::string_view(scratch_.get(), static_cast<size_t>(answer.number)));
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
