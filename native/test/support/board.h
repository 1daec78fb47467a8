// What writers do that are killed at any instant, and the board on which it stands.
//
// What was intended and what was acknowledged stands on a board outside the store: `begun` is written before an
// operation, `acked` after it. The content a key has after its n-th operation is computed from n alone. A key whose
// writer died must show its state before or after the operation under way, whole; any other key exactly what was
// acknowledged, or, where memory is short, that or nothing.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#include "../../store/worker.h"

namespace board {

using namespace henge;
using protocol::Opcode;
using protocol::Status;

constexpr uint32_t WRITERS = 3;
constexpr uint32_t KEYS = 320;     // a writer's own
constexpr uint32_t COUNTERS = 8;   // everybody's
constexpr uint32_t VALUE_BYTES_MAX = 64 * 1024;
constexpr uint64_t LIFE_MS = 15;   // of keys that expire

struct Cell {
  std::atomic<uint32_t> begun;
  std::atomic<uint32_t> acked;
};

struct Board {
  Cell own[WRITERS][KEYS];
  Cell shared[WRITERS][COUNTERS];
  std::atomic<uint64_t> operations[WRITERS];
  std::atomic<uint32_t> hasFailed;
  char problem[512];
};

// Kinds of keys, by number.
inline bool isCounter(uint32_t key) { return key % 8 == 0; }
inline bool isAppended(uint32_t key) { return key % 8 == 1; }
inline bool expires(uint32_t key) { return key % 8 == 2; }

inline uint64_t mixOf(uint32_t writer, uint32_t key, uint32_t sequence) {
  uint64_t state = static_cast<uint64_t>(writer) << 48 | static_cast<uint64_t>(key) << 32 | sequence;
  return splitmix(&state);
}

inline std::string nameOf(uint32_t writer, uint32_t key) {
  std::string name = "w" + std::to_string(writer) + "/" + std::to_string(key) + "/";
  // Some keys are longer than a byte can count, some longer than a record may be.
  if (key % 40 == 7) name.append(300, 'k');
  if (key % 80 == 43) name.append(5'000, 'K');
  return name;
}

inline std::string contentOf(uint32_t writer, uint32_t key, uint32_t sequence, size_t bytes) {
  uint64_t state = mixOf(writer, key, sequence);
  std::string text(bytes + 8, 0);
  for (size_t i = 0; i < bytes; i += 8) {
    const uint64_t word = splitmix(&state);
    memcpy(text.data() + i, &word, sizeof word);
  }
  text.resize(bytes);
  return text;
}

// The state of a key after its operation `sequence`: its value, or nothing.
constexpr uint32_t PARTS = 48;
struct Content {
  bool exists = false;
  std::string value;
  bool operator==(const Content& o) const { return exists == o.exists && value == o.value; }
};

inline size_t partBytes(uint32_t key) { return key % 16 == 1 ? 40 : 240; }

inline Content stateOf(uint32_t writer, uint32_t key, uint32_t sequence) {
  if (sequence == 0) return {};
  if (isCounter(key)) {
    const auto number = static_cast<int64_t>(sequence);
    return {true, std::string(reinterpret_cast<const char*>(&number), sizeof number)};
  }
  if (isAppended(key)) {
    Content content;
    content.exists = sequence % PARTS != 0;
    for (uint32_t i = sequence - sequence % PARTS + 1; i <= sequence && content.exists; i++)
      content.value += contentOf(writer, key, i, partBytes(key));
    return content;
  }
  const uint64_t mix = mixOf(writer, key, sequence);
  switch (mix % 16) {
    case 0:
      return {};
    case 1:
      return {true, contentOf(writer, key, sequence, 1'900 + mix / 16 % 12'000)};
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
      return {true, contentOf(writer, key, sequence, 100 + key % 2 * 400)};
    default:
      return {true, contentOf(writer, key, sequence, mix % 400)};
  }
}

inline Operation operationOf(uint32_t writer, uint32_t key, uint32_t sequence, const std::string& name,
                             std::string* value) {
  Operation operation;
  operation.key = name;
  const Content content = stateOf(writer, key, sequence);
  if (isCounter(key)) {
    operation.opcode = Opcode::INCREMENT;
    operation.delta = operation.initial = 1;
  } else if (!content.exists) {
    operation.opcode = Opcode::DELETE;
  } else if (isAppended(key)) {
    operation.opcode = Opcode::APPEND;
    *value = contentOf(writer, key, sequence, partBytes(key));
  } else {
    operation.opcode = Opcode::SET;
    *value = content.value;
    if (expires(key)) operation.ttlMs = LIFE_MS;
    if (key % 8 == 3 && sequence % 2 == 0) operation.ttlMs = 3'600'000;
  }
  // What grows is made by its first operation alone, so that one evicted a moment ago is met as gone, not as begun
  // anew.
  const bool isFirst = isCounter(key) ? sequence == 1 : sequence % PARTS == 1;
  if ((isCounter(key) || isAppended(key)) && !isFirst) operation.flags = protocol::RequestFlag::NO_CREATE;
  operation.value = *value;
  return operation;
}

// One process's hands on the store.
class Hands {
 public:
  Hands(Memory& memory, Board& board, bool isLossless)
      : board_(board), isLossless_(isLossless), out_(VALUE_BYTES_MAX, 0) {
    Failure failure;
    worker_ = Worker::open(memory, &failure);
  }
  bool isOpen() const { return worker_ != nullptr; }

  Answer run(Operation operation) {
    for (;;) {
      worker_->beginChunk();
      worker_->prepare(&operation, 1);
      const Answer answer = worker_->execute(operation, out_.data());
      if (answer.status != Status::BUSY) return answer;
    }
  }

  // Reads a key, judges what it finds, and takes note of whether an operation cut short by a death took effect.
  void check(uint32_t writer, uint32_t key) {
    Cell& cell = board_.own[writer][key];
    const uint32_t acked = cell.acked.load();
    const uint32_t begun = cell.begun.load();
    const std::string name = nameOf(writer, key);
    Operation get;
    get.opcode = Opcode::GET;
    get.key = name;
    const Answer answer = run(get);
    Content met;
    met.exists = answer.status == Status::OK;
    if (met.exists) met.value.assign(out_.data(), answer.valueBytes);
    uint32_t now = acked;
    if (met == stateOf(writer, key, begun)) {
      now = begun;
    } else if (!(met == stateOf(writer, key, acked))) {
      const bool mayBeGone = !isLossless_ || expires(key);
      if (met.exists || !mayBeGone) return fail(writer, key, acked, begun, met);
      // Gone: counters and appended values start anew.
      if (isCounter(key)) now = 0;
      if (isAppended(key)) now = begun + PARTS - begun % PARTS;
    }
    cell.begun.store(now);
    cell.acked.store(now);
  }

  void write(uint32_t writer, uint32_t key) {
    Cell& cell = board_.own[writer][key];
    const uint32_t sequence = cell.acked.load() + 1;
    const std::string name = nameOf(writer, key);
    std::string value;
    const Operation operation = operationOf(writer, key, sequence, name, &value);
    cell.begun.store(sequence);
    const Answer answer = run(operation);
    const bool isDone =
        answer.status == Status::OK || (operation.opcode == Opcode::DELETE && answer.status == Status::NOT_FOUND);
    if (isDone) {
      cell.acked.store(sequence);
    } else if (isLossless_) {
      fail(writer, key, sequence, static_cast<uint32_t>(answer.status), {});
    }
  }

  void count(uint32_t writer, uint32_t counter) {
    const std::string name = "shared/" + std::to_string(counter);
    Operation operation;
    operation.opcode = Opcode::INCREMENT;
    operation.key = name;
    operation.delta = operation.initial = 1;
    uint64_t least = 0;
    for (auto& row : board_.shared) least += row[counter].acked.load();
    board_.shared[writer][counter].begun.fetch_add(1);
    const Answer answer = run(operation);
    uint64_t most = 0;
    for (auto& row : board_.shared) most += row[counter].begun.load();
    if (answer.status != Status::OK) return;
    board_.shared[writer][counter].acked.fetch_add(1);
    const auto number = static_cast<uint64_t>(answer.number);
    if (number > most || (isLossless_ && number <= least)) complain("shared counter", counter, number, least, most);
  }

  void tick() { worker_->tick(); }

  void fail(uint32_t writer, uint32_t key, uint32_t acked, uint32_t begun, const Content& met) {
    complain(met.exists ? "wrong value" : "lost or refused", writer * 1000 + key, acked, begun, met.value.size());
  }
  void complain(const char* what, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    if (board_.hasFailed.exchange(1) != 0) return;
    snprintf(board_.problem, sizeof board_.problem, "%s: key %llu, %llu, %llu, %llu", what,
             static_cast<unsigned long long>(a), static_cast<unsigned long long>(b), static_cast<unsigned long long>(c),
             static_cast<unsigned long long>(d));
  }

 private:
  Board& board_;
  bool isLossless_;
  std::string out_;
  std::unique_ptr<Worker> worker_;
};

inline Board* newBoard() {
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (memory) Board();
}

}  // namespace board
