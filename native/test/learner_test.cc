// What the learner promises: LRU before it knows anything, then values that follow the traffic; and tables that stay
// usable whatever memory holds.
#include "../store/learner.h"

#include <algorithm>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../store/ghosts.h"
#include "support/check.h"

using henge::Cut;
using henge::GhostTable;
using henge::Heat;
using henge::Learner;
using henge::RegionWorth;

namespace {

constexpr uint64_t CAPACITY = 64 * 1024;
constexpr uint64_t TICK = CAPACITY / Learner::TICKS_PER_TURNOVER;
constexpr uint32_t SIZE = 100;
constexpr uint64_t ITEMS = 1000;

std::unique_ptr<Learner> learner() {
  auto made = std::make_unique<Learner>();
  made->format();
  return made;
}

void pass(Learner& store, uint32_t ticks) { store.advance(ticks * TICK, CAPACITY); }

// A round: `count` items are inserted, and after `ticks` each is either used or, as a displaced ghost, lost.
void live(Learner& store, uint32_t count, uint32_t ticks, bool isUsed) {
  const Heat heat = store.fresh();
  pass(store, ticks);
  for (uint32_t i = 0; i < count; ++i) {
    if (isUsed) store.touched(heat, 0, i);
    else store.lost(heat);
  }
}

// The score now of a new item `ticks` after its insertion.
float scoreAfter(Learner& store, uint32_t ticks) {
  const Heat heat = store.fresh();
  pass(store, ticks);
  return store.score(heat, SIZE);
}

uint32_t countOf(Heat heat) { return heat >> 2 & 7u; }

uint64_t missesOfLru(const std::vector<uint32_t>& trace, size_t capacity) {
  std::list<uint32_t> order;
  std::unordered_map<uint32_t, std::list<uint32_t>::iterator> places;
  uint64_t misses = 0;
  for (const uint32_t id : trace) {
    const auto found = places.find(id);
    if (found != places.end()) {
      order.splice(order.begin(), order, found->second);
      continue;
    }
    ++misses;
    if (order.size() == capacity) {
      places.erase(order.back());
      order.pop_back();
    }
    order.push_front(id);
    places[id] = order.begin();
  }
  return misses;
}

// The learner without regions: of sixteen random items the one of the lowest score goes.
uint64_t missesOfLearner(const std::vector<uint32_t>& trace, uint32_t capacity, check::Random& random) {
  struct Resident {
    uint32_t id;
    Heat heat;
  };
  auto store = learner();
  std::vector<uint32_t> memory(GhostTable::bytesFor(capacity) / sizeof(uint32_t));
  GhostTable ghosts(memory.data(), capacity);
  std::vector<Resident> residents;
  std::unordered_map<uint32_t, uint32_t> places;
  uint64_t misses = 0;
  for (const uint32_t id : trace) {
    const auto found = places.find(id);
    if (found != places.end()) {
      Heat& heat = residents[found->second].heat;
      heat = store->touched(heat, 0, random.word());
      continue;
    }
    ++misses;
    store->advance(1, capacity);
    Heat heat = 0;
    const bool isRemembered = ghosts.take(id, &heat);
    heat = isRemembered ? store->touched(heat, 0, random.word()) : store->fresh();
    uint32_t place = static_cast<uint32_t>(residents.size());
    if (place < capacity) {
      residents.push_back({id, heat});
    } else {
      place = random.below(capacity);
      for (int i = 1; i < 16; ++i) {
        const uint32_t other = random.below(capacity);
        if (store->score(residents[other].heat, 1) < store->score(residents[place].heat, 1)) place = other;
      }
      Heat displaced = 0;
      if (ghosts.put(residents[place].id, residents[place].heat, &displaced)) store->lost(displaced);
      places.erase(residents[place].id);
      residents[place] = {id, heat};
    }
    places[id] = place;
    if (!store->relearnDue(residents.size())) continue;
    Heat living[Learner::LIVING_SAMPLES];
    for (Heat& sample : living) sample = residents[random.below(static_cast<uint32_t>(residents.size()))].heat;
    store->relearn(living, Learner::LIVING_SAMPLES, residents.size());
  }
  return misses;
}

}  // namespace

TEST("a store's turnover is 64 ticks, in however many steps") {
  auto store = learner();
  for (uint64_t i = 0; i < CAPACITY; ++i) store->advance(1, CAPACITY);
  CHECK(store->clock() == Learner::TICKS_PER_TURNOVER);
  for (int i = 0; i < 32; ++i) store->advance(CAPACITY, CAPACITY);
  CHECK(store->clock() == Learner::TICKS_PER_TURNOVER);
}

TEST("before anything is learned the oldest is worth least") {
  auto store = learner();
  float before = scoreAfter(*store, 0);
  for (const uint32_t age : {4u, 16u, 64u, 256u, 1024u}) {
    const float score = scoreAfter(*store, age);
    CHECK(score > 0);
    CHECK(score < before);
    before = score;
  }
}

TEST("a small item is worth more than a large one of the same heat") {
  auto store = learner();
  CHECK(store->score(store->fresh(), 10) > store->score(store->fresh(), 10000));
}

