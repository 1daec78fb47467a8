// Copies of what is written: on the way, missed, caught up, taken over, read at every level. Nodes are stores in one
// process; what a test does not deliver has not arrived.
#include <unistd.h>

#include "support/cluster.h"

namespace {

using namespace cluster;

// Node 1 leads everything, node 2 has copies, both in sync.
struct Pair {
  Pair() : leader(1), copy(2), link(leader, leader.worker(), copy) {
    CHECK(leader.install(1, 2, "1 2", true));
    CHECK(copy.install(1, 2, "1 2", true));
    catchUp(leader, leader.worker(), copy);
  }
  Answer set(std::string_view key, std::string_view value, uint8_t acks = 0) {
    return wrote(leader.set(key, value, acks));
  }
  Answer act(Opcode opcode, std::string_view key) { return wrote(leader.act(opcode, key)); }
  Answer touch(std::string_view key, uint64_t ttlMs) {
    Operation touch = Node::operation(Opcode::TOUCH, key);
    touch.ttlMs = ttlMs;
    return wrote(leader.run(touch));
  }
  Answer wrote(const Answer& answer) {
    pump(leader.worker().written(), {&link});
    return answer;
  }
  void advance(uint64_t by) {
    leader.setClock(leader.ms + by);
    copy.setClock(copy.ms + by);
  }
  bool isMissed(std::string_view key) { return hasSlot(leader.worker().peerBits(2).missed, leader.slotOf(key)); }
  bool isSynced(std::string_view key) { return hasSlot(leader.worker().peerBits(2).synced, leader.slotOf(key)); }

