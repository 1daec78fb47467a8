// The two functions that place a key: its slot (CRC16, the cluster's rule) and its hash (keyed, this store's own).
//
// Slot: CRC16 XMODEM of the key, or of its {hash tag}, modulo 16,384, as in the Redis Cluster specification, so that
// any language's cluster client computes the same. Hash: 64 bits by folded 128-bit multiplication in the manner of
// wyhash (Wang Yi, 2019), with the store's random seed in place of its constants, so that nobody can choose colliding
// keys.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "../wire/protocol.h"

namespace henge {

namespace crc16 {

constexpr std::array<std::array<uint16_t, 256>, 4> makeTables() {
  std::array<std::array<uint16_t, 256>, 4> tables{};
  for (unsigned byte = 0; byte < 256; byte++) {
    unsigned crc = byte << 8;
    for (int bit = 0; bit < 8; bit++) crc = (crc & 0x8000) ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
    tables[0][byte] = static_cast<uint16_t>(crc);
  }
  // tables[k][b]: what byte b contributes with k more bytes behind it; four bytes then take one step.
  for (unsigned k = 1; k < 4; k++) {
    for (unsigned byte = 0; byte < 256; byte++) {
      const unsigned before = tables[k - 1][byte];
      tables[k][byte] = static_cast<uint16_t>(((before << 8) ^ tables[0][before >> 8]) & 0xffff);
    }
  }
  return tables;
}

inline constexpr auto TABLES = makeTables();

inline uint16_t of(const char* data, size_t length) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(data);
  unsigned crc = 0;
  while (length >= 4) {
    crc = TABLES[3][bytes[0] ^ (crc >> 8)] ^ TABLES[2][bytes[1] ^ (crc & 0xff)] ^ TABLES[1][bytes[2]] ^
          TABLES[0][bytes[3]];
    bytes += 4;
    length -= 4;
  }
  while (length-- > 0) crc = ((crc << 8) ^ TABLES[0][((crc >> 8) ^ *bytes++) & 0xff]) & 0xffff;
  return static_cast<uint16_t>(crc);
}

}  // namespace crc16

// The part of a key that decides its slot: what stands between the first '{' and the next '}', unless that is empty.
inline std::string_view hashTag(std::string_view key) {
  const void* open = memchr(key.data(), '{', key.size());
  if (open == nullptr) return key;
  const size_t begin = static_cast<size_t>(static_cast<const char*>(open) - key.data()) + 1;
  const size_t end = key.find('}', begin);
  if (end == std::string_view::npos || end == begin) return key;
  return key.substr(begin, end - begin);
}

inline uint16_t slotOf(std::string_view key) {
  const std::string_view tag = hashTag(key);
  return static_cast<uint16_t>(crc16::of(tag.data(), tag.size()) & (protocol::SLOTS - 1));
}

struct HashSeed {
  uint64_t first = 0;
  uint64_t second = 0;
};

inline uint64_t splitmix(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

namespace folded {

__extension__ typedef unsigned __int128 Wide;

inline uint64_t multiply(uint64_t a, uint64_t b) {
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t read64(const char* p) {
  uint64_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

inline uint64_t read32(const char* p) {
  uint32_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace folded

inline uint64_t hashOf(const HashSeed& seed, const char* data, size_t length) {
  using namespace folded;
  uint64_t state = seed.first;
  uint64_t a = 0;
  uint64_t b = 0;
  if (length > 16) {
    size_t left = length;
    const char* p = data;
    for (; left > 16; left -= 16, p += 16) state = multiply(read64(p) ^ seed.second, read64(p + 8) ^ state);
    a = read64(data + length - 16);
    b = read64(data + length - 8);
  } else if (length >= 8) {
    a = read64(data);
    b = read64(data + length - 8);
  } else if (length >= 4) {
    a = read32(data);
    b = read32(data + length - 4);
  } else if (length > 0) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(data);
    a = static_cast<uint64_t>(bytes[0]) << 16 | static_cast<uint64_t>(bytes[length >> 1]) << 8 | bytes[length - 1];
  }
  return multiply(seed.second ^ length, multiply(a ^ seed.second, b ^ state));
}

}  // namespace henge