TEST("an item is new until its first use, and its count grows slower and slower up to seven") {
  auto store = learner();
  check::Random random;
  Heat heat = store->fresh();
  CHECK(Learner::isNew(heat));
  for (uint32_t use = 1; use <= 3; ++use) {
    heat = store->touched(heat, 0, random.word());
    CHECK(!Learner::isNew(heat));
    CHECK(countOf(heat) == use);
  }
  CHECK(countOf(store->touched(heat, 0, 1)) == 3);
  CHECK(countOf(store->touched(heat, 0, 0)) == 4);
  for (int use = 0; use < 10000; ++use) heat = store->touched(heat, 0, random.word());
  CHECK(countOf(heat) == 7);
}

TEST("items that are used late gain worth with age, scanned ones do not") {
  auto reuse = learner();
  auto scan = learner();
  for (int round = 0; round < 20; ++round) {
    live(*reuse, 100, 100, true);
    live(*scan, 100, 100, false);
  }
  reuse->relearn(nullptr, 0, ITEMS);
  scan->relearn(nullptr, 0, ITEMS);
  CHECK(scoreAfter(*reuse, 90) > scoreAfter(*reuse, 0));
  CHECK(scoreAfter(*scan, 0) == 0);
}

TEST("what was learned gives way when the traffic changes") {
  auto store = learner();
  for (int round = 0; round < 20; ++round) live(*store, 100, 20, true);
  store->relearn(nullptr, 0, ITEMS);
  const float popular = scoreAfter(*store, 16);
  uint32_t relearns = 0;
  for (int round = 0; round < 2000; ++round) {
    live(*store, 100, 20, false);
    if (!store->relearnDue(ITEMS)) continue;
    store->relearn(nullptr, 0, ITEMS);
    ++relearns;
  }
  CHECK(relearns > 50);
  CHECK(scoreAfter(*store, 16) < popular / 20);
}

TEST("living items that wait in vain lower the worth of their class") {
  auto hopeful = learner();
  auto sober = learner();
  const Heat waiting = sober->fresh();
  live(*hopeful, 400, 20, true);
  live(*sober, 400, 20, true);
  pass(*sober, 500);
  sober->relearn(&waiting, 1, ITEMS);
  hopeful->relearn(nullptr, 0, ITEMS);
  CHECK(scoreAfter(*sober, 0) < scoreAfter(*hopeful, 0));
}

TEST("hits of all places are learned from") {
  auto store = learner();
  const Heat heat = store->fresh();
  for (uint32_t i = 0; i < 256; ++i) {
    CHECK(!store->relearnDue(ITEMS));
    store->touched(heat, i % Learner::PLACES_MAX, i);
  }
  CHECK(store->relearnDue(ITEMS));
  store->relearn(nullptr, 0, ITEMS);
  CHECK(!store->relearnDue(ITEMS));
}

TEST("an item copied again and again never becomes young by wrapping") {
  auto store = learner();
  live(*store, 300, 8, true);
  store->relearn(nullptr, 0, ITEMS);
  const float young = scoreAfter(*store, 0);
  Heat heat = store->fresh();
  for (int turnover = 0; turnover < 200; ++turnover) {
    pass(*store, Learner::TICKS_PER_TURNOVER);
    heat = store->kept(heat);
    if (turnover > 0) CHECK(store->score(heat, SIZE) < young);
  }
}

TEST("a use stamped by a process that is a tick ahead is fresh") {
  auto ahead = learner();
  auto behind = learner();
  pass(*ahead, 3);
  CHECK(behind->score(ahead->fresh(), SIZE) == behind->score(behind->fresh(), SIZE));
}

TEST("heat keeps its age between stores of different clocks") {
  auto source = learner();
  auto target = learner();
  pass(*target, 777);
  const Heat heat = source->touched(source->fresh(), 0, 0);
  pass(*source, 300);
  const Heat received = target->carried(source->carried(heat));
  CHECK(target->score(received, SIZE) == source->score(heat, SIZE));
  CHECK(countOf(received) == countOf(heat));
}

TEST("the threshold is the twentieth percentile of the last scores") {
  auto store = learner();
  CHECK(store->threshold() == 0);
  for (int i = 0; i < 1000; ++i) store->observe(1000);
  for (uint32_t i = 0; i < Learner::SCORES_SEEN; ++i) store->observe(static_cast<float>((i * 77) % 512));
  CHECK(store->threshold() == 102);
}

TEST("one hot item does not protect a region of cold ones") {
  RegionWorth mixed(1);
  RegionWorth tepid(1);
  mixed.add(1000, SIZE);
  for (int i = 0; i < 15; ++i) mixed.add(0, SIZE);
  for (int i = 0; i < 16; ++i) tepid.add(0.5f, SIZE);
  CHECK(mixed.mean() < tepid.mean());
  CHECK(RegionWorth(1).mean() == 0);
}

