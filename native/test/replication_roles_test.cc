// Who may answer and who may lead: the levels of reads and writes, whose frames are applied, and changes of leadership.
#include <unistd.h>

#include "support/pair.h"

namespace {

using namespace cluster;

// ---- levels --------------------------------------------------------------------------------------------------------

TEST("a level that too few copies can acknowledge is refused before anything is written") {
  Node leader(1), second(2), third(3);
  for (Node* node : {&leader, &second, &third}) node->install(1, 3, "1 2 3", true);
  CHECK(leader.worker().acksFor(WriteLevel::ONE) == 0 && leader.worker().acksFor(WriteLevel::QUORUM) == 1);
  CHECK(leader.worker().acksFor(WriteLevel::ALL) == 2);
  CHECK(leader.set("key", "value", 1).status == Status::NOT_READY);
  CHECK(leader.get("key") == "[1]" && isEmpty(leader.worker().peerBits(2).missed));
  Link toSecond(leader, leader.worker(), second);
  CHECK(leader.set("key", "value", 1).status == Status::OK);
  CHECK(leader.worker().written().linkCount == 1);
  CHECK(leader.set("key", "value", 2).status == Status::NOT_READY);
  CHECK(leader.act(Opcode::GET, "key", ReadLevel::QUORUM).rowLinkCount == 1);
  Link toThird(leader, leader.worker(), third);
  CHECK(leader.set("key", "value", 2).status == Status::OK);
  CHECK(leader.worker().written().linkCount == 2);
  leader.worker().setLinkFull(toThird.handle(), true);
  CHECK(leader.set("key", "value", 2).status == Status::NOT_READY);
}

TEST("each state serves what it may") {
  struct Case {
    SlotState state;
    uint8_t flags;
    const char* primary;
    const char* quorum;
    const char* nearest;
    const char* degraded;
    Status write;
  };
  const Case cases[] = {
      {SlotState::NONE, 0, "[9]", "[9]", "[9]", "[9]", Status::MOVED},
      {SlotState::JOINING, 0, "[9]", "[9]", "[15]", "[15]", Status::MOVED},
      {SlotState::REPLICA, 0, "[9]", "[9]", "v", "v", Status::MOVED},
      {SlotState::REPLICA, SlotFlag::DETACHED, "[9]", "[9]", "[15]", "v", Status::MOVED},
      {SlotState::TAKING_OVER, 0, "[14]", "[14]", "[15]", "[15]", Status::NOT_READY},
      {SlotState::TAKING_OVER, SlotFlag::DETACHED, "[14]", "[14]", "[15]", "v", Status::NOT_READY},
      {SlotState::PRIMARY, SlotFlag::DEPOSED, "[14]", "[14]", "[15]", "[15]", Status::NOT_READY},
      {SlotState::PRIMARY, SlotFlag::MERGING, "v", "[14]", "v", "v", Status::OK},
      {SlotState::PRIMARY, SlotFlag::POSSIBLE_LOSS, "v", "v", "v", "v", Status::OK},
      {SlotState::PRIMARY, 0, "v", "v", "v", "v", Status::OK},
  };
  Pair pair;
  pair.set("key", "v");
  Slot& slot = pair.leader.worker().view().slots[pair.leader.slotOf("key")];
  for (const Case& each : cases) {
    slot.state = static_cast<uint8_t>(each.state);
    slot.flags = each.flags;
    CHECK(pair.leader.get("key", ReadLevel::PRIMARY) == each.primary);
    CHECK(pair.leader.get("key", ReadLevel::QUORUM) == each.quorum);
    CHECK(pair.leader.get("key", ReadLevel::NEAREST) == each.nearest);
    CHECK(pair.leader.get("key", ReadLevel::DEGRADED) == each.degraded);
    CHECK(pair.leader.set("key", "v").status == each.write);
  }
  slot.state = static_cast<uint8_t>(SlotState::PRIMARY);
  slot.flags = SlotFlag::MERGING;
  CHECK(pair.leader.set("key", "v", 1).status == Status::NOT_READY);
}

TEST("a degraded answer says so, a primary's never does") {
  Pair pair;
  pair.set("key", "v");
  pair.link.deliverAll();
  const uint8_t level = ReadLevel::DEGRADED;
  CHECK(pair.leader.act(Opcode::GET, "key", level).hints == 0);
  pair.link.lose();
  CHECK(pair.copy.act(Opcode::GET, "key", level).hints == protocol::Hint::DEGRADED);
  CHECK(pair.copy.act(Opcode::GET, "absent", level).hints == protocol::Hint::DEGRADED);
}

TEST("a fenced node takes no writes and answers reads") {
  Pair pair;
  pair.set("key", "v");
  pair.leader.memory->setFence(pair.leader.ms + 100);
  CHECK(pair.set("key", "w").status == Status::OK);
  pair.advance(100);
  CHECK(pair.set("key", "x").status == Status::NOT_READY);
  CHECK(pair.act(Opcode::DELETE, "key").status == Status::NOT_READY);
  CHECK(pair.leader.get("key") == "w");
  pair.leader.memory->setFence(pair.leader.ms + 100);
  CHECK(pair.set("key", "x").status == Status::OK);
  pair.advance(1000);
  pair.leader.memory->setFence(0);
  CHECK(pair.set("key", "y").status == Status::OK);
}

TEST("a quorum read's miss says what is known of the key") {
  Pair pair;
  CHECK(pair.leader.act(Opcode::GET, "key", ReadLevel::QUORUM).version.isZero());
  pair.set("key", "v");
  const Version deleted = pair.act(Opcode::DELETE, "key").version;
  CHECK(pair.leader.act(Opcode::GET, "key", ReadLevel::QUORUM).version == deleted);
  Operation brief = Node::operation(Opcode::SET, "brief", "v");
  brief.ttlMs = 10;
  const Version expired = pair.wrote(pair.leader.run(brief)).version;
  pair.advance(10);
  const Answer answer = pair.leader.act(Opcode::GET, "brief", ReadLevel::QUORUM);
  CHECK(answer.status == Status::NOT_FOUND && answer.version == expired);
}

TEST("copies are compared by version") {
  Pair pair;
  const Operation key = pair.leader.located("key");
  std::string newer;
  const Version none;
  CHECK(pair.copy.worker().query(key, none, 1, 1, &newer) == Match::SAME);
  const Version first = pair.set("key", "one").version;
  CHECK(pair.copy.worker().query(key, first, 1, 1, &newer) == Match::OLDER);
  Written written;
  CHECK(pair.leader.worker().describe(key, pair.link.handle(), &written));
  pair.link.send(written);
  CHECK(pair.link.deliver() == Applied::APPLIED);
  CHECK(pair.link.deliver() == Applied::SUPERSEDED);
  CHECK(pair.copy.worker().query(key, first, 1, 1, &newer) == Match::SAME);
  pair.set("key", "two");
  pair.link.deliverAll();
  CHECK(pair.copy.worker().query(key, first, 1, 1, &newer) == Match::NEWER);
  std::string_view record = newer;
  Item item;
  CHECK(decodeItemRecord(&record, &item) && item.value == "two" && item.key == "key");
  CHECK(pair.copy.worker().query(key, first, 3, 1, &newer) == Match::STALE);
  pair.act(Opcode::DELETE, "key");
  pair.link.deliverAll();
  CHECK(pair.copy.worker().query(key, first, 1, 1, &newer) == Match::NEWER);
  record = newer;
  CHECK(decodeItemRecord(&record, &item) && item.kind == protocol::ItemKind::TOMBSTONE);
  CHECK(pair.copy.worker().query(key, none, 1, 1, &newer) == Match::SAME);
  CHECK(!pair.leader.worker().describe(pair.leader.located("never"), pair.link.handle(), &written));
}

// ---- who may say something -----------------------------------------------------------------------------------------

TEST("only the leader's frames are applied, and only since it leads") {
  Pair pair;
  pair.set("key", "v");
  const Written written = pair.leader.worker().written();
  Item item;
  item.key = "key";
  item.value = "other";
  item.version = Version{1, written.version.time + 1, 3};
  CHECK(pair.copy.worker().apply(item, 3, 1, nullptr) == Applied::STALE);
  CHECK(pair.copy.worker().merge(item, 3, 1) == Applied::STALE);
  pair.copy.install(2, 2, "3 2 1-");
  CHECK(pair.link.deliver() == Applied::STALE);
  CHECK(pair.isMissed("key"));
  CHECK(pair.leader.flags(pair.leader.slotOf("key")) == SlotFlag::DEPOSED);
  CHECK(pair.set("key", "w").status == Status::NOT_READY);
  CHECK(pair.copy.worker().apply(item, 3, 2, nullptr) == Applied::APPLIED);
  // Node 1 leads again: what it sent before the other one led is as stale as ever.
  pair.copy.install(3, 2, "1 2");
  item.version.time++;
  CHECK(pair.copy.worker().apply(item, 1, 1, nullptr) == Applied::STALE);
  CHECK(pair.copy.worker().apply(item, 1, 3, nullptr) == Applied::APPLIED);
}

TEST("a leader that was deposed leads again with the next epoch if that says so") {
  Pair pair;
  const uint32_t slot = pair.leader.slotOf("key");
  pair.set("key", "v");
  pair.copy.install(2, 2, "1 2");
  pair.leader.worker().refuseOldest(pair.link.handle(), true, 2);
  CHECK(pair.leader.flags(slot) == SlotFlag::DEPOSED);
  pair.leader.install(2, 2, "1 2");
  CHECK(pair.leader.state(slot) == SlotState::PRIMARY && pair.leader.flags(slot) == 0);
  pair.set("key", "w");
  pair.leader.worker().refuseOldest(pair.link.handle(), true, 2);
  CHECK(pair.leader.flags(slot) == 0);
}

TEST("a version far ahead of the clock is refused before it touches anything") {
  Pair pair;
  pair.leader.setClock(pair.leader.ms + 501);
  const Version version = pair.set("key", "v").version;
  CHECK(pair.link.deliver() == Applied::AHEAD);
  CHECK(pair.isMissed("key") && pair.copy.memory->stats().clockRefusals == 1);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "[1]");
  pair.copy.setClock(pair.copy.ms + 1);
  pair.leader.worker().describe(pair.leader.located("key"), pair.link.handle(),
                                const_cast<Written*>(&pair.leader.worker().written()));
  pair.link.send(pair.leader.worker().written());
  CHECK(pair.link.deliver() == Applied::APPLIED);
  CHECK(version.time >> 16 == pair.leader.ms);
}

