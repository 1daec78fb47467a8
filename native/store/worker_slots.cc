// What is known of slots and of other nodes' copies, and how it changes by what the workers of two nodes tell each
// other: catch-up, take-over, in sync, not heard any more. Segment by segment, under their locks.
#include "installer.h"
#include "slot_bits.h"
#include "worker.h"

namespace henge {

namespace {

void setBit(uint16_t* bits, uint32_t bit) { *bits = static_cast<uint16_t>(*bits | bit); }
void clearBit(uint16_t* bits, uint32_t bit) { *bits = static_cast<uint16_t>(*bits & ~bit); }

}  // namespace

bool Worker::install(const Installation& installation) { return Installer(view_, place_).install(installation); }

std::string Worker::states() const {
  std::string states(view_.slotCount(), 0);
  for (uint32_t i = 0; i < view_.slotCount(); i++) states[i] = static_cast<char>(view_.slots[i].state);
  return states;
}

std::string Worker::slotFlags() const {
  std::string flags(view_.slotCount(), 0);
  for (uint32_t i = 0; i < view_.slotCount(); i++) flags[i] = static_cast<char>(view_.slots[i].flags);
  return flags;
}

std::string Worker::slotSets() const {
  constexpr uint32_t STATES = static_cast<uint32_t>(SlotState::TAKING_OVER) + 1;
  constexpr uint32_t FLAGS = 8;
  const size_t setBytes = noSlots(view_).size();
  std::string sets((STATES + FLAGS) * setBytes, 0);
  const auto add = [&](uint32_t set, uint32_t slot) {
    char& byte = sets[set * setBytes + slot / 8];
    byte = static_cast<char>(byte | 1 << (slot & 7));
  };
  for (uint32_t slot = 0; slot < view_.slotCount(); slot++) {
    const Slot& word = view_.slots[slot];
    if (word.state < STATES) add(word.state, slot);
    for (uint32_t bits = word.flags; bits != 0; bits &= bits - 1)
      add(STATES + static_cast<uint32_t>(__builtin_ctz(bits)), slot);
  }
  return sets;
}

Reigns Worker::reigns() const {
  Reigns reigns;
  for (uint32_t i = 0; i < view_.slotCount(); i++) {
    const uint16_t leader = view_.rows == nullptr ? uint16_t{0} : view_.rows[i].leaderBefore;
    const double heldUntilMs = view_.rows == nullptr ? 0 : static_cast<double>(view_.rows[i].heldUntilMs);
    reigns.leaders.append(reinterpret_cast<const char*>(&leader), sizeof leader);
    reigns.heldUntilMs.append(reinterpret_cast<const char*>(&heldUntilMs), sizeof heldUntilMs);
  }
  return reigns;
}

// What another worker is sending counts as missed: whether it arrives is for that worker to say. And where this node
// has forgotten something younger than what the peer lacks, nothing less than the whole slot will do (REPLICATION rule
// 11).
PeerBits Worker::peerBits(uint16_t node) {
  PeerBits bits{noSlots(view_), noSlots(view_), noSlots(view_)};
  const int found = peers_.find(node);
  if (found < 0) return bits;
  const auto peer = static_cast<uint32_t>(found);
  const uint64_t sendingSinceMs = view_.peers[peer].sendingSinceMs.load(std::memory_order_acquire);
  const bool isOthers = view_.peers[peer].sendingOwner.load(std::memory_order_acquire) != locker_.word();
  for (uint32_t segment = 0; segment < view_.geometry.segments; segment++) {
    const PeerSlots& slots = *view_.peerSlotsOf(segment, peer);
    const uint32_t first = segment * view_.geometry.slotsPerSegment;
    const uint32_t sent = isOthers ? slots.sending : 0U;
    addSlots(&bits.synced, first, slots.synced);
    // Mostly nothing is missed.
    for (uint32_t left = slots.missed | sent; left != 0; left &= left - 1) {
      const uint32_t bit = left & -left;
      const uint32_t slot = first + static_cast<uint32_t>(__builtin_ctz(left));
      const bool isSent = (sent & bit) != 0;
      const bool isMissed = (slots.missed & bit) != 0;
      uint64_t sinceMs = isMissed ? peers_.sinceMs(peer) : sendingSinceMs;
      if (isMissed && sinceMs == SINCE_NOTHING) sinceMs = 0;
      if (isSent && sendingSinceMs < sinceMs) sinceMs = sendingSinceMs;
      if (sinceMs < bits.sinceMs) bits.sinceMs = sinceMs;
      addSlot(&bits.missed, slot);
      const bool isWhole = (slots.whole & bit) != 0 || (isSent && sendingSinceMs == 0);
      const uint64_t floorTime = view_.slots[slot].floorTime;
      const bool hasForgotten = floorTime != 0 && floorTime >> 16 >= sinceMs;
      if (isWhole || hasForgotten) addSlot(&bits.whole, slot);
    }
  }
  return bits;
}

void Worker::detach(uint16_t node) {
  const uint32_t perSegment = view_.geometry.slotsPerSegment;
  for (uint32_t i = 0; i < view_.geometry.segments && view_.rows != nullptr; i++) {
    const Hold hold(locker_, &view_.segments[i]);
    for (uint32_t j = 0; j < perSegment; j++) {
      const auto slot = static_cast<uint16_t>(i * perSegment + j);
      const SlotMoment moment = momentOf(view_, slot);
      if (moment.leader == node) setMoment(view_, slot, afterDetach(moment));
    }
  }
}

// ---- catch-up: what a leader knows of a copy -----------------------------------------------------------------------

// From here until declareSynced or failCatchUp the slots are `sending`. One worker at a time sends to a peer; what
// another one had begun is missed again.
void Worker::beginCatchUp(uint16_t node, std::string_view slots) {
  const int found = peers_.find(node);
  if (found < 0) return;
  const auto index = static_cast<uint32_t>(found);
  Peer& peer = view_.peers[index];
  if (peer.sendingOwner.load(std::memory_order_acquire) != locker_.word()) {
    for (uint32_t i = 0; i < view_.geometry.segments; i++) {
      const Hold hold(locker_, &view_.segments[i]);
      peers_.unsend(i, index);
    }
    peer.sendingSinceMs.store(SINCE_NOTHING);
    peer.sendingOwner.store(locker_.word(), std::memory_order_release);
  }
  uint64_t sinceMs = peers_.sinceMs(index);
  if (sinceMs == SINCE_NOTHING || peers_.hasAny(index, &PeerSlots::whole)) sinceMs = 0;
  const uint64_t before = peers_.hasAny(index, &PeerSlots::sending) ? peer.sendingSinceMs.load() : SINCE_NOTHING;
  peer.sendingSinceMs.store(sinceMs < before ? sinceMs : before, std::memory_order_release);
  changeSlots(slots, [&](uint16_t slot) {
    PeerSlots& its = peers_.slotsOf(slot, index);
    const uint32_t bit = peers_.bitOf(slot);
    if ((its.missed & bit) == 0) return;
    setBit(&its.sending, bit);
    clearBit(&its.whole, bit);
    clearBit(&its.missed, bit);
  });
  peers_.settle(index);
}

void Worker::failCatchUp(uint16_t node, std::string_view slots, uint64_t sinceMs) {
  const int found = peers_.find(node);
  if (found < 0) return;
  const auto peer = static_cast<uint32_t>(found);
  changeSlots(slots, [&](uint16_t slot) {
    if (!peers_.isLedHere(slot)) return;
    if (sinceMs == 0) peers_.missWhole(slot, peer);
    peers_.miss(slot, peer, sinceMs);
    clearBit(&peers_.slotsOf(slot, peer).sending, peers_.bitOf(slot));
  });
}

std::string Worker::declareSynced(uint16_t node, std::string_view slots) {
  std::string declared = noSlots(view_);
  const int found = peers_.find(node);
  if (found < 0) return declared;
  const auto peer = static_cast<uint32_t>(found);
  const bool isOthers = view_.peers[peer].sendingOwner.load(std::memory_order_acquire) != locker_.word();
  changeSlots(slots, [&](uint16_t slot) {
    const SlotMoment moment = momentOf(view_, slot);
    const int rank = peers_.rankOf(slot, peer);
    const bool mayDeclare = moment.state == SlotState::PRIMARY && (moment.flags & SlotFlag::DEPOSED) == 0 &&
                            rank >= 0 && roleOf(view_.rows[slot].roles[rank]) != RowRole::AWAY;
    PeerSlots& its = peers_.slotsOf(slot, peer);
    const uint32_t bit = peers_.bitOf(slot);
    if (!mayDeclare || (its.missed & bit) != 0 || ((its.sending & bit) != 0 && isOthers)) return;
    setBit(&its.told, bit);
    setBit(&its.synced, bit);
    clearBit(&its.sending, bit);
    addSlot(&declared, slot);
  });
  return declared;
}

// ---- what a copy is told, and a new leader finds out ---------------------------------------------------------------

std::string Worker::acceptSynced(uint16_t leader, uint32_t epoch, std::string_view slots) {
  std::string accepted = noSlots(view_);
  changeSlots(slots, [&](uint16_t slot) {
    if (view_.rows != nullptr) follow(slot, leader, epoch, true);
    const SlotMoment before = momentOf(view_, slot);
    if (before.leader != leader || before.epoch != epoch || leader == 0) return;
    const SlotMoment after = afterSynced(before);
    if (after.state != SlotState::REPLICA) return;
    setMoment(view_, slot, after);
    addSlot(&accepted, slot);
  });
  return accepted;
}

void Worker::finishTakeOver(uint32_t epoch, std::string_view slots, uint8_t flags) {
  changeSlots(slots, [&](uint16_t slot) {
    const SlotMoment before = momentOf(view_, slot);
    if (before.epoch == epoch) setMoment(view_, slot, afterTakeOver(before, flags));
  });
}

void Worker::clearFlags(std::string_view slots, uint8_t flags) {
  const auto clearable = static_cast<uint8_t>(flags & (SlotFlag::MERGING | SlotFlag::POSSIBLE_LOSS));
  changeSlots(slots, [&](uint16_t slot) {
    SlotMoment moment = momentOf(view_, slot);
    moment.flags = static_cast<uint8_t>(moment.flags & ~clearable);
    setMoment(view_, slot, moment);
  });
}

}  // namespace henge
