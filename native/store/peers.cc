#include "peers.h"

namespace henge {

namespace {

constexpr uint64_t GENERATION_MASK = 0xffff;

uint64_t sinceWord(uint64_t ms, uint64_t before) { return ms << 16 | ((before + 1) & GENERATION_MASK); }

void setBits(uint16_t* bits, uint32_t bit) {
  __atomic_store_n(bits, static_cast<uint16_t>(*bits | bit), __ATOMIC_RELEASE);
}
void clearBits(uint16_t* bits, uint32_t bit) {
  __atomic_store_n(bits, static_cast<uint16_t>(*bits & ~bit), __ATOMIC_RELEASE);
}

}  // namespace

int Peers::find(uint16_t node) const {
  if (view_.peers == nullptr || node == 0) return -1;
  for (uint32_t i = 0; i < PEERS_MAX; i++) {
    if (view_.peers[i].node.load(std::memory_order_acquire) == node) return static_cast<int>(i);
  }
  return -1;
}

int Peers::add(uint16_t node) {
  const int found = find(node);
  if (found >= 0 || view_.peers == nullptr || node == 0) return found;
  for (uint32_t i = 0; i < PEERS_MAX; i++) {
    Peer& peer = view_.peers[i];
    if (peer.node.load(std::memory_order_relaxed) != 0) continue;
    peer.sendingOwner.store(0);
    peer.heardAtMs.store(0);
    peer.watermark.store(0);
    peer.since.store(SINCE_NOTHING << 16);
    peer.sendingSinceMs.store(SINCE_NOTHING);
    peer.incarnation.store(0);
    peer.node.store(node, std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

bool Peers::isLedHere(uint16_t slot) const {
  const auto state = static_cast<SlotState>(view_.slots[slot].state);
  return state == SlotState::PRIMARY || state == SlotState::TAKING_OVER;
}

int Peers::rankOf(uint16_t slot, uint32_t peer) const {
  const Row& row = view_.rows[slot];
  for (uint32_t i = 0; i < row.length && i < ROW_MAX; i++) {
    if (row.peers[i] == peer) return static_cast<int>(i);
  }
  return -1;
}

void Peers::miss(uint16_t slot, uint32_t peer, uint64_t ms) {
  if (!isLedHere(slot) || rankOf(slot, peer) < 0) return;
  PeerSlots& slots = slotsOf(slot, peer);
  clearBits(&slots.synced, bitOf(slot));
  if ((slots.missed & bitOf(slot)) != 0 && sinceMs(peer) <= ms) return;
  setBits(&slots.missed, bitOf(slot));
  lower(peer, ms);
}

void Peers::missWhole(uint16_t slot, uint32_t peer) {
  PeerSlots& slots = slotsOf(slot, peer);
  setBits(&slots.whole, bitOf(slot));
  miss(slot, peer, 0);
}

void Peers::forget(uint16_t slot, uint32_t peer) {
  PeerSlots& slots = slotsOf(slot, peer);
  for (uint16_t PeerSlots::*bits :
       {&PeerSlots::synced, &PeerSlots::told, &PeerSlots::sending, &PeerSlots::whole, &PeerSlots::missed}) {
    clearBits(&(slots.*bits), bitOf(slot));
  }
}

void Peers::unsend(uint32_t segment, uint32_t peer) {
  PeerSlots& slots = *view_.peerSlotsOf(segment, peer);
  if (slots.sending == 0) return;
  const uint64_t sinceMs = view_.peers[peer].sendingSinceMs.load(std::memory_order_acquire);
  if (sinceMs == 0) setBits(&slots.whole, slots.sending);
  setBits(&slots.missed, slots.sending);
  lower(peer, sinceMs);
  clearBits(&slots.sending, ALL_SLOTS);
}

uint64_t Peers::sinceMs(uint32_t peer) const { return view_.peers[peer].since.load(std::memory_order_acquire) >> 16; }

void Peers::lower(uint32_t peer, uint64_t ms) {
  std::atomic<uint64_t>& since = view_.peers[peer].since;
  uint64_t word = since.load(std::memory_order_relaxed);
  const auto lowered = [&] { return sinceWord(word >> 16 < ms ? word >> 16 : ms, word); };
  while (!since.compare_exchange_weak(word, lowered(), std::memory_order_acq_rel)) {
  }
}

void Peers::settle(uint32_t peer) {
  std::atomic<uint64_t>& since = view_.peers[peer].since;
  uint64_t word = since.load(std::memory_order_acquire);
  if (!hasAny(peer, &PeerSlots::missed)) since.compare_exchange_strong(word, sinceWord(SINCE_NOTHING, word));
}

bool Peers::hasAny(uint32_t peer, uint16_t PeerSlots::* bits) const {
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    if (__atomic_load_n(&(view_.peerSlotsOf(i, peer)->*bits), __ATOMIC_ACQUIRE) != 0) return true;
  }
  return false;
}

void Peers::doubt(uint32_t segment) {
  for (uint32_t i = 0; view_.peers != nullptr && i < PEERS_MAX; i++) {
    if (view_.peerSlotsOf(segment, i)->missed != 0) lower(i, 0);
  }
}

void Peers::abandonSending(uint32_t ownerWord, Locker& locker) {
  for (uint32_t i = 0; view_.peers != nullptr && i < PEERS_MAX; i++) {
    if (view_.peers[i].node.load() == 0 || view_.peers[i].sendingOwner.load() != ownerWord) continue;
    for (uint32_t s = 0; s < view_.geometry.segments; s++) {
      const Hold hold(locker, &view_.segments[s]);
      unsend(s, i);
    }
    view_.peers[i].sendingOwner.store(0);
  }
}

}  // namespace henge
