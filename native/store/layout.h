// What stands where in a store's memory. Everything here is shared by processes that may die at any instruction, so:
// offsets instead of pointers, fixed sizes, and a comment that says who writes a field under which lock.
//
//   | header A, B | places | learner | slots | segments | page roots | eviction ghosts | version ghosts |
//   | rows | peers | peers' bits | rings | region states | region metas | regions ... |
//
// Rows to rings are there only where more than one copy of everything may exist.
//
// A record offset (u32) counts granules from the start of the regions; 0 is "nothing", which no record can have, since
// every region begins with a small head.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "learner.h"
#include "replication.h"

namespace henge {

constexpr uint32_t LAYOUT_VERSION = 4;
constexpr uint64_t ARENA_MAGIC = 0x3130656772454e48ULL;  // "HNErge01"
constexpr uint32_t PLACES_MAX = Learner::PLACES_MAX;       // 16 workers and the primary process, which takes locks too
constexpr uint32_t CACHE_LINE = 64;
constexpr uint32_t CLEAN = 0x6e61656c;  // no single damaged byte makes it of a zero

// ---- the index of a segment ----------------------------------------------------------------------------------------

constexpr uint32_t ENTRIES = 10;

// One cache line. An entry is in use when its offset is not 0; its tag is slot & 15 in the high four bits and 12 bits
// of the hash, never 0. `strides` is a mask over STRIDES: where entries whose home is this bucket have overflowed to.
struct Bucket {
  uint16_t tag[ENTRIES];
  uint32_t offset[ENTRIES];
  uint32_t strides;
};
static_assert(sizeof(Bucket) == CACHE_LINE, "a bucket is one cache line");

constexpr uint32_t DIRECT_PAGES = 16;

// Everything but `lock` is read and written under the lock.
struct alignas(CACHE_LINE) Segment {
  std::atomic<uint32_t> lock;  // 0, or the holder's word (place and incarnation)
  uint32_t entries;            // places taken in the index
  uint64_t clock;              // hybrid time of the last version stamped here
  uint32_t buckets;            // size of the index, and
  uint32_t bucketsOld;         // while it grows, the size it grows from (else 0);
  uint32_t frontier;           // homes of the old size at or above it have moved to the new one
  uint32_t pages;
  uint32_t items;
  uint32_t tombstones;
  uint64_t bytes;              // of live records and fragments
  uint32_t hasGhosts;          // once anything was evicted here; until then its ghost table is not even read
  uint32_t hasVersionGhosts;   // likewise, once anything was evicted, expired or forgotten here
  uint32_t direct[DIRECT_PAGES];
};
static_assert(sizeof(Segment) == 128, "two lines: words, then pages");

// A slot's state word and what it has forgotten (REPLICATION rules 11 and 25); under its segment's lock. The first
// eight bytes change in one store.
struct alignas(8) Slot {
  uint32_t epoch;
  uint8_t state;
  uint8_t flags;
  uint16_t floorNode;
  uint32_t items;
  uint32_t floorEpoch;
  uint64_t floorTime;
};
static_assert(sizeof(Slot) == 24, "24 bytes a slot");

// ---- copies --------------------------------------------------------------------------------------------------------

constexpr uint8_t NO_PEER = 0xff;

// Who holds a slot, its leader first: when a slot is handed over in the middle of an epoch, its row is put in another
// order. Under the segment's lock.
struct Row {
  uint32_t leaderEpoch;     // since when nodes[0] leads without a gap, as far as this node knows
  uint8_t length;
  uint8_t reserved;
  uint16_t leaderBefore;    // who led before nodes[0], 0: not known
  uint64_t heldUntilMs;     // whatever that one wrote before this is here
  uint16_t nodes[ROW_MAX];
  uint8_t roles[ROW_MAX];
  uint8_t peers[ROW_MAX];   // place in the table of peers; NO_PEER: this node itself, or one there was no room for
};
static_assert(sizeof(Row) == 80, "80 bytes a slot");

// A peer's watermark stays as it is: the memory that wrote up to there is gone, and what its successor says is of what
// that one wrote.
constexpr uint64_t WATERMARK_STANDS = 1ULL << 63;

// Another node. Found by looking through the table; `node` is taken and given back under the lock of installing.
struct alignas(CACHE_LINE) Peer {
  std::atomic<uint32_t> node;            // 0: free
  std::atomic<uint32_t> sendingOwner;    // lock word of the worker that is sending what was missed
  std::atomic<uint64_t> heardAtMs;       // monotonic
  std::atomic<uint64_t> watermark;       // milliseconds, and WATERMARK_STANDS
  std::atomic<uint64_t> since;           // Since: lowest version it missed
  std::atomic<uint64_t> sendingSinceMs;  // lowest version of what is being sent
  std::atomic<uint64_t> incarnation;     // of its memory, when it was last met; 0: it was not
};
static_assert(sizeof(Peer) == 64, "a line each");

// What a peer has of a segment's slots, a bit each, for slots that this node leads. [segment][peer], under the
// segment's lock.
struct PeerSlots {
  uint16_t missed;   // lacks something that was written here
  uint16_t whole;    // nothing is known: lacks everything. A subset of `missed`
  uint16_t sending;  // was missed, and is being sent by `sendingOwner`
  uint16_t synced;   // was declared in sync, and its links have stood since
  uint16_t told;     // was declared in sync at all, so that it may believe it still is
};
static_assert(sizeof(PeerSlots) == 10, "");

// Frames under way from one worker to one peer, oldest first: version's ms << 16 | slot. Written by that worker alone.
struct alignas(CACHE_LINE) Ring {
  std::atomic<uint32_t> owner;  // the worker's lock word, 0: free
  std::atomic<uint32_t> peer;   // place in the table of peers
  std::atomic<uint32_t> head;   // how many were taken out, and
  std::atomic<uint32_t> tail;   // put in, ever
};
static_assert(sizeof(Ring) == 64, "a line, then its entries");

// ---- records -------------------------------------------------------------------------------------------------------

enum class RecordKind : uint32_t { ITEM = 0, TOMBSTONE = 1, FRAGMENT = 2, DEAD = 3 };

//  0 ms  4 counter  6 stamp  7 key length  8 word  12 heat  14 extra   [expiry 6] [Big 12] [wide time 8]  key  value
//
// word: payload length 19 | kind 2 | TTL | UPDATING | BIG | encoding 8. A record that is BIG has its true lengths in
// Big and perhaps a chain of fragments; its payload length is then what of key and value stands in the record itself.
struct RecordHead {
  uint32_t ms;       // relative to the region's base, signed
  uint16_t counter;
  uint8_t stamp;     // index into the region's table of (epoch, node)
  uint8_t keyLength;
  uint32_t word;
  uint16_t heat;     // EVICTION.md's 16 bits
  uint16_t extra;    // EXTRA_WIDE
};
static_assert(sizeof(RecordHead) == 16, "16 bytes before a small item's key");

struct Big {
  uint32_t keyLength;
  uint32_t valueLength;
  uint32_t firstFragment;
};
static_assert(sizeof(Big) == 12, "");

// A fragment keeps `word` where a record has it. Its owner is found by slot and hash; hash 0: nobody's any more.
struct FragmentHead {
  uint32_t next;
  uint32_t hashLow;
  uint32_t word;
  uint32_t hashHigh;
  uint32_t slot;
};
static_assert(sizeof(FragmentHead) == 20, "");

constexpr uint32_t EXTRA_WIDE = 1;
constexpr uint32_t EXPIRY_BYTES = 6;
constexpr uint32_t WIDE_BYTES = 8;
constexpr uint32_t TOMBSTONE_KEY_BYTES = 10;  // hash 8, slot 2
constexpr uint32_t PAYLOAD_BYTES_MAX = (1u << 19) - 1;

// ---- regions -------------------------------------------------------------------------------------------------------

enum class RegionKind : uint32_t { FREE = 0, OPEN = 1, SEALED = 2, EVICTING = 3, INDEX = 4 };

// The truth about a region is one word: kind 3 bits, log 1 (NEW or KEPT), owner's place 8, sequence 52.
struct RegionState {
  static uint64_t make(RegionKind kind, uint32_t log, uint32_t owner, uint64_t sequence) {
    return static_cast<uint64_t>(kind) | static_cast<uint64_t>(log) << 3 | static_cast<uint64_t>(owner) << 4 |
           sequence << 12;
  }
  static RegionKind kind(uint64_t word) { return static_cast<RegionKind>(word & 7); }
  static uint32_t log(uint64_t word) { return static_cast<uint32_t>(word >> 3) & 1; }
  static uint32_t owner(uint64_t word) { return static_cast<uint32_t>(word >> 4) & 0xff; }
  static uint64_t sequence(uint64_t word) { return word >> 12; }
};

constexpr uint32_t NO_OWNER = 0xff;

constexpr uint32_t CHECKPOINTS = 16;

// A region's first bytes: what it is for, a second time, since both its state and its base are single words that damage
// may change. `check` is the complement of `word`: milliseconds of the base, or INDEX_REGION.
struct RegionHead {
  uint64_t word;
  uint64_t check;
};
constexpr uint32_t REGION_HEAD_BYTES = sizeof(RegionHead);
constexpr uint64_t INDEX_REGION = 0x7865646e492a6548ULL;

// Written by the region's owner alone. Checkpoints are record borders, one in each sixteenth of the region, where a
// sample begins.
struct RegionMeta {
  uint64_t baseMs;
  uint32_t head;    // bytes in use from the region's start
  uint16_t stamps;  // entries in the table at the region's end, growing down
  uint16_t isBroken;  // a damaged size leads past a living record: whoever walks the region does not meet them all
  uint32_t checkpoint[CHECKPOINTS];
};
static_assert(sizeof(RegionMeta) == 80, "");

struct Stamp {
  uint32_t epoch;
  uint16_t node;
  uint16_t used;
};
static_assert(sizeof(Stamp) == 8, "");

// First page of an index region, behind the region's head: whose page each of its pages is. The truth from which a
// segment's pages are found again.
struct PageOwner {
  uint32_t segment;     // + 1; 0 free
  uint32_t pageNumber;  // DIRECTORY | number for a page of page numbers
};
constexpr uint32_t DIRECTORY_PAGE = 1u << 31;

// ---- places --------------------------------------------------------------------------------------------------------

enum class PlaceState : uint32_t { FREE = 0, LIVE = 1, DEAD = 2 };

// Who may hold locks. Locks name the place and its incarnation, so a word never means two processes.
struct alignas(CACHE_LINE) Place {
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> incarnation;
  std::atomic<int32_t> pid;
  std::atomic<uint32_t> takingOver;  // the dead holder's word of a lock being taken over, until its segment is scrubbed
  std::atomic<uint64_t> startTime;     // of the process, in ticks since boot (/proc/PID/stat)
  std::atomic<uint64_t> heartbeatMs;   // monotonic
  std::atomic<uint32_t> intentTarget;  // an overwrite in place under way: the record, and
  std::atomic<uint32_t> intentStaged;  // its whole new content
  std::atomic<uint64_t> stampMs;       // no version of its current chunk is older
};
static_assert(sizeof(Place) == 64, "a line each");

constexpr uint32_t CHUNK_BUCKETS = 24;  // powers of two of microseconds: up to 8 s

// Written by the place's holder alone, read by anybody; never reset, so a death takes nothing away. All add up but the
// last.
struct alignas(CACHE_LINE) Counters {
  uint64_t hits, misses, sets, deletes, increments, appends, touches;
  uint64_t evictions, expirations, busy, moved, outOfMemory;
  uint64_t protocolErrors, framesIn, bytesIn, bytesOut;
  uint64_t requests;  // on keys: clients', and what leaders wrote; what is moved is not among them
  uint64_t scrubs, evictedRegions, keptBytes, purges;
  uint64_t clockRefusals;
  uint64_t chunkMicroseconds[CHUNK_BUCKETS];
  uint64_t chunkNanoseconds;
  uint64_t sealedMicrosecondsMax;  // the longest that a slot took no writes because it was being handed over
};

// ---- the header ----------------------------------------------------------------------------------------------------

struct Geometry {
  uint32_t segments = 0;         // powers of two, all four
  uint32_t slotsPerSegment = 0;
  uint32_t regionBytes = 0;
  uint32_t pageBytes = 0;
};

// What never changes after the arena is made; kept twice, each with its checksum.
struct Constants {
  uint64_t magic;
  uint32_t layoutVersion;
  uint32_t replicated;
  uint64_t bytes;
  Geometry geometry;
  uint32_t granuleShift;
  uint32_t regions;
  uint32_t rootsPerSegment;
  uint32_t ghostBuckets;         // of the eviction ghosts, a segment
  uint32_t versionGhostSets;     // of the version ghosts, a segment
  uint32_t valueBytesMax;
  uint64_t seedFirst, seedSecond;
  uint64_t incarnation;
  uint32_t manualClock;
  uint16_t nodeNumber;
  uint16_t reserved;
  uint32_t rings;                // and how many frames each holds
  uint32_t ringEntries;
  char nodeName[128];
  char bootId[40];
};

struct alignas(4096) Header {
  Constants constants;
  uint64_t checksum;
  // The rest stands in the first copy only, and may hold anything after an unclean stop.
  alignas(CACHE_LINE) std::atomic<uint32_t> clean;  // CLEAN after an orderly stop
  std::atomic<uint32_t> epoch;
  std::atomic<uint32_t> installLock;     // lock word of who installs an epoch
  std::atomic<uint32_t> rf;
  std::atomic<uint64_t> fenceAtMs;       // monotonic; no write from then on; 0: never
  std::atomic<int64_t> clockOffsetMs;    // wall minus monotonic
  std::atomic<uint64_t> manualMs;
  std::atomic<uint64_t> slewedAtMs;
  std::atomic<uint64_t> workerDeaths;
  alignas(CACHE_LINE) std::atomic<uint64_t> regionSequence;
  std::atomic<uint32_t> regionsFree;     // a hint; the states are the truth
  std::atomic<uint32_t> freeHint;
  std::atomic<uint64_t> pageCursor;      // region << 32 | next page, of the index region being cut into pages
};
static_assert(sizeof(Header) == 4096, "a page");

}  // namespace henge
