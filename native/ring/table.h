// The slot table of a list of members: src/ring/table.ts, which explains it, in native code. The rows of an epoch are
// made at the worst moment there is, on the thread that serves requests; JavaScript that runs for the first time takes
// twenty times as long.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "points.h"

namespace henge {

constexpr uint16_t NO_NODE = 0xffff;

// A list of members, sorted by name; what belongs to a member stands at its index. Arrays are of whoever asks.
struct RingOrder {
  size_t members = 0;
  const uint16_t* numbers = nullptr;
  // Counted from 0; below `members`.
  const uint16_t* zones = nullptr;
  // Slots that it holds at any one rank before it is passed over, and by how many that yields at a time.
  const double* bounds = nullptr;
  const double* yieldSteps = nullptr;
  // RowRole of who is away or returning; of others NOT_STRUCK.
  const uint8_t* struck = nullptr;
  Circle circle;

  static constexpr uint8_t NOT_STRUCK = 0xff;
};

// `ranks` entries a slot, indices of members; NO_NODE where there are fewer members than ranks. `slots`: a power of
// two.
std::vector<uint16_t> slotTable(const RingOrder& ring, uint32_t ranks, uint32_t slots);

}  // namespace henge
