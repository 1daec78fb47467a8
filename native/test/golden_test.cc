// The golden bytes of docs/protocol.md, which clients and nodes of any language can be checked against: requests are
// read as they were meant, answers and requests to other nodes are written like this, and what is malformed is told so.
// test/unit/wire/vectors.test.ts reads the same files.
#include <map>

#include "../store/hash.h"
#include "../store/item_record.h"
#include "../wire/requests.h"
#include "wire_support.h"

using henge::Answer;
using henge::Operation;
using henge::OutputFlag::CLOSE;
using henge::protocol::Opcode;
using henge::protocol::Status;
using wire::bytesOf;
using wire::Node;
using wire::Response;

namespace {

constexpr uint8_t WANT_META = henge::protocol::RequestFlag::WANT_META;

bool is(const Response& response, Status status, uint32_t id) {
  return response.status == static_cast<uint8_t>(status) && response.id == id;
}

// When in a connection's life an opcode may be sent.
henge::Gate::Expects turnOf(uint32_t opcode) {
  if (opcode == static_cast<uint32_t>(Opcode::HELLO)) return henge::Gate::Expects::HELLO;
  if (opcode == static_cast<uint32_t>(Opcode::AUTHENTICATE)) return henge::Gate::Expects::PROOF;
  return henge::Gate::Expects::REQUESTS;
}

// "city:3" as it travels between nodes.
henge::Item cityItem() {
  henge::Item item;
  item.key = "city:3";
  item.value = "Lagos";
  item.slot = henge::slotOf(item.key);
  item.encoding = henge::protocol::Encoding::UTF8;
  item.heat = 0x1234;
  item.expiresAt = 1'700'000'060'000;
  item.version = {7, uint64_t{1'700'000'000'000} << 16 | 1, 2};
  return item;
}

// The same for answers to nodes, and for those that say no more than their status.
std::string encodePeersGolden(const std::string& name) {
  char out[256];
  const auto status = [&out](uint32_t id, Status given) {
    return std::string(out, henge::encodeStatus(out, id, given));
  };
  if (name == "not-ready") return status(8, Status::NOT_READY);
  if (name == "not-in-sync") return status(3, Status::NOT_IN_SYNC);
  if (name == "not-enough-replicas") return status(8, Status::NOT_ENOUGH_REPLICAS);
  if (name == "acknowledgement") return status(24, Status::OK);
  if (name == "need-full") return status(26, Status::NEED_FULL);
  if (name == "stale") return std::string(out, henge::encodeStale(out, 24, 8));
  if (name == "items-answer") return std::string(out, henge::encodeTally(out, 27, {1, 2, 3, 4}));
  if (name == "query-newer") {
    henge::Item item = cityItem();
    item.value = "Abuja";
    item.expiresAt = 0;
    item.version.time += 65'536;
    char record[256];
    return std::string(out, henge::encodeNewer(out, 28, {record, henge::encodeItemRecord(record, item)}));
  }
  return "";
}

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
  if (name == "get-answer-degraded") {
    lagos.hints = henge::protocol::Hint::DEGRADED;
    return answer(23, get, lagos);
  }
  if (name == "expired") return std::string(out, henge::encodeStatus(out, 3, Status::EXPIRED));
  if (name == "refused") {
    const char* sentence = "IF_ABSENT and IF_VERSION exclude each other";
    return std::string(out, henge::encodeSentence(out, 8, Status::REFUSED, sentence));
  }
  return encodePeersGolden(name);
}

}  // namespace

TEST("every golden request is read as it was meant") {
  for (const wire::Vector& vector : wire::vectors("requests")) {
    const std::string bytes = wire::unhex(vector.at("hex"));
    const henge::Gate gate{turnOf(wire::number(vector, "opcode")), true, henge::frameBytesMax(wire::VALUE_BYTES_MAX)};
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
    CHECK(henge::parse(wire::unhex(vector.at("hex")), {henge::Gate::Expects::REQUESTS, false, 1024}, &request,
                       &operation, &sentence));
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

TEST("what goes to other nodes is written as the golden requests are") {
  const henge::Item city = cityItem();
  henge::Written written;
  written.slot = city.slot;
  written.epoch = 7;
  written.version = city.version;
  henge::Written item = written;
  item.key = city.key;
  item.value = city.value;
  item.encoding = city.encoding;
  item.heat = city.heat;
  item.expiresAt = city.expiresAt;
  henge::Written tombstone = written;
  tombstone.kind = henge::protocol::ItemKind::TOMBSTONE;
  tombstone.expiresAt = 1'700'003'600'000;
  tombstone.hash = 0x1122334455667788;
  henge::Written expiry = written;
  expiry.kind = henge::protocol::ItemKind::EXPIRY;
  expiry.key = city.key;
  expiry.heat = city.heat;
  expiry.base = {6, city.version.time - 65'536, 2};
  std::map<std::string, std::string> frames;
  henge::appendReplicate(&frames["replicate"], 24, item);
  henge::appendReplicate(&frames["replicate-tombstone"], 25, tombstone);
  henge::appendReplicate(&frames["replicate-expiry"], 26, expiry);
  henge::appendQuery(&frames["query"], 28, {7, city.slot, city.version, city.key});
  for (const wire::Vector& vector : wire::vectors("requests")) {
    const auto frame = frames.find(vector.at("name"));
    if (frame == frames.end()) continue;
    CHECK(wire::hex(frame->second) == vector.at("hex"));
    frames.erase(frame);
  }
  CHECK(frames.empty());
}

TEST("what another node sends malformed ends its connection, whole or byte by byte") {
  for (const wire::Vector& vector : wire::vectors("malformed-peers")) {
    const std::string bytes = wire::unhex(vector.at("hex"));
    for (const size_t step : {bytes.size(), size_t{1}}) {
      Node node(1, "1 2");
      const int32_t connection = node.openPeer(2);
      std::string output;
      uint32_t flags = 0;
      for (size_t at = 0; at < bytes.size() && (flags & CLOSE) == 0; at += step) {
        output += node.execute(connection, std::string_view(bytes).substr(at, step), &flags);
      }
      const std::vector<Response> answers = wire::responses(output);
      CHECK(answers.size() == 1);
      CHECK(is(answers[0], Status::PROTOCOL_ERROR, 1));
      CHECK(flags == CLOSE);
    }
  }
}

TEST_MAIN
