// The levels on the wire, with two or three real stores: which copies a write is on when it is answered, and what a
// quorum read may say.
#include "replicate_support.h"

using namespace replicate;
using henge::OutputFlag::OTHERS;

// ---- levels --------------------------------------------------------------------------------------------------------

TEST("a write of one is answered at once, and then is on every copy") {
  Cluster cluster(3);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.say(1, client, set(1, "k", "v"));
  checkOnly(cluster.heard(1, client), Status::OK, 1);
  cluster.carry();
  for (const uint16_t copy : {uint16_t{2}, uint16_t{3}}) {
    CHECK(valueOf(cluster.ask(copy, cluster.client(copy), get(2, "k", NEAREST)), 2) == "v");
  }
  CHECK(!isAnyMissed(cluster, 2) && !isAnyMissed(cluster, 3));
}

TEST("a quorum write is answered when a majority has it, one of all when all have") {
  Cluster cluster(3);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.say(1, client, set(1, "q", "v", QUORUM) + set(2, "a", "v", ALL));
  CHECK(cluster.heard(1, client).empty());
  const std::string requests = cluster.take(1, 2);
  CHECK(idsOf(requests).size() == 2);
  CHECK(cluster.answer(1, 2, cluster.deliver(1, 2, requests)) == OTHERS);
  checkOnly(cluster.heard(1, client), Status::OK, 1);
  cluster.carry();
  checkOnly(cluster.heard(1, client), Status::OK, 2);
}

// A client whose quorum write of `k` waits, for node 2 said that it is in epoch 2 and takes none of the epoch before.
int32_t writeTooEarly(Cluster& cluster) {
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.say(1, client, set(1, "k", "v", QUORUM));
  const std::vector<uint32_t> ids = idsOf(cluster.take(1, 2));
  CHECK(ids.size() == 1);
  cluster.answer(1, 2, acknowledgement(ids[0], Status::STALE, bytesOf(uint32_t{2})));
  CHECK(cluster.heard(1, client).empty());
  return client;
}

TEST("a write that a copy refused, for it heard of an epoch first, is sent again when that epoch is here") {
  Cluster cluster(2);
  const int32_t client = writeTooEarly(cluster);
  for (const uint16_t number : {uint16_t{1}, uint16_t{2}}) cluster.node(number).install(2, "1 2");
  cluster.node(1).session().tick();
  cluster.carry();
  checkOnly(cluster.heard(1, client), Status::OK, 1);
  CHECK(valueOf(cluster.ask(2, cluster.client(2), get(2, "k", NEAREST)), 2) == "v");
}

TEST("a write that waits for the epoch of a copy fails when the link to it is lost") {
  Cluster cluster(2);
  const int32_t client = writeTooEarly(cluster);
  cluster.cut(1, 2);
  checkOnly(cluster.heard(1, client), Status::NOT_ENOUGH_REPLICAS, 1);
}

