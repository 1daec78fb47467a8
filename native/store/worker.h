// One worker's way into the store: every operation on single keys. Several workers may live in one process (tests, the
// simulator) or in many; each has a place, two logs and an evictor of its own, and meets the others only at segment
// locks.
//
// An operation: room is secured, the segment is locked, the slot's state and the condition are checked, the version is
// stamped, the record is written to the log and published, the lock is released. Nothing waits inside.
#pragma once

#include <functional>
#include <memory>

#include "evictor.h"
#include "memory.h"

namespace henge {

// States of a slot's word; those of replication and hand-over join them with the issues that bring them.
enum class SlotState : uint8_t { NONE = 0, PRIMARY = 1 };

constexpr uint64_t TOMBSTONE_LIFE_MS = 3'600'000;

struct Digest {
  uint64_t sum = 0;  // over all items and tombstones: order does not matter
  uint32_t items = 0;
};

class Worker {
 public:
  static std::unique_ptr<Worker> open(Memory& memory, Failure* failure);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  uint32_t id() const { return place_; }

  // Reads the clock, once a chunk of requests.
  void beginChunk();
  // Slot and hash of up to 16 operations, and the memory they will touch prefetched in stages.
  void prepare(Operation* operations, size_t count);
  // One prepared operation. `out` has room for valueBytesMax() bytes and receives a GET's value.
  Answer execute(const Operation& operation, char* out);

  // An item from another node: takes effect if its version is newer than what is, or was, here. `fromPrimary`: the
  // slot's primary sends it, which is believed where this node has forgotten too much to judge.
  Applied apply(const Item& item, bool fromPrimary);

  // Keys with a prefix, as u16 length + key; about `wanted` of them. Returns the bytes written; *next is 0 at the end.
  size_t scan(uint64_t cursor, std::string_view prefix, uint32_t wanted, char* out, size_t outBytes, uint64_t* next);
  // Deletes by prefix what was written before the first step; returns how many in this step.
  uint32_t clear(uint64_t cursor, std::string_view prefix, uint64_t* horizon, uint64_t* next);
  // Visits the items and tombstones of the slots in `mask` (bit i: the segment's i-th slot), some homes a step; the
  // views are good for the call only. Begins at cursor 0; returns the next one, 0 at the segment's end.
  uint64_t walk(uint32_t segment, uint32_t mask, uint64_t cursor, const std::function<void(const Item&)>& visit);
  Digest digest(uint16_t slot);
  // Takes everything of a slot out, without tombstones: it lives on elsewhere.
  void drop(uint16_t slot);

  // Background work of about a millisecond: expiry, eviction ahead of need, the clock.
  void tick();
  Counters& counters() { return view_.counters[place_]; }
  View& view() { return view_; }

 private:
  Worker(Memory& memory, uint32_t place);

  enum class Stored { DONE, NEEDS_ROOM };
  struct Chain {
    uint32_t first = 0;
    uint32_t inlineBytes = 0;
  };

  Answer get(const Operation& operation, char* out);
  Answer set(const Operation& operation);
  Answer remove(const Operation& operation);
  Answer touch(const Operation& operation);
  Answer increment(const Operation& operation);
  Answer append(const Operation& operation);

  // Secures room, locks, finds, lets `decide` fill the draft, stores it. `decide(record or null, &draft, &answer)`
  // returns false when nothing is to be written.
  template <typename Decide>
  Answer write(const Operation& operation, uint32_t bytesGuess, bool sharesFragments, Decide decide);
  bool isServed(uint16_t slot, Answer* answer) const;
  Entry findLiving(Index* index, const Operation& operation);
  Version stamp(Segment* segment, uint16_t slot, uint64_t hash, const Version& before);
  Heat heatOfNew(uint32_t segment, uint64_t hash);
  Stored store(Index* index, const Entry& entry, const KeyPlace& place, const Draft& draft, bool sharesFragments);
  bool overwrite(const Entry& entry, uint32_t staged, bool sharesFragments);
  void insertAnyway(Index* index, const KeyPlace& place, uint32_t offset);
  void expire(Index* index, const Entry& entry, const KeyPlace& place);
  bool makeRoom(uint32_t bytes);
  bool makeFree(uint32_t regions);
  Answer appendOnce(const Operation& operation, uint32_t* regionsWanted);
  uint32_t regionsFor(size_t payloadBytes) const;
  bool stage(const KeyPlace& place, std::string_view key, std::string_view value, Chain* chain);
  void unstage(const Chain& chain);
  bool isLarge(size_t keyBytes, size_t valueBytes) const { return keyBytes + valueBytes > view_.payloadBytesMax(); }
  static void fill(Draft* draft, std::string_view key, std::string_view value, const Chain& chain);
  Applied judge(const Entry& entry, const KeyPlace& place, const Version& version, bool fromPrimary) const;
  template <typename Visit>
  uint64_t visitHomes(uint32_t segment, uint64_t from, uint32_t homes, Visit visit);
  void pace();
  void sweep();

  Memory& memory_;
  View& view_;
  uint32_t place_;
  Locker locker_;
  Log new_;
  Log kept_;
  Evictor evictor_;
  uint64_t nowMs_ = 0;
  uint64_t random_;
  uint64_t bytesAdded_ = 0;
  uint32_t paceDebt_ = 0;
  uint32_t sweepSegment_ = 0;
  uint64_t sweepHash_ = 0;
  std::unique_ptr<char[]> scratch_;  // one value: append puts old and new together here
};

}  // namespace henge
