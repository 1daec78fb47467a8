// What the wire promises: one life of a connection, answers in order, and bounds on all that waits.
#include "wire_support.h"

using henge::OutputFlag::CLOSE;
using henge::OutputFlag::CONTROL;
using henge::OutputFlag::MORE;
using henge::protocol::Opcode;
using henge::protocol::Status;
using wire::bytesOf;
using wire::encode;
using wire::Node;
using wire::Response;

namespace {

constexpr uint8_t NOOP = 0x00;
constexpr uint8_t GET = 0x01;
constexpr uint8_t SET = 0x02;
constexpr uint8_t SCAN = 0x07;
constexpr uint8_t STATS = 0x23;
constexpr uint8_t WANT_META = henge::protocol::RequestFlag::WANT_META;
const std::string NO_TTL = bytesOf(uint64_t{0});

bool is(const Response& response, Status status, uint32_t id) {
  return response.status == static_cast<uint8_t>(status) && response.id == id;
}

std::string scanFrame(uint32_t id) { return encode({SCAN, id, bytesOf(uint64_t{0}) + bytesOf(uint16_t{10})}); }

}  // namespace

TEST("a length beyond the limit is refused with its first four bytes") {
  Node node;
  const int32_t connection = node.open();
  uint32_t flags = 0;
  const size_t most = henge::frameBytesMax(wire::VALUE_BYTES_MAX) - 4;
  CHECK(node.execute(connection, bytesOf(static_cast<uint32_t>(most)), &flags).empty());
  CHECK(flags == 0);
  const int32_t other = node.open();
  node.execute(other, bytesOf(static_cast<uint32_t>(most + 1)), &flags);
  CHECK(flags == CLOSE);
}

TEST("before it is greeted a connection may say hello and nothing else, and not at length") {
  Node node;
  uint32_t flags = 0;
  CHECK(is(wire::responses(node.execute(node.session().connect(), encode({NOOP, 5}), &flags)).at(0),
           Status::PROTOCOL_ERROR, 5));
  CHECK(flags == CLOSE);
  const std::string longHello = encode({0x20, 1, std::string(12, 'x'), std::string(256, 'n')});
  CHECK(is(wire::responses(node.execute(node.session().connect(), longHello, &flags)).at(0),
           Status::PROTOCOL_ERROR, 1));
  CHECK(flags == CLOSE);
}

TEST("frames behind a hello wait for the greeting, and are then answered in order") {
  Node node;
  const int32_t connection = node.session().connect();
  uint32_t flags = 0;
  const std::string input = wire::hello() + encode({SET, 2, NO_TTL, "k", "v"}) + encode({GET, 3, "", "k"});
  CHECK(node.execute(connection, input, &flags).empty());
  CHECK(flags == CONTROL);
  CHECK(node.execute(connection, encode({NOOP, 4})).empty());
  const std::vector<henge::ControlFrame> frames = node.session().takeControl();
  CHECK(frames.size() == 1);
  CHECK(frames[0].connection == connection && frames[0].requestId == 1 && frames[0].key == "test");
  node.session().greet(connection, henge::protocol::Role::CLIENT);
  const std::vector<Response> answers = wire::responses(node.execute(connection, {}, &flags));
  CHECK(flags == 0);
  CHECK(answers.size() == 3);
  CHECK(is(answers[0], Status::OK, 2) && is(answers[1], Status::OK, 3) && is(answers[2], Status::OK, 4));
  CHECK(answers[1].value == "v");
}

TEST("a connection that floods the node before it is greeted is closed") {
  Node node;
  const int32_t connection = node.session().connect();
  node.execute(connection, wire::hello());
  uint32_t flags = 0;
  const std::string chunk(64 * 1024, 'x');
  for (int i = 0; i < 4; i++) node.execute(connection, chunk, &flags);
  CHECK((flags & CLOSE) == 0);
  node.execute(connection, "x", &flags);
  CHECK((flags & CLOSE) != 0);
}

TEST("a conversation gives the same answers wherever its bytes are cut") {
  std::string input;
  for (uint32_t id = 1; id <= 40; id++) {
    const std::string key = "k" + std::to_string(id % 7);
    input += encode({SET, 3 * id, NO_TTL, key, std::string(id * 3, 'v')});
    input += encode({GET, 3 * id + 1, "", key});
    input += encode({NOOP, 3 * id + 2});
  }
  Node whole;
  const std::string expected = whole.executeAll(whole.open(), input);
  CHECK(wire::responses(expected).size() == 120);
  for (const size_t step : {1, 2, 3, 5, 16, 17, 100, 1000}) {
    Node node;
    const int32_t connection = node.open();
    std::string output;
    for (size_t at = 0; at < input.size(); at += step) {
      output += node.executeAll(connection, std::string_view(input).substr(at, step));
    }
    CHECK(output == expected);
  }
}

