// What replication promises on the wire, with two or three real stores: acknowledgements, what becomes of writes whose
// link ends or whose copy refuses, epochs, and bounds.
#include "replicate_support.h"

using namespace replicate;
using henge::OutputFlag::BEHIND;
using henge::OutputFlag::CLOSE;
using henge::OutputFlag::CONTROL;
using henge::OutputFlag::OTHERS;

// ---- acknowledgements ----------------------------------------------------------------------------------------------

TEST("writes of one chunk are acknowledged by one OK with the id of the last") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  std::string writes;
  for (uint32_t id = 1; id <= 100; id++)
    writes += set(id, "k" + std::to_string(id % 7), "v", id % 3 == 0 ? QUORUM : ONE);
  cluster.say(1, client, writes);
  const std::string requests = cluster.take(1, 2);
  const std::vector<uint32_t> ids = idsOf(requests);
  CHECK(ids.size() == 100);
  for (uint32_t i = 1; i < 100; i++) CHECK(ids[i] == ids[i - 1] + 1);
  const std::string answers = cluster.deliver(1, 2, requests);
  checkOnly(wire::responses(answers), Status::OK, ids.back());
  cluster.answer(1, 2, answers);
  CHECK(cluster.heard(1, client).size() == 100);
}

TEST("JavaScript's requests on a link are answered in any order, and acknowledge nothing") {
  Cluster cluster(2);
  const int32_t link = cluster.link(1, 2);
  const int32_t client = cluster.client(1);
  henge::Session& session = cluster.node(1).session();
  const uint32_t first = session.request(link, encode({PROBE, 1}));
  cluster.say(1, client, set(1, "k", "v", QUORUM));
  const uint32_t second = session.request(link, encode({PROBE, 1}));
  CHECK(second == first + 2);
  CHECK(idsOf(cluster.take(1, 2)) == std::vector<uint32_t>({first, first + 1, second}));
  CHECK(cluster.answer(1, 2, acknowledgement(second)) == CONTROL);
  CHECK(cluster.heard(1, client).empty());
  cluster.answer(1, 2, acknowledgement(first, Status::BUSY) + acknowledgement(first + 1));
  checkOnly(cluster.heard(1, client), Status::OK, 1);
  const std::vector<henge::LinkAnswer> answers = session.takeAnswers();
  CHECK(answers.size() == 2);
  CHECK(answers[0].connection == link && answers[0].requestId == second && answers[0].status == 0);
  CHECK(answers[1].requestId == first && answers[1].status == static_cast<uint8_t>(Status::BUSY));
}

TEST("an answer that nobody asked for ends the link, and so does noise") {
  for (const std::string& nonsense :
       {acknowledgement(77), acknowledgement(0), bytesOf(~uint32_t{0}), std::string("\x04\0\0\0", 4)}) {
    Cluster cluster(2);
    cluster.linkAll();
    cluster.say(1, cluster.client(1), set(1, "k", "v"));
    cluster.take(1, 2);
    CHECK((cluster.answer(1, 2, nonsense) & CLOSE) != 0);
  }
}

TEST("answers on a link mean the same wherever their bytes are cut") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  std::string writes;
  for (uint32_t id = 1; id <= 20; id++) writes += set(id, "k", "v", QUORUM);
  cluster.say(1, client, writes);
  for (const uint32_t id : idsOf(cluster.take(1, 2))) {
    for (const char byte : acknowledgement(id)) cluster.answer(1, 2, std::string(1, byte));
  }
  CHECK(cluster.heard(1, client).size() == 20);
}

// ---- loss ----------------------------------------------------------------------------------------------------------

TEST("when a link ends its copy has missed what was under way, and whoever waited is told") {
  Cluster cluster(2);
  const int32_t link = cluster.link(1, 2);
  cluster.sync();
  const int32_t client = cluster.client(1);
  const uint32_t probe = cluster.node(1).session().request(link, encode({PROBE, 1}));
  cluster.say(1, client, set(1, "k", "v", QUORUM));
  CHECK(!isAnyMissed(cluster, 2));
  cluster.cut(1, 2);
  CHECK(isAnyMissed(cluster, 2));
  CHECK(cluster.node(1).session().flags() == (CONTROL | OTHERS));
  checkOnly(cluster.heard(1, client), Status::NOT_ENOUGH_REPLICAS, 1);
  const std::vector<henge::LinkAnswer> answers = cluster.node(1).session().takeAnswers();
  CHECK(answers.size() == 1);
  CHECK(answers[0].requestId == probe && answers[0].status == henge::LinkAnswer::LOST);
  cluster.link(1, 2);
  cluster.say(1, client, set(2, "other", "v"));
  CHECK(idsOf(cluster.take(1, 2)).size() == 1);
}

