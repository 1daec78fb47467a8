// A slot changes hands in the middle of an epoch: node 1 leads and hands over to node 3, which gets a copy first; node
// 2 has one all the while. Nodes are stores in one process; what a test does not deliver has not arrived.
#include "support/cluster.h"

namespace {

using namespace cluster;

// 1 HOME FORMER, 2 a member of both lists, 3 RECEIVER GOAL NEXT.
rows::Epoch changing(uint32_t epoch, bool isCancelled = false) {
  rows::Epoch made = rows::epochOf(SLOTS, epoch, 2, "1 2 3", false);
  const uint8_t former = isCancelled ? RowMark::GOAL : RowMark::FORMER;
  const uint8_t goal = isCancelled ? RowMark::FORMER : RowMark::GOAL;
  for (uint32_t slot = 0; slot < SLOTS; slot++) {
    uint8_t* roles = &made.roles[slot * ROW_MAX];
    roles[0] = static_cast<uint8_t>(RowMark::HOME | former);
    roles[1] = RowMark::NEXT;
    roles[2] = static_cast<uint8_t>(static_cast<uint8_t>(RowRole::RECEIVER) | goal | RowMark::NEXT);
  }
  return made;
}

struct Trio {
  Trio() {
    for (Node* node : all()) CHECK(node->install(1, 2, "1 2", true));
    catchUp(one, one.worker(), two);
    CHECK(wrote(one.set("old", "before")).status == Status::OK);
    deliverAll();
    for (Node* node : all()) CHECK(node->memory->install(changing(2).installation()));
  }
  std::vector<Node*> all() { return {&one, &two, &three}; }
  Answer wrote(const Answer& answer) {
    pump(one.worker().written(), {&toTwo, &toThree});
    return answer;
  }
  void deliverAll() {
    toTwo.deliverAll();
    toThree.deliverAll();
  }
  void sync() {
    catchUp(one, one.worker(), two);
    catchUp(one, one.worker(), three);
  }
  // The whole of it, with nothing in flight.
  std::string handOver() {
    const std::string given = one.worker().give(one.worker().seal(3, ALL));
    const std::string taken = three.worker().acceptLead(1, 2, given);
    one.worker().yield(3, 2, taken);
    return taken;
  }

  Node one{1};
  Node two{2};
  Node three{3};
  Link toTwo{one, one.worker(), two};
  Link toThree{one, one.worker(), three};
};

TEST("a slot is handed over once everybody is in sync, and not before") {
  Trio nodes;
  CHECK(isEmpty(nodes.one.worker().seal(3, ALL)));
  catchUp(nodes.one, nodes.one.worker(), nodes.three);
  CHECK(nodes.one.worker().seal(2, ALL) == std::string(SLOTS / 8, 0));
  nodes.sync();
  CHECK(nodes.handOver() == ALL);
  CHECK(nodes.one.get("old") == "[9]" && nodes.three.get("old") == "before");
  CHECK(nodes.one.state(0) == SlotState::REPLICA && nodes.three.state(0) == SlotState::PRIMARY);
  CHECK(nodes.three.set("new", "after").status == Status::OK);
}

TEST("a sealed slot takes no writes, is read, and may be opened again") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.one.worker().seal(3, ALL) == ALL);
  CHECK(nodes.one.set("old", "x").status == Status::NOT_READY);
  CHECK(nodes.one.get("old") == "before");
  nodes.one.worker().unseal(ALL, false);
  CHECK(nodes.wrote(nodes.one.set("old", "x")).status == Status::OK);
}

TEST("the longest that a slot took no writes for its hand-over is known, whichever way it ended") {
  Trio nodes;
  nodes.sync();
  const auto longest = [&nodes] { return nodes.one.memory->stats().sealedMicrosecondsMax; };
  const auto pass = [&nodes](uint64_t ms) { nodes.one.setClock(nodes.one.ms + ms); };
  CHECK(nodes.one.worker().seal(3, ALL) == ALL);
  pass(3);
  nodes.one.worker().unseal(ALL, false);
  CHECK(longest() == 3'000);
  pass(1'000);
  CHECK(nodes.handOver() == ALL);
  CHECK(longest() == 3'000);

  Trio others;
  others.sync();
  const std::string given = others.one.worker().give(others.one.worker().seal(3, ALL));
  others.one.setClock(others.one.ms + 7);
  others.one.worker().yield(3, 2, others.three.worker().acceptLead(1, 2, given));
  CHECK(others.one.memory->stats().sealedMicrosecondsMax == 7'000);
}

TEST("nothing is given while a write is under way, or was lost on the way") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.wrote(nodes.one.set("old", "newer")).status == Status::OK);
  const std::string slot = onlySlot(nodes.one.slotOf("old"));
  CHECK(nodes.one.worker().seal(3, slot) == slot);
  CHECK(isEmpty(nodes.one.worker().give(slot)));
  nodes.toTwo.deliverAll();
  CHECK(isEmpty(nodes.one.worker().give(slot)));
  nodes.toThree.lose();
  CHECK(isEmpty(nodes.one.worker().give(slot)));
  nodes.toThree.reopen();
  catchUp(nodes.one, nodes.one.worker(), nodes.three);
  CHECK(nodes.one.worker().give(slot) == slot);
}

TEST("what was given is nobody's but the goal's until it answers") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.one.worker().give(nodes.one.worker().seal(3, ALL)) == ALL);
  nodes.one.worker().unseal(ALL, false);
  CHECK(nodes.one.set("old", "x").status == Status::MOVED && nodes.one.get("old") == "[9]");
  CHECK(nodes.three.worker().acceptLead(1, 2, ALL) == ALL);
  CHECK(nodes.three.worker().acceptLead(1, 2, ALL) == ALL);  // the answer was lost, and it is offered again
  CHECK(nodes.three.worker().acceptLead(1, 1, ALL) == std::string(SLOTS / 8, 0));
}

