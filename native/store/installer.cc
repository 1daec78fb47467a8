#include "installer.h"

#include <time.h>

#include <algorithm>

namespace henge {

namespace {

// The node that leads by this row: its first entry, unless all are away. 0: nobody.
uint16_t leaderOf(const Row& row) {
  return row.length == 0 || roleOf(row.roles[0]) == RowRole::AWAY ? 0 : row.nodes[0];
}

Row rowOf(const Installation& installation, uint16_t slot) {
  Row row = {};
  for (uint32_t i = 0; i < ROW_MAX; i++) row.peers[i] = NO_PEER;
  const size_t first = static_cast<size_t>(slot) * ROW_MAX;
  while (row.length < ROW_MAX && installation.rows[first + row.length] != 0) {
    row.nodes[row.length] = installation.rows[first + row.length];
    row.roles[row.length] = installation.roles[first + row.length];
    row.length++;
  }
  return row;
}

// Its holder is dead, or was, and somebody has given its place back.
bool isForsaken(const View& view, uint32_t word) {
  const uint32_t holder = placeOfWord(word);
  if (holder >= PLACES_MAX) return true;
  const Place& place = view.places[holder];
  const bool isGone = place.state.load(std::memory_order_acquire) == static_cast<uint32_t>(PlaceState::FREE);
  return isGone || lockWord(holder, place.incarnation.load()) != word || placeIsDead(place);
}

// Who led before leads on, though the row names another one first, when it is one of the two between whom the slot is
// handed over; so that a change of the epoch in the middle of that moves nothing. After a gap only this node knows of
// itself that it led. And if this one is first in the row, and thinks that the former leader leads because it heard
// nothing else, it may be wrong: it takes over, and the others tell it.
void keepLeader(Row* row, const Row& old, const SlotMoment& before, bool isGapless, uint16_t self) {
  const bool ledHere = before.leader == self &&
                       (before.state == SlotState::PRIMARY || before.state == SlotState::TAKING_OVER);
  if (before.leader == 0 || !(isGapless || ledHere)) return;
  const int rank = rankOfNode(*row, before.leader);
  const bool isGuess = before.leader != self && old.length > 0 && (old.roles[0] & RowMark::FORMER) != 0;
  if (isGuess && row->nodes[0] == self) return;
  if (rank <= 0 || (row->roles[rank] & (RowMark::FORMER | RowMark::GOAL)) == 0) return;
  const RowRole role = roleOf(row->roles[rank]);
  if (role == RowRole::MEMBER || role == RowRole::RECEIVER) putFirst(row, static_cast<uint32_t>(rank));
}

// Who was to be handed the slot leads it by the epoch that ends the change, so it was handed over, though no frame of
// the new leader has come yet.
bool wasHandedUnnoticed(const Row& old, const SlotMoment& before, const SlotArrival& arrival) {
  const bool isCopy = before.state == SlotState::REPLICA || before.state == SlotState::JOINING;
  const int rank = rankOfNode(old, arrival.leader);
  return isCopy && arrival.isCopy && isContiguous(before, arrival) && rank > 0 &&
         (old.roles[rank] & RowMark::GOAL) != 0;
}

bool leads(const SlotMoment& moment) {
  return moment.state == SlotState::PRIMARY || moment.state == SlotState::TAKING_OVER;
}

}  // namespace

InstallLock::InstallLock(View& view, uint32_t place) : lock_(view.header->installLock) {
  const uint32_t mine = lockWord(place, view.places[place].incarnation.load());
  for (;;) {
    uint32_t word = 0;
    if (lock_.compare_exchange_strong(word, mine)) return;
    if (isForsaken(view, word) && lock_.compare_exchange_strong(word, mine)) return;
    const timespec nap{0, static_cast<long>(SLEEP_NS)};
    nanosleep(&nap, nullptr);
  }
}

int rankOfNode(const Row& row, uint16_t node) {
  for (uint32_t i = 0; i < row.length && i < ROW_MAX; i++) {
    if (row.nodes[i] == node) return static_cast<int>(i);
  }
  return -1;
}

void putFirst(Row* row, uint32_t rank) {
  std::rotate(row->nodes, row->nodes + rank, row->nodes + rank + 1);
  std::rotate(row->roles, row->roles + rank, row->roles + rank + 1);
  std::rotate(row->peers, row->peers + rank, row->peers + rank + 1);
}

SlotMoment momentOf(const View& view, uint16_t slot) {
  const Slot& word = view.slots[slot];
  SlotMoment moment{static_cast<SlotState>(word.state), word.flags, word.epoch, 0, 0};
  if (view.rows == nullptr) return moment;
  moment.leader = leaderOf(view.rows[slot]);
  moment.leaderEpoch = view.rows[slot].leaderEpoch;
  return moment;
}

// One store: a death leaves the old words or the new ones.
void setMoment(const View& view, uint16_t slot, const SlotMoment& moment) {
  Slot fresh = view.slots[slot];
  fresh.epoch = moment.epoch;
  fresh.state = static_cast<uint8_t>(moment.state);
  fresh.flags = moment.flags;
  uint64_t words = 0;
  memcpy(&words, &fresh, sizeof words);
  __atomic_store_n(reinterpret_cast<uint64_t*>(&view.slots[slot]), words, __ATOMIC_RELEASE);
}

void distrustSegment(View& view, uint32_t segment) {
  for (uint32_t i = 0; i < view.geometry.slotsPerSegment; i++) {
    const auto slot = static_cast<uint16_t>(segment * view.geometry.slotsPerSegment + i);
    setMoment(view, slot, afterLoss(momentOf(view, slot), view.isOnlyCopy(slot)));
    if (view.rows != nullptr) view.rows[slot].heldUntilMs = 0;
  }
}

// ---- a new epoch ---------------------------------------------------------------------------------------------------

bool Installer::install(const Installation& installation) {
  const InstallLock lock(view_, place_);
  Header* header = view_.header;
  if (header->epoch.load(std::memory_order_acquire) >= installation.epoch) return false;
  std::vector<bool> isLeaving(PEERS_MAX, false);
  std::vector<bool> isLeading(PEERS_MAX + 1, false);
  if (view_.peers != nullptr) enlist(installation, &isLeaving);
  header->rf.store(installation.rf, std::memory_order_release);
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    const Hold hold(locker_, &view_.segments[i]);
    for (uint32_t j = 0; j < view_.geometry.slotsPerSegment; j++) {
      const auto slot = static_cast<uint16_t>(i * view_.geometry.slotsPerSegment + j);
      installSlot(installation, slot);
      if (view_.rows != nullptr) isLeading[std::min<uint32_t>(view_.rows[slot].peers[0], PEERS_MAX)] = true;
    }
    for (uint32_t peer = 0; peer < PEERS_MAX; peer++) {
      if (isLeaving[peer]) *view_.peerSlotsOf(i, peer) = PeerSlots{};
    }
  }
  if (view_.peers != nullptr) {
    dismiss(isLeaving);
    endReigns(isLeading);
  }
  header->epoch.store(installation.epoch, std::memory_order_release);
  return true;
}

