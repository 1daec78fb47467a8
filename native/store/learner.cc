// How values are learned; the idea and the rules of use are in learner.h.
//
// An item of class c that reaches age bucket i has a choice of horizons j: stay until the end of bucket j, or go. Of
// all that reached i in the past, hits(i..j) were used within that horizon, and time(i..j) is what all of them spent in
// it; the value is the best ratio over j. Taking the best and not the next bucket's is what lets an item cross a quiet
// stretch before a use that is known to come (a loop larger than the cache, a daily rhythm).
#include "learner.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace henge {

namespace {

constexpr auto RELAXED = std::memory_order_relaxed;

constexpr uint32_t CLOCK_MASK = Learner::CLOCK_RANGE - 1;
// A process may write a tick that another has not seen yet: that item is fresh, not as old as the range.
constexpr uint32_t AHEAD_MAX = 16;
constexpr uint32_t AGE_KEPT_MAX = Learner::CLOCK_RANGE / 4 * 3;
constexpr uint64_t FIRST_PERIOD_EVENTS = 256;
// One call's time is bounded so that the multiplication below cannot overflow: no chunk inserts more.
constexpr uint64_t ADVANCE_BYTES_MAX = 1ull << 25;
constexpr uint32_t GAP_UNKNOWN = 3;

// What is forgotten per relearn: an old round weighs half after fourteen, that is about 28 events per item. Forgetting
// faster (0.9, 0.8) cost 0.3 and 1 % more misses on real traces, and 2 % where ages alone tell items apart.
constexpr float DECAY = 0.95f;
// A class of its own has so many events of the general distribution mixed in: until it has hundreds it follows the
// others.
constexpr float PSEUDO_EVENTS = 64;
// Fewer than this many events at or beyond an age say nothing; the value then fades with age.
constexpr float REACHED_MIN = 1;
constexpr float FADE = 0.7f;
constexpr float SUM_MAX = 1e15f;  // past this a sum is garbage
constexpr float THRESHOLD_PERCENTILE = 0.20f;

uint32_t classOf(Heat heat) { return heat & 31u; }
uint32_t countOf(Heat heat) { return heat >> 2 & 7u; }
uint32_t lastOf(Heat heat) { return heat >> 5; }

Heat heatOf(uint32_t last, uint32_t count, uint32_t gap) {
  return static_cast<Heat>((last & CLOCK_MASK) << 5 | count << 2 | gap);
}

uint32_t ageOf(Heat heat, uint32_t clock) {
  const uint32_t age = (clock - lastOf(heat)) & CLOCK_MASK;
  return age >= Learner::CLOCK_RANGE - AHEAD_MAX ? 0 : age;
}

uint32_t bucketOf(uint32_t age) {
  if (age < 4) return 0;
  const auto octave = 31u - static_cast<uint32_t>(__builtin_clz(age));
  return 2 * octave - 3 + (age >> (octave - 1) & 1u);
}

uint32_t bucketStart(uint32_t bucket) {
  if (bucket == 0) return 0;
  const uint32_t octave = (bucket + 3) / 2;
  return (1u << octave) + ((bucket + 3) % 2 << (octave - 1));
}

float bucketWidth(uint32_t bucket) { return static_cast<float>(bucketStart(bucket + 1) - bucketStart(bucket)); }

uint32_t gapOf(uint32_t age) { return age < 4 ? 0 : age < 16 ? 1 : age < 64 ? 2 : 3; }

// Grows always to 3, then about logarithmically: counts 4, 5, 6 and 7 stand for about 5, 9, 17 and 33 uses and more.
uint32_t countAfterUse(uint32_t count, uint32_t random) {
  if (count >= 7) return 7;
  const uint32_t mask = count <= 2 ? 0 : (1u << (count - 2)) - 1;
  return count + ((random & mask) == 0 ? 1 : 0);
}

void bump(std::atomic<uint32_t>& counter) { counter.store(counter.load(RELAXED) + 1, RELAXED); }

float sane(float sum) { return sum >= 0 && sum < SUM_MAX ? sum : 0; }

uint64_t periodMax(uint64_t items) { return std::max(FIRST_PERIOD_EVENTS, 2 * items); }

struct Counts {
  float hits[Learner::CLASSES][Learner::AGES] = {};
  float lost[Learner::CLASSES][Learner::AGES] = {};
};

// Adds what a counter grew by since `taken` to the decayed past, which is written back decayed once more.
float collect(uint32_t sum, std::atomic<uint32_t>& taken, std::atomic<float>& past) {
  const auto grown = static_cast<float>(sum - taken.load(RELAXED));
  const float total = sane(past.load(RELAXED)) + grown;
  taken.store(sum, RELAXED);
  past.store(total * DECAY, RELAXED);
  return total;
}

void mixGeneralDistributionIn(Counts& counts) {
  float hits[Learner::AGES] = {};
  float lost[Learner::AGES] = {};
  float total = 0;
  for (uint32_t c = 0; c < Learner::CLASSES; ++c) {
    for (uint32_t age = 0; age < Learner::AGES; ++age) {
      hits[age] += counts.hits[c][age];
      lost[age] += counts.lost[c][age];
      total += counts.hits[c][age] + counts.lost[c][age];
    }
  }
  if (total <= 0) return;
  const float share = PSEUDO_EVENTS / total;
  for (uint32_t c = 0; c < Learner::CLASSES; ++c) {
    for (uint32_t age = 0; age < Learner::AGES; ++age) {
      counts.hits[c][age] += hits[age] * share;
      counts.lost[c][age] += lost[age] * share;
    }
  }
}

// The best hit density over any horizon, for each age of one class.
void valuesOfClass(const float* hits, const float* lost, float* value) {
  float reached[Learner::AGES + 1] = {};
  float spent[Learner::AGES];
  for (uint32_t age = Learner::AGES; age-- > 0;) {
    const float ended = hits[age] + lost[age];
    spent[age] = bucketWidth(age) * (reached[age + 1] + ended / 2);
    reached[age] = reached[age + 1] + ended;
  }
  for (uint32_t age = 0; age < Learner::AGES; ++age) {
    if (reached[age] < REACHED_MIN) {
      value[age] = age == 0 ? 0.5f : value[age - 1] * FADE;
      continue;
    }
    float best = 0;
    float hitsSum = 0;
    float spentSum = 0;
    for (uint32_t horizon = age; horizon < Learner::AGES; ++horizon) {
      hitsSum += hits[horizon];
      spentSum += spent[horizon];
      if (hitsSum > best * spentSum) best = hitsSum / spentSum;
    }
    value[age] = best;
  }
}

uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

uint64_t eventsOf(const Learner& learner) {
  uint64_t events = learner.lostEvents.load(RELAXED);
  for (const auto& tally : learner.tallies) events += tally.events.load(RELAXED);
  return events;
}

bool isDue(uint64_t events, uint64_t nextAt, uint64_t items) {
  return events >= nextAt || nextAt - events > periodMax(items);  // the latter: fewer items than there were, or garbage
}

}  // namespace