  Node leader;
  Node copy;
  Link link;
};

// ---- writes --------------------------------------------------------------------------------------------------------

TEST("a write goes to the copies and is read there once they were declared in sync") {
  Node leader(1);
  Node copy(2);
  leader.install(1, 2, "1 2", true);
  copy.install(1, 2, "1 2", true);
  Link link(leader, leader.worker(), copy);
  const uint32_t slot = leader.slotOf("key");
  CHECK(leader.state(slot) == SlotState::PRIMARY && copy.state(slot) == SlotState::JOINING);
  CHECK(leader.set("key", "value").status == Status::OK);
  pump(leader.worker().written(), {&link});
  CHECK(link.deliver() == Applied::APPLIED);
  CHECK(copy.get("key", ReadLevel::NEAREST) == "[15]");
  CHECK(hasSlot(catchUp(leader, leader.worker(), copy), slot));
  CHECK(copy.state(slot) == SlotState::REPLICA);
  CHECK(copy.get("key", ReadLevel::NEAREST) == "value");
  CHECK(copy.get("key") == "[9]");
  CHECK(copy.set("key", "mine").status == Status::MOVED);
}

TEST("every kind of write gives the copy the same item") {
  Pair pair;
  Operation operation = Node::operation(Opcode::SET, "set", "some value");
  operation.ttlMs = 1000;
  operation.encoding = protocol::Encoding::UTF8;
  pair.wrote(pair.leader.run(operation));
  operation = Node::operation(Opcode::INCREMENT, "number");
  operation.initial = 5;
  operation.delta = 3;
  pair.wrote(pair.leader.run(operation));
  pair.wrote(pair.leader.run(operation));
  pair.wrote(pair.leader.run(Node::operation(Opcode::APPEND, "text", "begin")));
  pair.wrote(pair.leader.run(Node::operation(Opcode::APPEND, "text", std::string(20'000, 'x'))));
  pair.set("large", std::string(100'000, 'y'));
  pair.set("gone", "for now");
  pair.act(Opcode::DELETE, "gone");
  pair.touch("text", 500);
  pair.touch("large", 700);
  pair.link.deliverAll();
  for (const char* key : {"set", "number", "text", "large", "gone"}) {
    const uint8_t nearest = ReadLevel::NEAREST | Flag::WANT_META;
    const Answer here = pair.leader.act(Opcode::GET, key, nearest);
    const Answer there = pair.copy.act(Opcode::GET, key, nearest);
    CHECK(here.status == there.status && here.version == there.version && here.ttlMs == there.ttlMs);
    CHECK(here.encoding == there.encoding && here.valueBytes == there.valueBytes);
    CHECK(pair.leader.out.substr(0, here.valueBytes) == pair.copy.out.substr(0, here.valueBytes));
  }
  for (uint32_t slot = 0; slot < SLOTS; slot++) {
    CHECK(pair.leader.worker().digest(static_cast<uint16_t>(slot)).sum ==
          pair.copy.worker().digest(static_cast<uint16_t>(slot)).sum);
  }
  CHECK(isEmpty(pair.leader.worker().peerBits(2).missed));
  CHECK(pair.leader.worker().ringRoom(pair.link.handle()) == 1024);
}

TEST("frames that come twice or late change nothing") {
  Pair pair;
  pair.set("key", "one");
  const Written first = pair.leader.worker().written();
  Link again(pair.leader, pair.leader.worker(), pair.copy);
  again.send(first);
  again.send(first);
  pair.set("key", "two");
  pair.link.deliverAll();
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "two");
  CHECK(again.deliver() == Applied::SUPERSEDED);
  pair.act(Opcode::DELETE, "key");
  pair.link.deliverAll();
  CHECK(again.deliver() == Applied::SUPERSEDED);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "[1]");
}

TEST("a change of expiry needs its base") {
  Pair pair;
  pair.set("key", "one");
  pair.link.lose();
  pair.set("key", "two");
  pair.link.reopen();
  CHECK(pair.touch("key", 1000).status == Status::OK);
  CHECK(pair.link.deliver() == Applied::NEED_FULL);
  CHECK(pair.isMissed("key"));
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "two");
  CHECK(pair.copy.act(Opcode::GET, "key", ReadLevel::NEAREST | Flag::WANT_META).ttlMs == 1000);
}

TEST("clearing by prefix sends a tombstone for every key") {
  Pair pair;
  for (int i = 0; i < 500; i++) {
    pair.set("a:" + std::to_string(i), "v");
    pair.set("b:" + std::to_string(i), "v");
    pair.link.deliverAll();
  }
  pair.advance(5);
  uint64_t cursor = 0;
  uint64_t horizon = 0;
  uint32_t deleted = 0;
  do {
    deleted += pair.leader.worker().clear(cursor, "a:", &horizon, &cursor,
                                          [&](const Written& written) { pump(written, {&pair.link}); });
    pair.link.deliverAll();
  } while (cursor != 0);
  CHECK(deleted == 500);
  CHECK(pair.copy.memory->stats().items == 500 && pair.copy.memory->stats().tombstones == 500);
  CHECK(isEmpty(pair.leader.worker().peerBits(2).missed));
}

// ---- missed --------------------------------------------------------------------------------------------------------

TEST("what a full or broken link does not carry is missed, and catch-up brings exactly that") {
  Pair pair;
  for (int i = 0; i < 50; i++) pair.set("old" + std::to_string(i), "v");
  pair.link.deliverAll();
  pair.advance(1000);
  pair.leader.worker().setLinkFull(pair.link.handle(), true);
  CHECK(pair.set("key", "value").status == Status::OK);
  CHECK(pair.leader.worker().written().linkCount == 0);
  CHECK(pair.isMissed("key") && !pair.isSynced("key"));
  const PeerBits bits = pair.leader.worker().peerBits(2);
  CHECK(bits.sinceMs == pair.leader.ms && isEmpty(bits.whole));
  pair.leader.worker().setLinkFull(pair.link.handle(), false);
  const uint32_t slot = pair.leader.slotOf("key");
  const Collected collected = pair.leader.worker().collect(slot / 4, 0xf, 0, bits.sinceMs, 1 << 20);
  CHECK(collected.items == 1);
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "value");
  CHECK(pair.leader.worker().peerBits(2).sinceMs == SINCE_NOTHING);
  CHECK(pair.isSynced("key"));
}

TEST("a ring that is full counts as a full link") {
  Pair pair;
  for (int i = 0; i < 1024; i++) pair.set("{s}" + std::to_string(i), "v");
  CHECK(!pair.isMissed("{s}") && pair.leader.worker().ringRoom(pair.link.handle()) == 0);
  pair.set("{s}more", "v");
  CHECK(pair.isMissed("{s}"));
  CHECK(pair.link.waiting() == 1024);
}

TEST("what was in flight on a lost link is missed, and nobody there counts as in sync") {
  Pair pair;
  pair.set("acknowledged", "v");
  pair.link.deliverAll();
  pair.advance(10);
  pair.set("in flight", "v");
  const uint64_t sinceMs = pair.leader.ms;
  pair.advance(10);
  pair.link.lose();
  CHECK(pair.isMissed("in flight") && !pair.isMissed("acknowledged"));
  CHECK(isEmpty(pair.leader.worker().peerBits(2).synced));
  CHECK(pair.leader.worker().peerBits(2).sinceMs == sinceMs);
  CHECK(pair.copy.get("acknowledged", ReadLevel::NEAREST) == "[15]");
  CHECK(pair.copy.get("acknowledged", ReadLevel::DEGRADED) == "v");
  pair.link.reopen();
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("in flight", ReadLevel::NEAREST) == "v");
}

TEST("what a member that is away misses is noted, and nothing is sent to it") {
  Pair pair;
  for (const Node* node : {&pair.leader, &pair.copy}) const_cast<Node*>(node)->install(2, 2, "1 2-");
  CHECK(pair.copy.state(0) == SlotState::NONE);
  CHECK(isEmpty(pair.leader.worker().peerBits(2).synced));
  pair.set("key", "value");
  CHECK(pair.leader.worker().written().linkCount == 0 && pair.isMissed("key"));
  pair.leader.install(3, 2, "1 2~");
  pair.copy.install(3, 2, "1 2~");
  CHECK(pair.copy.state(0) == SlotState::JOINING && pair.isMissed("key"));
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "value");
}

TEST("a copy that is new to a row lacks everything") {
  Pair pair;
  pair.set("key", "value");
  Node third(3);
  third.install(2, 2, "1 3+ 2-");
  pair.leader.install(2, 2, "1 3+ 2-");
  const PeerBits bits = pair.leader.worker().peerBits(3);
  CHECK(bits.missed == ALL && bits.whole == ALL && bits.sinceMs == 0);
  Link link(pair.leader, pair.leader.worker(), third);
  catchUp(pair.leader, pair.leader.worker(), third);
  CHECK(third.get("key", ReadLevel::NEAREST) == "value");
  // Its books are closed when it leaves the row.
  pair.leader.worker().failCatchUp(3, ALL, 0);
  pair.leader.install(3, 2, "1 2~");
  CHECK(isEmpty(pair.leader.worker().peerBits(3).missed));
}

TEST("what another node misses while it is being sent to is missed again") {
  Pair pair;
  pair.link.lose();
  pair.set("key", "one");
  const PeerBits bits = pair.leader.worker().peerBits(2);
  pair.leader.worker().beginCatchUp(2, bits.missed);
  CHECK(!pair.isMissed("key"));
  pair.set("key", "two");
  CHECK(pair.isMissed("key"));
  CHECK(!hasSlot(pair.leader.worker().declareSynced(2, ALL), pair.leader.slotOf("key")));
  pair.leader.worker().failCatchUp(2, bits.missed, bits.sinceMs);
  CHECK(pair.leader.worker().peerBits(2).sinceMs == bits.sinceMs);
}

TEST("a worker that begins to send takes over what another one left half sent") {
  Pair pair;
  Worker& second = pair.leader.addWorker();
  pair.link.lose();
  pair.set("key", "value");
  const PeerBits bits = pair.leader.worker().peerBits(2);
  pair.leader.worker().beginCatchUp(2, bits.missed);
  CHECK(!pair.isMissed("key"));
  CHECK(hasSlot(second.peerBits(2).missed, pair.leader.slotOf("key")) && second.peerBits(2).sinceMs == bits.sinceMs);
  CHECK(!hasSlot(second.declareSynced(2, ALL), pair.leader.slotOf("key")));
  second.beginCatchUp(2, second.peerBits(2).missed);
  CHECK(!hasSlot(pair.leader.worker().declareSynced(2, ALL), pair.leader.slotOf("key")));
  CHECK(hasSlot(second.declareSynced(2, ALL), pair.leader.slotOf("key")));
}

// ---- deaths --------------------------------------------------------------------------------------------------------

TEST("what a killed worker had in flight is missed before its place is used again") {
  Pair pair;
  Worker& second = pair.leader.addWorker();
  Link link(pair.leader, second, pair.copy);
  pair.set("first's", "v");
  CHECK(pair.leader.run(second, Node::operation(Opcode::SET, "second's", "v")).status == Status::OK);
  pair.leader.kill(1);
  CHECK(pair.isMissed("second's") && !pair.isMissed("first's"));
  CHECK(isEmpty(pair.leader.worker().peerBits(2).synced));
  // Its ring is free again.
  Worker& third = pair.leader.addWorker();
  CHECK(third.openLink(2) >= 0);
  pair.link.deliverAll();
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("second's", ReadLevel::NEAREST) == "v");
}