// Every node of a row gets a place in the table of peers; those that no row names any more are to leave it, unless a
// link to them stands.
void Installer::enlist(const Installation& installation, std::vector<bool>* isLeaving) {
  std::vector<bool> isNamed(UINT16_MAX + 1, false);
  const size_t entries = static_cast<size_t>(view_.slotCount()) * ROW_MAX;
  for (size_t i = 0; i < entries; i++) isNamed[installation.rows[i]] = true;
  Peers peers(view_);
  for (uint32_t i = 0; i < PEERS_MAX; i++) {
    const uint32_t node = view_.peers[i].node.load();
    (*isLeaving)[i] = node != 0 && !isNamed[node & UINT16_MAX] && !Rings(view_).hasRing(i);
  }
  peerOf_.assign(UINT16_MAX + 1, NO_PEER);
  for (uint32_t node = 1; node <= UINT16_MAX; node++) {
    const int peer = isNamed[node] && node != view_.nodeNumber ? peers.add(static_cast<uint16_t>(node)) : -1;
    if (peer >= 0) peerOf_[node] = static_cast<uint8_t>(peer);
  }
}

void Installer::dismiss(const std::vector<bool>& isLeaving) {
  Peers peers(view_);
  for (uint32_t i = 0; i < PEERS_MAX; i++) {
    if (isLeaving[i]) {
      view_.peers[i].node.store(0, std::memory_order_release);
    } else if (view_.peers[i].node.load() != 0) {
      peers.settle(i);
    }
  }
}