TEST("a victim gives up what is below the threshold and at least a quarter of its bytes, even of equals") {
  check::Random random;
  for (int round = 0; round < 200; ++round) {
    const uint32_t kinds = 1 + random.below(50);
    const float threshold = static_cast<float>(random.below(3)) * 4;
    std::vector<std::pair<float, uint32_t>> records(20 + random.below(400));
    Cut cut(threshold);
    uint64_t bytes = 0;
    for (auto& [score, size] : records) {
      score = static_cast<float>(random.below(kinds));
      size = 20 + random.below(200);
      bytes += size;
      cut.add(score, size);
    }
    cut.decide();
    uint64_t dropped = 0;
    uint64_t cheap = 0;
    for (const auto& [score, size] : records) {
      const bool isDropped = cut.drops(score, size);
      if (score < threshold) {
        cheap += size;
        CHECK(isDropped);
      }
      if (isDropped) dropped += size;
    }
    CHECK(dropped >= bytes / 4);
    CHECK(dropped <= std::max(bytes / 4 + 220, cheap) + 220);
  }
}

TEST("dead bytes pay the quarter, so that the living of worth stay") {
  Cut cut(0.1f);
  for (int i = 0; i < 30; ++i) cut.add(0, SIZE);
  for (int i = 0; i < 70; ++i) cut.add(1, SIZE);
  cut.decide();
  for (int i = 0; i < 30; ++i) CHECK(cut.drops(0, SIZE));
  for (int i = 0; i < 70; ++i) CHECK(!cut.drops(1, SIZE));
}

TEST("a ghost is found once, and the one that entered first is displaced") {
  std::vector<uint32_t> memory(GhostTable::bytesFor(GhostTable::WAYS) / sizeof(uint32_t));
  GhostTable ghosts(memory.data(), GhostTable::WAYS);
  Heat heat = 0;
  for (uint32_t hash = 0; hash < GhostTable::WAYS; ++hash) {
    CHECK(!ghosts.put(hash, static_cast<Heat>(100 + hash), &heat));
  }
  CHECK(ghosts.take(3, &heat) && heat == 103);
  CHECK(!ghosts.take(3, &heat));
  CHECK(!ghosts.put(50, 150, &heat));
  CHECK(ghosts.put(51, 151, &heat) && heat == 100);
  CHECK(ghosts.put(52, 152, &heat) && heat == 101);
  CHECK(ghosts.take(50, &heat) && heat == 150);
}

TEST("a ghost table keeps about as many as it has entries, whatever hash bits a segment's keys share") {
  check::Random random;
  constexpr uint32_t ENTRIES = 4096;
  std::vector<uint32_t> memory(GhostTable::bytesFor(ENTRIES) / sizeof(uint32_t));
  GhostTable ghosts(memory.data(), ENTRIES);
  std::vector<uint64_t> hashes;
  Heat heat = 0;
  for (uint32_t i = 0; i < ENTRIES; ++i) {
    hashes.push_back(random.next() >> 10 | 0xABCull << 52);
    ghosts.put(hashes.back(), static_cast<Heat>(i), &heat);
  }
  uint32_t found = 0;
  for (const uint64_t hash : hashes) found += ghosts.take(hash, &heat) ? 1 : 0;
  CHECK(found > ENTRIES * 8 / 10);
}

TEST("garbage in the tables is survived, and learned away") {
  check::Random random;
  auto store = learner();
  auto* bytes = reinterpret_cast<uint8_t*>(store.get());
  for (size_t i = 0; i < sizeof *store; ++i) bytes[i] = static_cast<uint8_t>(random.word());
  for (int i = 0; i < 100000; ++i) {
    const auto heat = static_cast<Heat>(random.word());
    const float score = store->score(heat, random.word());
    CHECK(score >= 0);
    RegionWorth worth(store->threshold());
    worth.add(score, SIZE);
    Cut cut(score);
    if (i % 1000 == 0) {
      cut.add(score, SIZE);
      cut.decide();
      cut.drops(score, SIZE);
      store->relearn(&heat, 1, ITEMS);
    }
    store->kept(store->touched(heat, random.word(), random.word()));
    store->lost(heat);
    store->observe(score);
    store->advance(random.word(), random.word());
  }
  for (int round = 0; round < 1000; ++round) {
    live(*store, 3000, 20, false);
    store->relearn(nullptr, 0, ITEMS);
  }
  CHECK(scoreAfter(*store, 16) < 1);
  for (uint32_t i = 0; i < Learner::SCORES_SEEN; ++i) store->observe(1);
  CHECK(store->threshold() == 1);
}

TEST("beside a scan and a loop larger than the cache it misses less than LRU") {
  check::Random random;
  std::vector<uint32_t> trace;
  for (uint32_t i = 0; i < 200000; ++i) {
    const uint32_t scanned = 1000000 + i;
    const uint32_t looped = 100000 + i % 3000;
    const uint32_t popular = random.below(random.below(2000) + 1);
    const uint32_t kinds[] = {popular, popular, looped, scanned};
    trace.push_back(kinds[random.below(4)]);
  }
  const uint64_t learned = missesOfLearner(trace, 1000, random);
  const uint64_t lru = missesOfLru(trace, 1000);
  CHECK(learned * 100 < lru * 93);
}

TEST_MAIN
