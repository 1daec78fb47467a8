// Replication under everything at once, from a seed: writes at one and at quorum, frames late or lost, links broken,
// workers killed, one node at a time away (cut off, crashed, or back with an empty memory), epochs known here and not
// yet there.
//
// What is checked: whoever leads in the newest epoch and is primary has no value older than the last write acknowledged
// by a quorum, and no deleted key comes back; in the end, when all is healed, the copies of every slot are equal. The
// part of the cluster's logic that this needs (take-over, catch-up, who is away) is played by the test in its simplest
// form.
#include <map>

#include "support/cluster.h"

namespace {

using namespace cluster;

constexpr uint32_t NODES = 4;
constexpr uint32_t KEYS = 40;
constexpr uint32_t STEPS = 400;
constexpr uint16_t NOBODY = 0;

enum class Absence { NONE, AWAY, RETURNING };

// A write that waits for acknowledgements.
struct Ballot {
  std::string key;
  uint32_t sequence;
  uint16_t leader;
  uint32_t epoch;  // in which it was written
  uint32_t needed;
  uint32_t got = 0;
};

struct World {
  explicit World(uint64_t seed) : random(seed), rf(2 + random.below(2)) {
    for (uint16_t i = 1; i <= NODES; i++) {
      nodes.push_back(std::make_unique<Node>(i));
      nodes.back()->addWorker();
    }
    record();
    for (auto& node : nodes) installAt(*node, true);
    for (auto& node : nodes) connect(*node);
    for (auto& node : nodes) greet(*node);
  }

  // --- the topology ---

  // The row of a slot: the ring's order, with the overlay of the one who is away or returning.
  std::string rowOf(uint32_t slot) const {
    std::string members, standIns, struck;
    uint32_t standInsLeft = 0;
    for (uint32_t i = 0; i < NODES; i++) {
      const auto node = static_cast<uint16_t>((slot + i) % NODES + 1);
      const bool isStruck = absence != Absence::NONE && node == absentee;
      const std::string name = std::to_string(node);
      if (i < rf && isStruck) {
        struck = name + (absence == Absence::AWAY ? "-" : "~");
        standInsLeft++;
      } else if (i < rf) {
        members += name + " ";
      } else if (standInsLeft > 0 && !isStruck) {
        standIns += name + "+ ";
        standInsLeft--;
      }
    }
    return members + standIns + struck;
  }
  void record() {
    epoch++;
    rows::Epoch made = rows::epochOf(SLOTS, epoch, rf, "1");
    for (uint32_t slot = 0; slot < SLOTS; slot++) made.set(slot, rowOf(slot));
    epochs.push_back(made);
  }
  void installAt(Node& node, bool isFounding = false) {
    rows::Epoch& newest = epochs.back();
    newest.isFounding = isFounding;
    node.memory->install(newest.installation());
  }
  Node& at(uint16_t number) { return *nodes[number - 1u]; }
  uint16_t leaderOf(uint32_t slot) const { return epochs.back().rows[slot * ROW_MAX]; }
  bool isCrashed(uint16_t number) const { return hasCrashed && number == absentee; }

  // --- links ---

  void connect(Node& from) {
    for (auto& worker : from.workers) {
      for (auto& to : nodes) {
        if (to->number != from.number) links.push_back(std::make_unique<Link>(from, *worker, *to));
      }
    }
  }
  // Every link begins with who is at its ends, and with which memory.
  void greet(Node& node) {
    for (auto& other : nodes) {
      if (other->number == node.number || isCrashed(other->number)) continue;
      node.worker().meet(other->number, incarnationOf(*other));
      other->worker().meet(node.number, incarnationOf(node));
    }
  }
  static uint64_t incarnationOf(Node& node) { return node.worker().view().header->constants.incarnation; }
  void dropLinks(uint16_t node, bool isHost) {
    for (auto& link : links) {
      if (link->from().number != node && link->to().number != node) continue;
      if (isHost && link->from().number == node) link->abandon();
      else link->lose();
    }
    if (!isHost) return;
    std::vector<std::unique_ptr<Link>> kept;
    for (auto& link : links) {
      if (link->from().number != node) kept.push_back(std::move(link));
    }
    links.swap(kept);
  }

  // --- steps ---

