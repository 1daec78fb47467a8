// One worker's way into the store. Several workers may live in one process (tests, the simulator) or in many; each has
// a place, two logs, an evictor and links of its own, and meets the others only at segment locks.
//
// An operation: room is secured, the segment is locked, the slot's state and the condition are checked, the version is
// stamped, what the copies are to get is noted, the record is written to the log and published, the lock is released.
// Nothing waits inside.
//
//   worker.cc        chunks, batches, reads           worker_links.cc   links, and what became of the frames on them
//   worker_write.cc  writes                           worker_apply.cc   what other nodes' items become here
//   worker_room.cc   records and the room for them    worker_slots.cc   what is known of slots and peers
//   worker_walk.cc   all that goes through many items  worker_collect.cc  the same for other nodes
//   worker_handover.cc  slots that change hands
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "evictor.h"
#include "memory.h"
#include "guard.h"
#include "rings.h"
#include "slot_bits.h"
#include "slot_state.h"

namespace henge {

constexpr uint64_t TOMBSTONE_LIFE_MS = 3'600'000;
// A version of another node may be ahead of this node's clock by so much: what is more would drag the clock along.
constexpr uint64_t CLOCK_AHEAD_MS_MAX = 500;

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
  // Ends as if its process had been killed, and was reaped: for the simulator, whose processes share one.
  void abandon() { isAbandoned_ = true; }

  // Reads the clock, once a chunk of requests.
  void beginChunk();
  // Slot and hash of up to 16 operations, and the memory they will touch prefetched in stages.
  void prepare(Operation* operations, size_t count);
  // One prepared operation. `out` has room for valueBytesMax() bytes and receives a GET's value.
  Answer execute(const Operation& operation, char* out);
  // What the last execute() wrote; without links nothing goes out.
  const Written& written() const { return written_; }

  // Keys with a prefix, as u16 length + key; about `wanted` of them. Returns the bytes written; *next is 0 at the end.
  size_t scan(uint64_t cursor, std::string_view prefix, uint32_t wanted, char* out, size_t outBytes, uint64_t* next);
  // Deletes by prefix what was written before the first step; returns how many in this step. `sent` is called for every
  // write that goes to copies.
  uint32_t clear(uint64_t cursor, std::string_view prefix, uint64_t* horizon, uint64_t* next,
                 const std::function<void(const Written&)>& sent);
  // Visits the items and tombstones of the slots in `mask` (bit i: the segment's i-th slot), some homes a step; the
  // views are good for the call only. Begins at cursor 0; returns the next one, 0 at the segment's end.
  uint64_t walk(uint32_t segment, uint32_t mask, uint64_t cursor, const std::function<void(const Item&)>& visit);
  // As item records, from `cursor` on (0 to begin), with what is known of the gone. Returned at least once: whatever is
  // present throughout.
  Collected collect(const Extract& wanted, uint64_t cursor);
  Digest digest(uint16_t slot);
  // Takes everything out of slots in which this node has no part, without tombstones: it lives on elsewhere.
  void drop(std::string_view slots);

  // --- links: one to every other node, by a handle below PEERS_MAX ---
  // -1: there is one, or no ring is free.
  int openLink(uint16_t node);
  // Every frame in flight is missed, and nothing of that node is known to be in sync.
  void closeLink(int link);
  // The oldest `count` frames took effect.
  void acknowledge(int link, uint32_t count);
  // The oldest did not. `isDeposed`: it was STALE, in this epoch.
  void refuseOldest(int link, bool isDeposed, uint32_t epoch);
  // While full, writes are missed instead of sent.
  void setLinkFull(int link, bool isFull);
  uint32_t ringRoom(int link) const;
  // Acknowledgements of others that a write's level asks for.
  uint32_t acksFor(uint8_t level) const;

  // --- what other nodes send ---
  // A write by the slot's leader (REPLICATE). `base`: a change of expiry only, of exactly that version. Sender 0:
  // believed.
  Applied apply(const Item& item, uint16_t sender, uint32_t epoch, const Version* base);
  // An item from a walk (ITEMS), or a newer one that a quorum read met: from the slot's leader, or from anybody while
  // this node leads. It never pushes out what is in use.
  Applied merge(const Item& item, uint16_t sender, uint32_t epoch);
  // Compares with the version another node has; NEWER puts an item record into *newer.
  Match query(const Operation& key, const Version& theirs, uint16_t sender, uint32_t epoch, std::string* newer);
  // What this node has of a key, for one copy that lacks it: noted as in flight there. False: nothing, or no room.
  bool describe(const Operation& key, int link, Written* out);