TEST("every kind of write reaches the copies") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  const std::string ttl = bytesOf(uint64_t{0});
  const std::string writes = set(1, "gone", "v", ALL) + encode({DELETE, 2, "", "gone", "", ALL}) +
                             set(3, "kept", "v", ALL, 1000) +
                             encode({TOUCH, 4, bytesOf(uint64_t{60'000}), "kept", "", ALL}) +
                             encode({INCREMENT, 5, bytesOf(int64_t{1}) + bytesOf(int64_t{7}) + ttl, "n", "", ALL}) +
                             encode({INCREMENT, 6, bytesOf(int64_t{1}) + bytesOf(int64_t{7}) + ttl, "n", "", ALL}) +
                             encode({0x06, 7, ttl, "text", "ab", ALL}) + encode({0x06, 8, ttl, "text", "cd", ALL});
  const std::vector<Response> answers = cluster.ask(1, client, writes);
  CHECK(answers.size() == 8);
  for (uint32_t i = 0; i < 8; i++) CHECK(is(answers[i], Status::OK, i + 1));
  cluster.node(2).pass(2'000);
  const int32_t reader = cluster.client(2);
  checkOnly(cluster.ask(2, reader, get(1, "gone", NEAREST)), Status::NOT_FOUND, 1);
  CHECK(valueOf(cluster.ask(2, reader, get(2, "kept", NEAREST)), 2) == "v");
  CHECK(valueOf(cluster.ask(2, reader, get(3, "n", NEAREST)), 3) == bytesOf(int64_t{8}));
  CHECK(valueOf(cluster.ask(2, reader, get(4, "text", NEAREST)), 4) == "abcd");
}

TEST("a condition that is not met waits for nobody") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.ask(1, client, set(1, "k", "v", ALL));
  cluster.say(1, client,
              encode({SET, 2, bytesOf(uint64_t{0}), "k", "w", ALL | henge::protocol::RequestFlag::IF_ABSENT}));
  checkOnly(cluster.heard(1, client), Status::EXISTS, 2);
  CHECK(cluster.take(1, 2).empty());
}

TEST("a level that too few links could reach is refused before anything is written") {
  Cluster cluster(3);
  cluster.link(1, 2);
  const int32_t client = cluster.client(1);
  cluster.say(1, client, set(1, "k", "v", ALL));
  checkOnly(cluster.heard(1, client), Status::NOT_READY, 1);
  CHECK(cluster.take(1, 2).empty());
  checkOnly(cluster.ask(1, client, get(2, "k")), Status::NOT_FOUND, 2);
  checkOnly(cluster.ask(1, client, set(3, "k", "v", QUORUM)), Status::OK, 3);
}

TEST("what clear deletes is deleted on the copies") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  std::string writes;
  for (uint32_t id = 1; id <= 50; id++) writes += set(id, "k" + std::to_string(id), "v");
  cluster.ask(1, client, writes);
  std::string cursors(16, 0);
  do {
    const std::vector<Response> answers = cluster.ask(1, client, encode({CLEAR, 1, cursors}));
    CHECK(answers.size() == 1);
    cursors = answers[0].extras.substr(0, 16);
  } while (henge::load<uint64_t>(cursors.data()) != 0);
  const int32_t reader = cluster.client(2);
  for (uint32_t id = 1; id <= 50; id++) {
    checkOnly(cluster.ask(2, reader, get(id, "k" + std::to_string(id), NEAREST)), Status::NOT_FOUND, id);
  }
  CHECK(!isAnyMissed(cluster, 2));
}

// ---- quorum reads --------------------------------------------------------------------------------------------------

TEST("a quorum read is answered when a majority has what it says") {
  Cluster cluster(3);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.ask(1, client, set(1, "k", "v"));
  cluster.say(1, client, get(2, "k", QUORUM) + get(3, "none", QUORUM));
  CHECK(cluster.heard(1, client).empty());
  cluster.answer(1, 3, cluster.deliver(1, 3, cluster.take(1, 3)));
  const std::vector<Response> answers = cluster.heard(1, client);
  CHECK(answers.size() == 2);
  CHECK(is(answers[0], Status::OK, 2) && answers[0].value == "v");
  CHECK(is(answers[1], Status::NOT_FOUND, 3));
}

TEST("a quorum read gives a copy what it lacks before it answers") {
  Cluster cluster(2);
  const int32_t client = cluster.client(1);
  cluster.ask(1, client, set(1, "k", "v") + set(2, "gone", "v"));
  cluster.link(1, 2);
  cluster.ask(1, client, set(3, "gone", "w"));
  cluster.cut(1, 2);
  cluster.ask(1, client, encode({DELETE, 4, "", "gone"}));
  cluster.link(1, 2);
  const std::vector<Response> answers = cluster.ask(1, client, get(5, "k", QUORUM) + get(6, "gone", QUORUM));
  CHECK(answers.size() == 2);
  CHECK(is(answers[0], Status::OK, 5) && answers[0].value == "v");
  CHECK(is(answers[1], Status::NOT_FOUND, 6));
  cluster.node(1).worker().beginCatchUp(2, ALL_SLOTS);
  cluster.sync();
  const int32_t reader = cluster.client(2);
  CHECK(valueOf(cluster.ask(2, reader, get(1, "k", NEAREST)), 1) == "v");
  checkOnly(cluster.ask(2, reader, get(2, "gone", NEAREST)), Status::NOT_FOUND, 2);
}

TEST("a quorum read takes over what a copy has newer") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.ask(1, client, set(1, "k", "old"));
  henge::Item item;
  item.key = "k";
  item.value = "new";
  item.slot = 0;
  item.version = {1, uint64_t{1'700'000'000'100} << 16, 2};
  CHECK(cluster.node(2).worker().apply(item, 0, 1, nullptr) == henge::Applied::APPLIED);
  CHECK(valueOf(cluster.ask(1, client, get(2, "k", QUORUM)), 2) == "new");
  CHECK(valueOf(cluster.ask(1, client, get(3, "k")), 3) == "new");
}

TEST("a quorum read of what has expired is a miss, though a copy still has it") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.ask(1, client, set(1, "k", "v", ALL, 1'000));
  cluster.node(1).pass(2'000);
  checkOnly(cluster.ask(1, client, get(2, "k", QUORUM)), Status::NOT_FOUND, 2);
}

TEST_MAIN
