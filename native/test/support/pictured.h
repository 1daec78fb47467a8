// A small replicated store, what is in it, and a picture of its memory to come back to: for tests that damage it or let
// its writers die, and then ask what is still there.
#pragma once

#include <sanitizer/asan_interface.h>

#include <cstring>
#include <string>
#include <vector>

#include "../../store/scrub.h"
#include "../../store/worker.h"
#include "audit.h"
#include "check.h"
#include "rows.h"

namespace pictured {

using namespace henge;
using protocol::Opcode;
using protocol::Status;

constexpr uint64_t START_MS = 1'700'000'000'000;
constexpr uint32_t NOBODY = UINT32_MAX;

inline std::string valueOf(uint32_t seed, size_t bytes) {
  check::Random random(seed);
  std::string value(bytes, 0);
  for (char& byte : value) byte = static_cast<char>(random.word());
  return value;
}

// An entry of the index and what it leads to, as it was before anything was damaged.
struct Expected {
  uint32_t segment = 0;
  KeyPlace place;
  uint32_t offset = 0;
  bool isTombstone = false;
  std::string key;
  std::string value;
  uint64_t expiresAt = 0;
  Version version;
  bool mayBeGone = false;
};

class World {
 public:
  World(Geometry geometry, uint64_t bytes) {
    options_.bytes = bytes;
    options_.nodeName = "a";
    options_.nodeNumber = 1;
    options_.replicated = true;
    options_.valueBytesMax = 2048;
    options_.manualClock = true;
    options_.seed = 42;
    options_.geometry = geometry;
    Failure failure;
    memory = Memory::create(options_, &failure);
    if (memory == nullptr) abort();
    open();
  }

  void open() {
    memory->setClock(START_MS);
    memory->install(rows::epochOf(protocol::SLOTS, 1, 1, "1").installation());
    Failure failure;
    worker = Worker::open(*memory, &failure);
    if (worker == nullptr) abort();
  }

  Answer run(Opcode opcode, const std::string& key, const std::string& value = "", uint64_t ttlMs = 0) {
    Operation operation;
    operation.opcode = opcode;
    operation.key = key;
    operation.value = value;
    operation.ttlMs = ttlMs;
    worker->prepare(&operation, 1);
    return worker->execute(operation, out_);
  }

  View& view() { return memory->view(); }
  char* base() { return view().base; }

  // Looks at what there is; from here on restore() comes back to it. With everything given back, or, as after a kill,
  // nothing.
  void settle() {
    worker.reset();
    lookAround();
    keep();
  }
  void abandon() {
    lookAround();
    keep();
    worker.reset();
    restore();
  }

  // What is there now is what restore() brings back.
  void keep() { image_.assign(base(), base() + view().bytes); }
  void restore() {
    unpoison();
    memcpy(base(), image_.data(), image_.size());
  }

  // What nobody has a reason to read after a mere death: logs' tails, and free regions but for the first page, where a
  // damaged state may make believe that owners stand.
  void poison() {
    for (uint32_t region = 0; region < view().regionCount; region++) {
      const RegionKind kind = RegionState::kind(view().regionStates[region].load());
      if (kind == RegionKind::INDEX) continue;
      const RegionMeta& meta = view().regionMetas[region];
      const uint32_t from = kind == RegionKind::FREE ? view().geometry.pageBytes : meta.head;
      const uint32_t tableBytes = kind == RegionKind::FREE ? 0 : meta.stamps * static_cast<uint32_t>(sizeof(Stamp));
      ASAN_POISON_MEMORY_REGION(view().region(region) + from, view().geometry.regionBytes - tableBytes - from);
    }
    for (uint32_t i = 0; i < PLACES_MAX; i++) {
      if (view().places[i].intentTarget.load() == 0) continue;
      const Record staged(view(), view().places[i].intentStaged.load());
      ASAN_UNPOISON_MEMORY_REGION(staged.head(), sizeof(RecordHead));
      ASAN_UNPOISON_MEMORY_REGION(staged.head(), staged.size());
    }
  }
  void unpoison() { ASAN_UNPOISON_MEMORY_REGION(base(), view().bytes); }