  // --- slots and peers; bits of slots as in replication.h. These take segment locks one after the other ---
  bool install(const Installation& installation);
  uint32_t installedEpoch() const { return view_.header->epoch.load(std::memory_order_acquire); }
  uint32_t slotCount() const { return view_.slotCount(); }
  // An unlocked look.
  bool leads(uint16_t slot) const { return view_.slots[slot].state == static_cast<uint8_t>(SlotState::PRIMARY); }
  std::string states() const;
  std::string slotFlags() const;
  // Sets of slots, one behind the other: those in each SlotState, and those with each bit of SlotFlag.
  std::string slotSets() const;
  Reigns reigns() const;
  PeerBits peerBits(uint16_t node);
  PeerNews peerNews(uint16_t node) const;
  void heard(uint16_t node, uint64_t incarnation, uint64_t watermarkMs);
  // The memory a node has now. True: it is another one than when they last met, so the node lacks everything; that is
  // noted.
  bool meet(uint16_t node, uint64_t incarnation);
  // Whatever this node leads and stamped before is had by that node, where it may believe that it is in sync; 0: by all
  // nodes.
  uint64_t watermarkMs(uint16_t node = 0) const;
  void detach(uint16_t node);
  void beginCatchUp(uint16_t node, std::string_view slots);
  void failCatchUp(uint16_t node, std::string_view slots, uint64_t sinceMs);
  std::string declareSynced(uint16_t node, std::string_view slots);
  std::string acceptSynced(uint16_t leader, uint32_t epoch, std::string_view slots);
  void finishTakeOver(uint32_t epoch, std::string_view slots, uint8_t flags);
  void clearFlags(std::string_view slots, uint8_t flags);
  // A slot changes hands in the middle of an epoch: see worker_handover.cc. Each returns the slots of which it was so.
  std::string seal(uint16_t goal, std::string_view slots, uint32_t slotsMax = protocol::SLOTS);
  void unseal(std::string_view slots, bool isGivenToo);
  std::string give(std::string_view slots);
  std::string settle(std::string_view slots);
  std::string acceptLead(uint16_t former, uint32_t epoch, std::string_view slots);
  // Another node leads these.
  void yield(uint16_t leader, uint32_t epoch, std::string_view slots);
  bool isSteward() const;

  // Background work of about a millisecond: expiry, eviction ahead of need, the clock.
  void tick();
  Counters& counters() { return view_.counters[place_]; }
  View& view() { return view_; }

 private:
  Worker(Memory& memory, uint32_t place);

  struct Chain {
    uint32_t first = 0;
    uint32_t inlineBytes = 0;
  };
  struct Link {
    int ring = -1;
    bool isFull = false;
  };
  // What another node's item is judged by.
  struct Arrival {
    uint16_t sender = 0;
    uint32_t epoch = 0;
    bool isMerge = false;
    const Version* base = nullptr;
  };

  Answer get(const Operation& operation, char* out);
  Answer set(const Operation& operation);
  Answer remove(const Operation& operation);
  Answer removeOnly(const Operation& operation);
  Answer touch(const Operation& operation);
  Answer increment(const Operation& operation);
  Answer append(const Operation& operation);
  Answer appendOnce(const Operation& operation, uint32_t* regionsWanted);

  // Secures room, locks, finds, lets `decide` fill the draft, stores it. `decide(record or null, &draft, &answer)`
  // returns false when nothing is to be written.
  template <typename Decide>
  Answer write(const Operation& operation, uint32_t bytesGuess, bool sharesFragments, Decide decide);
  bool mayRead(const Operation& operation, Answer* answer) const;
  bool mayReadOther(const Operation& operation, Answer* answer) const;
  bool mayWrite(const Operation& operation, Answer* answer) const;
  bool isFenced() const;
  bool refuse(Answer* answer, protocol::Status status) const;
  uint32_t linksUp(uint16_t slot, uint8_t* links) const;
  bool canSend(uint32_t peer) const;
  void noteCopies(const Operation& operation, const Draft& draft, const Version& base);
  void describeWrite(uint8_t kind, std::string_view key, std::string_view value);
  Entry findLiving(Index* index, const Operation& operation);
  Version versionOfGone(const Index& index, const Operation& operation) const;
  Version stamp(Segment* segment, uint16_t slot, uint64_t hash, const Version& before);
  Heat heatOfNew(uint32_t segment, uint64_t hash);

