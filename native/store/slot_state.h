// What changes the state of a slot on one node, as a table: the only place in which a state follows from another one
// (REPLICATION.md section 8, rules 7, 14 and 15). Pure; the callers hold the segment's lock.
//
//   state        installed: we lead          installed: a copy            installed: no part   resumed, in doubt
//   NONE         TAKING_OVER, first PRIMARY  JOINING                      NONE                 NONE
//   PRIMARY      PRIMARY, gap TAKING_OVER    JOINING                      NONE                 TAKING_OVER
//   REPLICA      TAKING_OVER                 REPLICA, gap or other JOINING  NONE               JOINING
//   JOINING      TAKING_OVER                 JOINING                      NONE                 JOINING
//   TAKING_OVER  TAKING_OVER                 JOINING                      NONE                 TAKING_OVER
//
// A gap: the epoch before this one was never installed here, so somebody else may have led meanwhile. Other: the leader
// is not the one it was. What changes hands in the middle of an epoch is worker_handover.cc's. Whoever is alone with a
// slot, the one copy that a cluster keeps (rf 1), is PRIMARY unless it knows of another one that led: there is nobody
// to take over from.
#pragma once

#include "replication.h"

namespace henge {

struct SlotMoment {
  SlotState state = SlotState::NONE;
  uint8_t flags = 0;
  uint32_t epoch = 0;
  uint16_t leader = 0;       // 0: nobody
  uint32_t leaderEpoch = 0;  // since when it leads without a gap, as far as this node knows
};

// What a new epoch says of a slot, seen from one node.
struct SlotArrival {
  uint32_t epoch = 0;
  uint16_t leader = 0;
  bool isLeader = false;
  bool isCopy = false;
  bool isFounding = false;
  bool isAlone = false;  // the only copy, and no other is wanted
};

bool isContiguous(const SlotMoment& before, const SlotArrival& arrival);
SlotMoment afterInstall(const SlotMoment& before, const SlotArrival& arrival);
// A process took up a memory that an earlier one left; `isWhole`: nothing can have been lost.
SlotMoment afterResume(const SlotMoment& before, bool isWhole, bool isAlone);
// A scrub found that something is gone.
SlotMoment afterLoss(const SlotMoment& before, bool isAlone);
// The slot's leader says that this copy is in sync.
SlotMoment afterSynced(const SlotMoment& before);
// The leader of the slot is not heard any more.
SlotMoment afterDetach(const SlotMoment& before);
// A copy knows an epoch in which somebody else leads.
SlotMoment afterStale(const SlotMoment& before);
SlotMoment afterTakeOver(const SlotMoment& before, uint8_t flags);
// A copy in sync was given the slot in the middle of an epoch.
SlotMoment afterAccepted(const SlotMoment& before, uint16_t self);
// Another node was given the slot, or turned out to lead it. Who gave it, or was in sync, is in sync: nothing is handed
// over before everybody is.
SlotMoment afterYield(const SlotMoment& before, uint16_t leader);

}  // namespace henge
