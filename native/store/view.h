// One process's view of a store's memory: the layout's parts as pointers, and the few conversions between offsets,
// regions and addresses. It owns nothing and decides nothing.
#pragma once

#include <cstring>

#include "ghosts.h"
#include "hash.h"
#include "layout.h"
#include "learner.h"
#include "version_ghosts.h"

namespace henge {

struct View {
  char* base = nullptr;
  Header* header = nullptr;
  Place* places = nullptr;
  Counters* counters = nullptr;
  Learner* learner = nullptr;
  Slot* slots = nullptr;
  Segment* segments = nullptr;
  uint32_t* roots = nullptr;          // rootsPerSegment a segment: offsets of pages of page offsets
  char* ghosts = nullptr;
  char* versionGhosts = nullptr;
  Row* rows = nullptr;                // null, as the next three, where there is one copy of everything
  Peer* peers = nullptr;
  PeerSlots* peerSlots = nullptr;
  char* rings = nullptr;
  std::atomic<uint64_t>* regionStates = nullptr;
  RegionMeta* regionMetas = nullptr;
  char* regions = nullptr;

  // Copies of constants that the hot path reads: a damaged header cannot mislead a running process.
  uint64_t bytes = 0;
  Geometry geometry;
  uint32_t granuleShift = 2;
  uint32_t regionCount = 0;
  uint32_t rootsPerSegment = 0;
  uint32_t ghostBuckets = 0;
  uint32_t versionGhostSets = 0;
  uint32_t ringCount = 0;
  uint32_t ringEntries = 0;
  uint32_t valueBytesMax = 0;
  uint32_t segmentShift = 4;          // slot >> segmentShift is the segment
  uint32_t slotMask = 0;
  uint32_t bucketsPerPage = 0;
  uint32_t pageShift = 0;             // bucket >> pageShift is the page
  uint32_t regionShift = 0;
  uint16_t nodeNumber = 0;
  bool replicated = false;
  bool manualClock = false;
  HashSeed seed;

  // Lays the parts out over `memory`; returns the bytes before the first region. With base null it only measures.
  static uint64_t lay(char* memory, const Constants& constants, View* view);

  uint32_t granule() const { return 1u << granuleShift; }
  uint32_t rounded(uint32_t length) const { return (length + granule() - 1) & ~(granule() - 1); }

  uint64_t regionArea() const { return static_cast<uint64_t>(regionCount) << regionShift; }
  bool inRegions(uint32_t offset) const {
    return offset != 0 && (static_cast<uint64_t>(offset) << granuleShift) < regionArea();
  }
  char* at(uint32_t offset) const { return regions + (static_cast<uint64_t>(offset) << granuleShift); }
  uint32_t offsetOf(const char* address) const {
    return static_cast<uint32_t>(static_cast<uint64_t>(address - regions) >> granuleShift);
  }
  uint32_t regionOf(uint32_t offset) const {
    return static_cast<uint32_t>((static_cast<uint64_t>(offset) << granuleShift) >> regionShift);
  }
  char* region(uint32_t index) const { return regions + (static_cast<uint64_t>(index) << regionShift); }
  uint32_t bytesInRegion(uint32_t offset) const {
    return static_cast<uint32_t>((static_cast<uint64_t>(offset) << granuleShift) & (geometry.regionBytes - 1));
  }

  uint32_t segmentOf(uint16_t slot) const { return static_cast<uint32_t>(slot & slotMask) >> segmentShift; }
  uint32_t slotCount() const { return geometry.segments * geometry.slotsPerSegment; }
  uint16_t localSlot(uint16_t slot) const { return static_cast<uint16_t>(slot & slotMask); }
  uint32_t* rootsOf(uint32_t segment) const { return roots + static_cast<size_t>(segment) * rootsPerSegment; }
  uint32_t segmentIndex(const Segment* segment) const { return static_cast<uint32_t>(segment - segments); }
  uint32_t pagesMax() const { return DIRECT_PAGES + rootsPerSegment * (geometry.pageBytes / 4); }
  GhostTable ghostsOf(uint32_t segment) const;
  // Those that a segment has: until the first is put, a table without room, whose memory is not even touched.
  VersionGhosts versionGhostsOf(uint32_t segment) const {
    const uint32_t sets = segments[segment].hasVersionGhosts != 0 ? versionGhostSets : 0;
    return VersionGhosts(versionGhosts + VersionGhosts::bytesFor(versionGhostSets) * segment, sets);
  }

  Ring* ring(uint32_t index) const { return reinterpret_cast<Ring*>(rings + ringBytes(ringEntries) * index); }
  static size_t ringBytes(uint32_t entries) { return sizeof(Ring) + entries * sizeof(uint64_t); }
  PeerSlots* peerSlotsOf(uint32_t segment, uint32_t peer) const {
    return peerSlots + static_cast<size_t>(segment) * PEERS_MAX + peer;
  }

  // One copy is all there is to be, and the slot is on no other node, nor on its way to one.
  bool isOnlyCopy(uint16_t slot) const {
    return header->rf.load(std::memory_order_relaxed) == 1 && (rows == nullptr || rows[slot].length <= 1);
  }

  uint64_t hash(std::string_view key) const { return hashOf(seed, key.data(), key.size()); }

  // The largest payload a record or fragment holds: an eighth of a region, so that a region's end wastes little.
  uint32_t payloadBytesMax() const { return geometry.regionBytes / 8 - 64; }
};

// What the store asks of the world. Both may be replaced by the simulator.
uint64_t monotonicMs();
uint64_t wallMs();
uint64_t nowMs(const View& view);
// The clock of leases and heartbeats: monotonic, or the simulator's.
uint64_t steadyMs(const View& view);
uint64_t steadyMicroseconds(const View& view);

}  // namespace henge