  Log* logFor(const Draft& draft);
  void store(Log* log, Index* index, const Entry& entry, const KeyPlace& place, const Draft& draft,
             bool sharesFragments);
  bool overwrite(const Entry& entry, uint32_t staged, bool sharesFragments);
  void insertAnyway(Index* index, const KeyPlace& place, uint32_t offset);
  void expire(Index* index, const Entry& entry, const KeyPlace& place);
  bool makeRoom(uint32_t bytes);
  bool makeFree(uint32_t regions);
  bool hasFreeRoom(uint32_t bytes);
  bool hasFree(uint32_t regions) const;
  uint32_t regionsFor(size_t payloadBytes) const;
  bool stage(const KeyPlace& place, std::string_view key, std::string_view value, Chain* chain);
  void unstage(const Chain& chain);
  bool isLarge(size_t keyBytes, size_t valueBytes) const { return keyBytes + valueBytes > view_.payloadBytesMax(); }
  void fillAsBefore(Draft* draft, const Record& record) const;
  static void nameTombstone(char* name, const KeyPlace& place);
  static void fill(Draft* draft, std::string_view key, std::string_view value, const Chain& chain);
  void pace();

  // Whether an arrival may be written, and what becomes of it.
  Applied accept(const Item& item, const Arrival& arrival);
  Applied acceptWhole(const Item& item, const KeyPlace& place, const Arrival& arrival);
  Applied acceptExpiry(const Item& item, const KeyPlace& place, const Arrival& arrival);
  Applied acceptGhost(const Item& item, const KeyPlace& place, const Arrival& arrival);
  Applied acceptFloor(const Item& item, const Arrival& arrival);
  bool hasSay(uint16_t slot, const Arrival& arrival);
  bool isFromLeader(uint16_t slot, const Arrival& arrival) const;
  Applied judge(const Entry& entry, const KeyPlace& place, const Version& version, bool isLeaders) const;
  bool makeRoomFor(const Item& item, const Arrival& arrival, uint32_t bytes);
  void passOn(uint16_t slot, const Arrival& arrival, const Version& version);
  void forgetOlder(Index* index, const Entry& entry, const KeyPlace& place, const Version& version);
  bool readItem(const Index& index, const Entry& entry, const KeyPlace& place, std::string* whole, Item* item) const;

  template <typename Visit>
  uint64_t visitHomes(uint32_t segment, uint64_t from, uint32_t homes, uint32_t mask, Visit visit);
  uint64_t collectGone(const Extract& wanted, uint64_t from, Collected* out);
  uint64_t collectItems(const Extract& wanted, uint64_t from, Collected* out);
  uint64_t collectHome(const Extract& wanted, uint64_t from, Collected* out);
  uint64_t cutHome(const Extract& wanted, uint64_t from, uint64_t next, Collected* home) const;
  void dropSlot(uint16_t slot);
  void sweep();
  // change(slot) for every slot named, under its segment's lock.
  template <typename Change>
  void changeSlots(std::string_view slots, Change change) {
    const uint32_t perSegment = view_.geometry.slotsPerSegment;
    for (uint32_t i = 0; i < view_.geometry.segments; i++) {
      uint32_t named = 0;
      for (uint32_t j = 0; j < perSegment; j++) named += hasSlot(slots, i * perSegment + j) ? 1 : 0;
      if (named == 0) continue;
      const Hold hold(locker_, &view_.segments[i]);
      for (uint32_t j = 0; j < perSegment; j++) {
        if (hasSlot(slots, i * perSegment + j)) change(static_cast<uint16_t>(i * perSegment + j));
      }
    }
  }
  int addPeer(uint16_t node);
  bool isVoter(uint16_t slot, uint32_t rank) const;
  bool isEverybodySynced(uint16_t slot) const;
  std::string endSeal(std::string_view slots, uint8_t cleared, uint8_t set);
  void lead(uint16_t slot, const SlotMoment& before, uint32_t rank);
  void yieldTo(uint16_t slot, const SlotMoment& before, uint32_t rank);
  void follow(uint16_t slot, uint16_t sender, uint32_t epoch, bool isMerge);
  void noteOpen(uint16_t slot);

  Memory& memory_;
  View& view_;
  uint32_t place_;
  Locker locker_;
  Log new_;
  Log kept_;
  Evictor evictor_;
  Peers peers_;
  Rings rings_;
  uint64_t nowMs_ = 0;
  uint64_t random_;
  uint64_t bytesAdded_ = 0;
  uint32_t paceDebt_ = 0;
  uint32_t sweepSegment_ = 0;
  uint64_t sweepHash_ = 0;
  bool isAbandoned_ = false;
  Written written_;
  int64_t writtenNumber_ = 0;        // what INCREMENT made, for `written_` to point to
  Link links_[PEERS_MAX];
  std::string whole_;                // a large item put together for a walk
  std::unique_ptr<char[]> scratch_;  // one value: append puts old and new together here
  std::vector<uint64_t> sealedAtMicroseconds_;  // by slot; 0: not sealed, or by an earlier worker
};

}  // namespace henge
