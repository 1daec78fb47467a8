// A worker's links to other nodes, as the store sees them: a ring of frames in flight, and whether there is room. The
// sockets are the session's.
#include "installer.h"
#include "worker.h"

namespace henge {

// A peer's place in the table, made if need be.
int Worker::addPeer(uint16_t node) {
  const int peer = peers_.find(node);
  if (peer >= 0 || view_.peers == nullptr || node == view_.nodeNumber) return peer;
  const InstallLock lock(view_, place_);
  return peers_.add(node);
}

int Worker::openLink(uint16_t node) {
  const int peer = addPeer(node);
  if (peer < 0 || links_[peer].ring >= 0) return -1;
  const int ring = rings_.claim(locker_.word(), static_cast<uint32_t>(peer));
  if (ring < 0) return -1;
  links_[peer] = Link{ring, false};
  return peer;
}

void Worker::closeLink(int link) {
  if (links_[link].ring < 0) return;
  rings_.lose(static_cast<uint32_t>(links_[link].ring), locker_);
  links_[link] = Link{};
}

void Worker::acknowledge(int link, uint32_t count) {
  if (links_[link].ring >= 0) rings_.pop(static_cast<uint32_t>(links_[link].ring), count);
}

void Worker::refuseOldest(int link, bool isDeposed, uint32_t epoch) {
  if (links_[link].ring < 0) return;
  const auto ring = static_cast<uint32_t>(links_[link].ring);
  if (rings_.used(ring) == 0) return;
  const InFlight frame = rings_.oldest(ring);
  {
    const Hold hold(locker_, &view_.segments[view_.segmentOf(frame.slot)]);
    peers_.miss(frame.slot, static_cast<uint32_t>(link), frame.ms);
    const SlotMoment moment = momentOf(view_, frame.slot);
    if (isDeposed && epoch > moment.epoch) setMoment(view_, frame.slot, afterStale(moment));
  }
  rings_.pop(ring, 1);
}

void Worker::setLinkFull(int link, bool isFull) { links_[link].isFull = isFull; }

uint32_t Worker::ringRoom(int link) const {
  return links_[link].ring < 0 ? 0 : rings_.room(static_cast<uint32_t>(links_[link].ring));
}

bool Worker::canSend(uint32_t peer) const {
  const Link& link = links_[peer];
  return link.ring >= 0 && !link.isFull && rings_.room(static_cast<uint32_t>(link.ring)) > 0;
}

// Whether an acknowledgement of this entry counts for a level: while the list of members changes, who is to come does
// not before the slot was handed over, or settled, and who is to go does not afterwards (REPLICATION rule 28).
bool Worker::isVoter(uint16_t slot, uint32_t rank) const {
  const Row& row = view_.rows[slot];
  const uint8_t first = row.roles[0];
  const bool isSettled = (view_.slots[slot].flags & SlotFlag::SETTLED) != 0;
  if ((first & RowMark::HOME) != 0 && isSettled) return (row.roles[rank] & RowMark::NEXT) != 0;
  if ((first & RowMark::HOME) != 0) return roleOf(row.roles[rank]) != RowRole::RECEIVER;
  if ((first & (RowMark::FORMER | RowMark::GOAL)) != 0) return (row.roles[rank] & RowMark::NEXT) != 0;
  return true;
}

// The links to the other copies of a slot that would take a frame now, and whose word counts; `links` has ROW_MAX - 1
// places.
uint32_t Worker::linksUp(uint16_t slot, uint8_t* links) const {
  if (view_.rows == nullptr) return 0;
  const Row& row = view_.rows[slot];
  uint32_t count = 0;
  for (uint32_t i = 0; i < row.length && i < ROW_MAX && count < ROW_MAX - 1; i++) {
    const uint32_t peer = row.peers[i];
    if (peer < PEERS_MAX && roleOf(row.roles[i]) != RowRole::AWAY && isVoter(slot, i) && canSend(peer))
      links[count++] = static_cast<uint8_t>(peer);
  }
  return count;
}

uint32_t Worker::acksFor(uint8_t level) const {
  const uint32_t rf = view_.header->rf.load(std::memory_order_relaxed);
  if (level == WriteLevel::QUORUM) return rf / 2;
  return level == WriteLevel::ALL && rf > 0 ? rf - 1 : 0;
}

// ---- heartbeats ----------------------------------------------------------------------------------------------------

void Worker::heard(uint16_t node, uint64_t incarnation, uint64_t watermarkMs) {
  const int found = addPeer(node);
  if (found < 0) return;
  Peer& peer = view_.peers[found];
  // Who was not met yet is who speaks first; of the one before it nothing was noted.
  uint64_t known = 0;
  const bool isKnown = peer.incarnation.compare_exchange_strong(known, incarnation) || known == incarnation;
  // Another worker may find meanwhile that the peer has another memory.
  uint64_t before = peer.watermark.load();
  while (isKnown && (before & WATERMARK_STANDS) == 0 && !peer.watermark.compare_exchange_weak(before, watermarkMs)) {
  }
  peer.heardAtMs.store(steadyMs(view_), std::memory_order_release);
}

// Noted before it is remembered: should this process die in between, the next one to meet the node notes it again. Of
// what the peer leads only that much is noted that whoever leads next knows better than to think it in sync.
bool Worker::meet(uint16_t node, uint64_t incarnation) {
  const int found = addPeer(node);
  if (found < 0) return false;
  const auto peer = static_cast<uint32_t>(found);
  std::atomic<uint64_t>& known = view_.peers[peer].incarnation;
  const uint64_t before = known.load(std::memory_order_acquire);
  if (before == incarnation) return false;
  for (uint32_t slot = 0; slot < view_.slotCount() && before != 0; slot++) {
    const auto local = static_cast<uint16_t>(slot);
    const Hold hold(locker_, &view_.segments[view_.segmentOf(local)]);
    if (peers_.rankOf(local, peer) < 0) continue;
    if (peers_.isLedHere(local)) peers_.forget(local, peer);
    if (peers_.isLedHere(local) || momentOf(view_, local).leader == node) peers_.missWhole(local, peer);
  }
  if (before != 0) view_.peers[peer].watermark.fetch_or(WATERMARK_STANDS);
  known.store(incarnation, std::memory_order_release);
  return before != 0;
}

PeerNews Worker::peerNews(uint16_t node) const {
  const int peer = peers_.find(node);
  if (peer < 0) return {};
  return {view_.peers[peer].heardAtMs.load(std::memory_order_acquire),
          view_.peers[peer].watermark.load(std::memory_order_relaxed) & ~WATERMARK_STANDS};
}

// The places are asked first: a worker that goes on to its next chunk afterwards has put what it stamped before into a
// ring.
uint64_t Worker::watermarkMs(uint16_t node) const {
  uint64_t lowest = nowMs(view_);
  for (uint32_t i = 1; i < PLACES_MAX; i++) {
    const Place& place = view_.places[i];
    if (place.state.load(std::memory_order_acquire) == static_cast<uint32_t>(PlaceState::FREE)) continue;
    const uint64_t ms = place.stampMs.load(std::memory_order_acquire);
    if (ms < lowest) lowest = ms;
  }
  const auto lowerBy = [&](uint64_t ms) { lowest = ms < lowest ? ms : lowest; };
  for (uint32_t i = 0; view_.peers != nullptr && i < PEERS_MAX; i++) {
    const uint32_t its = view_.peers[i].node.load(std::memory_order_acquire);
    if (its == 0 || (node != 0 && its != node)) continue;
    // Lacking something in a slot for which it does not think itself in sync, it asks for everything there anyway.
    for (uint32_t s = 0; s < view_.geometry.segments; s++) {
      const PeerSlots& slots = *view_.peerSlotsOf(s, i);
      const uint32_t told = __atomic_load_n(&slots.told, __ATOMIC_ACQUIRE);
      if ((told & __atomic_load_n(&slots.missed, __ATOMIC_ACQUIRE)) != 0) lowerBy(peers_.sinceMs(i));
      if ((told & __atomic_load_n(&slots.sending, __ATOMIC_ACQUIRE)) != 0)
        lowerBy(view_.peers[i].sendingSinceMs.load());
    }
    lowerBy(rings_.lowestMs(i));
  }
  return lowest;
}

bool Worker::isSteward() const {
  for (uint32_t i = 1; i < place_; i++) {
    const Place& place = view_.places[i];
    if (place.state.load(std::memory_order_acquire) == static_cast<uint32_t>(PlaceState::LIVE) && !placeIsDead(place))
      return false;
  }
  return true;
}

}  // namespace henge