// ---- leadership ----------------------------------------------------------------------------------------------------

TEST("a new leader merges what the others have, and passes it on") {
  Node first(1), second(2), third(3);
  for (Node* node : {&first, &second, &third}) node->install(1, 3, "1 2 3", true);
  Link toSecond(first, first.worker(), second);
  Link toThird(first, first.worker(), third);
  catchUp(first, first.worker(), second);
  catchUp(first, first.worker(), third);
  first.set("both", "v");
  pump(first.worker().written(), {&toSecond, &toThird});
  toSecond.deliverAll();
  toThird.deliverAll();
  first.set("third's", "v");
  pump(first.worker().written(), {&toSecond, &toThird});
  toThird.deliverAll();
  for (Node* node : {&second, &third}) node->install(2, 3, "2 3 1-");
  const uint32_t slot = second.slotOf("third's");
  CHECK(second.state(slot) == SlotState::TAKING_OVER && third.state(slot) == SlotState::JOINING);
  // The old leader lacks nothing of what it led itself; of the third nothing is known.
  CHECK(!hasSlot(second.worker().peerBits(1).missed, slot) && hasSlot(second.worker().peerBits(3).whole, slot));
  for (uint32_t segment = 0; segment < SEGMENTS; segment++) {
    std::string_view records;
    const Collected collected = third.worker().collect({segment, 0xf, 0, 1 << 20}, 0);
    records = collected.bytes;
    Item item;
    while (!records.empty()) {
      CHECK(decodeItemRecord(&records, &item));
      second.worker().merge(item, 3, 2);
    }
  }
  CHECK(hasSlot(second.worker().peerBits(1).missed, slot));
  second.worker().finishTakeOver(2, ALL, 0);
  CHECK(second.get("third's") == "v" && second.get("both") == "v");
  Link link(second, second.worker(), third);
  catchUp(second, second.worker(), third);
  CHECK(third.state(slot) == SlotState::REPLICA);
  // And the one that comes back gets what it missed.
  second.set("later", "w");
  for (Node* node : {&first, &second, &third}) node->install(3, 3, "2 3 1~");
  CHECK(first.state(slot) == SlotState::JOINING);
  catchUp(second, second.worker(), first);
  CHECK(first.get("later", ReadLevel::NEAREST) == "w");
  CHECK(isEmpty(second.worker().peerBits(1).missed));
}