  // What is not there as it was, but for one entry. Empty: nothing.
  std::string problemBut(uint32_t exempt) {
    for (uint32_t i = 0; i < expected.size(); i++) {
      if (i == exempt) continue;
      const std::string problem = problemOf(expected[i]);
      if (!problem.empty() && !(expected[i].mayBeGone && problem == LOSS)) return problem + " of " + std::to_string(i);
    }
    return audit::problemOf(*memory);
  }

  // What is not there now will not be asked for.
  void giveUpWhatIsGone() {
    for (Expected& entry : expected) entry.mayBeGone = problemOf(entry) == LOSS;
  }
  // A key's value and expiry, as they stand; "" if there is none.
  std::string stateOf(const std::string& key) {
    const uint16_t slot = view().localSlot(slotOf(key));
    const Entry entry = Index(view(), view().segmentOf(slot), 0).find(view().hash(key), slot, key);
    if (!entry.exists()) return "";
    const Record record(view(), entry.offset());
    std::string name;
    std::string value;
    if (!read(record, &name, &value)) return "broken chain";
    return value + "|" + std::to_string(record.expiresAt());
  }
  uint32_t entryOf(const std::string& key) const {
    for (uint32_t i = 0; i < expected.size(); i++) {
      if (expected[i].key == key) return i;
    }
    return NOBODY;
  }
  uint32_t entryAt(uint32_t offset) const {
    for (uint32_t i = 0; i < expected.size(); i++) {
      if (expected[i].offset == offset) return i;
    }
    return NOBODY;
  }

  std::unique_ptr<Memory> memory;
  std::unique_ptr<Worker> worker;
  std::vector<Expected> expected;

 private:
  void lookAround() {
    expected.clear();
    for (uint32_t i = 0; i < view().geometry.segments; i++) {
      const Index index(view(), i, 0);
      for (uint32_t b = 0; b < view().segments[i].pages << view().pageShift; b++) {
        for (uint32_t e = 0; e < ENTRIES; e++) note(i, index.bucket(b), e);
      }
    }
  }

  void note(uint32_t segment, const Bucket* bucket, uint32_t at) {
    if (bucket->offset[at] == 0) return;
    const Record record(view(), bucket->offset[at]);
    Expected entry;
    entry.segment = segment;
    entry.place = record.place();
    entry.offset = record.offset();
    entry.isTombstone = record.kind() == RecordKind::TOMBSTONE;
    entry.expiresAt = record.expiresAt();
    entry.version = record.version();
    read(record, &entry.key, &entry.value);
    expected.push_back(entry);
  }

  static constexpr const char* LOSS = "loss";

  static bool read(const Record& record, std::string* key, std::string* value) {
    key->resize(record.keyBytes());
    value->resize(record.valueBytes());
    return record.copy(0, record.keyBytes(), key->data()) &&
           record.copy(record.keyBytes(), record.valueBytes(), value->data());
  }

  std::string problemOf(const Expected& entry) {
    const Index index(view(), entry.segment, 0);
    const Entry found = entry.isTombstone ? index.findTombstone(entry.place.hash, entry.place.slot)
                                          : index.find(entry.place.hash, entry.place.slot, entry.key);
    if (!found.exists()) return LOSS;
    const Record record(view(), found.offset());
    std::string key;
    std::string value;
    if (!read(record, &key, &value)) return "broken chain";
    if (key != entry.key || value != entry.value) return "another value";
    if (record.version() != entry.version) return "another version";
    return record.expiresAt() == entry.expiresAt ? "" : "another expiry";
  }

  MemoryOptions options_;
  char out_[2048];
  std::string image_;
};

// The store still works, its evictor and its growing index included.
inline bool canBeWorkedWith(World* world, uint32_t seed) {
  world->open();
  check::Random random(seed);
  for (uint32_t i = 0; i < 300; i++) {
    const std::string key = "new" + std::to_string(random.below(200));
    const std::string value = valueOf(i, random.below(random.below(8) == 0 ? 900 : 60));
    const Status status = world->run(Opcode::SET, key, value).status;
    if (status == Status::OK && world->run(Opcode::GET, key).valueBytes != value.size()) {
      printf("write %u of %s, %zu bytes, is not there\n", i, key.c_str(), value.size());
      return false;
    }
    if (i % 50 == 0) world->worker->tick();
  }
  world->worker.reset();
  const std::string problem = audit::problemOf(*world->memory);
  if (!problem.empty()) printf("%s\n", problem.c_str());
  return problem.empty();
}

}  // namespace pictured
