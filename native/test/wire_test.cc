// What the wire promises: the golden bytes, one life of a connection, answers in order, and bounds on all that waits.
#include "wire_support.h"

using henge::Answer;
using henge::Operation;
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

// The bytes the encoder makes for the golden answer of that name; empty for those that JavaScript writes.
std::string encodeGolden(const std::string& name) {
  char out[256];
  Operation get;
  get.opcode = Opcode::GET;
  Operation getWithMeta = get;
  getWithMeta.flags = WANT_META;
  Answer lagos;
  lagos.encoding = henge::protocol::Encoding::UTF8;
  lagos.valueBytes = 5;
  lagos.version = {7, uint64_t{1'700'000'000'000} << 16 | 1, 2};
  lagos.ttlMs = 59'000;
  const auto answer = [&out](uint32_t id, const Operation& operation, const Answer& given) {
    memcpy(henge::valuePlace(out, operation), "Lagos", 5);
    return std::string(out, henge::encodeAnswer(out, id, operation, given));
  };
  const auto with = [&lagos](Status status) {
    Answer changed = lagos;
    changed.status = status;
    return changed;
  };
  const auto numbered = [&answer](uint32_t id, Opcode opcode, int64_t number, uint8_t encoding) {
    Operation operation;
    operation.opcode = opcode;
    Answer given;
    given.number = number;
    given.encoding = encoding;
    return answer(id, operation, given);
  };
  if (name == "noop-answer") return std::string(out, henge::encodeStatus(out, 2, Status::OK));
  if (name == "get-answer") return answer(3, get, lagos);
  if (name == "get-answer-with-meta") return answer(4, getWithMeta, lagos);
  if (name == "get-answer-hot") {
    lagos.hints = henge::protocol::Hint::HOT_KEY;
    return answer(3, get, lagos);
  }
  if (name == "not-found") return answer(3, getWithMeta, with(Status::NOT_FOUND));
  if (name == "exists" || name == "version-mismatch" || name == "set-answer") {
    Operation set;
    set.opcode = Opcode::SET;
    if (name == "exists") return answer(10, set, with(Status::EXISTS));
    if (name == "set-answer") return answer(8, set, lagos);
    set.flags = WANT_META;
    return answer(11, set, with(Status::VERSION_MISMATCH));
  }
  if (name == "increment-answer") return numbered(15, Opcode::INCREMENT, 105, henge::protocol::Encoding::INTEGER);
  if (name == "append-answer") return numbered(17, Opcode::APPEND, 9, henge::protocol::Encoding::BYTES);
  if (name == "scan-answer") {
    const std::string keys = bytesOf(uint16_t{6}) + "city:3" + bytesOf(uint16_t{6}) + "city:4";
    memcpy(henge::keysPlace(out), keys.data(), keys.size());
    return std::string(out, henge::encodeScan(out, 18, 4096, keys.size()));
  }
  if (name == "clear-answer") return std::string(out, henge::encodeClear(out, 19, {4096, 77, 2}));
  if (name == "moved") {
    Answer moved = with(Status::MOVED);
    moved.epoch = 8;
    return answer(3, getWithMeta, moved);
  }
  if (name == "expired") return std::string(out, henge::encodeStatus(out, 3, Status::EXPIRED));
  if (name == "refused") {
    const char* sentence = "IF_ABSENT and IF_VERSION exclude each other";
    return std::string(out, henge::encodeSentence(out, 8, Status::REFUSED, sentence));
  }
  return "";
}

}  // namespace

TEST("every golden request is read as it was meant") {
  for (const wire::Vector& vector : wire::vectors("requests")) {
    const std::string bytes = wire::unhex(vector.at("hex"));
    const bool isHello = wire::number(vector, "opcode") == static_cast<uint32_t>(Opcode::HELLO);
    const henge::Gate gate{!isHello, false, henge::frameBytesMax(wire::VALUE_BYTES_MAX)};
    henge::Request request;
    henge::Operation operation;
    henge::Sentence sentence;
    CHECK(henge::parse(bytes, gate, &request, &operation, &sentence));
    CHECK(request.kind != henge::Request::Kind::BROKEN && request.kind != henge::Request::Kind::REFUSED);
    CHECK(request.frameBytes == bytes.size());
    CHECK(request.id == wire::number(vector, "id"));
    CHECK(request.deadlineMs == wire::number(vector, "deadlineMs"));
    CHECK(static_cast<uint32_t>(operation.opcode) == wire::number(vector, "opcode"));
    CHECK(operation.flags == wire::number(vector, "flags"));
    CHECK(operation.encoding == wire::number(vector, "encoding"));
    CHECK(wire::hex(request.extras) == vector.at("extras"));
    CHECK(wire::hex(operation.key) == vector.at("key"));
    CHECK(wire::hex(operation.value) == vector.at("value"));
  }
}

TEST("a conditional write's extras are its time to live and its version") {
  for (const wire::Vector& vector : wire::vectors("requests")) {
    if (vector.at("name") != "set-if-version") continue;
    henge::Request request;
    henge::Operation operation;
    henge::Sentence sentence;
    CHECK(henge::parse(wire::unhex(vector.at("hex")), {true, false, 1024}, &request, &operation, &sentence));
    CHECK(operation.ttlMs == 0);
    CHECK((operation.ifVersion == henge::Version{7, uint64_t{1'700'000'000'000} << 16 | 1, 2}));
    return;
  }
  CHECK(!"there is a vector called set-if-version");
}

TEST("every golden answer is what the encoder writes") {
  for (const wire::Vector& vector : wire::vectors("responses")) {
    if (vector.at("name") == "hello-answer") continue;
    CHECK(wire::hex(encodeGolden(vector.at("name"))) == vector.at("hex"));
  }
}

TEST("every malformed frame gets its status, whole or byte by byte, and closes if it must") {
  for (const wire::Vector& vector : wire::vectors("malformed")) {
    const std::string bytes = wire::unhex(vector.at("hex"));
    for (const size_t step : {bytes.size(), size_t{1}}) {
      Node node;
      const int32_t connection = node.open();
      std::string output;
      uint32_t flags = 0;
      for (size_t at = 0; at < bytes.size() && (flags & CLOSE) == 0; at += step) {
        output += node.execute(connection, std::string_view(bytes).substr(at, step), &flags);
      }
      const std::vector<Response> answers = wire::responses(output);
      CHECK(answers.size() == 1);
      CHECK(is(answers[0], static_cast<Status>(wire::number(vector, "status")), wire::number(vector, "id")));
      CHECK(!answers[0].value.empty());
      CHECK((flags == CLOSE) == (vector.at("closes") == "true"));
    }
  }
}

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
  const std::string input = wire::hello(1) + encode({SET, 2, NO_TTL, "k", "v"}) + encode({GET, 3, "", "k"});
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
  wire::clockNs += 100'000'000;
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
  const std::string frame = encode({0x40, 9});
  uint32_t flags = 0;
  CHECK(is(wire::responses(node.execute(node.open(), frame, &flags)).at(0), Status::REFUSED, 9));
  CHECK(flags == 0);
  const int32_t peer = node.open(henge::protocol::Role::PEER);
  CHECK(is(wire::responses(node.execute(peer, frame, &flags)).at(0), Status::PROTOCOL_ERROR, 9));
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
