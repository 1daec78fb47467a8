#include "memory.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "format.h"
#include "installer.h"
#include "pool.h"
#include "scrub.h"

namespace henge {

namespace {

// How long a new daemon waits for the last processes of the old one to let go of the file.
constexpr uint64_t FILE_LOCK_WAIT_MS = 3000;

bool fail(Failure* failure, const char* code, const std::string& message) {
  failure->code = code;
  failure->message = message;
  return false;
}

std::string reason() { return std::string(strerror(errno)); }

uint64_t clockMs(clockid_t id) {
  timespec now;
  clock_gettime(id, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

const char* transparentOrSmall() {
  char text[128] = {};
  const int fd = open("/sys/kernel/mm/transparent_hugepage/shmem_enabled", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "small";
  const ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return "small";
  return strstr(text, "[never]") != nullptr || strstr(text, "[deny]") != nullptr ? "small" : "transparent";
}

}  // namespace

uint64_t monotonicMs() { return clockMs(CLOCK_MONOTONIC); }
uint64_t wallMs() { return clockMs(CLOCK_REALTIME); }

uint64_t nowMs(const View& view) {
  if (view.manualClock) return view.header->manualMs.load(std::memory_order_relaxed);
  return monotonicMs() + static_cast<uint64_t>(view.header->clockOffsetMs.load(std::memory_order_relaxed));
}

uint64_t steadyMs(const View& view) {
  return view.manualClock ? view.header->manualMs.load(std::memory_order_relaxed) : monotonicMs();
}

uint64_t steadyMicroseconds(const View& view) {
  if (view.manualClock) return steadyMs(view) * 1'000;
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_nsec) / 1'000;
}

std::unique_ptr<Memory> Memory::create(const MemoryOptions& options, Failure* failure) {
  Constants constants;
  if (!makeConstants(options, &constants, failure)) return nullptr;
  std::unique_ptr<Memory> memory(new Memory());
  memory->isCreator_ = true;
  if (!memory->openFile(options, failure)) return nullptr;
  struct stat status;
  if (fstat(memory->fd_, &status) != 0) {
    fail(failure, "IO", "The arena cannot be looked at: " + reason());
    return nullptr;
  }
  if (status.st_size > 0) {
    if (!memory->map(static_cast<uint64_t>(status.st_size), failure)) return nullptr;
    if (!memory->adopt(options, failure)) return nullptr;
  }
  if (memory->origin_ == Origin::NEW) {
    if (status.st_size > 0) munmap(memory->view_.base, memory->view_.bytes);
    memory->view_ = View();
    const auto length = static_cast<off_t>(constants.bytes);
    // A file's pages are secured now: a full disk found later would be a SIGBUS in the middle of a store.
    // Of what was found nothing stays: the parts of a store begin as zeros.
    const bool isSized = ftruncate(memory->fd_, 0) == 0 && ftruncate(memory->fd_, length) == 0 &&
                         (options.file.empty() || posix_fallocate(memory->fd_, 0, length) == 0);
    if (!isSized) {
      fail(failure, "NO_MEMORY",
           "There is no room for an arena of " + std::to_string(constants.bytes) + " bytes: " + reason());
      return nullptr;
    }
    if (!memory->map(constants.bytes, failure)) return nullptr;
    memory->format(constants);
  }
  memory->startClock();
  memory->view_.header->clean.store(0, std::memory_order_release);
  // On the disk before anything else changes: after a power failure a stale CLEAN would vouch for pages of two times.
  if (!options.file.empty()) msync(memory->view_.base, 2 * sizeof(Header), MS_SYNC);
  if (!memory->lockFile(LOCK_SH, failure)) return nullptr;
  memory->takePlace();  // the creator's own: place 0
  return memory;
}

bool Memory::openFile(const MemoryOptions& options, Failure* failure) {
  file_ = options.file;
  if (!file_.empty()) {
    fd_ = open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ < 0) return fail(failure, "IO", "The arena " + file_ + " cannot be opened: " + reason());
    return lockFile(LOCK_EX, failure);
  }
  fd_ = memfd_create("henge", MFD_CLOEXEC);
  if (fd_ < 0) return fail(failure, "NO_MEMORY", "Anonymous memory cannot be made: " + reason());
  return true;
}

// Every process of a node holds the file shared, so whoever gets it exclusively is alone. A process that died a moment
// ago may still be letting go.
bool Memory::lockFile(int operation, Failure* failure) {
  const uint64_t deadlineMs = monotonicMs() + FILE_LOCK_WAIT_MS;
  while (flock(fd_, operation | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(failure, "IO", "The arena cannot be locked: " + reason());
    if (monotonicMs() >= deadlineMs)
      return fail(failure, "IN_USE", "The arena " + file_ + " is in use by another process.");
    const timespec nap{0, 20'000'000};
    nanosleep(&nap, nullptr);
  }
  return true;
}

bool Memory::map(uint64_t bytes, Failure* failure) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (base == MAP_FAILED) return fail(failure, "NO_MEMORY", "The arena cannot be mapped: " + reason());
  madvise(base, bytes, MADV_HUGEPAGE);
  pages_ = transparentOrSmall();
  view_.base = static_cast<char*>(base);
  view_.bytes = bytes;
  return true;
}

void Memory::format(const Constants& constants) {
  View::lay(view_.base, constants, &view_);
  view_.learner->format();
  Pool(view_).format();
  for (uint32_t i = 0; i < view_.geometry.segments; i++) Pool(view_).firstPage(i);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  writeConstants(view_.base, constants);  // until then it is all zero, and may be made anew
}

// Leaves origin_ NEW when what was found is of no use and may be made anew: another boot's unclean memory, or no arena
// yet.
bool Memory::adopt(const MemoryOptions& options, Failure* failure) {
  Constants constants;
  if (!readConstants(view_.base, view_.bytes, &constants)) {
    if (isAllZero(view_.base, view_.bytes)) return true;
    return fail(failure, "NOT_AN_ARENA",
                file_ + " is not an arena of this version of Henge; remove it or name another file.");
  }
  if (options.nodeName != constants.nodeName || options.nodeNumber != constants.nodeNumber) {
    return fail(failure, "WRONG_NODE",
                file_ + " belongs to node " + constants.nodeName + ", not to " + options.nodeName + ".");
  }
  if (!sameShape(options, constants)) return true;
  View::lay(view_.base, constants, &view_);
  const bool isClean = view_.header->clean.load(std::memory_order_acquire) == CLEAN;
  if (!isClean && strncmp(constants.bootId, bootId().c_str(), sizeof constants.bootId) != 0) return true;
  stampBoot(&constants);
  writeConstants(view_.base, constants);
  for (uint32_t i = 0; i < PLACES_MAX && isClean; i++) {
    view_.places[i].state.store(static_cast<uint32_t>(PlaceState::FREE));
    view_.places[i].pid.store(0);
  }
  view_.header->installLock.store(0);
  view_.header->fenceAtMs.store(0);
  if (isClean) {
    origin_ = Origin::WARM;
  } else if (Scrub(view_, 0).everything()) {
    origin_ = Origin::SCRUBBED;
  }
  return true;
}

std::unique_ptr<Memory> Memory::attach(const std::string& path, Failure* failure) {
  std::unique_ptr<Memory> memory(new Memory());
  memory->file_ = path;
  memory->fd_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat status;
  if (memory->fd_ < 0 || fstat(memory->fd_, &status) != 0) {
    fail(failure, "IO", "The arena " + path + " cannot be opened: " + reason());
    return nullptr;
  }
  if (!memory->lockFile(LOCK_SH, failure)) return nullptr;
  if (!memory->map(static_cast<uint64_t>(status.st_size), failure)) return nullptr;
  Constants constants;
  if (!readConstants(memory->view_.base, memory->view_.bytes, &constants)) {
    fail(failure, "NOT_AN_ARENA", path + " is not an arena of this version of Henge.");
    return nullptr;
  }
  View::lay(memory->view_.base, constants, &memory->view_);
  memory->origin_ = Origin::WARM;
  return memory;
}

std::unique_ptr<Memory> Memory::takeOver(const std::string& path, Failure* failure) {
  std::unique_ptr<Memory> memory = attach(path, failure);
  if (memory == nullptr) return nullptr;
  // The dead creator's locks are taken by another word than its own, or nobody could tell whose they are.
  const int place = memory->takePlace();
  if (place < 0) {
    fail(failure, "WORKERS_EXHAUSTED", "All places of the arena " + path + " are taken.");
    return nullptr;
  }
  Place& creator = memory->view_.places[0];
  const bool isDead = placeIsDead(creator);
  if (isDead) {
    Locker locker(memory->view_, static_cast<uint32_t>(place));
    memory->reapPlace(0, locker);
  }
  memory->leavePlace(static_cast<uint32_t>(place));
  if (!isDead && creator.state.load() != static_cast<uint32_t>(PlaceState::FREE)) {
    fail(failure, "IN_USE", "The arena " + path + " is in use by the process that made it.");
    return nullptr;
  }
  memory->isCreator_ = true;
  memory->takePlace();
  // Anonymous memory is known to others by the descriptor of its creator, which is this process from here on.
  if (path.compare(0, 6, "/proc/") == 0) memory->file_.clear();
  return memory;
}

Memory::~Memory() {
  if (isCreator_ && view_.places != nullptr) leavePlace(0);
  if (view_.base != nullptr) munmap(view_.base, view_.bytes);
  if (fd_ >= 0) ::close(fd_);
}

void Memory::close(bool clean) {
  if (!clean) return;
  bool isQuiet = true;
  for (uint32_t i = 1; i < PLACES_MAX; i++) isQuiet = (view_.places[i].pid.load() == 0 || reapPlace(i)) && isQuiet;
  if (!isQuiet) return;
  // Data first, then the word that vouches for it.
  if (!file_.empty() && isCreator_) msync(view_.base, view_.bytes, MS_SYNC);
  view_.header->clean.store(CLEAN, std::memory_order_release);
  if (!file_.empty() && isCreator_) msync(view_.base, sizeof(Header), MS_SYNC);
}

std::string Memory::incarnation() const {
  char text[17];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(view_.header->constants.incarnation));
  return text;
}

std::string Memory::path() const {
  if (!file_.empty()) return file_;
  return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_);
}

