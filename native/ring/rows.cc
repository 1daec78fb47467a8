#include "rows.h"

#include <algorithm>

namespace henge {

namespace {

// One row, as it is written.
struct RowWriter {
  uint16_t* nodes;
  uint8_t* roles;
  uint32_t length = 0;

  void append(uint16_t node, uint8_t role) {
    if (length == ROW_MAX) return;
    nodes[length] = node;
    roles[length++] = role;
  }
  // -1: it is not in the row.
  int find(uint16_t node) const {
    const uint16_t* const end = nodes + length;
    const uint16_t* const at = std::find<const uint16_t*>(nodes, end, node);
    return at == end ? -1 : static_cast<int>(at - nodes);
  }
};

uint32_t struckCount(const Ring& ring) {
  const auto isStruck = [](uint8_t role) { return role != Ring::NOT_STRUCK; };
  return static_cast<uint32_t>(std::count_if(ring.struck, ring.struck + ring.members, isStruck));
}

// Entries of a table's row from `first` to `end` that are struck with that role, or not struck; at most `most`.
uint32_t appendWhere(RowWriter* row, const Ring& ring, const uint16_t* first, const uint16_t* end, uint8_t struck,
                     RowRole role, uint32_t most) {
  uint32_t count = 0;
  for (const uint16_t* at = first; at < end && count < most && *at != NO_NODE; at++) {
    if (ring.struck[*at] != struck) continue;
    row->append(ring.numbers[*at], static_cast<uint8_t>(role));
    count++;
  }
  return count;
}

void writeCurrent(RowWriter* row, const Ring& ring, const uint16_t* table, uint32_t rf, uint32_t ranks) {
  const uint16_t* base = table + rf;
  const auto length = static_cast<uint32_t>(std::find<const uint16_t*>(table, base, NO_NODE) - table);
  const uint32_t here = appendWhere(row, ring, table, base, Ring::NOT_STRUCK, RowRole::MEMBER, rf);
  if (ranks == rf) return;
  appendWhere(row, ring, base, table + ranks, Ring::NOT_STRUCK, RowRole::STAND_IN, length - here);
  for (const RowRole role : {RowRole::RETURNING, RowRole::AWAY}) {
    appendWhere(row, ring, table, base, static_cast<uint8_t>(role), role, rf);
  }
}

bool isMemberOrReceiver(uint8_t entry) {
  return roleOf(entry) == RowRole::MEMBER || roleOf(entry) == RowRole::RECEIVER;
}

// Behind the row that goes, the one that comes. Returns who leads by that, 0: nobody who is here.
uint16_t appendNext(RowWriter* row, const Ring& next, const uint16_t* table, uint32_t rf) {
  uint16_t leader = 0;
  for (const uint16_t* at = table; at < table + rf && *at != NO_NODE; at++) {
    // Whoever is not here by the list that comes takes no part in it, and its stand-ins come with the next change.
    if (next.struck[*at] != Ring::NOT_STRUCK) continue;
    const uint16_t node = next.numbers[*at];
    if (leader == 0) leader = node;
    if (row->find(node) < 0) row->append(node, static_cast<uint8_t>(RowRole::RECEIVER));
    const int place = row->find(node);
    if (place >= 0) row->roles[place] |= RowMark::NEXT;
  }
  return leader;
}

void markLeaders(RowWriter* row, uint16_t nextLeader, bool isCancelled) {
  if (row->length == 0 || roleOf(row->roles[0]) == RowRole::AWAY) return;
  row->roles[0] |= RowMark::HOME;
  const int goal = nextLeader == 0 ? -1 : row->find(nextLeader);
  // A stand-in or a returning member leads by neither list until it is a member.
  if (goal <= 0 || !isMemberOrReceiver(row->roles[goal])) return;
  row->roles[0] |= isCancelled ? RowMark::GOAL : RowMark::FORMER;
  row->roles[goal] |= isCancelled ? RowMark::FORMER : RowMark::GOAL;
}

// Who is to lead when the change is done, if the slot gets another leader or other copies; a change that is called off
// keeps the copies.
uint16_t goalOf(const RowWriter& row, bool isCancelled) {
  bool hasOtherCopies = false;
  for (uint32_t i = 0; i < row.length; i++) {
    if ((row.roles[i] & RowMark::GOAL) != 0) return row.nodes[i];
    if ((row.roles[i] & RowMark::NEXT) == 0 || roleOf(row.roles[i]) == RowRole::RECEIVER) hasOtherCopies = true;
  }
  const bool isLed = row.length > 0 && row.roles[0] != static_cast<uint8_t>(RowRole::AWAY);
  return hasOtherCopies && !isCancelled && isLed ? row.nodes[0] : uint16_t{0};
}

}  // namespace

Rows layOut(const RowsOrder& order) {
  const uint32_t rf = order.rf;
  const size_t slots = order.slots;
  // A stand-in is looked for behind all who are struck out.
  const uint32_t ranks = rf + struckCount(order.current);
  const std::vector<uint16_t> table = slotTable(order.current, ranks, order.slots);
  const std::vector<uint16_t> next =
      order.hasNext ? slotTable(order.next, rf, order.slots) : std::vector<uint16_t>{};
  Rows out;
  out.rows.resize(slots * ROW_MAX);
  out.roles.resize(slots * ROW_MAX);
  out.bases.resize(slots * rf);
  if (order.hasNext) out.goals.resize(slots);
  for (size_t slot = 0; slot < slots; slot++) {
    RowWriter row{&out.rows[slot * ROW_MAX], &out.roles[slot * ROW_MAX]};
    const uint16_t* members = &table[slot * ranks];
    for (uint32_t rank = 0; rank < rf && members[rank] != NO_NODE; rank++) {
      out.bases[slot * rf + rank] = order.current.numbers[members[rank]];
    }
    writeCurrent(&row, order.current, members, rf, ranks);
    if (!order.hasNext) continue;
    markLeaders(&row, appendNext(&row, order.next, &next[slot * rf], rf), order.isCancelled);
    out.goals[slot] = goalOf(row, order.isCancelled);
  }
  return out;
}

}  // namespace henge
