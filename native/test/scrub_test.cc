// Damage and the scrub. On a tiny store every byte of what is not keys and values is changed in turn, as if found so
// after an unclean stop; the scrub must then lose nothing but what is reached through that byte alone, and leave a
// store that can be worked with. And a scrub killed at any point, however often, comes to what it would have come to.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../store/format.h"
#include "support/pictured.h"

namespace {

using namespace henge;
using namespace pictured;

constexpr uint32_t HANG_SECONDS = 240;  // whoever takes longer hangs, and dies of it

// Which byte, and which entry is reached through it alone.
struct Target {
  char* at;
  uint32_t entry;
};

// Four segments of four slots, regions of a kilobyte, two buckets to a page, values cut at 64 bytes: one of everything.
class TinyWorld : public World {
 public:
  TinyWorld() : World(Geometry{4, 4, 1024, 128}, 192 << 10) {
    for (uint32_t i = 0; i < 60; i++) {
      const std::string key = (i % 2 == 0 ? "{one}" : "k") + std::to_string(i);
      run(Opcode::SET, key, valueOf(i, 4 + i % 37), i % 3 == 0 ? 3'600'000 : 0);
    }
    for (uint32_t i = 0; i < 6; i++)
      run(Opcode::SET, "large" + std::to_string(i), valueOf(i, 100 + i * 70), i % 2 * 3'600'000);
    run(Opcode::SET, std::string(300, 'K'), valueOf(7, 30));
    for (uint32_t i = 0; i < 60; i += 7) run(Opcode::DELETE, "k" + std::to_string(i));
    growSegment();
    interruptOverwrite();
    abandon();
    middle = entryAt(view().places[worker_].intentTarget.load());
    // Its content is to be that of the staged record.
    expected[middle].value = valueOf(1001, 24);
    expected[middle].version = interrupted_;
  }

  // Metadata by kind; each test of a kind takes one of these.
  std::vector<Target> header() const {
    std::vector<Target> all;
    add(&all, view_->base + offsetof(Header, clean), sizeof(Header) - offsetof(Header, clean) > 256 ? 256 : 0, NOBODY);
    return all;
  }
  std::vector<Target> places() const {
    std::vector<Target> all;
    add(&all, view_->places, sizeof(Place) * PLACES_MAX, middle);
    return all;
  }
  std::vector<Target> tables() const {
    std::vector<Target> all;
    add(&all, view_->slots, sizeof(Slot) * view_->slotCount(), NOBODY);
    add(&all, view_->segments, sizeof(Segment) * view_->geometry.segments, NOBODY);
    add(&all, view_->roots, 4u * view_->rootsPerSegment * view_->geometry.segments, NOBODY);
    add(&all, view_->regionStates, 8u * view_->regionCount, NOBODY);
    add(&all, view_->regionMetas, sizeof(RegionMeta) * view_->regionCount, NOBODY);
    return all;
  }
  std::vector<Target> ghosts() const {
    std::vector<Target> all;
    add(&all, view_->ghosts, static_cast<size_t>(view_->versionGhosts - view_->ghosts), NOBODY);
    add(&all, view_->versionGhosts, VersionGhosts::bytesFor(view_->versionGhostSets) * view_->geometry.segments,
        NOBODY);
    return all;
  }
  std::vector<Target> regionHeads() const {
    std::vector<Target> all;
    for (uint32_t region = 0; region < view_->regionCount; region++) {
      const bool isIndex = RegionState::kind(view_->regionStates[region].load()) == RegionKind::INDEX;
      add(&all, view_->region(region), isIndex ? view_->geometry.pageBytes : REGION_HEAD_BYTES, NOBODY);
    }
    return all;
  }
  std::vector<Target> pages() const {
    std::vector<Target> all;
    for (uint32_t i = 0; i < view_->geometry.segments; i++) {
      const Index index(*view_, i, 0);
      for (uint32_t b = 0; b < view_->segments[i].pages << view_->pageShift; b++) {
        Bucket* bucket = index.bucket(b);
        for (uint32_t e = 0; e < ENTRIES; e++) {
          add(&all, &bucket->tag[e], sizeof bucket->tag[e], NOBODY);
          add(&all, &bucket->offset[e], sizeof bucket->offset[e],
              bucket->offset[e] == 0 ? NOBODY : entryAt(bucket->offset[e]));
        }
        add(&all, &bucket->strides, sizeof bucket->strides, NOBODY);
      }
      for (uint32_t root = 0; root < view_->rootsPerSegment; root++) {
        const uint32_t directory = view_->rootsOf(i)[root];
        if (directory != 0) add(&all, view_->at(directory), view_->geometry.pageBytes, NOBODY);
      }
    }
    return all;
  }
  std::vector<Target> recordHeads() const {
    std::vector<Target> all;
    for (uint32_t i = 0; i < expected.size(); i++) {
      const Record record(*view_, expected[i].offset);
      add(&all, record.head(), record.payloadAt(), i);
      uint32_t fragment = record.isBig() ? record.big().firstFragment : 0;
      for (; fragment != 0; fragment = fragmentAt(*view_, fragment)->next)
        add(&all, fragmentAt(*view_, fragment), sizeof(FragmentHead), i);
    }
    add(&all, view_->at(view_->places[worker_].intentStaged.load()), sizeof(RecordHead), middle);
    return all;
  }

