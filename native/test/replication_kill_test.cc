// SIGKILL at any instruction: nothing that a dead worker had not got acknowledged may look as if it were, and no epoch
// may be half there. Children share the parent's memory and are killed by it after some random time.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "support/cluster.h"

namespace {

using namespace cluster;

constexpr uint32_t KILLS = 60;
constexpr uint32_t MICROSECONDS_MAX = 4000;
constexpr uint32_t WAITS_MAX = 100'000;  // for a child to begin, a tenth of a millisecond each
constexpr uint32_t ITEMS_MAX = 1500;

// What a child says of itself, in memory that outlives it.
struct Diary {
  std::atomic<uint32_t> acknowledged;  // frames that the copy had, before they were taken out of the ring
  std::atomic<uint32_t> begun;
};

Diary* openDiary() {
  void* memory = mmap(nullptr, sizeof(Diary), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return new (memory) Diary{};
}

// Runs `body` in a child until it is killed, or returns: at some moment after it has begun, however long the machine
// takes to get there.
template <typename Body>
void runAndKill(Node& node, check::Random& random, Diary* diary, Body body) {
  diary->begun.store(0);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    body();
    _exit(0);
  }
  for (uint32_t waits = 0; waits < WAITS_MAX && diary->begun.load() == 0; waits++) usleep(100);
  usleep(random.below(MICROSECONDS_MAX));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  node.memory->reap(child);
}

std::string nameOf(uint32_t run, uint32_t item) { return "r" + std::to_string(run) + "i" + std::to_string(item); }

TEST("what a killed worker's peer did not acknowledge is missed by it") {
  check::Random random;
  Diary* diary = openDiary();
  uint32_t written = 0;
  uint32_t missed = 0;
  Node leader(1, 16 << 20);
  leader.install(1, 2, "1 2", true);
  for (uint32_t run = 0; run < KILLS; run++) {
    leader.setClock(leader.ms + 10);
    leader.worker().beginCatchUp(2, ALL);
    leader.worker().declareSynced(2, ALL);
    diary->acknowledged.store(0);
    const uint64_t seed = random.next();
    runAndKill(leader, random, diary, [&] {
      check::Random dice(seed);
      Failure failure;
      const auto worker = Worker::open(*leader.memory, &failure);
      const int link = worker->openLink(2);
      if (link < 0) _exit(1);
      uint32_t inFlight = 0;
      for (uint32_t i = 0; i < ITEMS_MAX; i++) {
        const std::string name = nameOf(run, i);
        diary->begun.store(i + 1);
        if (leader.run(*worker, Node::operation(Opcode::SET, name, "value")).status != Status::OK) _exit(2);
        inFlight++;
        const uint32_t count = dice.below(inFlight + 1) / (1 + dice.below(8));
        diary->acknowledged.fetch_add(count);
        worker->acknowledge(link, count);
        inFlight -= count;
      }
    });
    const PeerBits bits = leader.worker().peerBits(2);
    for (uint32_t i = diary->acknowledged.load(); i < diary->begun.load(); i++) {
      const std::string name = nameOf(run, i);
      const Answer answer = leader.act(Opcode::GET, name, Flag::WANT_META);
      if (answer.status != Status::OK) continue;
      written++;
      CHECK(hasSlot(bits.missed, leader.slotOf(name)));
      CHECK(bits.sinceMs <= answer.version.time >> 16);
    }
    missed += isEmpty(bits.missed) ? 0 : 1;
    CHECK((static_cast<uint8_t>(bits.missed[0]) & static_cast<uint8_t>(bits.synced[0])) == 0);
    for (uint32_t i = 0; i < leader.worker().view().ringCount; i++)
      CHECK(leader.worker().view().ring(i)->owner.load() == 0);
  }
  // Else the kills came too early or too late to say anything.
  CHECK(written > KILLS && missed > KILLS / 4);
}

TEST("a killed installer leaves no slot that believes what another epoch said") {
  check::Random random;
  Diary* diary = openDiary();
  Node node(1);
  node.install(1, 2, "2 1");
  uint32_t interrupted = 0;
  const auto rowOf = [](uint32_t epoch) { return epoch % 3 == 0 ? "3 1" : epoch % 3 == 1 ? "2 1" : "1 2"; };
  for (uint32_t run = 0; run < KILLS; run++) {
    runAndKill(node, random, diary, [&] {
      Failure failure;
      const auto worker = Worker::open(*node.memory, &failure);
      for (;;) {
        const uint32_t epoch = worker->installedEpoch() + 1;
        diary->begun.store(epoch);
        worker->install(rows::epochOf(SLOTS, epoch, 2, rowOf(epoch), false).installation());
        for (const uint16_t leader : {uint16_t{2}, uint16_t{3}}) worker->acceptSynced(leader, epoch, ALL);
        worker->finishTakeOver(epoch, ALL, 0);
        worker->declareSynced(2, ALL);
      }
    });
    const uint32_t epoch = node.memory->epoch() + 1;
    if (diary->begun.load() == epoch) interrupted++;
    CHECK(node.install(epoch, 2, rowOf(epoch)));
    const bool leads = epoch % 3 == 2;
    const PeerBits bits = node.worker().peerBits(2);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
      CHECK(node.worker().view().slots[slot].epoch == epoch);
      CHECK(node.state(slot) == (leads ? SlotState::TAKING_OVER : SlotState::JOINING));
      CHECK(!hasSlot(bits.synced, slot));
    }
    node.setClock(node.ms + 1);
  }
  CHECK(interrupted > 0);
}

}  // namespace

TEST_MAIN
