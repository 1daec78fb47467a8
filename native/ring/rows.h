// The rows of an epoch, in node numbers: the slot table of its base, with who is away struck out and stand-ins behind
// (src/ring/overlay.ts), and while the list of members changes with whoever has a copy by the list that comes
// (src/ring/change.ts). Those files explain it, and a test holds both to the same rows.
#pragma once

#include <array>

#include "../store/replication.h"
#include "table.h"

namespace henge {

struct RowsOrder {
  uint32_t rf = 0;
  uint32_t slots = 0;
  RingOrder current;
  // While the list of members changes.
  bool hasNext = false;
  RingOrder next;
  // It was called off, and slots that were handed over go back.
  bool isCancelled = false;
};

struct Rows {
  // ROW_MAX entries a slot, leader first, 0 where there is none; and each one's role and marks.
  std::vector<uint16_t> rows;
  std::vector<uint8_t> roles;
  // `rf` entries a slot: who would hold it if nobody were away.
  std::vector<uint16_t> bases;
  // By slot, who leads it, 0: nobody who is here.
  std::vector<uint16_t> leaders;
  // By slot, who is to lead it when the change is done, where anything changes; else 0. Empty without a change.
  std::vector<uint16_t> goals;
  // A bit a slot: it stays with its leader and changes other copies. Empty without a change.
  std::vector<uint8_t> settling;
};

Rows layOut(const RowsOrder& order);

// By role, the slots in whose rows a node has it: a bit a slot, slot s in byte s >> 3.
using SlotsByRole = std::array<std::vector<uint8_t>, static_cast<size_t>(RowRole::RECEIVER) + 1>;
SlotsByRole slotsOfNode(const uint16_t* rows, const uint8_t* roles, size_t slots, uint16_t node);

// Where another node leads after this epoch: who could acknowledge in it, in the order of the row. Elsewhere what was
// known before stays. ROW_MAX numbers a slot, 0 where there is none.
void keepVoters(std::vector<uint16_t>* known, const uint16_t* rows, const uint8_t* roles, const uint16_t* leaders,
                const uint16_t* nextLeaders);

}  // namespace henge
