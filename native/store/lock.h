// A segment's lock: one word that names its holder, so that a death while holding it can be noticed and repaired.
//
// Taking it is one compare-and-swap, giving it back one store. It is held for nanoseconds, without system calls or
// allocations inside. Who finds it held spins, then sleeps in between, and after WAIT_MS_MAX answers `busy`: the living
// are never robbed. A lock whose holder is dead is taken over from exactly the dead holder's word, and the segment is
// scrubbed before anybody else sees it.
#pragma once

#include "view.h"

namespace henge {

constexpr uint32_t SPINS_MAX = 2000;      // about 50 us: longer than any living holder needs unless it was descheduled
constexpr uint64_t WAIT_MS_MAX = 5;       // then the request is answered with BUSY rather than holding up its chunk
constexpr uint64_t SLEEP_NS = 50'000;

// Place number and incarnation in one word, never 0.
inline uint32_t lockWord(uint32_t place, uint32_t incarnation) { return (place + 1) | incarnation << 8; }
inline uint32_t placeOfWord(uint32_t word) { return (word & 0xff) - 1; }

class Locker {
 public:
  Locker(View& view, uint32_t place) : view_(view), place_(place) {
    word_ = lockWord(place, view.places[place].incarnation.load(std::memory_order_relaxed));
  }

  // False: somebody alive held it for WAIT_MS_MAX.
  bool acquire(Segment* segment) {
    uint32_t expected = 0;
    if (__builtin_expect(segment->lock.compare_exchange_strong(expected, word_, std::memory_order_acquire), 1))
      return true;
    return acquireSlow(segment);
  }
  void release(Segment* segment) { segment->lock.store(0, std::memory_order_release); }

  uint32_t place() const { return place_; }
  uint32_t word() const { return word_; }

  // Takes over the lock if its holder is known to be dead, scrubs the segment, and leaves it locked by us.
  bool takeOver(Segment* segment);

 private:
  bool acquireSlow(Segment* segment);

  View& view_;
  uint32_t place_;
  uint32_t word_;
};

// Dead: marked so by whoever reaps, or its process is gone, or the pid belongs to a younger process.
bool placeIsDead(const Place& place);
uint64_t processStartTime(int pid);

}  // namespace henge
