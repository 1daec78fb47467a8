#include "points.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace henge {

namespace {

constexpr size_t BLOCK_BYTES = 64;
constexpr uint32_t ROUNDS = 64;
constexpr uint32_t SHIFTS[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
constexpr uint32_t POINTS_PER_VNODE = 4;

uint32_t rotated(uint32_t word, uint32_t by) { return word << by | word >> (32 - by); }

std::array<uint32_t, ROUNDS> makeSines() {
  std::array<uint32_t, ROUNDS> sines;
  for (uint32_t i = 0; i < ROUNDS; i++)
    sines[i] = static_cast<uint32_t>(std::floor(std::fabs(std::sin(i + 1.0)) * 4294967296.0));
  return sines;
}

using Md5State = std::array<uint32_t, 4>;

void mixBlock(Md5State* state, const uint8_t* block) {
  static const std::array<uint32_t, ROUNDS> SINES = makeSines();
  uint32_t words[BLOCK_BYTES / 4];
  memcpy(words, block, BLOCK_BYTES);
  auto [a, b, c, d] = *state;
  for (uint32_t i = 0; i < ROUNDS; i++) {
    uint32_t mixed = 0;
    uint32_t word = 0;
    switch (i / 16) {
      case 0: mixed = (b & c) | (~b & d), word = i; break;
      case 1: mixed = (d & b) | (~d & c), word = 5 * i + 1; break;
      case 2: mixed = b ^ c ^ d, word = 3 * i + 5; break;
      default: mixed = c ^ (b | ~d), word = 7 * i; break;
    }
    mixed += a + SINES[i] + words[word % 16];
    a = d;
    d = c;
    c = b;
    b += rotated(mixed, SHIFTS[i / 16][i % 4]);
  }
  *state = {(*state)[0] + a, (*state)[1] + b, (*state)[2] + c, (*state)[3] + d};
}

}  // namespace

Md5Digest md5(std::string_view text) {
  // A one bit, zeros, and in the last eight bytes the length in bits.
  std::string padded(text);
  padded.push_back(static_cast<char>(0x80));
  padded.resize((padded.size() + 8 + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES, 0);
  const uint64_t bits = uint64_t{text.size()} * 8;
  memcpy(&padded[padded.size() - 8], &bits, 8);
  Md5State state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  for (size_t at = 0; at < padded.size(); at += BLOCK_BYTES)
    mixBlock(&state, reinterpret_cast<const uint8_t*>(&padded[at]));
  Md5Digest digest;
  memcpy(digest.data(), state.data(), digest.size());
  return digest;
}

Circle circleOf(const std::vector<std::string>& names, const uint32_t* vnodes) {
  // Position and owner in one number, so that one sort puts both in order.
  std::vector<uint64_t> points;
  for (size_t owner = 0; owner < names.size(); owner++) {
    for (uint32_t vnode = 0; vnode < vnodes[owner]; vnode++) {
      const Md5Digest digest = md5(names[owner] + "-" + std::to_string(vnode));
      for (uint32_t point = 0; point < POINTS_PER_VNODE; point++) {
        uint32_t position = 0;
        memcpy(&position, &digest[point * 4], 4);
        points.push_back(uint64_t{position} << 16 | owner);
      }
    }
  }
  std::sort(points.begin(), points.end());
  Circle circle;
  for (const uint64_t point : points) {
    circle.positions.push_back(static_cast<uint32_t>(point >> 16));
    circle.owners.push_back(static_cast<uint16_t>(point));
  }
  return circle;
}

}  // namespace henge
