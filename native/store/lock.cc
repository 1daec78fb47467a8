#include "lock.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "scrub.h"

namespace henge {

namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

// Field 22 of /proc/PID/stat: ticks since boot. 0 when the process is gone.
uint64_t processStartTime(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[1024];
  const ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  const char* at = strrchr(text, ')');  // the command's name may hold spaces and parentheses
  if (at == nullptr || at[1] == 0) return 0;
  if (at[2] == 'Z' || at[2] == 'X') return 0;
  for (int field = 2; field < 22 && at != nullptr; field++) at = strchr(at + 1, ' ');
  return at == nullptr ? 0 : strtoull(at + 1, nullptr, 10);
}

bool placeIsDead(const Place& place) {
  const auto state = static_cast<PlaceState>(place.state.load(std::memory_order_acquire));
  if (state == PlaceState::DEAD) return true;
  if (state == PlaceState::FREE) return false;
  const int pid = place.pid.load(std::memory_order_relaxed);
  return pid > 0 && processStartTime(pid) != place.startTime.load(std::memory_order_relaxed);
}

bool Locker::takeOver(Segment* segment) {
  uint32_t word = segment->lock.load(std::memory_order_acquire);
  if (word == 0) return false;
  const uint32_t holder = placeOfWord(word);
  const bool isNobody = holder >= PLACES_MAX || lockWord(holder, view_.places[holder].incarnation.load()) != word;
  if (!isNobody && !placeIsDead(view_.places[holder])) return false;
  // Said before it is done: whoever reaps the dead must see that its staged record is still needed.
  std::atomic<uint32_t>& takingOver = view_.places[place_].takingOver;
  takingOver.store(word);
  const uint32_t dead = word;
  const bool isTaken = segment->lock.compare_exchange_strong(word, word_);
  if (isTaken) Scrub(view_, place_).segment(view_.segmentIndex(segment), dead);
  takingOver.store(0);
  return isTaken;
}

bool Locker::acquireSlow(Segment* segment) {
  const uint64_t deadlineMs = monotonicMs() + WAIT_MS_MAX;
  for (uint32_t spin = 0;; spin++) {
    uint32_t expected = 0;
    if (segment->lock.load(std::memory_order_relaxed) == 0 &&
        segment->lock.compare_exchange_weak(expected, word_, std::memory_order_acquire)) {
      return true;
    }
    if (spin < SPINS_MAX) {
      pause();
      continue;
    }
    if (takeOver(segment)) return true;
    if (monotonicMs() >= deadlineMs) return false;
    const timespec nap{0, static_cast<long>(SLEEP_NS)};
    nanosleep(&nap, nullptr);
  }
}

}  // namespace henge
