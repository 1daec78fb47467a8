// Little-endian integers, and versions, in memory of any alignment. The wire and every machine we run on have the same
// byte order.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../store/types.h"

namespace henge {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian, and so must the machine be");

template <typename T>
inline T load(const char* from) {
  static_assert(std::is_integral_v<T>, "only integers travel");
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}

// Returns the place behind what was written.
template <typename T>
inline char* store(char* to, T value) {
  static_assert(std::is_integral_v<T>, "only integers travel");
  memcpy(to, &value, sizeof value);
  return to + sizeof value;
}

// VERSION_BYTES bytes.
inline char* storeVersion(char* to, const Version& version) {
  to = store(to, version.time);
  to = store(to, version.epoch);
  to = store(to, version.node);
  return store(to, uint16_t{0});
}

inline Version loadVersion(const char* from) {
  Version version;
  version.time = load<uint64_t>(from);
  version.epoch = load<uint32_t>(from + 8);
  version.node = load<uint16_t>(from + 12);
  return version;
}

}  // namespace henge
