// A small store in one process, with a clock of the test's own and as many workers as a test needs.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "../../store/worker.h"
#include "rows.h"

namespace check {

using namespace henge;
using protocol::Opcode;
using protocol::Status;
namespace Flag = protocol::RequestFlag;

inline constexpr uint64_t START_MS = 1'700'000'000'000;

// A small store and one worker on it.
struct World {
  explicit World(uint64_t bytes = 8 << 20, bool replicated = false, uint32_t valueBytesMax = 256 * 1024) {
    options.bytes = bytes;
    options.nodeName = "a";
    options.nodeNumber = 1;
    options.replicated = replicated;
    options.valueBytesMax = valueBytesMax;
    options.manualClock = true;
    options.seed = 42;
    open();
  }
  void open() {
    Failure failure;
    memory = Memory::create(options, &failure);
    if (memory == nullptr) {
      printf("no memory: %s %s\n", failure.code, failure.message.c_str());
      abort();
    }
    memory->setClock(ms);
    memory->install(rows::epochOf(protocol::SLOTS, 1, 1, "1").installation());
    worker = Worker::open(*memory, &failure);
    out.resize(options.valueBytesMax);
  }
  void advance(uint64_t by) {
    ms += by;
    memory->setClock(ms);
    worker->beginChunk();
  }
  Answer run(Operation operation) { return run(*worker, operation); }
  Answer run(Worker& with, Operation operation) {
    with.prepare(&operation, 1);
    return with.execute(operation, out.data());
  }
  Answer set(std::string_view key, std::string_view value, uint64_t ttlMs = 0, uint8_t flags = 0) {
    Operation operation;
    operation.opcode = Opcode::SET;
    operation.key = key;
    operation.value = value;
    operation.ttlMs = ttlMs;
    operation.flags = flags;
    return run(operation);
  }
  Answer act(Opcode opcode, std::string_view key, uint8_t flags = 0) {
    Operation operation;
    operation.opcode = opcode;
    operation.key = key;
    operation.flags = flags;
    return run(operation);
  }
  // The value, or "(none)".
  std::string get(std::string_view key) {
    const Answer answer = act(Opcode::GET, key, Flag::WANT_META);
    return answer.status == Status::OK ? std::string(out.data(), answer.valueBytes) : std::string("(none)");
  }
  Answer increment(std::string_view key, int64_t delta, int64_t initial = 0) {
    Operation operation;
    operation.opcode = Opcode::INCREMENT;
    operation.key = key;
    operation.delta = delta;
    operation.initial = initial;
    return run(operation);
  }
  Answer append(std::string_view key, std::string_view value) {
    Operation operation;
    operation.opcode = Opcode::APPEND;
    operation.key = key;
    operation.value = value;
    return run(operation);
  }

  MemoryOptions options;
  uint64_t ms = START_MS;
  std::unique_ptr<Memory> memory;
  std::unique_ptr<Worker> worker;
  std::string out;
};

inline std::string valueOf(uint32_t seed, size_t bytes) {
  std::string value(bytes, 0);
  for (size_t i = 0; i < bytes; i++) value[i] = static_cast<char>((seed * 2654435761u + i * 40503u) >> 7);
  return value;
}

}  // namespace check