void Learner::format() {
  std::memset(static_cast<void*>(this), 0, sizeof *this);
  nextAt.store(FIRST_PERIOD_EVENTS, RELAXED);
  for (auto& table : value) {
    for (auto& ofClass : table) {
      for (uint32_t age = 0; age < AGES; ++age) {
        ofClass[age].store(1 / (static_cast<float>(bucketStart(age)) + 2), RELAXED);
      }
    }
  }
}

void Learner::advance(uint64_t bytesInserted, uint64_t capacityBytes) {
  if (bytesInserted == 0) return;
  const uint64_t bytes = std::min(bytesInserted, ADVANCE_BYTES_MAX);
  time.fetch_add((bytes * TICKS_PER_TURNOVER << 32) / std::max<uint64_t>(capacityBytes, 1), RELAXED);
}

uint32_t Learner::clock() const { return static_cast<uint32_t>(time.load(RELAXED) >> 32) & CLOCK_MASK; }

Heat Learner::fresh() const { return heatOf(clock(), 0, GAP_UNKNOWN); }

Heat Learner::touched(Heat heat, uint32_t place, uint32_t random) {
  const uint32_t ticks = clock();
  const uint32_t age = ageOf(heat, ticks);
  Tally& tally = tallies[place % PLACES_MAX];
  bump(tally.hits[classOf(heat)][bucketOf(age)]);
  tally.events.store(tally.events.load(RELAXED) + 1, RELAXED);
  return heatOf(ticks, countAfterUse(countOf(heat), random), gapOf(age));
}

void Learner::lost(Heat heat) {
  losses[classOf(heat)][bucketOf(ageOf(heat, clock()))].fetch_add(1, RELAXED);
  lostEvents.fetch_add(1, RELAXED);
}

