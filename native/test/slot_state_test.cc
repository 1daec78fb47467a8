// The table of a slot's states, row by row.
#include "../store/slot_state.h"

#include "support/check.h"

namespace {

using namespace henge;

constexpr uint16_t ME = 1;
constexpr uint16_t OTHER = 2;
constexpr uint16_t THIRD = 3;

SlotMoment moment(SlotState state, uint16_t leader, uint8_t flags = 0, uint32_t epoch = 5) {
  return {state, flags, epoch, leader, 3};
}

SlotArrival arrival(uint16_t leader, bool isCopy = true, uint32_t epoch = 6) {
  SlotArrival made;
  made.epoch = epoch;
  made.leader = leader;
  made.isLeader = leader == ME;
  made.isCopy = isCopy && leader != ME;
  return made;
}

TEST("whoever leads first, at the beginning or as the only copy, is primary") {
  SlotArrival first = arrival(ME, false, 1);
  CHECK(afterInstall(SlotMoment{}, first).state == SlotState::TAKING_OVER);
  first.isFounding = true;
  CHECK(afterInstall(SlotMoment{}, first).state == SlotState::PRIMARY);
  CHECK(afterInstall(moment(SlotState::NONE, OTHER), first).state == SlotState::TAKING_OVER);
  SlotArrival alone = arrival(ME, false, 9);
  alone.isAlone = true;
  CHECK(afterInstall(SlotMoment{}, alone).state == SlotState::PRIMARY);
  CHECK(afterInstall(moment(SlotState::PRIMARY, ME, 0, 2), alone).state == SlotState::PRIMARY);
  CHECK(afterInstall(moment(SlotState::PRIMARY, ME, SlotFlag::GIVEN, 2), alone).state == SlotState::TAKING_OVER);
  CHECK(afterInstall(moment(SlotState::NONE, OTHER, 0, 2), alone).state == SlotState::TAKING_OVER);
}

TEST("a primary stays one, unless it missed an epoch") {
  const SlotMoment before = moment(SlotState::PRIMARY, ME, SlotFlag::DEPOSED | SlotFlag::POSSIBLE_LOSS);
  const SlotMoment next = afterInstall(before, arrival(ME));
  CHECK(next.state == SlotState::PRIMARY && next.flags == SlotFlag::POSSIBLE_LOSS && next.leaderEpoch == 3 &&
        next.epoch == 6);
  const SlotMoment later = afterInstall(before, arrival(ME, true, 7));
  CHECK(later.state == SlotState::TAKING_OVER && later.flags == 0 && later.leaderEpoch == 7);
  CHECK(afterInstall(before, arrival(OTHER)).state == SlotState::JOINING);
  CHECK(afterInstall(before, arrival(OTHER, false)).state == SlotState::NONE);
}

TEST("a copy in sync stays so only with the same leader and without a gap") {
  const SlotMoment before = moment(SlotState::REPLICA, OTHER, SlotFlag::DETACHED);
  const SlotMoment same = afterInstall(before, arrival(OTHER));
  CHECK(same.state == SlotState::REPLICA && same.flags == SlotFlag::DETACHED && same.leaderEpoch == 3);
  CHECK(afterInstall(before, arrival(THIRD)).state == SlotState::JOINING);
  CHECK(afterInstall(before, arrival(THIRD)).leaderEpoch == 6);
  CHECK(afterInstall(before, arrival(OTHER, true, 7)).state == SlotState::JOINING);
  CHECK(afterInstall(moment(SlotState::JOINING, OTHER), arrival(OTHER)).state == SlotState::JOINING);
  CHECK(afterInstall(moment(SlotState::NONE, OTHER), arrival(OTHER)).state == SlotState::JOINING);
}

TEST("a new leader takes over, and remembers whether it was in sync") {
  const SlotMoment promoted = afterInstall(moment(SlotState::REPLICA, OTHER), arrival(ME));
  CHECK(promoted.state == SlotState::TAKING_OVER && promoted.flags == SlotFlag::DETACHED && promoted.leaderEpoch == 6);
  const SlotMoment next = afterInstall(promoted, arrival(ME, true, 7));
  CHECK(next.state == SlotState::TAKING_OVER && next.flags == SlotFlag::DETACHED && next.leaderEpoch == 6);
  CHECK(afterInstall(moment(SlotState::REPLICA, OTHER), arrival(ME, true, 7)).flags == 0);
  CHECK(afterInstall(moment(SlotState::JOINING, OTHER), arrival(ME)).flags == 0);
  const SlotMoment done = afterTakeOver(promoted, SlotFlag::MERGING | SlotFlag::DEPOSED);
  CHECK(done.state == SlotState::PRIMARY && done.flags == SlotFlag::MERGING);
  CHECK(afterTakeOver(moment(SlotState::JOINING, OTHER), 0).state == SlotState::JOINING);
}

TEST("who led without having met everybody was not in sync, and does not say so to the next leader") {
  CHECK(afterInstall(moment(SlotState::PRIMARY, ME), arrival(OTHER)).flags == SlotFlag::DETACHED);
  CHECK(afterInstall(moment(SlotState::PRIMARY, ME, SlotFlag::POSSIBLE_LOSS), arrival(OTHER)).flags == 0);
}

TEST("a memory taken up again is believed only when it is whole") {
  CHECK(afterResume(moment(SlotState::PRIMARY, ME), true, false).state == SlotState::PRIMARY);
  CHECK(afterResume(moment(SlotState::PRIMARY, ME), false, false).state == SlotState::TAKING_OVER);
  CHECK(afterResume(moment(SlotState::PRIMARY, ME), false, true).state == SlotState::PRIMARY);
  CHECK(afterResume(moment(SlotState::REPLICA, OTHER), true, false).state == SlotState::JOINING);
  CHECK(afterLoss(moment(SlotState::TAKING_OVER, ME, SlotFlag::DETACHED), false).flags == 0);
  CHECK(afterLoss(moment(SlotState::REPLICA, OTHER), false).state == SlotState::JOINING);
}

TEST("what others say changes only what it can") {
  CHECK(afterSynced(moment(SlotState::JOINING, OTHER)).state == SlotState::REPLICA);
  CHECK(afterSynced(moment(SlotState::REPLICA, OTHER, SlotFlag::DETACHED)).flags == 0);
  CHECK(afterSynced(moment(SlotState::PRIMARY, ME)).state == SlotState::PRIMARY);
  CHECK(afterDetach(moment(SlotState::REPLICA, OTHER)).flags == SlotFlag::DETACHED);
  CHECK(afterDetach(moment(SlotState::JOINING, OTHER)).flags == 0);
  CHECK(afterStale(moment(SlotState::PRIMARY, ME)).flags == SlotFlag::DEPOSED);
  CHECK(afterStale(moment(SlotState::REPLICA, OTHER)).flags == 0);
}

}  // namespace

TEST_MAIN