// Of whoever leads nothing any more all reigns are noted (noteReign), and its next one has a watermark of its own.
void Installer::endReigns(const std::vector<bool>& isLeading) {
  for (uint32_t i = 0; i < PEERS_MAX; i++) {
    if (!isLeading[i]) view_.peers[i].watermark.fetch_and(~WATERMARK_STANDS);
  }
}

void Installer::installSlot(const Installation& installation, uint16_t slot) {
  const SlotMoment before = momentOf(view_, slot);
  if (before.epoch >= installation.epoch) return;  // done already by one who died over the rest
  Row row = rowOf(installation, slot);
  for (uint32_t i = 0; i < row.length; i++) {
    if (!peerOf_.empty()) row.peers[i] = peerOf_[row.nodes[i]];
  }
  const bool isGapless = before.epoch != 0 && before.epoch + 1 == installation.epoch;
  if (view_.rows != nullptr) keepLeader(&row, view_.rows[slot], before, isGapless, view_.nodeNumber);
  const int rank = rankOfNode(row, view_.nodeNumber);
  SlotArrival arrival;
  arrival.epoch = installation.epoch;
  arrival.leader = leaderOf(row);
  arrival.isLeader = arrival.leader == view_.nodeNumber;
  arrival.isCopy = !arrival.isLeader && rank >= 0 && roleOf(row.roles[rank]) != RowRole::AWAY;
  arrival.isFounding = installation.isFounding;
  arrival.isAlone = installation.rf == 1 && (row.length == 1 || view_.rows == nullptr);
  const bool isHanded = view_.rows != nullptr && wasHandedUnnoticed(view_.rows[slot], before, arrival);
  const SlotMoment after = afterInstall(isHanded ? afterYield(before, arrival.leader) : before, arrival);
  if (view_.rows == nullptr) {
    setMoment(view_, slot, after);
    return;
  }
  row.leaderEpoch = after.leaderEpoch;
  noteReign(&row, before, after, view_.rows[slot]);
  rewrite(slot, before, after, row);
}

// What is known of the leader before. Its watermark is taken down here, as it stood at the end: a node that leads a
// slot no longer says nothing about it with the watermarks that follow.
void Installer::noteReign(Row* row, const SlotMoment& before, const SlotMoment& after, const Row& old) const {
  const bool isGapless = before.epoch != 0 && before.epoch + 1 == after.epoch;
  if (!isGapless) return;
  if (before.leader == after.leader) {
    row->leaderBefore = old.leaderBefore;
    row->heldUntilMs = old.heldUntilMs;
    return;
  }
  row->leaderBefore = before.leader;
  const int leader = Peers(view_).find(before.leader);
  if (before.state == SlotState::PRIMARY) row->heldUntilMs = SINCE_NOTHING;
  if (before.state == SlotState::REPLICA && leader >= 0)
    row->heldUntilMs = view_.peers[leader].watermark.load() & ~WATERMARK_STANDS;
}

// A death in the middle must not leave a new row beside an old state. While it is written the slot has no part in
// anything and no epoch, so that whoever begins anew finds a gap and believes nothing.
void Installer::rewrite(uint16_t slot, const SlotMoment& before, const SlotMoment& after, const Row& row) {
  const Row old = view_.rows[slot];
  setMoment(view_, slot, SlotMoment{});
  __atomic_thread_fence(__ATOMIC_RELEASE);
  view_.rows[slot] = row;
  noteCopies(slot, before, after, old, row);
  setMoment(view_, slot, after);
}

