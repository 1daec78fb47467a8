// The memory of a store over the life of its daemons: found again after a clean end and an unclean one, made anew,
// refused.
#include <unistd.h>

#include <string>
#include <vector>

#include "support/check.h"
#include "support/world.h"

namespace {

using namespace henge;
using check::valueOf;
using check::World;
using protocol::Status;

TEST("a warm restart keeps everything and an unclean one too") {
  const std::string path = "/tmp/henge-store-test-" + std::to_string(getpid());
  for (const bool isClean : {true, false}) {
    World world(16 << 20);
    world.options.file = path;
    world.worker.reset();
    world.memory.reset();
    world.open();
    for (int i = 0; i < 20'000; i++) world.set("key" + std::to_string(i), valueOf(static_cast<uint32_t>(i), 30));
    world.set("large", valueOf(1, 200'000));
    const std::string incarnation = world.memory->incarnation();
    if (isClean) {
      world.worker.reset();
      world.memory->close(true);
    } else {
      // As after a kill: nothing is given back.
      world.worker->view().segments[5].lock.store(lockWord(1, 77));
      static auto* const abandoned = new std::vector<Worker*>;
      abandoned->push_back(world.worker.release());
    }
    world.memory.reset();
    world.open();
    CHECK(world.memory->origin() == (isClean ? Origin::WARM : Origin::SCRUBBED));
    CHECK(world.memory->incarnation() == incarnation);
    CHECK(world.memory->stats().items == 20'001);
    for (int i = 0; i < 20'000; i++)
      CHECK(world.get("key" + std::to_string(i)) == valueOf(static_cast<uint32_t>(i), 30));
    CHECK(world.get("large") == valueOf(1, 200'000));
    world.worker.reset();
    world.memory.reset();
    unlink(path.c_str());
  }
}

TEST("an arena made anew over an older one begins empty") {
  const std::string path = "/tmp/henge-store-test-" + std::to_string(getpid());
  World world(16 << 20);
  world.options.file = path;
  world.worker.reset();
  world.memory.reset();
  world.open();
  for (int i = 0; i < 5000; i++) world.set("key" + std::to_string(i), "value");
  for (uint32_t i = 0; i < world.memory->view().geometry.segments; i++)
    world.memory->view().segments[i].lock.store(lockWord(1, 77));
  world.worker.reset();
  world.memory.reset();
  world.options.valueBytesMax = 128 * 1024;
  world.open();
  CHECK(world.memory->origin() == Origin::NEW);
  CHECK(world.memory->stats().items == 0 && world.memory->stats().bytes == 0);
  for (int i = 0; i < 5000; i++) CHECK(world.set("key" + std::to_string(i), "value").status == Status::OK);
  CHECK(world.memory->stats().items == 5000);
  world.worker.reset();
  world.memory.reset();
  unlink(path.c_str());
}

TEST("a file of another node is refused") {
  const std::string path = "/tmp/henge-store-test-" + std::to_string(getpid());
  World world(16 << 20);
  world.options.file = path;
  Failure failure;
  auto mine = Memory::create(world.options, &failure);
  CHECK(mine != nullptr);
  mine->close(true);
  mine.reset();
  world.options.nodeName = "b";
  CHECK(Memory::create(world.options, &failure) == nullptr);
  CHECK(std::string(failure.code) == "WRONG_NODE");
  unlink(path.c_str());
}

TEST("a value that can never fit is refused at the start") {
  MemoryOptions options;
  options.bytes = 8 << 20;
  options.nodeName = "a";
  Failure failure;
  CHECK(Memory::create(options, &failure) == nullptr);
  CHECK(std::string(failure.code) == "VALUE_TOO_LARGE");
}

}  // namespace

TEST_MAIN
