// A leader and its one copy, for tests of replication: stores in one process, joined by a link that delivers when told.
#pragma once

#include "cluster.h"

namespace cluster {

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

}  // namespace cluster
