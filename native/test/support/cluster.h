// Several nodes in one process, for tests of replication: real stores with a clock of the test's own, and links that
// carry what a session would carry, encoded as on the wire, when the test says so.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "../../store/item_record.h"
#include "../../store/worker.h"
#include "check.h"
#include "rows.h"

namespace cluster {

using namespace henge;
using protocol::Opcode;
using protocol::Status;
namespace Flag = protocol::RequestFlag;

constexpr uint64_t START_MS = 1'700'000'000'000;
constexpr uint32_t SLOTS = 16;
constexpr uint32_t SEGMENTS = 4;

inline const std::string ALL = "\xff\xff";

inline std::string onlySlot(uint32_t slot) {
  std::string bits(SLOTS / 8, 0);
  bits[slot / 8] = static_cast<char>(1 << (slot & 7));
  return bits;
}
inline bool hasSlot(const std::string& bits, uint32_t slot) {
  return (static_cast<uint8_t>(bits[slot / 8]) >> (slot & 7) & 1) != 0;
}
inline bool isEmpty(const std::string& bits) { return bits == std::string(bits.size(), 0); }

// A frame of REPLICATE.
struct Frame {
  std::string extras, key, value;
  uint8_t encoding = 0;
  uint32_t tag = 0;  // of the test's own
};

class Node {
 public:
  explicit Node(uint16_t number, uint64_t bytes = 4 << 20, const std::string& file = "") : number(number) {
    options.bytes = bytes;
    options.nodeName = std::string(1, static_cast<char>('a' + number));
    options.nodeNumber = number;
    options.replicated = true;
    options.valueBytesMax = 128 * 1024;
    options.geometry = {SEGMENTS, SLOTS / SEGMENTS, 64 * 1024, 1024};
    options.manualClock = true;
    options.seed = number * 1'000u;
    options.file = file;
    open();
  }
  void open() {
    Failure failure;
    options.seed++;  // so that each memory has its own incarnation
    memory = Memory::create(options, &failure);
    if (memory == nullptr) printf("no memory: %s %s\n", failure.code, failure.message.c_str());
    CHECK(memory != nullptr);
    memory->setClock(ms);
    addWorker();
    out.resize(options.valueBytesMax);
  }
  Worker& addWorker() {
    Failure failure;
    workers.push_back(Worker::open(*memory, &failure));
    CHECK(workers.back() != nullptr);
    return *workers.back();
  }
  // As after SIGKILL: nothing is given back, and somebody reaps the place.
  void kill(size_t worker) {
    static auto* const abandoned = new std::vector<Worker*>;
    const uint32_t place = workers[worker]->id();
    abandoned->push_back(workers[worker].release());
    workers.erase(workers.begin() + static_cast<long>(worker));
    memory->reapPlace(place);
  }
  Worker& worker() { return *workers.front(); }
  void setClock(uint64_t to) {
    ms = to;
    memory->setClock(ms);
    for (auto& each : workers) each->beginChunk();
  }

  static Operation operation(Opcode opcode, std::string_view key, std::string_view value = {}, uint8_t flags = 0) {
    Operation made;
    made.opcode = opcode;
    made.key = key;
    made.value = value;
    made.flags = flags;
    return made;
  }
  Answer run(Worker& with, Operation made) {
    with.prepare(&made, 1);
    return with.execute(made, out.data());
  }
  Answer run(const Operation& made) { return run(worker(), made); }
  Answer set(std::string_view key, std::string_view value, uint8_t acks = 0) {
    Operation made = operation(Opcode::SET, key, value);
    made.acksNeeded = acks;
    return run(made);
  }
  Answer act(Opcode opcode, std::string_view key, uint8_t flags = 0) { return run(operation(opcode, key, {}, flags)); }
  // The value, or the status in brackets.
  std::string get(std::string_view key, uint8_t level = ReadLevel::PRIMARY) {
    const Answer answer = act(Opcode::GET, key, static_cast<uint8_t>(level | Flag::WANT_META));
    if (answer.status == Status::OK) return std::string(out.data(), answer.valueBytes);
    return "[" + std::to_string(static_cast<int>(answer.status)) + "]";
  }
  Operation located(std::string_view key) {
    Operation made = operation(Opcode::GET, key);
    worker().prepare(&made, 1);
    return made;
  }
  uint32_t slotOf(std::string_view key) { return located(key).slot; }
  SlotState state(uint32_t slot) { return static_cast<SlotState>(worker().states()[slot]); }
  uint8_t flags(uint32_t slot) { return static_cast<uint8_t>(worker().slotFlags()[slot]); }
  bool install(uint32_t epoch, uint32_t rf, const std::string& row, bool isFounding = false) {
    return memory->install(rows::epochOf(SLOTS, epoch, rf, row, isFounding).installation());
  }

