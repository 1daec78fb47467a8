// One store's memory, shared by all processes of a node: made, found again, looked at, and closed here. What happens to
// items happens in Worker.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lock.h"
#include "view.h"

namespace henge {

struct MemoryOptions {
  uint64_t bytes = 0;
  uint32_t valueBytesMax = protocol::Limit::VALUE_BYTES_DEFAULT;
  std::string nodeName;
  uint16_t nodeNumber = 0;
  bool replicated = false;
  std::string file;      // empty: anonymous memory
  Geometry geometry;     // fields left 0 are chosen from bytes
  bool manualClock = false;
  uint64_t seed = 0;     // 0: random
  uint64_t hashSeed = 0; // of a replicated arena: the same on all nodes of a cluster
};

enum class Origin { NEW, WARM, SCRUBBED };

struct Failure {
  const char* code = nullptr;  // a StoreErrorCode of src/store/addon.ts
  std::string message;
};

// Sums over all places since the memory was made.
struct Stats {
  uint64_t items, bytes, memoryUsed, memoryLimit, regionsTotal, regionsFree, indexBytes, tombstones;
  uint64_t hits, misses, sets, deletes, increments, appends, touches;
  uint64_t evictions, expirations, busy, moved, outOfMemory, protocolErrors, clockRefusals;
  uint64_t framesIn, bytesIn, bytesOut, requests, scrubs, workerDeaths;
  uint64_t sealedMicrosecondsMax;  // of the longest
  uint64_t chunkMicroseconds[CHUNK_BUCKETS];
  double chunkSeconds;
};

class Memory {
 public:
  // Null and *failure when it cannot be. A file that exists and fits is adopted, whatever state it was left in.
  static std::unique_ptr<Memory> create(const MemoryOptions& options, Failure* failure);
  static std::unique_ptr<Memory> attach(const std::string& path, Failure* failure);
  // Attaches to a memory whose creator died, and takes that one's part, while workers may be using it.
  static std::unique_ptr<Memory> takeOver(const std::string& path, Failure* failure);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  View& view() { return view_; }
  Origin origin() const { return origin_; }
  std::string incarnation() const;
  std::string path() const;
  const char* pages() const { return pages_; }
  uint32_t valueBytesMax() const { return view_.valueBytesMax; }

  // A place of its own for a worker, or -1 when all are taken.
  int takePlace();
  void leavePlace(uint32_t place);

  // Declares a process (or one place) dead: its locks are taken over and scrubbed, its regions sealed, its places
  // freed. False: somebody alive is scrubbing after it; the next reap() comes back for it.
  int reap(int pid);
  bool reapPlace(uint32_t place);

  // Puts an epoch in place, segment by segment under the locks. False: this one, or a newer one, stands already.
  bool install(const Installation& installation);
  // A process took up what an earlier one left. `isWhole`: nothing can have been lost, so what it led it leads again.
  void resume(bool isWhole);
  // No write from this moment of the steady clock on; 0: never.
  void setFence(uint64_t deadlineMs);
  bool isFenced() const;
  uint32_t epoch() const { return view_.header->epoch.load(std::memory_order_acquire); }

  Stats stats() const;
  void slotItems(uint32_t* out) const;
  std::vector<int> stuck(uint64_t silentMs) const;
  void setClock(uint64_t ms);
  // Lets the store's clock follow the wall clock, by at most a tenth of the time that passed.
  static void slewClock(const View& view);
  void close(bool clean);

 private:
  Memory() = default;
  bool openFile(const MemoryOptions& options, Failure* failure);
  bool map(uint64_t bytes, Failure* failure);
  bool lockFile(int operation, Failure* failure);
  void format(const Constants& constants);
  bool adopt(const MemoryOptions& options, Failure* failure);
  void startClock();
  void abandon(uint32_t ownerWord, Locker& locker);
  bool reapPlace(uint32_t place, Locker& locker);
  void takeOverAll(uint32_t word, Locker& locker);
  bool isTakenOver(uint32_t word, Locker& locker);

  View view_;
  int fd_ = -1;
  std::string file_;
  Origin origin_ = Origin::NEW;
  const char* pages_ = "small";
  bool isCreator_ = false;
};

}  // namespace henge
