// Who may hold locks: places are taken, left, and reaped after a death. A dead worker's place is not given to another
// until every lock it held is scrubbed and its regions are sealed; what it staged is needed until then.
#include <sched.h>
#include <unistd.h>

#include "memory.h"
#include "peers.h"
#include "pool.h"
#include "rings.h"

namespace henge {

namespace {

// How long reaping waits for a living worker that scrubs after the dead one: a scrub takes milliseconds.
constexpr uint64_t REAP_WAIT_MS_MAX = 1000;

}  // namespace

int Memory::takePlace() {
  for (uint32_t i = isCreator_ && view_.places[0].state.load() == 0 ? 0 : 1; i < PLACES_MAX; i++) {
    Place& place = view_.places[i];
    int32_t nobody = 0;
    if (!place.pid.compare_exchange_strong(nobody, getpid())) continue;
    place.incarnation.store((place.incarnation.load() + 1) & 0xffffff);
    place.startTime.store(processStartTime(getpid()));
    place.intentTarget.store(0);
    place.takingOver.store(0);
    place.heartbeatMs.store(monotonicMs());
    place.state.store(static_cast<uint32_t>(PlaceState::LIVE), std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

void Memory::leavePlace(uint32_t place) {
  Locker locker(view_, place);
  abandon(locker.word(), locker);
  Pool(view_).sealAll(place);
  view_.places[place].state.store(static_cast<uint32_t>(PlaceState::FREE));
  view_.places[place].pid.store(0, std::memory_order_release);
}

int Memory::reap(int pid) {
  int freed = 0;
  for (uint32_t i = 1; i < PLACES_MAX; i++) {
    const Place& place = view_.places[i];
    const bool wasLeft = place.state.load() == static_cast<uint32_t>(PlaceState::DEAD);
    if (place.pid.load() != pid && !wasLeft) continue;
    freed += reapPlace(i);
  }
  return freed;
}

// What a worker had under way to other nodes may not have arrived: it is missed (REPLICATION rule 5).
void Memory::abandon(uint32_t ownerWord, Locker& locker) {
  Rings(view_).loseAll(ownerWord, locker);
  Peers(view_).abandonSending(ownerWord, locker);
}

bool Memory::reapPlace(uint32_t index) {
  Locker locker(view_, 0);
  return reapPlace(index, locker);
}

bool Memory::reapPlace(uint32_t index, Locker& locker) {
  Place& place = view_.places[index];
  const auto dead = static_cast<uint32_t>(PlaceState::DEAD);
  if (place.state.exchange(dead) != dead) view_.header->workerDeaths.fetch_add(1, std::memory_order_relaxed);
  const uint32_t word = lockWord(index, place.incarnation.load());
  takeOverAll(word, locker);
  const uint64_t deadlineMs = monotonicMs() + REAP_WAIT_MS_MAX;
  while (isTakenOver(word, locker)) {
    if (monotonicMs() >= deadlineMs) return false;
    sched_yield();
  }
  abandon(word, locker);
  leavePlace(index);
  return true;
}

// Scrubs every segment whose lock this word holds.
void Memory::takeOverAll(uint32_t word, Locker& locker) {
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    Segment* segment = &view_.segments[i];
    if (segment->lock.load(std::memory_order_acquire) == word && locker.takeOver(segment)) locker.release(segment);
  }
}

// Whether somebody alive scrubs what the holder of this word left, be it at second hand. Who died doing so is cleared
// up after.
bool Memory::isTakenOver(uint32_t word, Locker& locker) {
  bool isTaken = false;
  for (uint32_t i = 0; i < PLACES_MAX; i++) {
    uint32_t link = view_.places[i].takingOver.load();
    for (uint32_t depth = 0; depth < PLACES_MAX && link != word; depth++) {
      const uint32_t next = placeOfWord(link);
      link = next < PLACES_MAX && lockWord(next, view_.places[next].incarnation.load()) == link
                 ? view_.places[next].takingOver.load()
                 : 0;
    }
    if (link != word) continue;
    if (placeIsDead(view_.places[i])) {
      takeOverAll(lockWord(i, view_.places[i].incarnation.load()), locker);
    } else if (view_.places[i].state.load() == static_cast<uint32_t>(PlaceState::LIVE)) {
      isTaken = true;
    }
  }
  return isTaken;
}

// A worker beats at every chunk and tick. One that holds a lock and does not beat was stopped, or loops, inside it.
std::vector<int> Memory::stuck(uint64_t silentMs) const {
  std::vector<int> pids;
  const uint64_t now = monotonicMs();
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    const uint32_t holder = placeOfWord(view_.segments[i].lock.load(std::memory_order_relaxed));
    if (holder == 0 || holder >= PLACES_MAX) continue;
    const Place& place = view_.places[holder];
    const int pid = place.pid.load();
    if (pid <= 0 || now - place.heartbeatMs.load(std::memory_order_relaxed) < silentMs) continue;
    bool isKnown = false;
    for (const int known : pids) isKnown = isKnown || known == pid;
    if (!isKnown) pids.push_back(pid);
  }
  return pids;
}

}  // namespace henge