TEST("answers that do not fit come with MORE, none lost and in order") {
  Node node;
  const int32_t connection = node.open();
  node.executeAll(connection, encode({SET, 1, NO_TTL, "k", std::string(60'000, 'v')}));
  std::string input;
  for (uint32_t id = 1; id <= 50; id++) input += encode({GET, id, "", "k"});
  uint32_t flags = 0;
  const std::string first = node.execute(connection, input, &flags);
  CHECK(flags == MORE);
  CHECK(first.size() > henge::Session::ANSWERS_BYTES);
  const std::vector<Response> answers = wire::responses(first + node.executeAll(connection, {}, &flags));
  CHECK(flags == 0);
  CHECK(answers.size() == 50);
  for (uint32_t i = 0; i < 50; i++) CHECK(is(answers[i], Status::OK, i + 1) && answers[i].value.size() == 60'000);
}

TEST("a connection that goes on sending while its answers are held back is closed with BUSY") {
  Node node;
  const int32_t connection = node.open();
  node.executeAll(connection, encode({SET, 1, NO_TTL, "k", std::string(60'000, 'v')}));
  std::string chunk;
  for (uint32_t id = 1; chunk.size() < 64 * 1024; id++) chunk += encode({GET, id, "", "k"});
  uint32_t flags = 0;
  size_t bytesHeld = 0;
  std::string output;
  while ((flags & CLOSE) == 0 && bytesHeld < 2 * henge::Session::HELD_BYTES_MAX) {
    output = node.execute(connection, chunk, &flags);
    bytesHeld += chunk.size();
  }
  CHECK((flags & CLOSE) != 0);
  CHECK(is(wire::responses(output).back(), Status::BUSY, 0));
}

TEST("a request that was held back beyond its deadline is not run") {
  Node node;
  const int32_t connection = node.session().connect();
  const std::string held = encode({SET, 2, NO_TTL, "late", "v", 0, 50}) +
                           encode({SET, 3, NO_TTL, "patient", "v", 0, 500}) + encode({SET, 4, NO_TTL, "free", "v"});
  node.execute(connection, wire::hello() + held);
  node.pass(100);
  node.session().greet(connection, henge::protocol::Role::CLIENT);
  const std::vector<Response> answers = wire::responses(
      node.execute(connection, encode({GET, 5, "", "late", "", 0, 50}) + encode({GET, 6, "", "patient", "", 0, 50})));
  CHECK(answers.size() == 5);
  CHECK(is(answers[0], Status::EXPIRED, 2));
  CHECK(is(answers[1], Status::OK, 3) && is(answers[2], Status::OK, 4));
  CHECK(is(answers[3], Status::NOT_FOUND, 5) && is(answers[4], Status::OK, 6));
}

TEST("an item's version and time to live come with WANT_META only") {
  Node node;
  const int32_t connection = node.open();
  const std::string input = encode({SET, 1, bytesOf(uint64_t{60'000}), "k", "v", WANT_META}) +
                            encode({GET, 2, "", "k"}) + encode({GET, 3, "", "k", "", WANT_META});
  const std::vector<Response> answers = wire::responses(node.execute(connection, input));
  CHECK(answers.size() == 3);
  CHECK(answers[0].extras.size() == henge::protocol::META_BYTES);
  CHECK(answers[1].extras.empty() && answers[1].value == "v");
  CHECK(answers[2].extras.size() == henge::protocol::META_BYTES && answers[2].value == "v");
  CHECK(answers[2].extras.substr(0, 16) == answers[0].extras.substr(0, 16));
}

TEST("control frames beyond the queue's limit are answered BUSY") {
  Node node;
  const int32_t connection = node.open();
  std::string input;
  for (uint32_t id = 1; id <= henge::Session::CONTROL_FRAMES_MAX + 1; id++) input += encode({STATS, id});
  uint32_t flags = 0;
  const std::vector<Response> answers = wire::responses(node.execute(connection, input, &flags));
  CHECK(flags == CONTROL);
  CHECK(answers.size() == 1);
  CHECK(is(answers[0], Status::BUSY, henge::Session::CONTROL_FRAMES_MAX + 1));
  CHECK(node.session().takeControl().size() == henge::Session::CONTROL_FRAMES_MAX);
}

TEST("a chunk runs only so many walks, and goes on with the next") {
  Node node;
  const int32_t connection = node.open();
  std::string input;
  for (uint32_t id = 1; id <= henge::Session::WALKS_MAX + 1; id++) input += scanFrame(id);
  uint32_t flags = 0;
  CHECK(wire::responses(node.execute(connection, input, &flags)).size() == henge::Session::WALKS_MAX);
  CHECK(flags == MORE);
  CHECK(wire::responses(node.execute(connection, {}, &flags)).size() == 1);
  CHECK(flags == 0);
}

TEST("peers may use opcodes that clients may not") {
  Node node;
  const std::string frame = encode({0x47, 9});
  uint32_t flags = 0;
  CHECK(is(wire::responses(node.execute(node.open(), frame, &flags)).at(0), Status::REFUSED, 9));
  CHECK(flags == 0);
  CHECK(node.execute(node.openPeer(2), frame, &flags).empty());
  CHECK(flags == CONTROL);
  CHECK(node.session().takeControl().at(0).node == 2);
}

TEST("a node proves that it knows the secret between its hello and its greeting, once") {
  Node node;
  const int32_t connection = node.session().connect();
  const std::string proof = encode({0x24, 2, "", "", "proof"});
  uint32_t flags = 0;
  CHECK(node.execute(connection, wire::hello(henge::protocol::Role::PEER) + proof, &flags).empty());
  CHECK(flags == CONTROL);
  const std::vector<henge::ControlFrame> frames = node.session().takeControl();
  CHECK(frames.size() == 2);
  CHECK(frames[1].opcode == Opcode::AUTHENTICATE && frames[1].value == "proof" && frames[1].node == 0);
  CHECK(node.execute(connection, encode({NOOP, 3}), &flags).empty());
  CHECK(flags == 0);
  node.session().greet(connection, henge::protocol::Role::PEER, 2);
  CHECK(is(wire::responses(node.execute(connection, {})).at(0), Status::OK, 3));
  CHECK(is(wire::responses(node.execute(connection, proof, &flags)).at(0), Status::PROTOCOL_ERROR, 2));
  CHECK(flags == CLOSE);
}

TEST("a node that sends something else than its proof is broken off, and so is a client that sends one") {
  Node node;
  uint32_t flags = 0;
  const int32_t peer = node.session().connect();
  node.execute(peer, wire::hello(henge::protocol::Role::PEER) + encode({0x43, 2, std::string(24, 0)}), &flags);
  CHECK(flags == (CLOSE | CONTROL));
  node.session().takeControl();
  CHECK(is(wire::responses(node.execute(node.open(), encode({0x24, 2, "", "", "proof"}), &flags)).at(0),
           Status::PROTOCOL_ERROR, 2));
  CHECK(flags == CLOSE);
}

TEST("a broken connection runs nothing any more") {
  Node node;
  const int32_t connection = node.open();
  uint32_t flags = 0;
  const std::string input = encode({NOOP, 0}) + encode({SET, 1, NO_TTL, "k", "v"});
  CHECK(wire::responses(node.execute(connection, input, &flags)).size() == 1);
  CHECK(node.execute(connection, encode({SET, 2, NO_TTL, "k", "v"}), &flags).empty());
  CHECK(flags == CLOSE);
  CHECK(is(wire::responses(node.execute(node.open(), encode({GET, 3, "", "k"}))).at(0), Status::NOT_FOUND, 3));
}

TEST("a number that was given back finds nothing, though its place is used again") {
  Node node;
  const int32_t before = node.session().connect();
  node.execute(before, wire::hello());
  node.session().disconnect(before);
  CHECK(node.session().takeControl().empty());
  const int32_t after = node.session().connect();
  CHECK(after != before);
  CHECK(!node.session().isConnected(before));
  CHECK(node.session().isConnected(after));
}

TEST("what arrives and leaves is counted") {
  Node node;
  const int32_t connection = node.open();
  const henge::Counters before = node.worker().counters();
  const std::string input = encode({NOOP, 1}) + encode({GET, 2, "", "k"}) + encode({NOOP, 0});
  const std::string output = node.execute(connection, input);
  const henge::Counters& after = node.worker().counters();
  CHECK(after.framesIn - before.framesIn == 3);
  CHECK(after.bytesIn - before.bytesIn == input.size());
  CHECK(after.bytesOut - before.bytesOut == output.size());
  CHECK(after.protocolErrors - before.protocolErrors == 1);
}

TEST_MAIN