// ---- the clock -----------------------------------------------------------------------------------------------------

// Starts at the wall, but never behind a version this memory has already given.
void Memory::startClock() {
  uint64_t highestMs = 0;
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    const uint64_t ms = view_.segments[i].clock >> 16;
    if (ms > highestMs && ms < wallMs() + 86'400'000) highestMs = ms;
  }
  const uint64_t startMs = wallMs() > highestMs ? wallMs() : highestMs;
  view_.header->clockOffsetMs.store(static_cast<int64_t>(startMs - monotonicMs()));
  view_.header->slewedAtMs.store(monotonicMs());
}

void Memory::slewClock(const View& view) {
  const uint64_t mono = monotonicMs();
  uint64_t lastMs = view.header->slewedAtMs.load(std::memory_order_relaxed);
  if (view.manualClock || mono - lastMs < 100) return;
  if (!view.header->slewedAtMs.compare_exchange_strong(lastMs, mono)) return;
  const int64_t offset = view.header->clockOffsetMs.load(std::memory_order_relaxed);
  const int64_t stepMax = static_cast<int64_t>(mono - lastMs) / 10;
  int64_t step = static_cast<int64_t>(wallMs() - mono) - offset;
  if (step > stepMax) step = stepMax;
  if (step < -stepMax) step = -stepMax;
  view.header->clockOffsetMs.store(offset + step, std::memory_order_relaxed);
}