  uint32_t middle = NOBODY;

 private:
  static void add(std::vector<Target>* all, void* from, size_t bytes, uint32_t entry) {
    for (size_t i = 0; i < bytes; i++) all->push_back(Target{static_cast<char*>(from) + i, entry});
  }

  // One segment gets more pages than it names directly, and is left in the middle of growing.
  void growSegment() {
    Operation probe;
    probe.key = "{one}";
    worker->prepare(&probe, 1);
    view_ = &view();
    const uint32_t number = view_->segmentOf(probe.slot);
    Index index(*view_, number, 0);
    Segment& segment = view_->segments[number];
    while (segment.pages < DIRECT_PAGES + 4) index.addPage();
    index.setSize((segment.pages - 2) << view_->pageShift);
    Scrub(*view_, 0).segment(number, 0);
    segment.bucketsOld = segment.frontier = segment.buckets;
    segment.buckets = segment.pages << view_->pageShift;
    for (uint32_t i = 0; i < 5; i++) index.growStep();
  }

  // The worker dies between marking a record and finishing it.
  void interruptOverwrite() {
    worker_ = worker->id();
    run(Opcode::SET, "middle", valueOf(1000, 24));
    interrupted_ = run(Opcode::SET, "middle", valueOf(1001, 24)).version;
    Place& place = view_->places[worker_];
    Operation probe;
    probe.key = "middle";
    worker->prepare(&probe, 1);
    const uint32_t number = view_->segmentOf(probe.slot);
    const uint32_t offset = Index(*view_, number, 0).find(probe.hash, probe.slot, "middle").offset();
    const Record record(*view_, offset);
    memcpy(record.valueAt() + 8, valueOf(1000, 24).data() + 8, 16);
    record.head()->word |= Word::UPDATING;
    place.intentTarget.store(offset);
    view_->segments[number].lock.store(lockWord(worker_, place.incarnation.load()));
  }