TEST("what a killed worker was sending is missed again") {
  Pair pair;
  Worker& second = pair.leader.addWorker();
  pair.link.lose();
  pair.set("key", "value");
  const uint64_t sinceMs = second.peerBits(2).sinceMs;
  second.beginCatchUp(2, second.peerBits(2).missed);
  pair.leader.kill(1);
  CHECK(pair.isMissed("key") && pair.leader.worker().peerBits(2).sinceMs == sinceMs);
  pair.leader.worker().failCatchUp(2, ALL, 0);
  Worker& third = pair.leader.addWorker();
  third.beginCatchUp(2, ALL);
  pair.leader.kill(1);
  CHECK(pair.leader.worker().peerBits(2).whole == ALL);
}

TEST("a worker that leaves takes its frames along") {
  Pair pair;
  pair.leader.addWorker();
  pair.set("key", "value");
  pair.leader.workers.erase(pair.leader.workers.begin());
  CHECK(pair.isMissed("key"));
}

TEST("after an unclean stop nothing is believed of the others") {
  const std::string file = "/tmp/henge-replication-test-" + std::to_string(getpid());
  {
    Node leader(1, 4 << 20, file);
    Node copy(2);
    leader.install(1, 2, "1 2", true);
    copy.install(1, 2, "1 2", true);
    Link link(leader, leader.worker(), copy);
    catchUp(leader, leader.worker(), copy);
    leader.set("key", "value");
    for (const bool isClean : {false, true}) {
      if (isClean) {
        leader.workers.clear();
        leader.memory->close(true);
      } else {
        static auto* const abandoned = new std::vector<Worker*>;
        abandoned->push_back(leader.workers.front().release());
        leader.workers.clear();
      }
      leader.memory.reset();
      leader.open();
      CHECK(leader.memory->origin() == (isClean ? Origin::WARM : Origin::SCRUBBED));
      leader.memory->resume(isClean);
      const PeerBits bits = leader.worker().peerBits(2);
      CHECK(isEmpty(bits.synced));
      CHECK(leader.memory->epoch() == 1 && leader.state(0) == (isClean ? SlotState::PRIMARY : SlotState::TAKING_OVER));
      CHECK(bits.missed == ALL && bits.whole == ALL);
      leader.worker().finishTakeOver(1, ALL, 0);
      CHECK(leader.get("key") == "value");
      // The copy may think that it is in sync, so what it lacks is in no watermark.
      CHECK(leader.worker().watermarkMs(2) == 0);
      leader.worker().openLink(2);
    }
    leader.workers.clear();
    leader.memory.reset();
  }
  unlink(file.c_str());
}

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
    const Collected collected = third.worker().collect(segment, 0xf, 0, 0, 1 << 20);
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

