#include "scrub_copies.h"

#include "installer.h"

namespace henge {

namespace {

bool isWellFormed(const View& view, const Row& row) {
  if (row.length > ROW_MAX) return false;
  for (uint32_t i = 0; i < row.length; i++) {
    if (row.nodes[i] == 0 || roleOf(row.roles[i]) > RowRole::RECEIVER) return false;
    if (row.peers[i] == NO_PEER) continue;
    if (row.peers[i] >= PEERS_MAX || view.peers[row.peers[i]].node.load() != row.nodes[i]) return false;
    for (uint32_t j = 0; j < i; j++) {
      if (row.nodes[j] == row.nodes[i]) return false;
    }
  }
  return true;
}

bool isWellFormed(const View& view, uint32_t slot) {
  if (view.slots[slot].state > static_cast<uint8_t>(SlotState::TAKING_OVER)) return false;
  return view.rows == nullptr || isWellFormed(view, view.rows[slot]);
}

// The next epoch to be installed finds a gap here.
void clear(View& view, uint16_t slot) {
  setMoment(view, slot, SlotMoment{});
  if (view.rows != nullptr) view.rows[slot] = Row{};
}

// A copy may believe that it is in sync, and may lack everything.
PeerSlots unknown(uint32_t led, uint32_t inRow) {
  PeerSlots slots = {};
  slots.missed = slots.whole = slots.told = static_cast<uint16_t>(led & inRow);
  return slots;
}

void scrubPeers(View& view) {
  for (uint32_t i = 0; i < PEERS_MAX; i++) {
    Peer& peer = view.peers[i];
    if (peer.node.load() > UINT16_MAX) peer.node.store(0);
    for (uint32_t j = 0; j < i; j++) {
      if (peer.node.load() != 0 && view.peers[j].node.load() == peer.node.load()) peer.node.store(0);
    }
    peer.sendingOwner.store(0);
    peer.sendingSinceMs.store(SINCE_NOTHING);
    peer.heardAtMs.store(0);
    peer.watermark.store(0);
    peer.since.store(0);
  }
  for (uint32_t i = 0; i < view.ringCount; i++) {
    Ring* ring = view.ring(i);
    ring->owner.store(0);
    ring->peer.store(0);
    ring->head.store(0);
    ring->tail.store(0);
  }
}

}  // namespace

void scrubCopies(View& view, uint32_t segment, bool hasLost) {
  if (view.rows == nullptr) return;
  Peers(view).doubt(segment);
  if (hasLost) distrustSegment(view, segment);
}

void scrubAllCopies(View& view) {
  Header* header = view.header;
  const uint32_t rf = header->rf.load();
  const bool isKnown = rf >= 1 && rf <= RF_MAX;
  if (!isKnown) header->epoch.store(0);
  if (view.peers != nullptr) scrubPeers(view);
  for (uint32_t slot = 0; slot < view.slotCount(); slot++) {
    const bool isAhead = view.slots[slot].epoch > header->epoch.load();
    if (!isKnown || isAhead || !isWellFormed(view, slot)) clear(view, static_cast<uint16_t>(slot));
  }
  if (view.peers == nullptr) return;
  const Peers peers(view);
  for (uint32_t segment = 0; segment < view.geometry.segments; segment++) {
    for (uint32_t peer = 0; peer < PEERS_MAX; peer++) {
      uint32_t led = 0;
      uint32_t inRow = 0;
      for (uint32_t i = 0; i < view.geometry.slotsPerSegment; i++) {
        const auto slot = static_cast<uint16_t>(segment * view.geometry.slotsPerSegment + i);
        if (peers.isLedHere(slot)) led |= 1u << i;
        if (peers.rankOf(slot, peer) >= 0) inRow |= 1u << i;
      }
      *view.peerSlotsOf(segment, peer) = unknown(led, inRow);
    }
  }
  for (uint32_t i = 0; i < PEERS_MAX; i++) Peers(view).settle(i);
}

}  // namespace henge
