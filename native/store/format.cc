#include "format.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "version_ghosts.h"

namespace henge {

namespace {

constexpr uint64_t MIB = 1024 * 1024;
constexpr uint64_t GIB = 1024 * MIB;
constexpr uint64_t BYTES_MAX = 64 * GIB;
constexpr uint64_t RINGS_MIN = 24;
constexpr uint64_t RINGS_MAX = (PLACES_MAX - 1) * LINKS_MAX;
constexpr uint32_t REGIONS_MIN = 16;       // fewer leave eviction nothing to choose from
// Large regions waste less at their ends and cut fewer values into fragments, whose remains lie dead when one of them
// is evicted; many regions leave eviction more to choose from. On traces with values of 8 KiB, 512 to 1,024 regions
// missed 7 to 10 % less than 2,048 to 4,096 (npm run bench -- hits).
constexpr uint64_t REGIONS_ENOUGH = 512;
constexpr uint64_t ITEM_BYTES_TYPICAL = 192;  // one eviction ghost for each: 2 % of the memory

uint64_t aligned(uint64_t value, uint64_t to) { return (value + to - 1) & ~(to - 1); }

bool isPowerOfTwo(uint32_t value) { return value != 0 && (value & (value - 1)) == 0; }

uint32_t log2Of(uint32_t value) { return static_cast<uint32_t>(__builtin_ctz(value)); }

// A region of pages says in its first one whose the others are.
bool hasRoomForOwners(const Geometry& geometry) {
  return (geometry.regionBytes / geometry.pageBytes + 1) * sizeof(PageOwner) <= geometry.pageBytes;
}

Geometry chooseGeometry(const MemoryOptions& options) {
  Geometry geometry = options.geometry;
  if (geometry.segments == 0) geometry.segments = 1024;
  if (geometry.slotsPerSegment == 0) geometry.slotsPerSegment = 16;
  if (geometry.regionBytes == 0) {
    geometry.regionBytes = 64 * 1024;
    while (geometry.regionBytes < MIB && geometry.regionBytes * REGIONS_ENOUGH * 2 <= options.bytes)
      geometry.regionBytes *= 2;
  }
  if (geometry.pageBytes == 0) {
    geometry.pageBytes = options.bytes < 256 * MIB ? 1024 : 4096;
    while (!hasRoomForOwners(geometry)) geometry.pageBytes *= 2;
  }
  return geometry;
}

// A ring holds what a link carries in a few milliseconds. There may be one for every worker and peer, but small
// memories belong to small clusters: without a ring there is no link, and its writes are missed.
void chooseRings(const MemoryOptions& options, Constants* constants) {
  if (!options.replicated) return;
  constants->ringEntries = options.bytes < 4 * MIB ? 128 : options.bytes < 256 * MIB ? 1024 : 8192;
  const uint64_t share = options.bytes / 64 / View::ringBytes(constants->ringEntries);
  constants->rings = static_cast<uint32_t>(share < RINGS_MIN ? RINGS_MIN : share > RINGS_MAX ? RINGS_MAX : share);
}

uint64_t checksumOf(const Constants& constants) {
  return hashOf(HashSeed{0x6865, 0x6e6765}, reinterpret_cast<const char*>(&constants), sizeof constants);
}

uint64_t randomSeed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed))
    seed = wallMs() ^ static_cast<uint64_t>(getpid()) << 40;
  return seed;
}

bool refuse(Failure* failure, const char* code, const std::string& message) {
  failure->code = code;
  failure->message = message;
  return false;
}

}  // namespace

std::string bootId() {
  char text[40] = {};
  const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  const ssize_t length = read(fd, text, 36);
  close(fd);
  return std::string(text, length > 0 ? static_cast<size_t>(length) : 0);
}

