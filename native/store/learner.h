// What an item is worth, learned from the traffic: the half of eviction that knows nothing of regions, locks and
// segments.
//
// The idea. Every item carries 16 bits of *heat*: when it was last used, about how often, how close together. Items
// alike in count and gap form a class. For each class and each age the learner counts how many items were used again
// and how many were given up, and turns that into the best hit density on offer: hits per tick of staying, over the
// best horizon. Scans, loops, stable popularity and moving fashions each yield their own table, so there is no policy
// to choose. Ghosts (ghosts.h) keep the heat of dropped items, so that a use after the eviction is seen too: without
// them a learner believes its own mistakes. Relatives: LHD (Beckmann and others, NSDI 2018), Segcache (Yang and others,
// NSDI 2021), S3-FIFO (Yang and others, SOSP 2023).
//
// How a store uses it.
//   time      advance() once per chunk with the bytes of *new* records it appended (sets; not the copies of eviction).
//   hit       record.heat = touched(record.heat, place, random), under the segment's lock. Nothing moves.
//   insert    ghosts.take(hash, &heat) ? touched(heat, place, random) : fresh(); append to the worker's NEW log if
//             isNew(heat), else to its KEPT log. An overwrite of a living item inherits its heat untouched: a write is
//             not a saved miss.
//   evict     1. Candidates: the oldest sealed region of the worker's NEW queue, the oldest of its KEPT queue, and
//                VICTIM_RANDOM sealed regions anywhere in the pool (busy, open or being evicted: skip, draw again at
//                most once each).
//             2. For each, SAMPLES_PER_REGION records spread evenly over its bytes (a region keeps the offset of the
//                first record behind every sixteenth of its bytes, 0 the first): RegionWorth::add(score, bytes). A dead
//                or expired record has score 0. observe() the scores of living records of the *random* regions, and of
//                no others.
//             3. The victim has the least worth; the first candidate wins a draw. An empty region (all dead) wins at
//                once.
//             4. Cut: walk the victim once without locks, adding (score, bytes) of every record, dead ones with score
//                0; then walk again, each record under its segment's lock: dead: skip it; cut.drops(score, bytes):
//                unlink it, put its heat to the segment's ghosts, lost() what they displace; else re-append it with
//                kept(heat), to NEW or KEPT by isNew(). Call drops() for dead records too: they pay into the quarter
//                that a victim must give up. Expired items are dead and leave no ghost. At most three quarters of a
//                region are copied, but to two logs: an eviction starts only with two free regions that no other
//                eviction counts on. With one it can run dry half-way.
//   relearn   when relearnDue() (ask once per evicted region): LIVING_SAMPLES heats of random living items (random
//             segment, random entry), then relearn(). Off every lock; some 10 µs.
//   travel    last use is in this store's ticks: an item sent to another node carries carried(heat), and the receiver
//             stores carried(what came).
//
// Many processes share one Learner and any of them may be killed at any instruction: every field is a relaxed atomic
// whose every value is harmless, indices are masked, and nothing is locked. Hits are counted per place (a worker's
// seat; one writer each, so a plain load and store: 3.4 ns a hit, 22 ns when two workers shared the counts) and summed
// when values are learned. That makes the table 60 KiB.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace henge {

// last use in ticks: 11 bits | count: 3 bits | gap between the last two uses: 2 bits
using Heat = uint16_t;

struct Learner {
  static constexpr uint32_t PLACES_MAX = 17;         // 16 workers and the primary process
  static constexpr uint32_t TICKS_PER_TURNOVER = 64; // finer ticks gain nothing; coarser ones blur short gaps
  static constexpr uint32_t CLOCK_RANGE = 2048;      // 32 turnovers: ages neither saturate nor wrap early
  static constexpr uint32_t CLASSES = 32;            // 8 counts x 4 gaps
  static constexpr uint32_t AGES = 19;               // half-octave buckets of ages: 0-3, 4-5, 6-7, 8-11, ... 1536-2047
  static constexpr uint32_t SCORES_SEEN = 512;       // what the threshold is taken from
  static constexpr uint32_t LIVING_SAMPLES = 256;
  static constexpr uint32_t VICTIM_RANDOM = 8;
  static constexpr uint32_t SAMPLES_PER_REGION = 16;

  // Makes the table that behaves as LRU until the first relearn. Not safe beside other callers.
  void format();

