#include "slot_state.h"

namespace henge {

namespace {

SlotState whenLeading(const SlotMoment& before, const SlotArrival& arrival) {
  // Given away: the next leader may have led already, and be gone now.
  const bool isGiven = (before.flags & SlotFlag::GIVEN) != 0;
  const bool isFirst = arrival.isFounding && before.epoch == 0;
  const bool ledOrNew = before.leader == 0 || before.leader == arrival.leader;
  const bool isOnlyOne = arrival.isAlone && !isGiven && ledOrNew;
  if (isFirst || isOnlyOne) return SlotState::PRIMARY;
  const bool leadsOn = before.state == SlotState::PRIMARY && before.leader == arrival.leader && !isGiven;
  return leadsOn && isContiguous(before, arrival) ? SlotState::PRIMARY : SlotState::TAKING_OVER;
}

SlotState whenCopy(const SlotMoment& before, const SlotArrival& arrival) {
  const bool stays =
      before.state == SlotState::REPLICA && isContiguous(before, arrival) && before.leader == arrival.leader;
  return stays ? SlotState::REPLICA : SlotState::JOINING;
}

// What goes along with a state that stays; and what whoever was in sync brings into the reign of the next leader: it
// counts when that one takes over, until yet another one leads. Who led without having met everybody was not in sync
// with the one before.
uint8_t flagsAfter(const SlotMoment& before, SlotState state, bool isGapless, bool isSameLeader) {
  constexpr uint8_t PASSING =
      SlotFlag::DEPOSED | SlotFlag::SEALED | SlotFlag::GIVEN | SlotFlag::GOAL_HEARD | SlotFlag::SETTLED;
  if (before.state == state && isSameLeader) return static_cast<uint8_t>(before.flags & ~PASSING);
  if (state == SlotState::PRIMARY || state == SlotState::REPLICA) return 0;
  const bool ledKnowingAll = before.state == SlotState::PRIMARY && (before.flags & SlotFlag::POSSIBLE_LOSS) == 0;
  const bool wasInSync = before.state == SlotState::REPLICA || ledKnowingAll;
  if (isGapless && wasInSync) return SlotFlag::DETACHED;
  return isSameLeader ? static_cast<uint8_t>(before.flags & SlotFlag::DETACHED) : 0;
}

}  // namespace

bool isContiguous(const SlotMoment& before, const SlotArrival& arrival) {
  return before.epoch != 0 && before.epoch + 1 == arrival.epoch;
}

SlotMoment afterInstall(const SlotMoment& before, const SlotArrival& arrival) {
  SlotMoment after;
  after.epoch = arrival.epoch;
  after.leader = arrival.leader;
  if (arrival.isLeader) {
    after.state = whenLeading(before, arrival);
  } else if (arrival.isCopy) {
    after.state = whenCopy(before, arrival);
  }
  const bool isGapless = isContiguous(before, arrival);
  const bool isSameLeader = isGapless && before.leader == arrival.leader;
  after.flags = flagsAfter(before, after.state, isGapless, isSameLeader);
  after.leaderEpoch = isSameLeader ? before.leaderEpoch : arrival.epoch;
  return after;
}

SlotMoment afterResume(const SlotMoment& before, bool isWhole, bool isAlone) {
  SlotMoment after = isWhole ? before : afterLoss(before, isAlone);
  if (after.state == SlotState::REPLICA) after.state = SlotState::JOINING;
  if (after.state == SlotState::JOINING) after.flags = 0;
  return after;
}

SlotMoment afterLoss(const SlotMoment& before, bool isAlone) {
  SlotMoment after = before;
  if (isAlone) return after;
  if (before.state == SlotState::PRIMARY || before.state == SlotState::TAKING_OVER) {
    after.state = SlotState::TAKING_OVER;
    after.flags = static_cast<uint8_t>(before.flags & SlotFlag::DEPOSED);
  } else if (before.state == SlotState::REPLICA) {
    after.state = SlotState::JOINING;
    after.flags = 0;
  }
  return after;
}

SlotMoment afterSynced(const SlotMoment& before) {
  SlotMoment after = before;
  if (before.state != SlotState::JOINING && before.state != SlotState::REPLICA) return after;
  after.state = SlotState::REPLICA;
  after.flags = static_cast<uint8_t>(before.flags & SlotFlag::GOAL_HEARD);
  return after;
}

SlotMoment afterDetach(const SlotMoment& before) {
  SlotMoment after = before;
  if (before.state == SlotState::REPLICA) after.flags |= SlotFlag::DETACHED;
  return after;
}

SlotMoment afterStale(const SlotMoment& before) {
  SlotMoment after = before;
  if (before.state == SlotState::PRIMARY || before.state == SlotState::TAKING_OVER) after.flags |= SlotFlag::DEPOSED;
  return after;
}

SlotMoment afterTakeOver(const SlotMoment& before, uint8_t flags) {
  SlotMoment after = before;
  if (before.state != SlotState::TAKING_OVER) return after;
  after.state = SlotState::PRIMARY;
  const auto kept = static_cast<uint8_t>(before.flags & SlotFlag::DEPOSED);
  after.flags = static_cast<uint8_t>(kept | (flags & (SlotFlag::POSSIBLE_LOSS | SlotFlag::MERGING)));
  return after;
}

SlotMoment afterAccepted(const SlotMoment& before, uint16_t self) {
  return SlotMoment{SlotState::PRIMARY, 0, before.epoch, self, before.epoch};
}

SlotMoment afterYield(const SlotMoment& before, uint16_t leader) {
  const auto heard = static_cast<uint8_t>(before.flags & SlotFlag::GOAL_HEARD);
  SlotMoment after{SlotState::JOINING, heard, before.epoch, leader, before.epoch};
  const bool wasHanded = before.state == SlotState::PRIMARY && (before.flags & SlotFlag::GIVEN) != 0;
  if (wasHanded || before.state == SlotState::REPLICA) after.state = SlotState::REPLICA;
  return after;
}

}  // namespace henge