bool makeConstants(const MemoryOptions& options, Constants* constants, Failure* failure) {
  const Geometry geometry = chooseGeometry(options);
  if (!isPowerOfTwo(geometry.segments) || !isPowerOfTwo(geometry.slotsPerSegment) ||
      !isPowerOfTwo(geometry.regionBytes) || !isPowerOfTwo(geometry.pageBytes) || geometry.slotsPerSegment > 16 ||
      geometry.pageBytes < 64 || !hasRoomForOwners(geometry) || geometry.regionBytes < 1024 ||
      static_cast<uint64_t>(geometry.segments) * geometry.slotsPerSegment > protocol::SLOTS) {
    return refuse(failure, "NO_MEMORY", "The geometry asked for is not one that a store can have.");
  }
  if (options.bytes > BYTES_MAX) return refuse(failure, "NO_MEMORY", "A node holds at most 64 GiB; start more nodes.");
  if (options.nodeName.size() >= sizeof constants->nodeName)
    return refuse(failure, "WRONG_NODE", "A node's name has at most 127 bytes.");
  if (static_cast<uint64_t>(options.valueBytesMax) + 1024 > options.bytes / 16) {
    return refuse(failure, "VALUE_TOO_LARGE",
                  "A value of " + std::to_string(options.valueBytesMax) +
                      " bytes can never fit: at most a sixteenth of the memory (" + std::to_string(options.bytes) +
                      " bytes) may be one value. Give more memory or a smaller largest value.");
  }
  memset(static_cast<void*>(constants), 0, sizeof *constants);
  constants->magic = ARENA_MAGIC;
  constants->layoutVersion = LAYOUT_VERSION;
  constants->replicated = options.replicated;
  constants->bytes = options.bytes;
  constants->geometry = geometry;
  constants->granuleShift = options.bytes <= 16 * GIB ? 2 : options.bytes <= 32 * GIB ? 3 : 4;
  constants->valueBytesMax = options.valueBytesMax;
  constants->manualClock = options.manualClock;
  constants->nodeNumber = options.nodeNumber;
  const uint64_t directoryBytes = static_cast<uint64_t>(geometry.pageBytes / 4) * geometry.pageBytes;
  // A quarter of the memory is more index than even the smallest items need, and one segment must be able to hold all.
  constants->rootsPerSegment = static_cast<uint32_t>(options.bytes / 4 / directoryBytes) + 1;
  constants->ghostBuckets = static_cast<uint32_t>(options.bytes / ITEM_BYTES_TYPICAL / geometry.segments) + 8;
  constants->versionGhostSets =
      options.replicated ? VersionGhosts::setsFor(options.bytes / 100 / geometry.segments) : 0;
  chooseRings(options, constants);
  uint64_t state = options.seed != 0 ? options.seed : randomSeed();
  constants->seedFirst = splitmix(&state);
  constants->seedSecond = splitmix(&state);
  constants->incarnation = splitmix(&state);
  if (options.replicated) {
    // Tombstones and ghosts travel as hashes, so all nodes of a cluster must hash alike.
    uint64_t shared = options.hashSeed;
    constants->seedFirst = splitmix(&shared);
    constants->seedSecond = splitmix(&shared);
  }
  memcpy(constants->nodeName, options.nodeName.data(), options.nodeName.size());
  stampBoot(constants);

  const uint64_t tables = View::lay(nullptr, *constants, nullptr) + 4096;
  const uint64_t perRegion = geometry.regionBytes + sizeof(uint64_t) + sizeof(RegionMeta);
  constants->regions = tables < options.bytes ? static_cast<uint32_t>((options.bytes - tables) / perRegion) : 0;
  const uint64_t pagesAtStart = static_cast<uint64_t>(geometry.segments) * geometry.pageBytes / geometry.regionBytes;
  if (constants->regions < REGIONS_MIN + pagesAtStart) {
    return refuse(
        failure, "NO_MEMORY",
        "An arena of " + std::to_string(options.bytes) + " bytes has no room for items; give it more memory.");
  }
  return true;
}

bool sameShape(const MemoryOptions& options, const Constants& constants) {
  Constants wanted;
  Failure ignored;
  if (!makeConstants(options, &wanted, &ignored)) return false;
  return wanted.bytes == constants.bytes &&
         memcmp(&wanted.geometry, &constants.geometry, sizeof wanted.geometry) == 0 &&
         wanted.replicated == constants.replicated && wanted.valueBytesMax == constants.valueBytesMax &&
         wanted.regions == constants.regions;
}

void writeConstants(char* base, const Constants& constants) {
  for (uint32_t copy = 0; copy < 2; copy++) {
    auto* header = reinterpret_cast<Header*>(base + copy * sizeof(Header));
    header->constants = constants;
    header->checksum = checksumOf(constants);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // one copy after the other: a death leaves one whole
  }
}

bool readConstants(const char* base, uint64_t bytes, Constants* constants) {
  if (bytes < 2 * sizeof(Header)) return false;
  for (uint32_t copy = 0; copy < 2; copy++) {
    const auto* header = reinterpret_cast<const Header*>(base + copy * sizeof(Header));
    const bool isWhole = header->checksum == checksumOf(header->constants) && header->constants.magic == ARENA_MAGIC &&
                         header->constants.layoutVersion == LAYOUT_VERSION && header->constants.bytes == bytes;
    if (!isWhole) continue;
    *constants = header->constants;
    return true;
  }
  return false;
}

bool isAllZero(const char* base, uint64_t bytes) {
  const uint64_t end = bytes < 2 * sizeof(Header) ? bytes : 2 * sizeof(Header);
  for (uint64_t i = 0; i < end; i++) {
    if (base[i] != 0) return false;
  }
  return true;
}

