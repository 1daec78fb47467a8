// A store that is given several times what it can hold, in values from a few bytes to many fragments: every write is
// taken, what was written last is there, and memory is what it was.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "../store/worker.h"
#include "support/check.h"
#include "support/rows.h"

namespace {

using namespace henge;
using protocol::Opcode;
using protocol::Status;

constexpr uint64_t BYTES = 32 << 20;
constexpr uint32_t VALUE_BYTES_MAX = 50'000;

struct Full {
  explicit Full(uint32_t workerCount) : source(VALUE_BYTES_MAX, 'v'), out(VALUE_BYTES_MAX, 0) {
    MemoryOptions options;
    options.bytes = BYTES;
    options.nodeName = "a";
    options.nodeNumber = 1;
    options.valueBytesMax = VALUE_BYTES_MAX;
    Failure failure;
    memory = Memory::create(options, &failure);
    CHECK(memory != nullptr);
    memory->install(rows::epochOf(protocol::SLOTS, 1, 1, "1").installation());
    for (uint32_t i = 0; i < workerCount; i++) workers.push_back(Worker::open(*memory, &failure));
  }
  // Small ones as likely as large ones.
  std::string_view value() {
    const double power = random.below(1 << 20) / static_cast<double>(1 << 20);
    return std::string_view(source).substr(0, static_cast<size_t>(std::pow(VALUE_BYTES_MAX, power)));
  }
  Answer run(Worker& with, Operation operation) {
    with.beginChunk();
    with.prepare(&operation, 1);
    return with.execute(operation, out.data());
  }
  // Writes `bytes` bytes of new keys, the workers in turn of `turn` writes.
  void fill(uint64_t bytes, uint32_t turn) {
    for (uint32_t i = 0; bytes > 0; i++) {
      const std::string key = "key:" + std::to_string(written++);
      Operation set;
      set.opcode = Opcode::SET;
      set.key = key;
      set.value = value();
      Worker& writer = *workers[i / turn % workers.size()];
      CHECK(run(writer, set).status == Status::OK);
      Operation get;
      get.opcode = Opcode::GET;
      get.key = key;
      const Answer found = run(writer, get);
      CHECK(found.status == Status::OK && std::string_view(out.data(), found.valueBytes) == set.value);
      bytes -= set.value.size() < bytes ? set.value.size() : bytes;
    }
  }

  check::Random random;
  std::string source;
  std::string out;
  uint64_t written = 0;
  std::unique_ptr<Memory> memory;
  std::vector<std::unique_ptr<Worker>> workers;
};

TEST("every write is taken, however long the store has been full") {
  Full store(1);
  store.fill(10 * BYTES, 1);
}

TEST("every write is taken by whichever worker it comes to") {
  Full store(4);
  store.fill(5 * BYTES, 1);
  store.fill(5 * BYTES, 1'000'000);  // one alone, while the others hold what they hold
}

TEST("every write is taken where most is worth keeping, and little fits behind it") {
  Full store(1);
  for (uint32_t i = 0; i < 60'000; i++) {
    // Some ten to a region: much of one is lost at its end, also when survivors are copied to another.
    const uint32_t id = store.random.below(store.random.below(12'000) + 1);
    const std::string key = "key:" + std::to_string(id);
    Operation get;
    get.opcode = Opcode::GET;
    get.key = key;
    if (store.run(*store.workers[0], get).status == Status::OK) continue;
    Operation set;
    set.opcode = Opcode::SET;
    set.key = key;
    set.value = std::string_view(store.source).substr(0, 5'500 + id * 7'919u % 2'500);
    CHECK(store.run(*store.workers[0], set).status == Status::OK);
  }
}

}  // namespace

TEST_MAIN