TEST("the steward is the living worker with the lowest place") {
  Node node(1);
  Worker& second = node.addWorker();
  CHECK(node.worker().isSteward() && !second.isSteward());
  node.kill(0);
  CHECK(node.worker().isSteward());
}

// ---- watermark -----------------------------------------------------------------------------------------------------

TEST("the watermark passes nothing that a copy in sync does not have") {
  Pair pair;
  const uint64_t startMs = pair.leader.ms;
  pair.advance(10);
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 10);
  pair.set("key", "v");
  pair.advance(10);
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 10);
  pair.link.deliverAll();
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 20);
  pair.set("key", "w");
  pair.advance(10);
  pair.link.lose();
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 20);
  CHECK(pair.leader.worker().watermarkMs(0) == startMs + 20);
  pair.link.reopen();
  pair.leader.worker().beginCatchUp(2, pair.leader.worker().peerBits(2).missed);
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 20);
  pair.leader.worker().declareSynced(2, ALL);
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 30);
}

TEST("a worker in the middle of a chunk holds the watermark at its clock") {
  Pair pair;
  pair.leader.addWorker();
  const uint64_t startMs = pair.leader.ms;
  pair.leader.memory->setClock(startMs + 100);
  pair.leader.worker().beginChunk();
  CHECK(pair.leader.worker().watermarkMs(2) == startMs);
  pair.leader.workers.back()->beginChunk();
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 100);
}

