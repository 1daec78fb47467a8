// Death between any two stores. A process works on a store that it may only read; each store is caught, counted, let through
// alone (one step of the processor, then the memory is closed again), and the one whose turn it is is the process's last. So
// every order of "this was written, that was not" which a death can leave is met, not just those that random kills hit.
#include <csignal>

#if defined(__x86_64__)

#include <sys/mman.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "support/pictured.h"

namespace {

using namespace henge;
using namespace pictured;

constexpr uint32_t HANG_SECONDS = 240;
constexpr uint32_t DEATHS = 100;        // where there are too many stores for each to be the last
constexpr greg_t TRAP_FLAG = 0x100;

// ---- a process that dies at its n-th store -------------------------------------------------------------------------------

struct Gate {
  char* from = nullptr;
  size_t bytes = 0;
  uint32_t last = 0;
  uint32_t* seen = nullptr;  // shared with who waits for the process
};
Gate gate;

void onStore(int, siginfo_t* info, void* context) {
  const auto* at = static_cast<char*>(info->si_addr);
  if (at < gate.from || at >= gate.from + gate.bytes) _exit(9);
  if ((*gate.seen)++ == gate.last) kill(getpid(), SIGKILL);
  mprotect(gate.from, gate.bytes, PROT_READ | PROT_WRITE);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

void onStep(int, siginfo_t*, void* context) {
  mprotect(gate.from, gate.bytes, PROT_READ);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

void closeGate(View& view, uint32_t last) {
  gate.from = view.base;
  gate.bytes = view.bytes;
  gate.last = last;
  struct sigaction action = {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = onStore;
  sigaction(SIGSEGV, &action, nullptr);
  action.sa_sigaction = onStep;
  sigaction(SIGTRAP, &action, nullptr);
  mprotect(gate.from, gate.bytes, PROT_READ);
}

using Act = std::function<void(World&)>;

// Who died, or 0 if it came to the end.
pid_t dieAtStore(World* world, uint32_t store, const Act& act) {
  if (gate.seen == nullptr) {
    gate.seen = static_cast<uint32_t*>(mmap(nullptr, sizeof *gate.seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  }
  *gate.seen = 0;
  const pid_t child = fork();
  if (child == 0) {
    world->open();
    closeGate(world->view(), store);
    act(*world);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return child;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    printf("a child ended with status %d\n", status);
    throw check::Failed{};
  }
  world->memory->reap(child);
  return 0;
}

// How many stores there are to die at.
uint32_t storesOf(World* world, const Act& act) {
  CHECK(dieAtStore(world, UINT32_MAX, act) == 0);
  return *gate.seen;
}

// The store after a death: by the primary that outlives its worker, or by the next node that finds the arena.
void recover(World* world, pid_t dead, bool isRestart) {
  if (isRestart) {
    CHECK(Scrub(world->view(), 0).everything());
  } else {
    CHECK(world->memory->reap(dead) == 1);
  }
}

// ---- the store and what is done to it ------------------------------------------------------------------------------------

class SmallWorld : public World {
 public:
  // So many bytes that nothing is evicted, or so few that much is.
  explicit SmallWorld(uint32_t items, uint64_t bytes = 192 << 10) : World(Geometry{4, 4, 1024, 128}, bytes) {
    for (uint32_t i = 0; i < items; i++) run(Opcode::SET, "k" + std::to_string(i), valueOf(i, 4 + i % 37), i % 3 * 3'600'000);
    for (uint32_t i = 0; i < 4; i++) run(Opcode::SET, "large" + std::to_string(i), valueOf(i, 200 + i * 70), i % 2 * 3'600'000);
    run(Opcode::SET, std::string(300, 'K'), valueOf(7, 30));
    Operation operation;
    operation.opcode = Opcode::INCREMENT;
    operation.key = "n";
    operation.initial = 41;
    act(operation);
    run(Opcode::SET, "brief", "gone soon", 1);
    settle();
  }
  void act(Operation operation) {
    worker->prepare(&operation, 1);
    worker->execute(operation, buffer_);
  }

 private:
  char buffer_[2048];
};

Act doing(Opcode opcode, const std::string& key, const std::string& value = "", uint64_t ttlMs = 0) {
  return [=](World& world) { world.run(opcode, key, value, ttlMs); };
}

// Every store of an operation in turn is its process's last: the key is as before or as after, and all else is untouched.
uint32_t dieEverywhere(SmallWorld* world, const std::string& key, const Act& act) {
  alarm(HANG_SECONDS);
  world->restore();
  const std::string before = world->stateOf(key);
  const uint32_t stores = storesOf(world, act);
  const std::string after = world->stateOf(key);
  for (uint32_t store = 0; store < stores; store++) {
    world->restore();
    recover(world, dieAtStore(world, store, act), store % 2 == 0);
    const std::string now = world->stateOf(key);
    std::string problem = now == before || now == after ? "" : "neither the old state nor the new";
    if (problem.empty()) problem = world->problemBut(world->entryOf(key));
    if (!problem.empty()) printf("%s, store %u: %s\n", key.c_str(), store, problem.c_str());
    CHECK(problem.empty());
  }
  return stores;
}

TEST("any operation may die at any store") {
  SmallWorld world(40);
  uint32_t deaths = 0;
  deaths += dieEverywhere(&world, "new", doing(Opcode::SET, "new", "value"));
  deaths += dieEverywhere(&world, "k7", doing(Opcode::SET, "k7", valueOf(99, 4 + 7)));
  deaths += dieEverywhere(&world, "k8", doing(Opcode::SET, "k8", valueOf(99, 50), 5'000));
  deaths += dieEverywhere(&world, "k9", doing(Opcode::DELETE, "k9"));
  deaths += dieEverywhere(&world, "n", doing(Opcode::INCREMENT, "n"));
  deaths += dieEverywhere(&world, "k10", doing(Opcode::TOUCH, "k10", "", 9'000));
  deaths += dieEverywhere(&world, "k11", doing(Opcode::TOUCH, "k11", "", 9'000));
  deaths += dieEverywhere(&world, "k12", doing(Opcode::APPEND, "k12", "more"));
  printf("  %u deaths\n", deaths);
  CHECK(deaths > 100);
}

TEST("an operation on a value in fragments may die at any store") {
  SmallWorld world(40);
  uint32_t deaths = 0;
  deaths += dieEverywhere(&world, "vast", doing(Opcode::SET, "vast", valueOf(5, 300)));
  deaths += dieEverywhere(&world, "large1", doing(Opcode::SET, "large1", valueOf(5, 300)));
  deaths += dieEverywhere(&world, "large2", doing(Opcode::SET, "large2", "small"));
  deaths += dieEverywhere(&world, "large3", doing(Opcode::DELETE, "large3"));
  deaths += dieEverywhere(&world, "large1", doing(Opcode::TOUCH, "large1", "", 9'000));
  deaths += dieEverywhere(&world, "large0", doing(Opcode::TOUCH, "large0", "", 9'000));
  deaths += dieEverywhere(&world, "large0", doing(Opcode::APPEND, "large0", valueOf(6, 100)));
  deaths += dieEverywhere(&world, "k12", doing(Opcode::APPEND, "k12", valueOf(6, 100)));
  deaths += dieEverywhere(&world, std::string(300, 'K'), doing(Opcode::SET, std::string(300, 'K'), valueOf(8, 30)));
  printf("  %u deaths\n", deaths);
  CHECK(deaths > 200);
}

TEST("an item that expires may die at any store") {
  SmallWorld world(40);
  const auto expire = [](World& later) {
    later.memory->setClock(START_MS + 10);
    later.worker->beginChunk();
    later.run(Opcode::GET, "brief");
  };
  CHECK(dieEverywhere(&world, "brief", expire) > 5);
}

TEST("an index may die at any store of its growth") {
  SmallWorld world(40);
  uint32_t deaths = 0;
  // Until the next insertion begins to grow a segment, and then through all of it.
  for (uint32_t i = 0; i < 40; i++) {
    const std::string key = "{one}" + std::to_string(i);
    world.restore();
    world.open();
    const uint32_t segment = world.view().segmentOf(world.view().localSlot(slotOf(key)));
    const bool wasGrowing = world.view().segments[segment].bucketsOld != 0;
    const uint32_t pages = world.view().segments[segment].pages;
    world.run(Opcode::SET, key, "value");
    const bool grows = wasGrowing || world.view().segments[segment].pages != pages;
    world.worker.reset();
    if (grows) deaths += dieEverywhere(&world, key, doing(Opcode::SET, key, "value"));
    world.restore();
    world.open();
    world.run(Opcode::SET, key, "value");
    world.settle();
  }
  printf("  %u deaths\n", deaths);
  CHECK(deaths > 100);
}

// Which items go is eviction's choice; none may be torn, stale or unreachable, and nothing may point to what was given back.
TEST("an eviction may die at any store") {
  alarm(HANG_SECONDS);
  SmallWorld world(1200, 120 << 10);
  check::Random random;
  const auto evict = [](World& full) {
    for (uint32_t i = 0; i < 25; i++) full.run(Opcode::SET, "more" + std::to_string(i), valueOf(i, i % 9 == 0 ? 300 : 30));
  };
  world.restore();
  const uint32_t stores = storesOf(&world, evict);
  CHECK(world.memory->stats().evictions > 0);
  for (uint32_t round = 0; round < DEATHS; round++) {
    world.restore();
    const uint32_t store = random.below(stores);
    recover(&world, dieAtStore(&world, store, evict), round % 2 == 0);
    const std::string problem = world.problemBut(NOBODY, true);
    if (!problem.empty()) printf("store %u of %u: %s\n", store, stores, problem.c_str());
    CHECK(problem.empty());
    if (round % 16 == 0) CHECK(canBeWorkedWith(&world, round));
  }
}

// A worker that takes over a dead one's lock dies as well, and so may the next.
TEST("a take-over may die at any store, and the take-over of that") {
  alarm(HANG_SECONDS);
  check::Random random;
  SmallWorld world(40);
  const std::string key = "k7";
  const Act overwrite = doing(Opcode::SET, key, valueOf(99, 4 + 7));
  const Act read = doing(Opcode::GET, key);
  const std::string before = world.stateOf(key);
  const uint32_t stores = storesOf(&world, overwrite);
  const std::string after = world.stateOf(key);
  for (uint32_t round = 0; round < DEATHS; round++) {
    const uint32_t store = round % stores;
    world.restore();
    dieAtStore(&world, store, overwrite);
    const uint32_t storesOfNext = storesOf(&world, read);
    world.restore();
    std::vector<pid_t> dead = {dieAtStore(&world, store, overwrite)};
    for (uint32_t i = 0; i < 2; i++) dead.push_back(dieAtStore(&world, random.below(storesOfNext), read));
    std::swap(dead[0], dead[random.below(3)]);
    for (const pid_t pid : dead) {
      if (pid != 0) world.memory->reap(pid);
    }
    const std::string now = world.stateOf(key);
    CHECK(now == before || now == after);
    CHECK(world.problemBut(world.entryOf(key)) == "");
  }
}

TEST("a scrub of everything may die at any store") {
  alarm(HANG_SECONDS);
  check::Random random;
  SmallWorld world(60);
  const std::string key = "large1";
  const Act append = doing(Opcode::APPEND, key, valueOf(6, 100));
  const auto scrub = [](World& found) { Scrub(found.view(), 0).everything(); };
  const std::string before = world.stateOf(key);
  const uint32_t stores = storesOf(&world, append);
  const std::string after = world.stateOf(key);
  const uint32_t storesOfScrub = storesOf(&world, scrub);
  for (uint32_t round = 0; round < DEATHS; round++) {
    world.restore();
    dieAtStore(&world, random.below(stores), append);
    for (uint32_t i = 0; i < 2; i++) dieAtStore(&world, random.below(storesOfScrub), scrub);
    CHECK(Scrub(world.view(), 0).everything());
    const std::string now = world.stateOf(key);
    CHECK(now == before || now == after);
    CHECK(world.problemBut(world.entryOf(key)) == "");
  }
}

}  // namespace

TEST_MAIN

#else

// Stepping through single stores is written for one processor only; kill_test is for all.
int main() {
  std::puts("0 passed, 0 failed");
  return 0;
}

#endif
