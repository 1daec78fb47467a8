// Death at any instruction. Writer processes work on one store and are killed at random instants; whoever follows reads
// and checks each key before writing it (support/board.h), so that a lost or torn value is met soon after the death
// that made it.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "support/audit.h"
#include "support/board.h"
#include "support/check.h"
#include "support/rows.h"

namespace {

using namespace board;

constexpr uint64_t AMPLE_BYTES = 128 << 20;  // more than is written between two fresh starts
constexpr uint64_t FILE_BYTES = 32 << 20;
constexpr uint64_t SCARCE_BYTES = 3 << 20;

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