Heat Learner::kept(Heat heat) const {
  const uint32_t ticks = clock();
  if (ageOf(heat, ticks) <= AGE_KEPT_MAX) return heat;
  return static_cast<Heat>(((ticks - AGE_KEPT_MAX) & CLOCK_MASK) << 5 | classOf(heat));
}

Heat Learner::carried(Heat heat) const {
  return static_cast<Heat>(((clock() - lastOf(heat)) & CLOCK_MASK) << 5 | classOf(heat));
}

float Learner::score(Heat heat, uint32_t bytes) const {
  const auto& table = value[current.load(RELAXED) & 1u];
  const float worth = table[classOf(heat)][bucketOf(ageOf(heat, clock()))].load(RELAXED);
  if (!(worth > 0)) return 0;
  return worth / std::sqrt(std::sqrt(static_cast<float>(std::max(bytes, 1u))));
}

void Learner::observe(float score) { seen[seenNext.fetch_add(1, RELAXED) % SCORES_SEEN].store(score, RELAXED); }

// Scores are not negative, and such floats order as their bits do: no garbage can upset the selection.
float Learner::threshold() const {
  uint32_t bits[SCORES_SEEN];
  const uint32_t count = std::min(seenNext.load(RELAXED), SCORES_SEEN);
  if (count == 0) return 0;
  for (uint32_t i = 0; i < count; ++i) bits[i] = bitsOf(seen[i].load(RELAXED));
  uint32_t* rank = bits + static_cast<uint32_t>(static_cast<float>(count) * THRESHOLD_PERCENTILE);
  std::nth_element(bits, rank, bits + count);
  const float found = floatOf(*rank);
  return std::isfinite(found) && found > 0 ? found : 0;
}

bool Learner::relearnDue(uint64_t items) const { return isDue(eventsOf(*this), nextAt.load(RELAXED), items); }

void Learner::relearn(const Heat* living, size_t count, uint64_t items) {
  const uint64_t events = eventsOf(*this);
  uint64_t expected = nextAt.load(RELAXED);
  if (!isDue(events, expected, items)) return;
  const uint64_t next = events + std::clamp(events, FIRST_PERIOD_EVENTS, periodMax(items));
  if (!nextAt.compare_exchange_strong(expected, next, RELAXED)) return;

  Counts counts;
  for (uint32_t c = 0; c < CLASSES; ++c) {
    for (uint32_t age = 0; age < AGES; ++age) {
      uint32_t hits = 0;
      for (const auto& tally : tallies) hits += tally.hits[c][age].load(RELAXED);
      counts.hits[c][age] = collect(hits, hitsTaken[c][age], hitsPast[c][age]);
      counts.lost[c][age] = collect(losses[c][age].load(RELAXED), lostTaken[c][age], lostPast[c][age]);
    }
  }
  // Those still living have waited in vain so far: without them a class whose hits come early looks as good at every
  // age.
  const uint32_t ticks = clock();
  const float weight = count == 0 ? 0 : static_cast<float>(items) / static_cast<float>(count);
  for (size_t i = 0; i < count; ++i) counts.lost[classOf(living[i])][bucketOf(ageOf(living[i], ticks))] += weight;
  mixGeneralDistributionIn(counts);

  const uint32_t other = ~current.load(RELAXED) & 1u;
  for (uint32_t c = 0; c < CLASSES; ++c) {
    float values[AGES];
    valuesOfClass(counts.hits[c], counts.lost[c], values);
    for (uint32_t age = 0; age < AGES; ++age) value[other][c][age].store(values[age], RELAXED);
  }
  current.store(other, std::memory_order_release);
}

void RegionWorth::add(float score, uint32_t bytes) {
  const auto weight = static_cast<float>(bytes);
  sum_ += std::min(score, scoreMax_) * weight;
  bytes_ += weight;
}

uint32_t Cut::step(float score) { return bitsOf(score) >> 20 & (STEPS - 1); }

void Cut::add(float score, uint32_t bytes) {
  bytesAt_[step(score)] += bytes;
  bytes_ += bytes;
}

void Cut::decide() {
  int64_t wanted = static_cast<int64_t>(bytes_ / 4);
  for (edge_ = 0; edge_ < STEPS - 1 && wanted > bytesAt_[edge_]; ++edge_) wanted -= bytesAt_[edge_];
  edgeBytes_ = wanted;
}

bool Cut::drops(float score, uint32_t bytes) {
  const uint32_t at = step(score);
  if (at == edge_ && edgeBytes_ > 0) {
    edgeBytes_ -= bytes;
    return true;
  }
  return at < edge_ || score < threshold_;
}

}  // namespace henge