  View* view_ = nullptr;
  uint32_t worker_ = 0;
  Version interrupted_;
};

void damageEach(const std::vector<Target>& targets, TinyWorld* world, bool isPoisoned) {
  alarm(HANG_SECONDS);
  check::Random random;
  uint32_t damages = 0;
  for (const Target& target : targets) {
    const auto before = static_cast<uint8_t>(*target.at);
    const uint8_t values[] = {0, 0xff, static_cast<uint8_t>(before ^ 1u << random.below(8))};
    for (const uint8_t value : values) {
      if (value == before) continue;
      world->restore();
      if (isPoisoned) world->poison();
      *target.at = static_cast<char>(value);
      const bool isStore = Scrub(world->view(), 0).everything();
      world->unpoison();
      const std::string problem = isStore ? world->problemBut(target.entry) : "no store any more";
      if (!problem.empty()) {
        printf("byte %td from %u to %u: %s\n", target.at - world->base(), before, value, problem.c_str());
        CHECK(problem.empty());
      }
      if (++damages % 64 == 0) CHECK(canBeWorkedWith(world, damages));
    }
  }
  world->restore();
  printf("  %u damages\n", damages);
}

TEST("a scrub after a death finishes what was under way and loses nothing") {
  TinyWorld world;
  CHECK(world.expected.size() > 60);
  world.poison();
  CHECK(Scrub(world.view(), 0).everything());
  world.unpoison();
  CHECK(world.problemBut(NOBODY) == "");
  CHECK(canBeWorkedWith(&world, 1));
}

TEST("one of the header's copies is enough") {
  TinyWorld world;
  Constants whole;
  CHECK(readConstants(world.base(), world.view().bytes, &whole));
  for (uint32_t at = 0; at < 2 * sizeof(Header); at++) {
    if (at % sizeof(Header) >= sizeof(Constants) + sizeof(uint64_t)) continue;
    world.base()[at] = static_cast<char>(~world.base()[at]);
    Constants read;
    CHECK(readConstants(world.base(), world.view().bytes, &read) && memcmp(&read, &whole, sizeof read) == 0);
    world.base()[at] = static_cast<char>(~world.base()[at]);
  }
}

TEST("damage to the header's words loses nothing") {
  TinyWorld world;
  damageEach(world.header(), &world, true);
}

TEST("damage to the places loses at most what was under way") {
  TinyWorld world;
  damageEach(world.places(), &world, false);
}

TEST("damage to slots, segments, roots, region states and metas loses nothing") {
  TinyWorld world;
  damageEach(world.tables(), &world, true);
}

TEST("damage to ghosts loses nothing") {
  TinyWorld world;
  damageEach(world.ghosts(), &world, true);
}

TEST("version ghosts are found again though the word that says there are some was damaged") {
  TinyWorld world;
  View& view = world.view();
  CHECK(view.segments[0].hasVersionGhosts == 0);
  Evictor::rememberVersion(view, 7, 0, Version{1, START_MS << 16, 1});
  view.segments[0].hasVersionGhosts = 0;
  CHECK(Scrub(view, 0).everything());
  CHECK(view.versionGhostsOf(0).find(7) == (Version{1, START_MS << 16, 1}));
  CHECK(view.segments[1].hasVersionGhosts == 0);
  world.restore();
}

TEST("damage to region heads and page owners loses nothing") {
  TinyWorld world;
  damageEach(world.regionHeads(), &world, true);
}

TEST("damage to an index page loses at most the entry damaged") {
  TinyWorld world;
  damageEach(world.pages(), &world, false);
}

TEST("damage to a record's head loses at most its item") {
  TinyWorld world;
  damageEach(world.recordHeads(), &world, false);
}

TEST("a segment that has lost all its pages has no entries") {
  TinyWorld world;
  View& view = world.view();
  for (uint32_t& page : view.segments[0].direct) page = 0;
  for (uint32_t root = 0; root < view.rootsPerSegment; root++) view.rootsOf(0)[root] = 0;
  for (uint32_t region = 0; region < view.regionCount; region++) {
    if (RegionState::kind(view.regionStates[region].load()) != RegionKind::INDEX) continue;
    PageOwner* owners = Pool(view).ownersOf(region);
    for (uint32_t page = 1; page < Pool::ownersPerRegion(view); page++) {
      if (owners[page].segment == 1) owners[page] = PageOwner{};
    }
  }
  CHECK(view.segments[0].entries > 0);
  CHECK(Scrub(world.view(), 0).everything());
  CHECK(audit::problemOf(*world.memory).empty() && view.segments[0].entries == 0);
  world.restore();
}

TEST("much damage anywhere loses what it may but never more than the store") {
  alarm(HANG_SECONDS);
  TinyWorld world;
  check::Random random;
  for (uint32_t round = 0; round < 3000; round++) {
    world.restore();
    const uint32_t damages = 1 + random.below(round % 3 == 0 ? 400 : 20);
    for (uint32_t i = 0; i < damages; i++) {
      const auto at = static_cast<uint32_t>(offsetof(Header, clean)) +
                      random.below(static_cast<uint32_t>(world.view().bytes - offsetof(Header, clean)));
      world.base()[at] = static_cast<char>(random.word());
    }
    if (!Scrub(world.view(), 0).everything()) continue;
    const std::string problem = audit::problemOf(*world.memory);
    if (!problem.empty()) printf("%s\n", problem.c_str());
    CHECK(problem.empty());
    if (round % 8 == 0) CHECK(canBeWorkedWith(&world, round));
  }
  world.restore();
}

// Large enough that a scrub takes a while, and damaged so that it has much to do.
class DamagedWorld : public World {
 public:
  DamagedWorld() : World(Geometry{4, 4, 16 * 1024, 512}, 2 << 20) {
    for (uint32_t i = 0; i < 3000; i++)
      run(Opcode::SET, (i % 4 == 0 ? "{one}" : "k") + std::to_string(i), valueOf(i, 8 + i % 60));
    for (uint32_t i = 0; i < 20; i++) run(Opcode::SET, "large" + std::to_string(i), valueOf(i, 2048));
    for (uint32_t i = 0; i < 3000; i += 11) run(Opcode::DELETE, (i % 4 == 0 ? "{one}" : "k") + std::to_string(i));
    abandon();
    // What stands a second time elsewhere has to do.
    for (uint32_t i = 0; i < view().geometry.segments; i++) {
      Segment& segment = view().segments[i];
      const Index index(view(), i, 0);
      for (uint32_t b = 0; b < segment.pages << view().pageShift; b++) {
        index.bucket(b)->strides = 0;
        twin(index, b);
      }
      memset(segment.direct, 0, i % 2 == 0 ? sizeof segment.direct : 0);
      segment.buckets = segment.bucketsOld = segment.frontier = 0;
      segment.lock.store(lockWord(3, 77));
    }
    for (uint32_t region = 0; region < view().regionCount; region++) view().regionStates[region].store(region % 5);
    view().header->pageCursor.store(UINT64_MAX);
    keep();
  }