TEST("a refusal that passes over an older request ends the link, and whoever waited is told") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.say(1, client, set(1, "k", "v", QUORUM) + set(2, "k", "w", QUORUM));
  const std::vector<uint32_t> ids = idsOf(cluster.take(1, 2));
  CHECK((cluster.answer(1, 2, acknowledgement(ids[1], Status::BUSY)) & CLOSE) != 0);
  cluster.cut(1, 2);
  const std::vector<Response> answers = cluster.heard(1, client);
  CHECK(answers.size() == 2);
  CHECK(is(answers[0], Status::NOT_ENOUGH_REPLICAS, 1) && is(answers[1], Status::NOT_ENOUGH_REPLICAS, 2));
  CHECK(isAnyMissed(cluster, 2));
}

TEST("there is one link to a node") {
  Cluster cluster(2);
  cluster.link(1, 2);
  const int32_t second = cluster.node(1).session().connect();
  CHECK(!cluster.node(1).session().linkUp(second, 2));
}

TEST("a link whose copy does not answer takes so much and no more, and again when it does") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  const std::string value(60'000, 'v');
  std::string requests;
  uint32_t id = 0;
  while (!isAnyMissed(cluster, 2) && id < 1'000) {
    id++;
    cluster.say(1, client, set(id, "k" + std::to_string(id % 16), value));
    requests += cluster.take(1, 2);
  }
  CHECK(requests.size() >= henge::Link::UNANSWERED_BYTES_MAX);
  CHECK(requests.size() < henge::Link::UNANSWERED_BYTES_MAX + 2 * value.size());
  cluster.say(1, client, set(id + 1, "k", "v", QUORUM));
  cluster.say(1, client, set(id + 2, "k", "v"));
  CHECK(cluster.take(1, 2).empty());
  const std::vector<Response> answers = cluster.heard(1, client);
  CHECK(is(answers[answers.size() - 2], Status::NOT_READY, id + 1) && is(answers.back(), Status::OK, id + 2));
  cluster.answer(1, 2, cluster.deliver(1, 2, requests));
  checkOnly(cluster.ask(1, client, set(id + 3, "k", "v", QUORUM)), Status::OK, id + 3);
}

TEST("a touch of what the copy lacks is refused there, and missed") {
  Cluster cluster(2);
  const int32_t client = cluster.client(1);
  cluster.say(1, client, set(1, "k", "v"));
  CHECK(isAnyMissed(cluster, 2));
  cluster.link(1, 2);
  cluster.node(1).worker().beginCatchUp(2, ALL_SLOTS);
  CHECK(!isAnyMissed(cluster, 2));
  cluster.heard(1, client);
  const std::string touch = encode({TOUCH, 2, bytesOf(uint64_t{1000}), "k", "", QUORUM});
  checkOnly(cluster.ask(1, client, touch), Status::NOT_ENOUGH_REPLICAS, 2);
  CHECK(isAnyMissed(cluster, 2));
}

// ---- epochs --------------------------------------------------------------------------------------------------------

TEST("a leader that a copy has left behind does not count its answer, and stops leading") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.node(2).install(2, "2 1", false);
  cluster.say(1, client, set(1, "k", "v", QUORUM));
  const std::string answers = cluster.deliver(1, 2, cluster.take(1, 2));
  CHECK(wire::responses(answers).at(0).status == static_cast<uint8_t>(Status::STALE));
  CHECK(cluster.answer(1, 2, answers) == BEHIND);
  checkOnly(cluster.ask(1, client, set(2, "k", "w")), Status::NOT_READY, 2);
  cluster.node(1).install(2, "2 1", false);
  cluster.node(1).session().tick();
  checkOnly(cluster.heard(1, client), Status::NOT_ENOUGH_REPLICAS, 1);
}