TEST("taking over ends only in the epoch it was begun in") {
  Pair pair;
  pair.copy.install(2, 2, "2 1-");
  pair.copy.install(3, 2, "2 1~");
  pair.copy.worker().finishTakeOver(2, ALL, 0);
  CHECK(pair.copy.state(0) == SlotState::TAKING_OVER && pair.copy.flags(0) == SlotFlag::DETACHED);
  pair.copy.worker().finishTakeOver(3, onlySlot(5), SlotFlag::POSSIBLE_LOSS);
  CHECK(pair.copy.state(5) == SlotState::PRIMARY && pair.copy.flags(5) == SlotFlag::POSSIBLE_LOSS);
  CHECK(pair.copy.state(0) == SlotState::TAKING_OVER);
  pair.copy.worker().clearFlags(ALL, SlotFlag::POSSIBLE_LOSS | SlotFlag::DETACHED);
  CHECK(pair.copy.flags(5) == 0 && pair.copy.flags(0) == SlotFlag::DETACHED);
}

TEST("in sync is what the leader of this epoch says") {
  Node copy(2);
  copy.install(4, 2, "1 2");
  CHECK(isEmpty(copy.worker().acceptSynced(1, 3, ALL)));
  CHECK(isEmpty(copy.worker().acceptSynced(3, 4, ALL)));
  CHECK(copy.worker().acceptSynced(1, 4, onlySlot(3)) == onlySlot(3));
  CHECK(copy.state(3) == SlotState::REPLICA && copy.state(4) == SlotState::JOINING);
}