// What is known of the copies of a slot in its new epoch. Who leads on keeps its books. A new leader knows that the old
// one, with which it was in sync, lacks nothing, unless that one's memory was met anew meanwhile; of everybody else it
// knows nothing. A copy keeps that one note while it has the same leader.
void Installer::noteCopies(uint16_t slot, const SlotMoment& before, const SlotMoment& after, const Row& old,
                           const Row& row) {
  Peers peers(view_);
  const bool isGapless = before.epoch != 0 && before.epoch + 1 == after.epoch;
  const bool keepsBooks = isGapless && leads(before) && leads(after);
  const bool isFounded = after.state == SlotState::PRIMARY && before.epoch == 0;
  for (uint32_t i = 0; i < old.length && i < ROW_MAX; i++) {
    const bool isLeaderStill = isGapless && old.nodes[i] == before.leader && old.nodes[i] == after.leader;
    const bool stays = (leads(after) && rankOfNode(row, old.nodes[i]) >= 0) || isLeaderStill;
    if (old.peers[i] < PEERS_MAX && !stays) peers.forget(slot, old.peers[i]);
  }
  if (!leads(after)) return;
  for (uint32_t i = 0; i < row.length; i++) {
    const uint32_t peer = row.peers[i];
    if (peer >= PEERS_MAX) continue;
    PeerSlots& slots = peers.slotsOf(slot, peer);
    const auto bit = static_cast<uint16_t>(peers.bitOf(slot));
    if (keepsBooks && rankOfNode(old, row.nodes[i]) >= 0) {
      if (roleOf(row.roles[i]) != RowRole::AWAY) continue;
      slots.synced = static_cast<uint16_t>(slots.synced & ~bit);
      slots.told = static_cast<uint16_t>(slots.told & ~bit);
      continue;
    }
    const bool hasLost = (slots.whole & bit) != 0;
    peers.forget(slot, peer);
    const bool isOldLeader = isGapless && before.state == SlotState::REPLICA && row.nodes[i] == before.leader;
    const bool lacksNothing = isFounded || (isOldLeader && !hasLost);
    // The state is not in place yet, by which miss() would know that the slot is led here.
    if (!lacksNothing) {
      slots.whole = static_cast<uint16_t>(slots.whole | bit);
      slots.missed = static_cast<uint16_t>(slots.missed | bit);
      peers.lower(peer, 0);
    }
    // In the epochs that were missed this node may have led without knowing, and this one be in sync.
    if (!isFounded && !isGapless) slots.told = static_cast<uint16_t>(slots.told | bit);
  }
}

// ---- a memory taken up again ---------------------------------------------------------------------------------------

void Installer::resume(bool isWhole) {
  const InstallLock lock(view_, place_);
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    const Hold hold(locker_, &view_.segments[i]);
    for (uint32_t j = 0; j < view_.geometry.slotsPerSegment; j++) {
      resumeSlot(static_cast<uint16_t>(i * view_.geometry.slotsPerSegment + j), isWhole);
    }
  }
  Peers peers(view_);
  for (uint32_t i = 0; view_.peers != nullptr && i < PEERS_MAX; i++) {
    if (view_.peers[i].node.load() == 0) continue;
    view_.peers[i].sendingOwner.store(0);
    view_.peers[i].heardAtMs.store(0);
    peers.settle(i);
  }
}

// The others may still believe that they are in sync with what this node was before.
void Installer::resumeSlot(uint16_t slot, bool isWhole) {
  const SlotMoment after = afterResume(momentOf(view_, slot), isWhole, view_.isOnlyCopy(slot));
  setMoment(view_, slot, after);
  if (view_.rows == nullptr) return;
  Peers peers(view_);
  Row& row = view_.rows[slot];
  if (!isWhole) row.heldUntilMs = 0;
  for (uint32_t i = 0; i < row.length && i < ROW_MAX; i++) {
    const uint32_t peer = row.peers[i];
    if (peer >= PEERS_MAX) continue;
    peers.unsend(view_.segmentOf(slot), peer);
    if (!leads(after)) {
      peers.forget(slot, peer);
      continue;
    }
    if (!isWhole) peers.missWhole(slot, peer);
    PeerSlots& slots = peers.slotsOf(slot, peer);
    const auto bit = static_cast<uint16_t>(peers.bitOf(slot));
    slots.synced = static_cast<uint16_t>(slots.synced & ~bit);
    if (roleOf(row.roles[i]) != RowRole::AWAY) slots.told = static_cast<uint16_t>(slots.told | bit);
  }
}

}  // namespace henge
