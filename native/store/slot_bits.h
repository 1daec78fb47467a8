// Sets of slots as they travel: slot s is bit s & 7 of byte s >> 3.
#pragma once

#include <string>
#include <string_view>

#include "view.h"

namespace henge {

inline bool hasSlot(std::string_view slots, uint32_t slot) {
  return slot / 8 < slots.size() && (static_cast<uint8_t>(slots[slot / 8]) >> (slot & 7) & 1) != 0;
}

inline void addSlot(std::string* slots, uint32_t slot) {
  (*slots)[slot / 8] = static_cast<char>(static_cast<uint8_t>((*slots)[slot / 8]) | 1u << (slot & 7));
}

// Bit i of `bits`: slot `first` + i.
inline void addSlots(std::string* slots, uint32_t first, uint32_t bits) {
  size_t at = first / 8;
  for (uint32_t left = bits << (first & 7); left != 0; left >>= 8, at++)
    (*slots)[at] = static_cast<char>(static_cast<uint8_t>((*slots)[at]) | left);
}

inline std::string noSlots(const View& view) { return std::string((view.slotCount() + 7) / 8, 0); }

}  // namespace henge
