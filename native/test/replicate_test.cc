// What replication promises on the wire, with two or three real stores: which copies a write is on when it is answered,
// what becomes of writes whose link ends or whose copy refuses, and what a quorum read may say.
#include "cluster_support.h"

using henge::OutputFlag::BEHIND;
using henge::OutputFlag::CLOSE;
using henge::OutputFlag::CONTROL;
using henge::OutputFlag::OTHERS;
using henge::protocol::Status;
using wire::bytesOf;
using wire::Cluster;
using wire::encode;
using wire::Response;

namespace {

constexpr uint8_t GET = 0x01;
constexpr uint8_t SET = 0x02;
constexpr uint8_t DELETE = 0x03;
constexpr uint8_t TOUCH = 0x04;
constexpr uint8_t INCREMENT = 0x05;
constexpr uint8_t CLEAR = 0x08;
constexpr uint8_t PROBE = 0x47;
constexpr uint8_t ONE = 0;
constexpr uint8_t QUORUM = 1;
constexpr uint8_t ALL = 2;
constexpr uint8_t NEAREST = 2;

const std::string ALL_SLOTS(henge::protocol::SLOTS / 8, static_cast<char>(0xff));

bool is(const Response& response, Status status, uint32_t id) {
  return response.status == static_cast<uint8_t>(status) && response.id == id;
}

std::string set(uint32_t id, const std::string& key, const std::string& value, uint8_t level = ONE, uint64_t ttlMs = 0,
                uint16_t deadlineMs = 0) {
  return encode({SET, id, bytesOf(ttlMs), key, value, level, deadlineMs});
}
std::string get(uint32_t id, const std::string& key, uint8_t level = 0) {
  return encode({GET, id, "", key, "", level});
}

// The only answer, of this id; its value.
std::string valueOf(const std::vector<Response>& answers, uint32_t id) {
  CHECK(answers.size() == 1);
  CHECK(is(answers[0], Status::OK, id));
  return answers[0].value;
}
void checkOnly(const std::vector<Response>& answers, Status status, uint32_t id) {
  CHECK(answers.size() == 1);
  CHECK(is(answers[0], status, id));
}

bool isAnyMissed(Cluster& cluster, uint16_t node) {
  return cluster.node(1).worker().peerBits(node).missed.find_first_not_of('\0') != std::string::npos;
}

std::string acknowledgement(uint32_t id, Status status = Status::OK, const std::string& extras = "") {
  return bytesOf(static_cast<uint32_t>(8 + extras.size())) + bytesOf(static_cast<uint8_t>(status)) +
         bytesOf(uint16_t{0}) + bytesOf(static_cast<uint8_t>(extras.size())) + bytesOf(id) + extras;
}

// Ids of the requests in these bytes.
std::vector<uint32_t> idsOf(std::string_view bytes) {
  std::vector<uint32_t> ids;
  while (!bytes.empty()) {
    ids.push_back(henge::load<uint32_t>(bytes.data() + 8));
    bytes.remove_prefix(4 + henge::load<uint32_t>(bytes.data()));
  }
  return ids;
}

}  // namespace

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
  CHECK(cluster.answer(1, 2, answers) == (BEHIND | OTHERS));
  checkOnly(cluster.heard(1, client), Status::NOT_ENOUGH_REPLICAS, 1);
  checkOnly(cluster.ask(1, client, set(2, "k", "w")), Status::NOT_READY, 2);
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
