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

uint32_t struckCount(const RingOrder& ring) {
  const auto isStruck = [](uint8_t role) { return role != RingOrder::NOT_STRUCK; };
  return static_cast<uint32_t>(std::count_if(ring.struck, ring.struck + ring.members, isStruck));
}

// Entries of a table's row from `first` to `end` that are struck with that role, or not struck; at most `most`.
uint32_t appendWhere(RowWriter* row, const RingOrder& ring, const uint16_t* first, const uint16_t* end, uint8_t struck,
                     RowRole role, uint32_t most) {
  uint32_t count = 0;
  for (const uint16_t* at = first; at < end && count < most && *at != NO_NODE; at++) {
    if (ring.struck[*at] != struck) continue;
    row->append(ring.numbers[*at], static_cast<uint8_t>(role));
    count++;
  }
  return count;
}

void writeCurrent(RowWriter* row, const RingOrder& ring, const uint16_t* table, uint32_t rf, uint32_t ranks) {
  const uint16_t* base = table + rf;
  const auto length = static_cast<uint32_t>(std::find<const uint16_t*>(table, base, NO_NODE) - table);
  const uint32_t here = appendWhere(row, ring, table, base, RingOrder::NOT_STRUCK, RowRole::MEMBER, rf);
  if (ranks == rf) return;
  appendWhere(row, ring, base, table + ranks, RingOrder::NOT_STRUCK, RowRole::STAND_IN, length - here);
  for (const RowRole role : {RowRole::RETURNING, RowRole::AWAY}) {
    appendWhere(row, ring, table, base, static_cast<uint8_t>(role), role, rf);
  }
}

bool isMemberOrReceiver(uint8_t entry) {
  return roleOf(entry) == RowRole::MEMBER || roleOf(entry) == RowRole::RECEIVER;
}

// Behind the row that goes, the one that comes. Returns who leads by that, 0: nobody who is here.
uint16_t appendNext(RowWriter* row, const RingOrder& next, const uint16_t* table, uint32_t rf) {
  uint16_t leader = 0;
  for (const uint16_t* at = table; at < table + rf && *at != NO_NODE; at++) {
    // Whoever is not here by the list that comes takes no part in it, and its stand-ins come with the next change.
    if (next.struck[*at] != RingOrder::NOT_STRUCK) continue;
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

uint16_t leaderOf(const RowWriter& row) {
  return row.length == 0 || roleOf(row.roles[0]) == RowRole::AWAY ? uint16_t{0} : row.nodes[0];
}

// Who is to be handed the slot. 0: nobody.
uint16_t heirOf(const RowWriter& row) {
  for (uint32_t i = 0; i < row.length; i++) {
    if ((row.roles[i] & RowMark::GOAL) != 0) return row.nodes[i];
  }
  return 0;
}

// Where the slot is handed to nobody. A change that is called off keeps the copies.
bool settles(const RowWriter& row, bool isCancelled) {
  const auto isOther = [](uint8_t entry) {
    return (entry & RowMark::NEXT) == 0 || roleOf(entry) == RowRole::RECEIVER;
  };
  return !isCancelled && leaderOf(row) != 0 && std::any_of(row.roles, row.roles + row.length, isOther);
}

void addSlot(std::vector<uint8_t>* bits, size_t slot) {
  (*bits)[slot >> 3] = static_cast<uint8_t>((*bits)[slot >> 3] | 1 << (slot & 7));
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
  out.leaders.resize(slots);
  if (order.hasNext) out.goals.resize(slots);
  if (order.hasNext) out.settling.resize((slots + 7) / 8);
  for (size_t slot = 0; slot < slots; slot++) {
    RowWriter row{&out.rows[slot * ROW_MAX], &out.roles[slot * ROW_MAX]};
    const uint16_t* members = &table[slot * ranks];
    for (uint32_t rank = 0; rank < rf && members[rank] != NO_NODE; rank++) {
      out.bases[slot * rf + rank] = order.current.numbers[members[rank]];
    }
    writeCurrent(&row, order.current, members, rf, ranks);
    out.leaders[slot] = leaderOf(row);
    if (!order.hasNext) continue;
    markLeaders(&row, appendNext(&row, order.next, &next[slot * rf], rf), order.isCancelled);
    out.goals[slot] = heirOf(row);
    if (out.goals[slot] != 0 || !settles(row, order.isCancelled)) continue;
    out.goals[slot] = leaderOf(row);
    addSlot(&out.settling, slot);
  }
  return out;
}

SlotsByRole slotsOfNode(const uint16_t* rows, const uint8_t* roles, size_t slots, uint16_t node) {
  SlotsByRole byRole;
  for (auto& bits : byRole) bits.resize((slots + 7) / 8);
  for (size_t at = 0; at < slots * ROW_MAX; at++) {
    if (rows[at] == node) addSlot(&byRole[static_cast<size_t>(roleOf(roles[at]))], at / ROW_MAX);
  }
  return byRole;
}

void keepVoters(std::vector<uint16_t>* known, const uint16_t* rows, const uint8_t* roles, const uint16_t* leaders,
                const uint16_t* nextLeaders) {
  for (size_t slot = 0; slot < known->size() / ROW_MAX; slot++) {
    if (leaders[slot] == nextLeaders[slot]) continue;
    const size_t first = slot * ROW_MAX;
    const auto row = known->begin() + static_cast<std::ptrdiff_t>(first);
    std::fill(row, row + ROW_MAX, uint16_t{0});
    size_t to = first;
    for (size_t from = first; from < first + ROW_MAX && rows[from] != 0; from++) {
      const RowRole role = roleOf(roles[from]);
      if (role != RowRole::AWAY && role != RowRole::RECEIVER) (*known)[to++] = rows[from];
    }
  }
}

}  // namespace henge
