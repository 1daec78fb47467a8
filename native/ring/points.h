// Where members stand on the 32-bit circle: src/ring/points.ts, which explains it, in native code. There the points are
// the npm package hashring's, whose first run takes ten milliseconds and more; a test holds both to the same points.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace henge {

// The circle in walking order, and whose each point is: the index of a member.
struct Circle {
  std::vector<uint32_t> positions;
  std::vector<uint16_t> owners;
};

// Four points for each of a member's virtual nodes. Equal positions stand in the order of the members.
Circle circleOf(const std::vector<std::string>& names, const uint32_t* vnodes);

// RFC 1321.
using Md5Digest = std::array<uint8_t, 16>;
Md5Digest md5(std::string_view text);

}  // namespace henge
