// A slot changes hands in the middle of an epoch, while the list of members changes (REPLICATION.md rules 28 to 34):
//
//   former   PRIMARY ─seal▶ SEALED: no writes; what is in flight drains ─give▶ GIVEN: nothing ─yield▶ REPLICA
//   goal     REPLICA ─────────────────────────────────────────────────── accept▶ PRIMARY
//   others   REPLICA, and the goal's first frame tells them
//
// A slot that stays with its leader and changes other copies is settled in the same way: sealed, drained, and from then
// on its writes are acknowledged by those who will have it (rule 30). Else a write that only a copy which goes could
// acknowledge would be refused by it when the change ends.
//
// A seal can be opened again at any time. A slot that was given is its goal's to take: only that node's word or another
// epoch says whose it is. Within an epoch a slot goes one way only, so once the goal was heard a frame of the former
// leader that was on its way for long is refused and changes nothing back.
#include <algorithm>
#include <utility>

#include "installer.h"
#include "slot_bits.h"
#include "worker.h"

namespace henge {

namespace {

constexpr uint8_t BUSY_FLAGS = SlotFlag::DEPOSED | SlotFlag::MERGING | SlotFlag::SEALED | SlotFlag::GIVEN;

bool isGoal(const Row& row, int rank) { return rank > 0 && (row.roles[rank] & RowMark::GOAL) != 0; }

// A copy that is to be in sync before the slot changes hands.
bool isPartner(uint8_t entry) { return roleOf(entry) == RowRole::MEMBER || roleOf(entry) == RowRole::RECEIVER; }

}  // namespace

// Every partner has everything that was written here.
bool Worker::isEverybodySynced(uint16_t slot) const {
  const Row& row = view_.rows[slot];
  const uint32_t bit = peers_.bitOf(slot);
  for (uint32_t i = 1; i < row.length && i < ROW_MAX; i++) {
    if (!isPartner(row.roles[i])) continue;
    if (row.peers[i] >= PEERS_MAX) return false;
    const PeerSlots& slots = peers_.slotsOf(slot, row.peers[i]);
    if ((slots.synced & bit) == 0 || ((slots.missed | slots.sending) & bit) != 0) return false;
  }
  return true;
}

std::string Worker::seal(uint16_t goal, std::string_view slots, uint32_t slotsMax) {
  std::string sealed = noSlots(view_);
  uint32_t count = 0;
  if (view_.rows == nullptr) return sealed;
  changeSlots(slots, [&](uint16_t slot) {
    if (count == slotsMax) return;
    SlotMoment moment = momentOf(view_, slot);
    const bool isOpen = moment.state == SlotState::PRIMARY && (moment.flags & BUSY_FLAGS) == 0;
    const Row& row = view_.rows[slot];
    const bool isStaying = goal == view_.nodeNumber && (row.roles[0] & RowMark::HOME) != 0;
    if (!isOpen || !(isStaying || isGoal(row, rankOfNode(row, goal))) || !isEverybodySynced(slot)) return;
    moment.flags |= SlotFlag::SEALED;
    setMoment(view_, slot, moment);
    addSlot(&sealed, slot);
    count++;
    sealedAtMicroseconds_[slot] = steadyMicroseconds(view_);
  });
  return sealed;
}

void Worker::unseal(std::string_view slots, bool isGivenToo) {
  const uint8_t opened = isGivenToo ? SlotFlag::SEALED | SlotFlag::GIVEN : SlotFlag::SEALED;
  changeSlots(slots, [&](uint16_t slot) {
    SlotMoment moment = momentOf(view_, slot);
    if (moment.state != SlotState::PRIMARY || (!isGivenToo && (moment.flags & SlotFlag::GIVEN) != 0)) return;
    moment.flags = static_cast<uint8_t>(moment.flags & ~opened);
    setMoment(view_, slot, moment);
    noteOpen(slot);
  });
}

std::string Worker::give(std::string_view slots) { return endSeal(slots, 0, SlotFlag::GIVEN); }

std::string Worker::settle(std::string_view slots) { return endSeal(slots, SlotFlag::SEALED, SlotFlag::SETTLED); }

// Of these sealed slots those of which nothing is in flight. The rings first: what was taken out of one because it did
// not arrive was noted as missed before, and meets the second look.
std::string Worker::endSeal(std::string_view slots, uint8_t cleared, uint8_t set) {
  const std::string inFlight = rings_.slotsInFlight();
  std::string ended = noSlots(view_);
  changeSlots(slots, [&](uint16_t slot) {
    SlotMoment moment = momentOf(view_, slot);
    const bool isSealed = moment.state == SlotState::PRIMARY && (moment.flags & BUSY_FLAGS) == SlotFlag::SEALED;
    if (!isSealed || hasSlot(inFlight, slot) || !isEverybodySynced(slot)) return;
    moment.flags = static_cast<uint8_t>((moment.flags & ~cleared) | set);
    setMoment(view_, slot, moment);
    addSlot(&ended, slot);
    if ((set & SlotFlag::SETTLED) != 0) noteOpen(slot);
  });
  return ended;
}

// Those that are led here then, also if they were accepted before and the answer was lost.
std::string Worker::acceptLead(uint16_t former, uint32_t epoch, std::string_view slots) {
  std::string accepted = noSlots(view_);
  if (view_.rows == nullptr) return accepted;
  changeSlots(slots, [&](uint16_t slot) {
    const SlotMoment before = momentOf(view_, slot);
    if (before.epoch != epoch) return;
    const Row& row = view_.rows[slot];
    const int rank = rankOfNode(row, view_.nodeNumber);
    const bool isDone = before.state == SlotState::PRIMARY && rank == 0 && (row.roles[0] & RowMark::GOAL) != 0;
    if (!isDone) {
      if (before.state != SlotState::REPLICA || before.leader != former || !isGoal(row, rank)) return;
      lead(slot, before, static_cast<uint32_t>(rank));
    }
    addSlot(&accepted, slot);
  });
  return accepted;
}

// Who gave the slot and its partners lack nothing; of others nothing is known.
void Worker::lead(uint16_t slot, const SlotMoment& before, uint32_t rank) {
  Row row = view_.rows[slot];
  const int former = peers_.find(before.leader);
  row.leaderBefore = before.leader;
  row.heldUntilMs = SINCE_NOTHING;
  row.leaderEpoch = before.epoch;
  putFirst(&row, rank);
  setMoment(view_, slot, SlotMoment{});
  __atomic_thread_fence(__ATOMIC_RELEASE);
  view_.rows[slot] = row;
  const auto bit = static_cast<uint16_t>(peers_.bitOf(slot));
  for (uint32_t i = 1; i < row.length; i++) {
    const uint32_t peer = row.peers[i];
    if (peer >= PEERS_MAX) continue;
    peers_.forget(slot, peer);
    PeerSlots& slots = peers_.slotsOf(slot, peer);
    slots.told = static_cast<uint16_t>(slots.told | bit);
    if (isPartner(row.roles[i]) || static_cast<int>(peer) == former) {
      slots.synced = static_cast<uint16_t>(slots.synced | bit);
    } else {
      slots.whole = static_cast<uint16_t>(slots.whole | bit);
      slots.missed = static_cast<uint16_t>(slots.missed | bit);
      peers_.lower(peer, 0);
    }
  }
  setMoment(view_, slot, afterAccepted(before, view_.nodeNumber));
}

void Worker::yield(uint16_t leader, uint32_t epoch, std::string_view slots) {
  if (view_.rows == nullptr) return;
  changeSlots(slots, [&](uint16_t slot) {
    noteOpen(slot);
    const SlotMoment before = momentOf(view_, slot);
    const int rank = rankOfNode(view_.rows[slot], leader);
    const bool isLedHere = before.state == SlotState::PRIMARY || before.state == SlotState::TAKING_OVER;
    if (before.epoch == epoch && isLedHere && rank > 0) yieldTo(slot, before, static_cast<uint32_t>(rank));
  });
}

// Writes are taken again, here or by who was given the slot: how long were they not? Of what an earlier worker sealed
// that is not known.
void Worker::noteOpen(uint16_t slot) {
  const uint64_t sealedAtMicroseconds = std::exchange(sealedAtMicroseconds_[slot], 0);
  if (sealedAtMicroseconds == 0) return;
  uint64_t& longest = counters().sealedMicrosecondsMax;
  longest = std::max(longest, steadyMicroseconds(view_) - sealedAtMicroseconds);
}

void Worker::yieldTo(uint16_t slot, const SlotMoment& before, uint32_t rank) {
  Row row = view_.rows[slot];
  row.leaderBefore = before.leader;
  row.heldUntilMs = before.state == SlotState::JOINING || before.state == SlotState::TAKING_OVER ? 0 : SINCE_NOTHING;
  row.leaderEpoch = before.epoch;
  putFirst(&row, rank);
  for (uint32_t i = 0; i < row.length; i++) {
    if (row.peers[i] < PEERS_MAX) peers_.forget(slot, row.peers[i]);
  }
  setMoment(view_, slot, SlotMoment{});
  __atomic_thread_fence(__ATOMIC_RELEASE);
  view_.rows[slot] = row;
  setMoment(view_, slot, afterYield(before, row.nodes[0]));
}

// A frame of another than the leader known here says who leads: the former leader until the goal was heard, and the
// goal from then on. An item of a walk says so to a copy only, for whoever leads may have asked for it.
void Worker::follow(uint16_t slot, uint16_t sender, uint32_t epoch, bool isMerge) {
  const Row& row = view_.rows[slot];
  const int rank = rankOfNode(row, sender);
  if (rank < 0) return;
  const uint8_t mark = row.roles[rank] & (RowMark::FORMER | RowMark::GOAL);
  SlotMoment moment = momentOf(view_, slot);
  const bool isCopy = moment.state == SlotState::REPLICA || moment.state == SlotState::JOINING;
  const bool isGiven = moment.state == SlotState::PRIMARY && (moment.flags & SlotFlag::GIVEN) != 0;
  const bool isHeard = (moment.flags & SlotFlag::GOAL_HEARD) != 0;
  if (mark == 0 || moment.epoch != epoch || (mark == RowMark::FORMER && (isHeard || isGiven))) return;
  if (!isCopy && (isMerge || !(isGiven || moment.state == SlotState::TAKING_OVER))) return;
  if (rank > 0) yieldTo(slot, moment, static_cast<uint32_t>(rank));
  if (mark != RowMark::GOAL || isHeard) return;
  moment = momentOf(view_, slot);
  moment.flags |= SlotFlag::GOAL_HEARD;
  setMoment(view_, slot, moment);
}

}  // namespace henge