  void write() {
    const std::string key = "key" + std::to_string(random.below(KEYS));
    const uint32_t slot = slotOf(key) % SLOTS;
    // Mostly where it belongs; now and then somebody who led before.
    const auto number = static_cast<uint16_t>(random.below(8) == 0 ? random.below(NODES) + 1 : leaderOf(slot));
    if (isCrashed(number)) return;
    Node& node = at(number);
    Worker& worker = *node.workers[random.below(static_cast<uint32_t>(node.workers.size()))];
    const uint32_t kind = random.below(8);
    const std::string value = std::to_string(++sequence);
    Operation operation = Node::operation(kind == 0   ? Opcode::DELETE
                                          : kind == 1 ? Opcode::TOUCH
                                                      : Opcode::SET,
                                          key, value);
    if (kind == 1) operation.value = {};
    operation.acksNeeded = static_cast<uint8_t>(random.below(3) == 0 ? 0 : worker.acksFor(WriteLevel::QUORUM));
    const Answer answer = node.run(worker, operation);
    const bool isWritten = answer.status == Status::OK || (kind == 0 && answer.status == Status::NOT_FOUND);
    if (!isWritten) return;
    for (uint32_t i = 0; i < worker.written().linkCount; i++) {
      for (auto& link : links) {
        const bool isIts = &link->worker() == &worker && link->handle() == worker.written().links[i];
        if (isIts) link->send(worker.written(), sequence);
      }
    }
    if (kind == 0) deleted[key] = sequence;
    // A touch does not change what is read.
    if (kind == 1 || operation.acksNeeded == 0) return;
    ballots.push_back({key, sequence, number, worker.view().slots[slot].epoch, operation.acksNeeded});
  }

  void deliver(Link& link) {
    if (link.waiting() == 0 || link.handle() < 0 || isCrashed(link.to().number)) return;
    if (link.oldestEpoch() > link.to().worker().installedEpoch()) return;  // held until that epoch is there
    const uint32_t about = link.oldestTag();
    const Applied applied = link.deliver();
    CHECK(applied == Applied::APPLIED || applied == Applied::SUPERSEDED || applied == Applied::STALE ||
          applied == Applied::NEED_FULL);
    if (applied == Applied::APPLIED || applied == Applied::SUPERSEDED) acknowledge(about);
  }
  void acknowledge(uint32_t about) {
    for (Ballot& ballot : ballots) {
      if (ballot.sequence != about || ++ballot.got < ballot.needed) continue;
      // Whose leadership ended meanwhile answers nothing.
      Node& leader = at(ballot.leader);
      const Slot& slot = leader.worker().view().slots[slotOf(ballot.key) % SLOTS];
      const bool leadsOn = slot.state == static_cast<uint8_t>(SlotState::PRIMARY) && slot.epoch == ballot.epoch;
      if (leadsOn && acknowledged[ballot.key] < about) acknowledged[ballot.key] = about;
      ballot.needed = UINT32_MAX;
    }
  }

  void heartbeat() {
    const auto from = static_cast<uint16_t>(random.below(NODES) + 1);
    const auto to = static_cast<uint16_t>(random.below(NODES) + 1);
    if (from == to || isCrashed(from) || isCrashed(to) || isCut(from) || isCut(to)) return;
    // Of another epoch nothing is believed: who leads less there says nothing of the rest.
    Worker& hearer = at(to).worker();
    const bool isOfThisEpoch = at(from).worker().installedEpoch() == hearer.installedEpoch();
    const uint64_t watermarkMs = isOfThisEpoch ? at(from).worker().watermarkMs(to) : hearer.peerNews(from).watermarkMs;
    hearer.heard(from, incarnationOf(at(from)), watermarkMs);
  }
  bool isCut(uint16_t number) const { return absence == Absence::AWAY && number == absentee; }

  void leave() {
    if (absence != Absence::NONE || !isRestored()) return;
    absence = Absence::AWAY;
    absentee = static_cast<uint16_t>(random.below(NODES) + 1);
    record();
    hasCrashed = random.below(2) == 0;
    if (!hasCrashed) return;
    Node& node = at(absentee);
    dropLinks(absentee, true);
    while (!node.workers.empty()) node.kill(0);
  }
  void comeBack() {
    if (absence != Absence::AWAY) return;
    absence = Absence::RETURNING;
    Node& node = at(absentee);
    if (hasCrashed) {
      if (random.below(2) == 0) {
        node.memory.reset();
        node.open();
      } else {
        node.memory->resume(false);
        node.addWorker();
      }
      node.addWorker();
      connect(node);
      greet(node);
    }
    hasCrashed = false;
    hasMerged.assign(SLOTS, false);
    record();
  }
  void restore() {
    if (absence != Absence::RETURNING || !isRestored()) return;
    absence = Absence::NONE;
    record();
  }
  // Everybody is in the newest epoch, every slot is led, and every copy is in sync.
  bool isRestored() {
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
      for (uint32_t i = 0; i < ROW_MAX; i++) {
        const uint16_t node = epochs.back().rows[slot * ROW_MAX + i];
        if (node == NOBODY) continue;
        if (at(node).worker().installedEpoch() != epoch) return false;
        if (at(node).state(slot) != (i == 0 ? SlotState::PRIMARY : SlotState::REPLICA)) return false;
      }
    }
    return true;
  }

