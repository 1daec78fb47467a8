// A segment's lock for the length of a block.
#pragma once

#include "lock.h"

namespace henge {

// May fail: somebody alive holds the lock for too long, and the request is answered with BUSY.
class Guard {
 public:
  Guard(Locker& locker, Segment* segment) : locker_(locker), segment_(segment), holds_(locker.acquire(segment)) {}
  ~Guard() {
    if (holds_) locker_.release(segment_);
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  bool holds() const { return holds_; }

 private:
  Locker& locker_;
  Segment* segment_;
  bool holds_;
};

// Waits as long as it takes, for what must not be left out. The living hold a lock for microseconds, and of the dead
// and the stopped somebody else takes care.
class Hold {
 public:
  Hold(Locker& locker, Segment* segment) : locker_(locker), segment_(segment) {
    while (!locker.acquire(segment)) {
    }
  }
  ~Hold() { locker_.release(segment_); }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  Locker& locker_;
  Segment* segment_;
};

}  // namespace henge