  // Time passes by `bytesInserted` of new items in a store that holds `capacityBytes` of them.
  void advance(uint64_t bytesInserted, uint64_t capacityBytes);
  uint32_t clock() const;

  // Heat of an item nobody remembers.
  Heat fresh() const;
  // Hot path: an item, or the ghost of one about to be inserted, was used. Counts it and returns its heat from now on.
  Heat touched(Heat heat, uint32_t place, uint32_t random);
  // A ghost was displaced: nobody asked for it while it was remembered.
  void lost(Heat heat);
  // Heat of an item that eviction appends anew: an age near the end of the range is set back, so that it never wraps.
  Heat kept(Heat heat) const;
  // Between this store's ticks and the age that travels between nodes; its own inverse.
  Heat carried(Heat heat) const;
  // Which log an item is appended to: NEW if true, else KEPT.
  static bool isNew(Heat heat) { return (heat >> 2 & 7u) == 0; }

  // Hot path of eviction: what keeping the item is worth per byte of a kind (size^0.25 gives large items some advantage
  // over hits per byte; hits per item would be size^0, and serves bytes).
  float score(Heat heat, uint32_t bytes) const;

  // The threshold is the 20th percentile of the last SCORES_SEEN scores observed; 0 before any. Costs about 1 µs: ask
  // once per victim.
  void observe(float score);
  float threshold() const;

  // `items`: living items of the store.
  bool relearnDue(uint64_t items) const;
  // Turns counts into values. A caller that loses the race against another returns at once; one that dies on the way
  // costs the others nothing but this round.
  void relearn(const Heat* living, size_t count, uint64_t items);

  // One place's counts: its worker alone writes them, and they only grow (modulo 2^32).
  struct Tally {
    std::atomic<uint64_t> events;
    std::atomic<uint32_t> hits[CLASSES][AGES];
  };

  std::atomic<uint64_t> time;      // ticks, 32.32 fixed point
  std::atomic<uint64_t> nextAt;    // event number of the next relearn; taking it is the claim
  std::atomic<uint32_t> current;   // which of the two value tables is read
  std::atomic<uint32_t> seenNext;
  std::atomic<float> seen[SCORES_SEEN];
  std::atomic<float> value[2][CLASSES][AGES];
  std::atomic<float> hitsPast[CLASSES][AGES];     // decayed sums of earlier rounds
  std::atomic<float> lostPast[CLASSES][AGES];
  std::atomic<uint32_t> hitsTaken[CLASSES][AGES]; // what of the places' sums is in hitsPast already
  std::atomic<uint32_t> lostTaken[CLASSES][AGES];
  std::atomic<uint64_t> lostEvents;
  std::atomic<uint32_t> losses[CLASSES][AGES];    // shared by all places: one displaced ghost per evicted item at most
  alignas(64) Tally tallies[PLACES_MAX];
};

static_assert(std::is_standard_layout_v<Learner> && std::is_trivially_destructible_v<Learner>);
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<float>::is_always_lock_free);

// Worth of a region by a sample of its records: the byte-weighted mean of their scores, each counted as at most four
// thresholds, since one hot item must not protect a region of cold ones (it is copied, not lost).
class RegionWorth {
 public:
  explicit RegionWorth(float threshold) : scoreMax_(4 * threshold) {}
  void add(float score, uint32_t bytes);
  float mean() const { return bytes_ > 0 ? sum_ / bytes_ : 0; }

 private:
  float scoreMax_;
  float sum_ = 0;
  float bytes_ = 0;
};

// Which records of a victim go: those below the threshold, and in any case the cheapest quarter of its bytes. Lives on
// the stack of one eviction: add() every record, decide() once, then ask drops() for every record in any order.
class Cut {
 public:
  explicit Cut(float threshold) : threshold_(threshold) {}
  void add(float score, uint32_t bytes);
  void decide();
  bool drops(float score, uint32_t bytes);

 private:
  static constexpr uint32_t STEPS = 2048;  // scores by sign, exponent and three bits of mantissa: a step is 12 %
  static uint32_t step(float score);
  float threshold_;
  uint32_t edge_ = 0;        // records of lower steps go
  int64_t edgeBytes_ = 0;    // of records on this very step this many bytes go, first come first gone
  uint64_t bytes_ = 0;
  uint32_t bytesAt_[STEPS] = {};
};

}  // namespace henge
