// Copies of what is written: on the way, missed, caught up, and what deaths leave behind. Nodes are stores in one
// process; what a test does not deliver has not arrived.
#include <unistd.h>

#include "support/pair.h"

namespace {

using namespace cluster;

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
  const Collected collected = pair.leader.worker().collect({slot / 4u, 0xf, bits.sinceMs, 1 << 20}, 0);
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

}  // namespace

TEST_MAIN
