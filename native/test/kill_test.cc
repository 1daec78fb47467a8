// Death at any instruction. Writer processes work on one store and are killed at random instants; whoever follows reads
// and checks each key before writing it, so that a lost or torn value is met soon after the death that made it.
//
// What was intended and what was acknowledged stands on a board outside the store: `begun` is written before an
// operation, `acked` after it. The content a key has after its n-th operation is computed from n alone. A key whose
// writer died must show its state before or after the operation under way, whole; any other key exactly what was
// acknowledged, or, where memory is short, that or nothing.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>

#include "../store/worker.h"
#include "support/audit.h"
#include "support/check.h"
#include "support/rows.h"

namespace {

using namespace henge;
using protocol::Opcode;
using protocol::Status;

constexpr uint32_t WRITERS = 3;
constexpr uint32_t KEYS = 320;     // a writer's own
constexpr uint32_t COUNTERS = 8;   // everybody's
constexpr uint32_t VALUE_BYTES_MAX = 64 * 1024;
constexpr uint64_t LIFE_MS = 15;   // of keys that expire
constexpr uint64_t AMPLE_BYTES = 128 << 20;  // more than is written between two fresh starts
constexpr uint64_t FILE_BYTES = 32 << 20;
constexpr uint64_t SCARCE_BYTES = 3 << 20;

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
bool isCounter(uint32_t key) { return key % 8 == 0; }
bool isAppended(uint32_t key) { return key % 8 == 1; }
bool expires(uint32_t key) { return key % 8 == 2; }

uint64_t mixOf(uint32_t writer, uint32_t key, uint32_t sequence) {
  uint64_t state = static_cast<uint64_t>(writer) << 48 | static_cast<uint64_t>(key) << 32 | sequence;
  return splitmix(&state);
}

std::string nameOf(uint32_t writer, uint32_t key) {
  std::string name = "w" + std::to_string(writer) + "/" + std::to_string(key) + "/";
  // Some keys are longer than a byte can count, some longer than a record may be.
  if (key % 40 == 7) name.append(300, 'k');
  if (key % 80 == 43) name.append(5'000, 'K');
  return name;
}

std::string contentOf(uint32_t writer, uint32_t key, uint32_t sequence, size_t bytes) {
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

size_t partBytes(uint32_t key) { return key % 16 == 1 ? 40 : 240; }

Content stateOf(uint32_t writer, uint32_t key, uint32_t sequence) {
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

Operation operationOf(uint32_t writer, uint32_t key, uint32_t sequence, const std::string& name, std::string* value) {
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

Board* newBoard() {
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (memory) Board();
}

[[noreturn]] void writerMain(const std::string& path, Board* board, uint32_t writer, bool isLossless, uint64_t seed) {
  Failure failure;
  const auto memory = Memory::attach(path, &failure);
  if (memory == nullptr || nice(5) == -1) _exit(3);  // whoever kills comes first where cores are few
  Hands hands(*memory, *board, isLossless);
  if (!hands.isOpen()) _exit(4);
  check::Random random(seed);
  for (;;) {
    const uint32_t key = random.below(KEYS);
    hands.check(writer, key);
    if (board->hasFailed.load() != 0) _exit(5);
    hands.write(writer, key);
    if (random.below(4) == 0) hands.count(writer, random.below(COUNTERS));
    if (random.below(64) == 0) hands.tick();
    board->operations[writer].fetch_add(1);
  }
}

struct World {
  explicit World(uint64_t bytes, bool lossless, const std::string& file = "") : isLossless(lossless) {
    options.bytes = bytes;
    options.valueBytesMax = VALUE_BYTES_MAX;
    options.nodeName = "a";
    options.nodeNumber = 1;
    options.file = file;
    options.seed = 7;
    // Few segments, so that writers meet; small pages, so that the index grows; small regions, so that values are cut.
    options.geometry = Geometry{8, 16, 16 * 1024, 512};
  }
  bool open() {
    Failure failure;
    if ((memory = Memory::create(options, &failure)) == nullptr) return false;
    memory->install(rows::epochOf(protocol::SLOTS, 1, 1, "1").installation());
    return true;
  }
  void start(uint32_t writer) {
    const uint64_t seed = random.next();
    pids[writer] = fork();
    if (pids[writer] == 0) writerMain(memory->path(), board, writer, isLossless, seed);
  }
  void kill(uint32_t writer) {
    ::kill(pids[writer], SIGKILL);
    waitpid(pids[writer], nullptr, 0);
  }
  void startAll() {
    for (uint32_t i = 0; i < WRITERS; i++) start(i);
  }
  void stopAll() {
    for (uint32_t i = 0; i < WRITERS; i++) kill(i);
    for (const pid_t pid : pids) memory->reap(pid);
  }
  // Everybody is dead and reaped: the store must be whole and hold what the board says.
  bool isRight() {
    std::string problem = audit::problemOf(*memory);
    if (problem.empty()) {
      Hands hands(*memory, *board, isLossless);
      for (uint32_t writer = 0; writer < WRITERS; writer++) {
        for (uint32_t key = 0; key < KEYS; key++) hands.check(writer, key);
      }
    }
    if (problem.empty() && board->hasFailed.load() != 0) problem = board->problem;
    if (problem.empty()) problem = audit::problemOf(*memory);
    if (!problem.empty()) printf("%s\n", problem.c_str());
    return problem.empty();
  }

  MemoryOptions options;
  bool isLossless;
  Board* board = newBoard();
  std::unique_ptr<Memory> memory;
  pid_t pids[WRITERS] = {};
  check::Random random;
};

uint64_t operationsOf(const Board& board) {
  uint64_t sum = 0;
  for (const auto& count : board.operations) sum += count.load();
  return sum;
}

// Kills one writer after another, and at the end all of them.
bool killOften(World* world, uint32_t kills) {
  world->startAll();
  for (uint32_t i = 0; i < kills && world->board->hasFailed.load() == 0; i++) {
    usleep(world->random.below(4000));
    const uint32_t victim = world->random.below(WRITERS);
    world->kill(victim);
    world->memory->reap(world->pids[victim]);
    world->start(victim);
  }
  world->stopAll();
  return world->isRight() && world->memory->stats().workerDeaths > 0;
}

struct Totals {
  uint64_t operations = 0;
  uint64_t scrubs = 0;
  uint64_t evictions = 0;
  void add(const World& world) {
    operations += operationsOf(*world.board);
    scrubs += world.memory->stats().scrubs;
    evictions += world.memory->stats().evictions;
  }
  void print() const {
    printf("  %llu operations, %llu scrubs, %llu evictions\n", static_cast<unsigned long long>(operations),
           static_cast<unsigned long long>(scrubs), static_cast<unsigned long long>(evictions));
  }
};

// Each store is young when it is killed, so that indexes grow meanwhile.
TEST("a thousand killed writers lose nothing that was acknowledged") {
  Totals totals;
  for (uint32_t round = 0; round < 10; round++) {
    World world(AMPLE_BYTES, true);
    world.random = check::Random(check::seed() + round);
    CHECK(world.open());
    CHECK(killOften(&world, 100));
    totals.add(world);
  }
  totals.print();
  CHECK(totals.evictions == 0 && totals.scrubs > 0);
}

TEST("killed writers under memory pressure leave no torn and no older value") {
  Totals totals;
  for (uint32_t round = 0; round < 3; round++) {
    World world(SCARCE_BYTES, false);
    world.random = check::Random(check::seed() + 100 + round);
    CHECK(world.open());
    CHECK(killOften(&world, 100));
    totals.add(world);
  }
  totals.print();
  CHECK(totals.evictions > 0 && totals.scrubs > 0);
}

// Kills where nobody reaps, and then waits for the living.
bool killUnreaped(World* world) {
  world->startAll();
  for (uint32_t i = 0; i < 12; i++) {
    usleep(world->random.below(6000));
    const uint32_t victim = world->random.below(WRITERS);
    world->kill(victim);
    world->start(victim);
  }
  const uint64_t before = operationsOf(*world->board);
  for (uint32_t waits = 0; waits < 1'000 && operationsOf(*world->board) == before; waits++) usleep(10'000);
  const bool goesOn = operationsOf(*world->board) > before;
  for (uint32_t i = 0; i < WRITERS; i++) world->kill(i);
  for (uint32_t place = 1; place < PLACES_MAX; place++) {
    const int pid = world->memory->view().places[place].pid.load();
    if (pid != 0) world->memory->reap(pid);
  }
  return world->isRight() && goesOn;
}

TEST("a writer takes over a dead one's lock where nobody reaps") {
  Totals totals;
  for (uint32_t start = 0; start < 4; start++) {
    World world(AMPLE_BYTES, true);
    world.random = check::Random(check::seed() + start);
    CHECK(world.open());
    for (uint32_t round = 0; round < 2; round++) CHECK(killUnreaped(&world));
    totals.add(world);
  }
  totals.print();
  CHECK(totals.evictions == 0);
}

// The primary and its writers all go at once; whoever opens the file next finds all of it.
TEST("a node killed as a whole comes back with everything acknowledged") {
  const std::string file = "/dev/shm/henge-kill-test-" + std::to_string(getpid());
  World world(FILE_BYTES, true, file);
  for (uint32_t round = 0; round < 25; round++) {
    int ready[2];
    CHECK(pipe(ready) == 0);
    const pid_t primary = fork();
    if (primary == 0) {
      setpgid(0, 0);
      if (!world.open()) _exit(3);
      world.startAll();
      if (write(ready[1], "r", 1) != 1) _exit(4);
      for (;;) pause();
    }
    char byte = 0;
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    usleep(5000 + world.random.below(20'000));
    ::kill(-primary, SIGKILL);
    waitpid(primary, nullptr, 0);
    CHECK(world.open());
    CHECK(world.memory->origin() == Origin::SCRUBBED);
    CHECK(world.isRight());
    world.memory->close(round % 5 == 4);  // now and then a clean stop in between
    world.memory.reset();
    if (round % 5 == 4) {
      CHECK(world.open());
      CHECK(world.memory->origin() == Origin::WARM);
      CHECK(world.isRight());
      world.memory.reset();
    }
  }
  unlink(file.c_str());
}

}  // namespace

TEST_MAIN
