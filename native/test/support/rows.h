// Epochs for tests: rows written as text, node numbers with a mark for their role, the same for all slots or slot by
// slot.
//
//   "1 2 3"      node 1 leads, 2 and 3 have copies         "2 4+ 1~ 3-"   4 stands in, 1 is returning, 3 is away
#pragma once

#include <cctype>
#include <string>
#include <vector>

#include "../../store/view.h"

namespace rows {

struct Epoch {
  uint32_t epoch = 1;
  uint32_t rf = 1;
  bool isFounding = true;
  std::vector<uint16_t> rows;
  std::vector<uint8_t> roles;

  henge::Installation installation() const { return {epoch, rf, rows.data(), roles.data(), isFounding}; }
  void set(uint32_t slot, const std::string& row) {
    size_t at = slot * henge::ROW_MAX;
    for (size_t i = 0; i < henge::ROW_MAX; i++) rows[at + i] = roles[at + i] = 0;
    for (size_t i = 0; i < row.size(); i++) {
      if (isdigit(static_cast<unsigned char>(row[i])) == 0) continue;
      size_t end = i;
      uint16_t node = 0;
      while (end < row.size() && isdigit(static_cast<unsigned char>(row[end])) != 0)
        node = static_cast<uint16_t>(node * 10 + row[end++] - '0');
      const size_t role = end < row.size() ? std::string("+~-").find(row[end]) : std::string::npos;
      rows[at] = node;
      roles[at++] = static_cast<uint8_t>(role == std::string::npos ? 0 : role + 1);
      i = end;
    }
  }
};

inline Epoch epochOf(uint32_t slots, uint32_t epoch, uint32_t rf, const std::string& row, bool isFounding = true) {
  Epoch made;
  made.epoch = epoch;
  made.rf = rf;
  made.isFounding = isFounding;
  made.rows.resize(slots * henge::ROW_MAX);
  made.roles.resize(slots * henge::ROW_MAX);
  for (uint32_t slot = 0; slot < slots; slot++) made.set(slot, row);
  return made;
}

}  // namespace rows