  MemoryOptions options;
  uint16_t number;
  uint64_t ms = START_MS;
  std::unique_ptr<Memory> memory;
  std::vector<std::unique_ptr<Worker>> workers;
  std::string out;
};

// From one worker to another node, in order.
class Link {
 public:
  Link(Node& from, Worker& worker, Node& to)
      : from_(from), worker_(worker), to_(to), handle_(worker.openLink(to.number)) {}
  int handle() const { return handle_; }
  Node& from() { return from_; }
  Node& to() { return to_; }
  Worker& worker() { return worker_; }
  size_t waiting() const { return frames_.size(); }

  void send(const Written& written, uint32_t tag = 0) {
    char extras[REPLICATE_EXTRAS_MAX];
    const size_t bytes = encodeReplicateExtras(extras, written);
    frames_.push_back(
        {std::string(extras, bytes), std::string(written.key), std::string(written.value), written.encoding, tag});
  }
  uint32_t oldestTag() const { return frames_.front().tag; }
  uint32_t oldestEpoch() const {
    ReplicateExtras head;
    Item item;
    CHECK(decodeReplicateExtras(frames_.front().extras, &head, &item));
    return head.epoch;
  }
  // Delivers the oldest frame, and its answer if the link stands.
  Applied deliver() {
    CHECK(!frames_.empty());
    const Frame frame = frames_.front();
    frames_.pop_front();
    ReplicateExtras head;
    Item item;
    CHECK(decodeReplicateExtras(frame.extras, &head, &item));
    item.key = frame.key;
    item.value = frame.value;
    item.encoding = frame.encoding;
    const Applied applied = to_.worker().apply(item, from_.number, head.epoch, head.hasBase ? &head.base : nullptr);
    const bool took =
        applied == Applied::APPLIED || applied == Applied::SUPERSEDED || applied == Applied::REFUSED_GHOST;
    if (handle_ < 0) return applied;
    if (took) worker_.acknowledge(handle_, 1);
    else worker_.refuseOldest(handle_, applied == Applied::STALE, to_.worker().installedEpoch());
    return applied;
  }
  void deliverAll() {
    while (!frames_.empty()) deliver();
  }
  // The connection broke; what was under way may or may not have arrived.
  void lose() {
    frames_.clear();
    if (handle_ >= 0) worker_.closeLink(handle_);
    handle_ = -1;
    to_.worker().detach(from_.number);
  }
  // Its worker is about to be killed.
  void abandon() {
    frames_.clear();
    to_.worker().detach(from_.number);
  }
  void reopen() { handle_ = worker_.openLink(to_.number); }

 private:
  Node& from_;
  Worker& worker_;
  Node& to_;
  int handle_;
  std::deque<Frame> frames_;
};

// What a steward does for one copy: everything missed is sent, then it is declared in sync.
inline std::string catchUp(Node& leader, Worker& steward, Node& copy, size_t bytesMax = 4096) {
  const PeerBits bits = steward.peerBits(copy.number);
  steward.beginCatchUp(copy.number, bits.missed);
  for (uint32_t segment = 0; segment < SEGMENTS; segment++) {
    for (const bool isWhole : {true, false}) {
      uint32_t mask = 0;
      for (uint32_t i = 0; i < SLOTS / SEGMENTS; i++) {
        const uint32_t slot = segment * (SLOTS / SEGMENTS) + i;
        if (hasSlot(bits.missed, slot) && hasSlot(bits.whole, slot) == isWhole) mask |= 1u << i;
      }
      uint64_t cursor = 0;
      do {
        const Collected collected = steward.collect({segment, mask, isWhole ? 0 : bits.sinceMs, bytesMax}, cursor);
        std::string_view records = collected.bytes;
        Item item;
        while (!records.empty()) {
          CHECK(decodeItemRecord(&records, &item));
          copy.worker().merge(item, leader.number, steward.installedEpoch());
        }
        cursor = collected.next;
      } while (cursor != 0 && mask != 0);
    }
  }
  const std::string declared = steward.declareSynced(copy.number, ALL);
  return copy.worker().acceptSynced(leader.number, steward.installedEpoch(), declared);
}

// Sends what the last write of a worker owes its links.
inline void pump(const Written& written, const std::vector<Link*>& links) {
  for (uint32_t i = 0; i < written.linkCount; i++) {
    for (Link* link : links) {
      if (link->handle() == written.links[i]) link->send(written);
    }
  }
}

}  // namespace cluster