void Memory::setClock(uint64_t ms) { view_.header->manualMs.store(ms); }

// ---- what the node looks at
// ------------------------------------------------------------------------------------------

bool Memory::install(const Installation& installation) { return Installer(view_, 0).install(installation); }

void Memory::resume(bool isWhole) { Installer(view_, 0).resume(isWhole); }

void Memory::setFence(uint64_t deadlineMs) { view_.header->fenceAtMs.store(deadlineMs, std::memory_order_release); }

bool Memory::isFenced() const {
  const uint64_t deadlineMs = view_.header->fenceAtMs.load(std::memory_order_acquire);
  return deadlineMs != 0 && steadyMs(view_) >= deadlineMs;
}

Stats Memory::stats() const {
  Stats sum = {};
  for (uint32_t i = 0; i < PLACES_MAX; i++) {
    const Counters& place = view_.counters[i];
    sum.hits += place.hits;
    sum.misses += place.misses;
    sum.sets += place.sets;
    sum.deletes += place.deletes;
    sum.increments += place.increments;
    sum.appends += place.appends;
    sum.touches += place.touches;
    sum.evictions += place.evictions;
    sum.expirations += place.expirations;
    sum.busy += place.busy;
    sum.moved += place.moved;
    sum.outOfMemory += place.outOfMemory;
    sum.protocolErrors += place.protocolErrors;
    sum.clockRefusals += place.clockRefusals;
    sum.framesIn += place.framesIn;
    sum.bytesIn += place.bytesIn;
    sum.bytesOut += place.bytesOut;
    sum.requests += place.requests;
    sum.scrubs += place.scrubs;
    if (place.sealedMicrosecondsMax > sum.sealedMicrosecondsMax) {
      sum.sealedMicrosecondsMax = place.sealedMicrosecondsMax;
    }
    for (uint32_t b = 0; b < CHUNK_BUCKETS; b++) sum.chunkMicroseconds[b] += place.chunkMicroseconds[b];
    sum.chunkSeconds += static_cast<double>(place.chunkNanoseconds) / 1e9;
  }
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    sum.items += view_.segments[i].items;
    sum.tombstones += view_.segments[i].tombstones;
    sum.bytes += view_.segments[i].bytes;
    sum.indexBytes += static_cast<uint64_t>(view_.segments[i].pages) * view_.geometry.pageBytes;
  }
  sum.regionsTotal = view_.regionCount;
  sum.regionsFree = Pool(const_cast<View&>(view_)).countFree();
  sum.memoryLimit = view_.bytes;
  sum.memoryUsed = view_.bytes - sum.regionsFree * view_.geometry.regionBytes;
  sum.workerDeaths = view_.header->workerDeaths.load(std::memory_order_relaxed);
  return sum;
}

void Memory::slotItems(uint32_t* out) const {
  for (uint32_t slot = 0; slot < protocol::SLOTS; slot++) {
    out[slot] = slot < view_.slotCount() ? view_.slots[slot].items : 0;
  }
}

}  // namespace henge