TEST("a frame of an epoch that is not here yet waits for it") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.node(1).install(2, "1 2");
  cluster.say(1, client, set(1, "k", "v", QUORUM));
  const std::string requests = cluster.take(1, 2);
  CHECK(cluster.deliver(1, 2, requests).empty());
  CHECK(cluster.flagsThere(1, 2) == BEHIND);
  cluster.node(2).install(2, "1 2");
  const std::string answers = cluster.deliver(1, 2, "");
  CHECK(cluster.flagsThere(1, 2) == 0);
  cluster.answer(1, 2, answers);
  checkOnly(cluster.heard(1, client), Status::OK, 1);
}

TEST("a node that has lost the lead tells at once whoever still waits") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.ask(1, client, set(1, "k", "v", QUORUM));
  cluster.say(1, client, set(2, "k", "w", QUORUM) + get(3, "k", QUORUM));
  CHECK(cluster.heard(1, client).empty());
  cluster.node(1).install(2, "2 1", false);
  cluster.node(1).session().tick();
  CHECK(cluster.node(1).session().flags() == OTHERS);
  const std::vector<Response> answers = cluster.heard(1, client);
  CHECK(answers.size() == 2);
  CHECK(is(answers[0], Status::NOT_ENOUGH_REPLICAS, 2) && is(answers[1], Status::NOT_READY, 3));
}

// ---- bounds --------------------------------------------------------------------------------------------------------

TEST("a write that waits longer than its deadline is answered, and a late acknowledgement then is nothing") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.say(1, client, set(1, "k", "v", QUORUM, 0, 200) + set(2, "k", "w", QUORUM));
  const std::string requests = cluster.take(1, 2);
  cluster.node(1).pass(199);
  cluster.node(1).session().tick();
  CHECK(cluster.heard(1, client).empty());
  cluster.node(1).pass(1);
  cluster.node(1).session().tick();
  checkOnly(cluster.heard(1, client), Status::NOT_ENOUGH_REPLICAS, 1);
  cluster.node(1).pass(henge::Leader::WAIT_MS);
  cluster.say(1, client, encode({0x00, 3}));
  const std::vector<Response> answers = cluster.heard(1, client);
  CHECK(answers.size() == 2);
  CHECK(is(answers[0], Status::OK, 3) && is(answers[1], Status::NOT_ENOUGH_REPLICAS, 2));
  CHECK(cluster.answer(1, 2, cluster.deliver(1, 2, requests)) == 0);
  CHECK(!isAnyMissed(cluster, 2));
}

TEST("more requests than may wait are refused before they do anything") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  const uint32_t most = henge::PendingTable::REQUESTS_MAX;
  std::string reads;
  for (uint32_t id = 1; id <= most; id++) reads += get(id, "k", QUORUM);
  cluster.say(1, client, reads);
  CHECK(cluster.heard(1, client).empty());
  cluster.say(1, client, set(most + 1, "last", "v", QUORUM) + get(most + 2, "last"));
  const std::vector<Response> answers = cluster.heard(1, client);
  CHECK(answers.size() == 2);
  CHECK(is(answers[0], Status::BUSY, most + 1) && is(answers[1], Status::NOT_FOUND, most + 2));
  cluster.carry();
  CHECK(cluster.heard(1, client).size() == most);
}

TEST("the answer of a client that is gone goes to nobody") {
  Cluster cluster(2);
  cluster.linkAll();
  const int32_t client = cluster.client(1);
  cluster.say(1, client, set(1, "k", "v", QUORUM));
  cluster.node(1).session().disconnect(client);
  const int32_t next = cluster.client(1);
  CHECK(cluster.answer(1, 2, cluster.deliver(1, 2, cluster.take(1, 2))) == 0);
  CHECK(cluster.heard(1, next).empty());
}

TEST("only a node that gave its number may send what is for copies") {
  Cluster cluster(2);
  cluster.linkAll();
  cluster.say(1, cluster.client(1), set(1, "k", "v"));
  const std::string request = cluster.take(1, 2);
  const int32_t nameless = cluster.node(2).openPeer(0);
  CHECK(wire::responses(cluster.node(2).execute(nameless, request)).at(0).status ==
        static_cast<uint8_t>(Status::REFUSED));
}

TEST_MAIN