TEST("copies that were never in sync do not hold the watermark") {
  Pair pair;
  Node third(3);
  pair.leader.install(2, 2, "1 2 3+");
  CHECK(pair.leader.worker().peerBits(3).whole == ALL);
  CHECK(pair.leader.worker().watermarkMs(3) == pair.leader.ms);
}

TEST("what a peer says of itself is kept for all workers") {
  Pair pair;
  Worker& second = pair.leader.addWorker();
  CHECK(second.peerNews(2).heardAtMs == 0);
  pair.leader.worker().heard(2, 77);
  CHECK(second.peerNews(2).heardAtMs == pair.leader.ms && second.peerNews(2).watermarkMs == 77);
  CHECK(second.peerNews(9).heardAtMs == 0);
}

// ---- what is gone --------------------------------------------------------------------------------------------------

TEST("a deleted key does not come back from a copy that was away, even when its tombstone is gone") {
  for (const bool isForgotten : {false, true}) {
    Pair pair;
    pair.set("key", "v");
    pair.link.deliverAll();
    pair.link.lose();
    pair.advance(1000);
    pair.act(Opcode::DELETE, "key");
    pair.advance(TOMBSTONE_LIFE_MS + 1);
    while (pair.leader.memory->stats().tombstones > 0) pair.leader.worker().tick();
    if (isForgotten) {
      // What the ghosts displace raises the slot's floor.
      const Slot& slot = pair.leader.worker().view().slots[pair.leader.slotOf("key")];
      for (int i = 0; slot.floorTime >> 16 < START_MS + 1000; i++) {
        const std::string name = "{key}" + std::to_string(i);
        Operation brief = Node::operation(Opcode::SET, name, "v");
        brief.ttlMs = 1;
        pair.leader.run(brief);
        if (i % 1000 == 999) {
          pair.advance(2);
          while (pair.leader.memory->stats().items > 0) pair.leader.worker().tick();
        }
      }
      CHECK(hasSlot(pair.leader.worker().peerBits(2).whole, pair.leader.slotOf("key")));
    }
    pair.link.reopen();
    catchUp(pair.leader, pair.leader.worker(), pair.copy);
    CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "[1]");
  }
}

TEST("an item that expired here unseen goes elsewhere too") {
  Pair pair;
  pair.set("key", "old");
  pair.link.deliverAll();
  pair.link.lose();
  pair.advance(10);
  Operation brief = Node::operation(Opcode::SET, "key", "brief");
  brief.ttlMs = 10;
  pair.leader.run(brief);
  pair.advance(10);
  pair.link.reopen();
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "[1]");
}

TEST("a floor takes what is older and lets what is left come anew") {
  Pair pair;
  pair.set("stays", "v");
  pair.set("goes", "v");
  pair.link.deliverAll();
  const Operation key = pair.copy.located("stays");
  Item floor;
  floor.kind = protocol::ItemKind::FLOOR;
  floor.slot = key.slot;
  floor.version = Version{1, (pair.leader.ms << 16) + 60'000, 1};
  CHECK(pair.copy.worker().merge(floor, 3, 1) == Applied::STALE);
  CHECK(pair.copy.get("stays", ReadLevel::NEAREST) == "v");
  CHECK(pair.copy.worker().merge(floor, 1, 1) == Applied::APPLIED);
  CHECK(pair.copy.get("stays", ReadLevel::NEAREST) == "[1]");
  pair.leader.worker().failCatchUp(2, ALL, 0);
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("stays", ReadLevel::NEAREST) == "v");
  // From anybody but the leader it is below the floor.
  Node third(3);
  third.install(1, 3, "3 1 2", true);
}