TEST("the others follow the new leader's first frame, and never a late one of the former") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.wrote(nodes.one.set("old", "late")).status == Status::OK);
  const Written late = nodes.one.worker().written();
  nodes.deliverAll();
  CHECK(nodes.handOver() == ALL);
  Link link(nodes.three, nodes.three.worker(), nodes.two);
  CHECK(nodes.three.set("old", "newest").status == Status::OK);
  pump(nodes.three.worker().written(), {&link});
  link.deliverAll();
  CHECK(nodes.two.get("old", ReadLevel::NEAREST) == "newest");
  nodes.toTwo.send(late);
  CHECK(nodes.toTwo.deliver() == Applied::STALE);
  CHECK(nodes.two.get("old", ReadLevel::NEAREST) == "newest");
}

TEST("who is to come counts for a level only after it leads, and who is to go not any more") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.one.set("old", "x", 1).status == Status::OK);
  Written written = nodes.one.worker().written();
  CHECK(written.linkCount == 2 && __builtin_popcount(written.voters) == 1);
  CHECK(written.links[__builtin_ctz(written.voters)] == static_cast<uint8_t>(nodes.toTwo.handle()));
  pump(written, {&nodes.toTwo, &nodes.toThree});
  nodes.deliverAll();
  CHECK(nodes.handOver() == ALL);
  Link toOne(nodes.three, nodes.three.worker(), nodes.one);
  CHECK(nodes.three.set("old", "x", 1).status == Status::NOT_READY);
  Link toTwo(nodes.three, nodes.three.worker(), nodes.two);
  CHECK(nodes.three.set("old", "x", 1).status == Status::OK);
  written = nodes.three.worker().written();
  CHECK(written.linkCount == 2 && __builtin_popcount(written.voters) == 1);
  CHECK(written.links[__builtin_ctz(written.voters)] == static_cast<uint8_t>(toTwo.handle()));
}

TEST("an epoch in the middle of a change moves nothing, and neither does the one that ends it") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.handOver() == ALL);
  CHECK(nodes.three.set("new", "after").status == Status::OK);
  for (Node* node : nodes.all()) CHECK(node->memory->install(changing(3).installation()));
  CHECK(nodes.three.state(0) == SlotState::PRIMARY && nodes.one.state(0) == SlotState::REPLICA);
  for (Node* node : nodes.all()) CHECK(node->install(4, 2, "3 2"));
  CHECK(nodes.three.state(0) == SlotState::PRIMARY && nodes.one.state(0) == SlotState::NONE);
  CHECK(nodes.three.get("new") == "after");
}

TEST("a copy that heard nothing of the hand-over takes the new leader's frames, also of the epoch before") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.handOver() == ALL);
  CHECK(nodes.two.install(3, 2, "3 2"));
  CHECK(nodes.two.state(0) == SlotState::REPLICA);
  Link link(nodes.three, nodes.three.worker(), nodes.two);
  CHECK(nodes.three.set("old", "newest", 1).status == Status::OK);
  pump(nodes.three.worker().written(), {&link});
  CHECK(link.deliver() == Applied::APPLIED);
  CHECK(nodes.two.get("old", ReadLevel::NEAREST) == "newest");
}

TEST("a change that is called off hands back") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.handOver() == ALL);
  for (Node* node : nodes.all()) CHECK(node->memory->install(changing(3, true).installation()));
  CHECK(nodes.three.state(0) == SlotState::PRIMARY);
  Link toOne(nodes.three, nodes.three.worker(), nodes.one);
  Link toTwo(nodes.three, nodes.three.worker(), nodes.two);
  catchUp(nodes.three, nodes.three.worker(), nodes.one);
  catchUp(nodes.three, nodes.three.worker(), nodes.two);
  const std::string given = nodes.three.worker().give(nodes.three.worker().seal(1, ALL));
  CHECK(given == ALL && nodes.one.worker().acceptLead(3, 3, given) == ALL);
  nodes.three.worker().yield(1, 3, ALL);
  for (Node* node : nodes.all()) CHECK(node->install(4, 2, "1 2"));
  CHECK(nodes.one.state(0) == SlotState::PRIMARY && nodes.one.get("old") == "before");
}