void stampBoot(Constants* constants) {
  const std::string boot = bootId();
  memset(constants->bootId, 0, sizeof constants->bootId);
  memcpy(constants->bootId, boot.data(),
         boot.size() < sizeof constants->bootId ? boot.size() : sizeof constants->bootId - 1);
}

uint64_t View::lay(char* memory, const Constants& constants, View* view) {
  const Geometry& geometry = constants.geometry;
  uint64_t at = 2 * sizeof(Header);
  const auto take = [&at](uint64_t bytes, uint64_t alignment) {
    at = aligned(at, alignment);
    const uint64_t start = at;
    at += bytes;
    return start;
  };
  const uint64_t slotCount = static_cast<uint64_t>(geometry.segments) * geometry.slotsPerSegment;
  const uint64_t places = take(sizeof(Place) * PLACES_MAX, 64);
  const uint64_t counters = take(sizeof(Counters) * PLACES_MAX, 64);
  const uint64_t learner = take(sizeof(Learner), 64);
  const uint64_t slots = take(sizeof(Slot) * slotCount, 64);
  const uint64_t segments = take(sizeof(Segment) * geometry.segments, 64);
  const uint64_t roots =
      take(sizeof(uint32_t) * static_cast<uint64_t>(constants.rootsPerSegment) * geometry.segments, 64);
  const uint64_t ghosts = take(GhostTable::bytesFor(constants.ghostBuckets) * geometry.segments, 64);
  const uint64_t versionGhosts = take(VersionGhosts::bytesFor(constants.versionGhostSets) * geometry.segments, 64);
  const uint64_t rowCount = constants.replicated != 0 ? slotCount : 0;
  const uint64_t peerCount = constants.replicated != 0 ? PEERS_MAX : 0;
  const uint64_t rows = take(sizeof(Row) * rowCount, 64);
  const uint64_t peers = take(sizeof(Peer) * peerCount, 64);
  const uint64_t peerSlots = take(sizeof(PeerSlots) * peerCount * geometry.segments, 64);
  const uint64_t rings = take(View::ringBytes(constants.ringEntries) * constants.rings, 64);
  const uint64_t states = take(sizeof(uint64_t) * static_cast<uint64_t>(constants.regions), 64);
  const uint64_t metas = take(sizeof(RegionMeta) * static_cast<uint64_t>(constants.regions), 64);
  const uint64_t regions = take(0, 4096);
  if (memory == nullptr) return regions;

  view->base = memory;
  view->header = reinterpret_cast<Header*>(memory);
  view->places = reinterpret_cast<Place*>(memory + places);
  view->counters = reinterpret_cast<Counters*>(memory + counters);
  view->learner = reinterpret_cast<Learner*>(memory + learner);
  view->slots = reinterpret_cast<Slot*>(memory + slots);
  view->segments = reinterpret_cast<Segment*>(memory + segments);
  view->roots = reinterpret_cast<uint32_t*>(memory + roots);
  view->ghosts = memory + ghosts;
  view->versionGhosts = memory + versionGhosts;
  if (constants.replicated != 0) {
    view->rows = reinterpret_cast<Row*>(memory + rows);
    view->peers = reinterpret_cast<Peer*>(memory + peers);
    view->peerSlots = reinterpret_cast<PeerSlots*>(memory + peerSlots);
    view->rings = memory + rings;
  }
  view->regionStates = reinterpret_cast<std::atomic<uint64_t>*>(memory + states);
  view->regionMetas = reinterpret_cast<RegionMeta*>(memory + metas);
  view->regions = memory + regions;
  view->bytes = constants.bytes;
  view->geometry = geometry;
  view->granuleShift = constants.granuleShift;
  view->regionCount = constants.regions;
  view->rootsPerSegment = constants.rootsPerSegment;
  view->ghostBuckets = constants.ghostBuckets;
  view->versionGhostSets = constants.versionGhostSets;
  view->ringCount = constants.rings;
  view->ringEntries = constants.ringEntries;
  view->valueBytesMax = constants.valueBytesMax;
  view->segmentShift = log2Of(geometry.slotsPerSegment);
  view->slotMask = static_cast<uint32_t>(slotCount) - 1;
  view->bucketsPerPage = geometry.pageBytes / static_cast<uint32_t>(sizeof(Bucket));
  view->pageShift = log2Of(view->bucketsPerPage);
  view->regionShift = log2Of(geometry.regionBytes);
  view->nodeNumber = constants.nodeNumber;
  view->replicated = constants.replicated != 0;
  view->manualClock = constants.manualClock != 0;
  view->seed = HashSeed{constants.seedFirst, constants.seedSecond};
  return regions;
}

GhostTable View::ghostsOf(uint32_t segment) const {
  return GhostTable(ghosts + GhostTable::bytesFor(ghostBuckets) * segment, ghostBuckets);
}

}  // namespace henge
