// Death between any two stores. A process works on a store that it may only read; each of its stores is caught, let
// through alone (one step of the processor, then the memory is closed again), and written down. From that the memory is
// put together as a death before any of them would have left it. So every order of "this was written, that was not" is
// met, not just those that random kills hit.
#include <csignal>

#if defined(__x86_64__)

#include <sys/mman.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "support/pictured.h"

namespace {

using namespace henge;
using namespace pictured;

constexpr uint32_t STORES_MAX = 200'000;
constexpr uint32_t FINISHING_STORES = 24;  // with which a take-over begins: the overwrite that it finishes
constexpr size_t ARENA_BYTES_MAX = 1 << 20;
constexpr greg_t TRAP_FLAG = 0x100;

// ---- a process whose every store is known
// --------------------------------------------------------------------------------

// The widest store there is; behind a narrower one stands what stood there anyway.
struct Store {
  uint32_t at;
  uint32_t bytes;
  char content[64];
};

// In memory shared by who is watched and who watches.
struct Tape {
  uint32_t count;
  Store stores[STORES_MAX];
};

struct Gate {
  char* from = nullptr;
  size_t bytes = 0;
  uint32_t at = 0;  // of the store let through
  Tape* tape = nullptr;
};
Gate gate;

void onStore(int, siginfo_t* info, void* context) {
  const auto* at = static_cast<char*>(info->si_addr);
  if (at < gate.from || at >= gate.from + gate.bytes || gate.tape->count == STORES_MAX) _exit(9);
  gate.at = static_cast<uint32_t>(at - gate.from);
  mprotect(gate.from, gate.bytes, PROT_READ | PROT_WRITE);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

void onStep(int, siginfo_t*, void* context) {
  Store& store = gate.tape->stores[gate.tape->count++];
  store.at = gate.at;
  store.bytes =
      static_cast<uint32_t>(gate.bytes - gate.at < sizeof store.content ? gate.bytes - gate.at : sizeof store.content);
  memcpy(store.content, gate.from + gate.at, store.bytes);
  mprotect(gate.from, gate.bytes, PROT_READ);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

void closeGate() {
  struct sigaction action = {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = onStore;
  sigaction(SIGSEGV, &action, nullptr);
  action.sa_sigaction = onStep;
  sigaction(SIGTRAP, &action, nullptr);
  mprotect(gate.from, gate.bytes, PROT_READ);
}

template <typename T>
T* shared(size_t bytes) {
  return static_cast<T*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

using Act = std::function<void(World&)>;

// What a process stored, from the memory as it found it with its worker just opened. It is gone, with nothing given
// back.
class Recording {
 public:
  Recording(World* world, const Act& act) : world_(world), before_(world->view().bytes, 0) {
    static Tape* const tape = shared<Tape>(sizeof(Tape));
    static char* const before = shared<char>(ARENA_BYTES_MAX);
    CHECK(before_.size() <= ARENA_BYTES_MAX);
    tape->count = 0;
    gate = Gate{world->base(), world->view().bytes, 0, tape};
    pid_ = fork();
    if (pid_ == 0) {
      world->open();
      memcpy(before, world->base(), world->view().bytes);
      closeGate();
      act(*world);
      _exit(0);
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    if (status != 0) printf("who was watched ended with status %d\n", status);
    CHECK(status == 0);
    memcpy(before_.data(), before, before_.size());
    stores_.assign(tape->stores, tape->stores + tape->count);
  }

  uint32_t size() const { return static_cast<uint32_t>(stores_.size()); }
  pid_t pid() const { return pid_; }
  // The memory as if the process had died before this store.
  void dieAt(uint32_t store) const {
    memcpy(world_->base(), before_.data(), before_.size());
    for (uint32_t i = 0; i < store; i++) memcpy(world_->base() + stores_[i].at, stores_[i].content, stores_[i].bytes);
  }

 private:
  World* world_;
  std::string before_;
  std::vector<Store> stores_;
  pid_t pid_ = 0;
};

// The store after a death: by the primary that outlives its worker, or by the next node that finds the arena.
void recover(World* world, pid_t dead, bool isRestart) {
  if (isRestart) {
    CHECK(Scrub(world->view(), 0).everything());
  } else {
    CHECK(world->memory->reap(dead) == 1);
  }
}

// ---- the store and what is done to it
// ------------------------------------------------------------------------------------

class SmallWorld : public World {
 public:
  // So many bytes that nothing is evicted, or so few that much is.
  explicit SmallWorld(uint32_t items, uint64_t bytes = 192 << 10) : World(Geometry{4, 4, 1024, 128}, bytes) {
    for (uint32_t i = 0; i < items; i++)
      run(Opcode::SET, "k" + std::to_string(i), valueOf(i, 4 + i % 37), i % 3 * 3'600'000);
    for (uint32_t i = 0; i < 4; i++)
      run(Opcode::SET, "large" + std::to_string(i), valueOf(i, 200 + i * 70), i % 2 * 3'600'000);
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

// Death at every store of an operation in turn, and at its end: the key is as before or as after, and all else
// untouched.
uint32_t dieEverywhere(SmallWorld* world, const std::string& key, const Act& act) {
  world->restore();
  const std::string before = world->stateOf(key);
  const Recording recording(world, act);
  const std::string after = world->stateOf(key);
  for (uint32_t store = 0; store <= recording.size(); store++) {
    for (const bool isRestart : {false, true}) {
      recording.dieAt(store);
      recover(world, recording.pid(), isRestart);
      const std::string now = world->stateOf(key);
      std::string problem = now == before || now == after ? "" : "neither the old state nor the new";
      if (problem.empty()) problem = world->problemBut(world->entryOf(key));
      if (!problem.empty()) printf("%s, store %u of %u: %s\n", key.c_str(), store, recording.size(), problem.c_str());
      CHECK(problem.empty());
    }
  }
  return recording.size();
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

// None that the eviction would have kept may be gone, none be torn or stale, and nothing point to what was given back.
TEST("an eviction may die at any store") {
  SmallWorld world(1200, 184 << 10);
  world.restore();
  const Recording recording(&world, [](World& full) {
    for (uint32_t i = 0; i < 40; i++)
      full.run(Opcode::SET, "more" + std::to_string(i), valueOf(i, i % 9 == 0 ? 300 : 30));
  });
  CHECK(world.memory->stats().evictions > 0);
  world.giveUpWhatIsGone();
  check::Random random;
  uint32_t deaths = 0;
  for (uint32_t store = random.below(8); store < recording.size(); store += 1 + random.below(8)) {
    recording.dieAt(store);
    recover(&world, recording.pid(), random.below(2) == 0);
    const std::string problem = world.problemBut(NOBODY);
    if (!problem.empty()) printf("store %u of %u: %s\n", store, recording.size(), problem.c_str());
    CHECK(problem.empty());
    if (++deaths % 32 == 0) CHECK(canBeWorkedWith(&world, store));
  }
  printf("  %u deaths\n", deaths);
}

// A worker that takes over a dead one's lock dies as well, and so may the next.
TEST("a take-over may die at any store, and the take-over of that") {
  check::Random random;
  SmallWorld world(40);
  const std::string key = "k7";
  const Act read = doing(Opcode::GET, key);
  const std::string before = world.stateOf(key);
  const Recording overwrite(&world, doing(Opcode::SET, key, valueOf(99, 4 + 7)));
  const std::string after = world.stateOf(key);
  for (uint32_t round = 0; round < 4 * overwrite.size(); round++) {
    overwrite.dieAt(round % overwrite.size());
    const Recording second(&world, read);
    second.dieAt(random.below(round % 2 == 0 ? std::min(FINISHING_STORES, second.size()) : second.size()));
    const Recording third(&world, read);
    third.dieAt(random.below(third.size()));
    pid_t dead[] = {overwrite.pid(), second.pid(), third.pid()};
    std::swap(dead[0], dead[random.below(3)]);
    for (const pid_t pid : dead) world.memory->reap(pid);
    const std::string now = world.stateOf(key);
    CHECK(now == before || now == after);
    CHECK(world.problemBut(world.entryOf(key)) == "");
  }
  printf("  %u deaths\n", 12 * overwrite.size());
}

TEST("a scrub of everything may die at any store") {
  check::Random random;
  SmallWorld world(60);
  const std::string key = "large1";
  const Act scrub = [](World& found) { Scrub(found.view(), 0).everything(); };
  const std::string before = world.stateOf(key);
  const Recording append(&world, doing(Opcode::APPEND, key, valueOf(6, 100)));
  const std::string after = world.stateOf(key);
  for (uint32_t round = 0; round < 12; round++) {
    append.dieAt(random.below(append.size()));
    const Recording first(&world, scrub);
    for (uint32_t i = 0; i < 40; i++) {
      first.dieAt(random.below(first.size()));
      CHECK(Scrub(world.view(), 0).everything());
      const std::string now = world.stateOf(key);
      CHECK(now == before || now == after);
      CHECK(world.problemBut(world.entryOf(key)) == "");
    }
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