TEST("a copy that missed the hand-over follows when it is called off, and back") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.handOver() == ALL);
  for (Node* node : nodes.all()) CHECK(node->memory->install(changing(3, true).installation()));
  Link fromThree(nodes.three, nodes.three.worker(), nodes.two);
  CHECK(nodes.three.set("old", "of three").status == Status::OK);
  const Written late = nodes.three.worker().written();
  pump(late, {&fromThree});
  CHECK(fromThree.deliver() == Applied::APPLIED);
  catchUp(nodes.three, nodes.three.worker(), nodes.one);
  catchUp(nodes.three, nodes.three.worker(), nodes.two);
  const std::string given = nodes.three.worker().give(nodes.three.worker().seal(1, ALL));
  CHECK(nodes.one.worker().acceptLead(3, 3, given) == ALL);
  CHECK(nodes.wrote(nodes.one.set("old", "of one")).status == Status::OK);
  CHECK(nodes.toTwo.deliver() == Applied::APPLIED);
  fromThree.send(late);
  CHECK(fromThree.deliver() == Applied::STALE);
  CHECK(nodes.two.get("old", ReadLevel::NEAREST) == "of one");
}

TEST("who is first in the row does not rely on a leader of whom it only guesses that it leads") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.handOver() == ALL);
  for (Node* node : nodes.all()) CHECK(node->memory->install(changing(3, true).installation()));
  // Node 2 knows nothing of all this, and node 1, to which the slots went back, is away.
  rows::Epoch next = changing(4, true);
  for (uint32_t slot = 0; slot < SLOTS; slot++) {
    std::swap(next.rows[slot * ROW_MAX], next.rows[slot * ROW_MAX + 1]);
    next.roles[slot * ROW_MAX] = RowMark::HOME | RowMark::GOAL | RowMark::NEXT;
    next.roles[slot * ROW_MAX + 1] = static_cast<uint8_t>(RowRole::AWAY);
  }
  Link fromThree(nodes.three, nodes.three.worker(), nodes.two);
  CHECK(nodes.three.set("old", "of three").status == Status::OK);
  pump(nodes.three.worker().written(), {&fromThree});
  CHECK(fromThree.deliver() == Applied::APPLIED);
  CHECK(nodes.two.memory->install(next.installation()));
  CHECK(nodes.two.state(0) == SlotState::TAKING_OVER);
}

TEST("a slot that stays is settled once nothing is in flight, and then those count who will have it") {
  Trio nodes;
  rows::Epoch staying = changing(2);
  for (uint32_t slot = 0; slot < SLOTS; slot++) {
    uint8_t* roles = &staying.roles[slot * ROW_MAX];
    roles[0] = RowMark::HOME | RowMark::NEXT;  // node 2 goes, node 3 comes
    roles[1] = static_cast<uint8_t>(RowRole::MEMBER);
    roles[2] = static_cast<uint8_t>(static_cast<uint8_t>(RowRole::RECEIVER) | RowMark::NEXT);
  }
  staying.epoch = 3;
  for (Node* node : nodes.all()) CHECK(node->memory->install(staying.installation()));
  nodes.sync();
  const auto voter = [&] {
    const Written& written = nodes.one.worker().written();
    CHECK(__builtin_popcount(written.voters) == 1);
    return written.links[__builtin_ctz(written.voters)];
  };
  CHECK(nodes.wrote(nodes.one.set("old", "x", 1)).status == Status::OK);
  CHECK(voter() == static_cast<uint8_t>(nodes.toTwo.handle()));
  const std::string slot = onlySlot(nodes.one.slotOf("old"));
  CHECK(nodes.one.worker().seal(1, slot) == slot);
  CHECK(nodes.one.set("old", "y", 1).status == Status::NOT_READY);
  CHECK(isEmpty(nodes.one.worker().settle(slot)));
  nodes.deliverAll();
  CHECK(nodes.one.worker().settle(slot) == slot);
  CHECK(nodes.wrote(nodes.one.set("old", "y", 1)).status == Status::OK);
  CHECK(voter() == static_cast<uint8_t>(nodes.toThree.handle()));
}

TEST("who gave a slot and lost its goal takes over, for that one may have led") {
  Trio nodes;
  nodes.sync();
  CHECK(nodes.one.worker().give(nodes.one.worker().seal(3, ALL)) == ALL);
  for (Node* node : {&nodes.one, &nodes.two}) CHECK(node->install(3, 2, "1 2 3-"));
  CHECK(nodes.one.state(0) == SlotState::TAKING_OVER);
}

}  // namespace

TEST_MAIN
