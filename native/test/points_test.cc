// The hash behind the circle, by RFC 1321's own examples. Where members stand, and that JavaScript has them there too,
// is tested with the rows (test/unit/cluster/rows.test.ts).
#include "../ring/points.h"

#include <string>

#include "support/check.h"

namespace {

using namespace henge;

std::string hex(const Md5Digest& digest) {
  std::string text;
  for (const uint8_t byte : digest) {
    constexpr char DIGITS[] = "0123456789abcdef";
    text += DIGITS[byte >> 4];
    text += DIGITS[byte & 15];
  }
  return text;
}

TEST("md5 gives the digests of RFC 1321, whatever is left of the last block") {
  CHECK(hex(md5("")) == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(hex(md5("abc")) == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(hex(md5("abcdefghijklmnopqrstuvwxyz")) == "c3fcd3d76192e4007dfb496cca67e13b");
  CHECK(hex(md5("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")) ==
        "d174ab98d277d9f5a5611c2c9f419d9f");
  CHECK(hex(md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890")) ==
        "57edf4a22be3c955ac49da2e2107b67a");
}

TEST("points stand in walking order, four for a virtual node") {
  const uint32_t vnodes[] = {3, 5};
  const Circle circle = circleOf({"a", "b"}, vnodes);
  CHECK(circle.positions.size() == 32 && circle.owners.size() == 32);
  size_t ofFirst = 0;
  for (size_t i = 0; i < 32; i++) {
    CHECK(i == 0 || circle.positions[i - 1] <= circle.positions[i]);
    ofFirst += circle.owners[i] == 0 ? 1U : 0U;
  }
  CHECK(ofFirst == 12);
}

}  // namespace

TEST_MAIN