TEST("what finds no room in a copy is as good as evicted there") {
  Pair pair;
  pair.set("key", "old");
  pair.link.deliverAll();
  // Everything of the copy is in use by items that were asked for again.
  const std::string filler(3000, 'f');
  Item item;
  item.value = filler;
  item.heat = 7 << 2;
  for (int i = 0; i < 1500; i++) {
    const std::string name = "filler" + std::to_string(i);
    item.key = name;
    item.version = Version{1, (pair.leader.ms << 16) + static_cast<uint64_t>(i), 1};
    pair.copy.worker().apply(item, 1, 1, nullptr);
  }
  pair.link.lose();
  const std::string value(100'000, 'n');
  const Version newer = pair.set("key", value).version;
  const Operation key = pair.copy.located("key");
  item.key = "key";
  item.value = value;
  item.heat = 0;
  item.version = newer;
  Applied applied = Applied::APPLIED;
  for (int i = 0; i < 200 && applied != Applied::NO_MEMORY; i++) {
    item.version.time++;
    applied = pair.copy.worker().merge(item, 1, 1);
  }
  CHECK(applied == Applied::NO_MEMORY);
  CHECK(pair.copy.worker().view().versionGhostsOf(pair.copy.worker().view().segmentOf(key.slot)).find(key.hash) ==
        item.version);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "[15]");
  CHECK(pair.copy.get("key", ReadLevel::DEGRADED) == "[1]");
}

// ---- walks ---------------------------------------------------------------------------------------------------------

TEST("a walk for another node keeps to its bounds and leaves nothing out while items come and go") {
  Node node(1);
  node.install(1, 2, "1 2", true);
  check::Random random;
  for (int i = 0; i < 3000; i++) node.set("key" + std::to_string(i), std::string(random.below(300), 'v'));
  node.set("large", std::string(100'000, 'l'));
  std::vector<bool> seen(3000, false);
  bool sawLarge = false;
  int added = 0;
  for (uint32_t segment = 0; segment < SEGMENTS; segment++) {
    uint64_t cursor = 0;
    do {
      const Collected collected = node.worker().collect(segment, 0xf, cursor, 0, 2000);
      std::string_view records = collected.bytes;
      uint32_t items = 0;
      Item item;
      while (!records.empty()) {
        CHECK(decodeItemRecord(&records, &item));
        items++;
        if (item.key == "large") sawLarge = true;
        if (item.key.substr(0, 3) == "key")
          seen[static_cast<size_t>(std::stoi(std::string(item.key.substr(3))))] = true;
      }
      CHECK(items == collected.items);
      CHECK(items <= 1 || collected.bytes.size() <= 2000);
      cursor = collected.next;
      // The index grows under the walk, and keys already seen are written anew.
      for (int i = 0; i < 20 && added < 4000; i++) node.set("new" + std::to_string(added++), "v");
      node.set("key" + std::to_string(random.below(3000)), "again");
    } while (cursor != 0);
  }
  CHECK(sawLarge);
  for (const bool each : seen) CHECK(each);
}

TEST("a walk takes only the slots and the time asked for") {
  Node node(1);
  node.install(1, 2, "1 2", true);
  for (int i = 0; i < 200; i++) node.set("old" + std::to_string(i), "v");
  node.setClock(node.ms + 5);
  for (int i = 0; i < 200; i++) node.set("new" + std::to_string(i), "v");
  const uint32_t slot = node.slotOf("new7");
  const Collected collected = node.worker().collect(slot / 4, 1u << (slot % 4), 0, node.ms, 1 << 20);
  std::string_view records = collected.bytes;
  Item item;
  bool isFound = false;
  while (!records.empty()) {
    CHECK(decodeItemRecord(&records, &item));
    CHECK(item.slot == slot && item.key.substr(0, 3) == "new");
    isFound = isFound || item.key == "new7";
  }
  CHECK(isFound && collected.next == 0);
}

TEST("a record that is cut or malformed is not taken") {
  Item item;
  item.key = "key";
  item.value = "value";
  item.slot = 3;
  std::string bytes(itemRecordBytes(item), 0);
  encodeItemRecord(bytes.data(), item);
  for (size_t length = 0; length < bytes.size(); length++) {
    std::string_view cut = std::string_view(bytes).substr(0, length);
    Item out;
    CHECK(!decodeItemRecord(&cut, &out));
  }
  check::Random random;
  for (int i = 0; i < 20'000; i++) {
    std::string broken = bytes;
    broken[random.below(protocol::ITEM_RECORD_BYTES)] = static_cast<char>(random.word());
    std::string_view view = broken;
    Item out;
    if (decodeItemRecord(&view, &out))
      CHECK(out.slot < protocol::SLOTS && out.key.size() + out.value.size() <= broken.size());
  }
}

}  // namespace

TEST_MAIN