 private:
  // An entry stands twice, as when its mover died.
  static void twin(const Index& index, uint32_t number) {
    Bucket* from = index.bucket(number);
    Bucket* to = index.bucket(number == 0 ? 0 : number - 1);
    for (uint32_t at = 0; at < ENTRIES; at++) {
      if (to->offset[at] != 0 || from->offset[0] == 0 || from == to) continue;
      to->tag[at] = from->tag[0];
      to->offset[at] = from->offset[0];
      return;
    }
  }
};

uint64_t microseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

TEST("a scrub killed at any point and run again loses nothing") {
  alarm(HANG_SECONDS);
  DamagedWorld world;
  check::Random random;
  const uint64_t startUs = microseconds();
  CHECK(Scrub(world.view(), 0).everything());
  const auto durationUs = static_cast<uint32_t>(microseconds() - startUs);
  CHECK(world.problemBut(NOBODY) == "");
  uint32_t killed = 0;
  for (uint32_t round = 0; round < 60; round++) {
    world.restore();
    for (uint32_t kills = round % 4; kills < 4; kills++) {
      const pid_t child = fork();
      if (child == 0) _exit(Scrub(world.view(), 0).everything() ? 0 : 1);
      usleep(random.below(durationUs + 1000));
      kill(child, SIGKILL);
      int status = 0;
      waitpid(child, &status, 0);
      killed += WIFSIGNALED(status);
    }
    CHECK(Scrub(world.view(), 0).everything());
    CHECK(world.problemBut(NOBODY) == "");
    if (round % 8 == 0) CHECK(canBeWorkedWith(&world, round));
  }
  printf("  %u of 150 scrubs killed, each of some %u us\n", killed, durationUs);
  CHECK(killed > 0);
}

}  // namespace

TEST_MAIN