  void install() {
    const auto number = static_cast<uint16_t>(random.below(NODES) + 1);
    if (!isCrashed(number) && !isCut(number)) installAt(at(number));
  }

  // Merges what another node has of these slots.
  void pull(Node& to, Node& from, const std::string& slots, uint64_t sinceMs) {
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
      if (!hasSlot(slots, slot)) continue;
      uint64_t cursor = 0;
      do {
        const Collected collected = from.worker().collect({slot / 4u, 1u << (slot % 4), sinceMs, 500}, cursor);
        std::string_view records = collected.bytes;
        Item item;
        while (!records.empty()) {
          CHECK(decodeItemRecord(&records, &item));
          to.worker().merge(item, from.number, from.worker().installedEpoch());
        }
        cursor = collected.next;
      } while (cursor != 0);
    }
  }
  // One slot is taken over, when all others of its row are there to ask.
  void takeOver() {
    const uint32_t slot = random.below(SLOTS);
    const uint16_t number = leaderOf(slot);
    if (isCrashed(number)) return;
    Node& node = at(number);
    if (node.worker().installedEpoch() != epoch || node.state(slot) != SlotState::TAKING_OVER) return;
    const rows::Epoch& newest = epochs.back();
    const bool wasInSync = (node.flags(slot) & SlotFlag::DETACHED) != 0;
    const uint64_t sinceMs = wasInSync ? node.worker().view().rows[slot].heldUntilMs : 0;
    for (const bool isAsking : {false, true}) {
      for (uint32_t i = 1; i < ROW_MAX; i++) {
        const uint16_t other = newest.rows[slot * ROW_MAX + i];
        const bool isAsked = other != NOBODY && newest.roles[slot * ROW_MAX + i] != static_cast<uint8_t>(RowRole::AWAY);
        if (!isAsked) continue;
        if (isCrashed(other) || at(other).worker().installedEpoch() != epoch) return;
        if (isAsking) pull(node, at(other), onlySlot(slot), sinceMs);
      }
    }
    node.worker().finishTakeOver(epoch, onlySlot(slot), 0);
  }

  void catchUpOne() {
    const auto number = static_cast<uint16_t>(random.below(NODES) + 1);
    const auto other = static_cast<uint16_t>(random.below(NODES) + 1);
    if (number == other || isCrashed(number) || isCrashed(other) || isCut(number) || isCut(other)) return;
    Node& node = at(number);
    if (node.worker().installedEpoch() != epoch || at(other).worker().installedEpoch() != epoch) return;
    for (auto& link : links) {
      const bool isIts = &link->from() == &node && &link->to() == &at(other);
      if (isIts && link->handle() < 0) return;
    }
    if (absence == Absence::RETURNING && other == absentee) {
      const std::string states = node.worker().states();
      for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (leaderOf(slot) != number || hasMerged[slot]) continue;
        if (static_cast<SlotState>(states[slot]) != SlotState::PRIMARY) continue;
        pull(node, at(other), onlySlot(slot), 0);
        hasMerged[slot] = true;
      }
    }
    catchUp(node, node.worker(), at(other), 200 + random.below(2000));
  }
  void killWorker() {
    const auto number = static_cast<uint16_t>(random.below(NODES) + 1);
    if (isCrashed(number) || at(number).workers.size() < 2) return;
    Node& node = at(number);
    const size_t which = random.below(static_cast<uint32_t>(node.workers.size()));
    Worker* const victim = node.workers[which].get();
    std::vector<std::unique_ptr<Link>> kept;
    for (auto& link : links) {
      // Some of what it had sent is on its way yet.
      if (&link->worker() == victim) {
        for (uint32_t i = random.below(4); i > 0 && link->waiting() > 0; i--) deliver(*link);
        if (!isCrashed(link->to().number)) link->to().worker().detach(number);
      } else {
        kept.push_back(std::move(link));
      }
    }
    links.swap(kept);
    node.kill(which);
    Worker& fresh = node.addWorker();
    for (auto& to : nodes) {
      if (to->number != number) links.push_back(std::make_unique<Link>(node, fresh, *to));
    }
  }

  void check() {
    for (uint32_t i = 0; i < KEYS; i++) {
      const std::string key = "key" + std::to_string(i);
      const uint32_t slot = slotOf(key) % SLOTS;
      const uint16_t number = leaderOf(slot);
      if (isCrashed(number) || isCut(number)) continue;
      Node& leader = at(number);
      if (leader.worker().installedEpoch() != epoch || leader.state(slot) != SlotState::PRIMARY) continue;
      if ((leader.flags(slot) & SlotFlag::DEPOSED) != 0) continue;
      const std::string value = leader.get(key);
      const uint32_t least = acknowledged[key];
      // Nothing is evicted here, so what is not there was deleted, then or later.
      const bool isMiss = value[0] == '[';
      CHECK(isMiss ? value == "[1]" && deleted[key] >= least : static_cast<uint32_t>(std::stoul(value)) >= least);
    }
  }

  void step() {
    const uint64_t now = at(1).ms + random.below(3);
    for (auto& node : nodes) node->setClock(now);
    const uint32_t dice = random.below(100);
    if (dice < 35) write();
    else if (dice < 60 && !links.empty()) deliver(*links[random.below(static_cast<uint32_t>(links.size()))]);
    else if (dice < 66) heartbeat();
    else if (dice < 72) install();
    else if (dice < 80) takeOver();
    else if (dice < 88) catchUpOne();
    else if (dice < 91) breakLink();
    else if (dice < 94) mendLinks();
    else if (dice < 95) killWorker();
    else if (dice < 97) leave();
    else if (dice < 98) comeBack();
    else restore();
    check();
  }
  void breakLink() {
    if (links.empty()) return;
    Link& link = *links[random.below(static_cast<uint32_t>(links.size()))];
    for (uint32_t i = random.below(4); i > 0; i--) deliver(link);
    if (!isCrashed(link.to().number)) link.lose();
  }
  void mendLinks() {
    for (auto& link : links) {
      if (link->handle() < 0 && !isCrashed(link->to().number) && !isCrashed(link->from().number)) link->reopen();
    }
  }

  void heal() {
    for (uint32_t round = 0; round < 2000 && !(absence == Absence::NONE && isRestored()); round++) {
      for (auto& node : nodes) node->setClock(node->ms + 1);
      for (auto& link : links) deliver(*link);
      mendLinks();
      install();
      takeOver();
      for (uint32_t i = 0; i < 4; i++) catchUpOne();
      comeBack();
      restore();
      check();
    }
    CHECK(absence == Absence::NONE && isRestored());
    for (auto& link : links) {
      while (link->waiting() > 0) deliver(*link);
    }
    mendLinks();
    for (auto& leader : nodes) {
      for (auto& copy : nodes) {
        if (leader != copy) catchUp(*leader, leader->worker(), *copy);
      }
    }
  }
  void compare() {
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
      const Digest wanted = at(leaderOf(slot)).worker().digest(static_cast<uint16_t>(slot));
      for (uint32_t i = 1; i < ROW_MAX; i++) {
        const uint16_t node = epochs.back().rows[slot * ROW_MAX + i];
        if (node != NOBODY) CHECK(at(node).worker().digest(static_cast<uint16_t>(slot)).sum == wanted.sum);
      }
    }
    check();
  }

  check::Random random;
  uint32_t rf;
  uint32_t epoch = 0;
  uint32_t sequence = 0;
  Absence absence = Absence::NONE;
  uint16_t absentee = NOBODY;
  bool hasCrashed = false;
  std::vector<bool> hasMerged = std::vector<bool>(SLOTS, false);
  std::vector<rows::Epoch> epochs;
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<std::unique_ptr<Link>> links;
  std::vector<Ballot> ballots;
  std::map<std::string, uint32_t> acknowledged;  // key to the last write acknowledged by a quorum
  std::map<std::string, uint32_t> deleted;       // key to its last deletion, acknowledged or not
};

TEST("nothing a quorum acknowledged is lost, whatever happens one node at a time") {
  check::Random seeds;
  for (uint32_t run = 0; run < 60; run++) {
    const uint64_t seed = seeds.next();
    try {
      World world(seed);
      for (uint32_t i = 0; i < STEPS; i++) world.step();
      world.heal();
      world.compare();
    } catch (const check::Failed&) {
      printf("world %llu\n", static_cast<unsigned long long>(seed));
      throw;
    }
  }
}

}  // namespace

TEST_MAIN