TEST("an epoch is installed once, and never an older one") {
  Node node(1);
  CHECK(node.install(3, 2, "1 2"));
  CHECK(!node.install(3, 2, "2 1"));
  CHECK(!node.install(2, 2, "2 1"));
  CHECK(node.memory->epoch() == 3 && node.state(0) == SlotState::TAKING_OVER);
}

TEST("peers come and go with the rows, but not while a link to them stands") {
  Node node(1);
  node.install(1, 2, "1 2", true);
  CHECK(node.worker().openLink(2) >= 0);
  CHECK(node.worker().openLink(2) == -1);
  CHECK(node.worker().openLink(1) == -1);
  for (uint32_t i = 0; i < 300; i++) {
    CHECK(node.install(2 + i, 2, "1 " + std::to_string(1000 + i)));
    CHECK(node.worker().peerBits(static_cast<uint16_t>(1000 + i)).whole == ALL);
  }
  CHECK(Peers(node.worker().view()).find(2) >= 0 && Peers(node.worker().view()).find(1000) == -1);
  uint32_t peers = 0;
  for (uint32_t i = 0; i < PEERS_MAX; i++) peers += node.worker().view().peers[i].node.load() != 0 ? 1 : 0;
  CHECK(peers == 2);
}

TEST("an old leader whose memory began anew lacks everything, though its copy never missed a thing") {
  Node first(1), second(2), third(3);
  for (Node* node : {&first, &second, &third}) node->install(1, 3, "1 2 3", true);
  Link link(first, first.worker(), second);
  first.set("key", "v");
  pump(first.worker().written(), {&link});
  link.deliverAll();
  CHECK(!second.worker().meet(1, 77));
  link.lose();
  CHECK(second.worker().meet(1, 78));
  CHECK(isEmpty(second.worker().peerBits(1).missed));
  // Another one comes and goes meanwhile, under the same leader.
  second.install(2, 3, "1 2 3~");
  second.install(3, 3, "2 3 1~");
  const uint32_t slot = second.slotOf("key");
  CHECK(hasSlot(second.worker().peerBits(1).missed, slot) && hasSlot(second.worker().peerBits(1).whole, slot));
}

TEST("the steward is the living worker with the lowest place") {
  Node node(1);
  Worker& second = node.addWorker();
  CHECK(node.worker().isSteward() && !second.isSteward());
  node.kill(0);
  CHECK(node.worker().isSteward());
}

}  // namespace

TEST_MAIN
