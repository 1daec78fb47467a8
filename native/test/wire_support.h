// Fixtures for the tests of the wire: frames, golden vectors, and a node of one worker over a small real store.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "../store/memory.h"
#include "../store/worker.h"
#include "../wire/bytes.h"
#include "../wire/session.h"
#include "support/check.h"
#include "support/rows.h"

namespace wire {

// ---- frames --------------------------------------------------------------------------------------------------------

struct Frame {
  uint8_t opcode = 0;
  uint32_t id = 1;
  std::string extras = {};
  std::string key = {};
  std::string value = {};
  uint8_t flags = 0;
  uint16_t deadlineMs = 0;
  uint8_t encoding = 0;
};

template <typename T>
std::string bytesOf(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

inline std::string encode(const Frame& frame) {
  const size_t length = 12 + frame.extras.size() + frame.key.size() + frame.value.size();
  return bytesOf(static_cast<uint32_t>(length)) + bytesOf(frame.opcode) + bytesOf(frame.flags) +
         bytesOf(frame.deadlineMs) + bytesOf(frame.id) + bytesOf(static_cast<uint16_t>(frame.key.size())) +
         bytesOf(static_cast<uint8_t>(frame.extras.size())) + bytesOf(frame.encoding) + frame.extras + frame.key +
         frame.value;
}

inline std::string hello(uint8_t role = 0, uint32_t id = 1) {
  std::string extras("HNGE\x01\x01\0\0\0\0\0\0", 12);
  extras[6] = static_cast<char>(role);
  return encode({0x20, id, extras, "test"});
}

struct Response {
  uint8_t status;
  uint8_t hints;
  uint8_t encoding;
  uint32_t id;
  std::string extras;
  std::string value;
};

// Cuts an output into its answers; a test fails when it is not made of whole ones.
inline std::vector<Response> responses(std::string_view output) {
  std::vector<Response> all;
  while (!output.empty()) {
    CHECK(output.size() >= 12);
    const size_t frameBytes = 4 + size_t{henge::load<uint32_t>(output.data())};
    const uint8_t extrasBytes = henge::load<uint8_t>(output.data() + 7);
    CHECK(frameBytes <= output.size());
    CHECK(12 + size_t{extrasBytes} <= frameBytes);
    all.push_back({henge::load<uint8_t>(output.data() + 4), henge::load<uint8_t>(output.data() + 5),
                   henge::load<uint8_t>(output.data() + 6), henge::load<uint32_t>(output.data() + 8),
                   std::string(output.substr(12, extrasBytes)),
                   std::string(output.substr(12 + size_t{extrasBytes}, frameBytes - 12 - extrasBytes))});
    output.remove_prefix(frameBytes);
  }
  return all;
}

// ---- golden vectors ------------------------------------------------------------------------------------------------

// One entry of test/vectors/NAME.json: flat, all values as text.
using Vector = std::unordered_map<std::string, std::string>;

// The text between the quotes or before the comma; no vector has an escape or a nested value.
inline std::string scalarAt(const std::string& json, size_t at) {
  if (json[at] == '"') return json.substr(at + 1, json.find('"', at + 1) - at - 1);
  return json.substr(at, json.find_first_of(",\n}", at) - at);
}

inline std::vector<Vector> vectors(const std::string& name) {
  std::ifstream file("test/vectors/" + name + ".json");
  std::stringstream text;
  text << file.rdbuf();
  const std::string json = text.str();
  std::vector<Vector> all;
  for (size_t at = json.find_first_of("{\""); at != std::string::npos; at = json.find_first_of("{\"", at)) {
    if (json[at] == '{') {
      all.emplace_back();
      at++;
      continue;
    }
    const std::string field = scalarAt(json, at);
    const size_t valueAt = at + field.size() + 4;  // two quotes, colon, blank
    all.back()[field] = scalarAt(json, valueAt);
    at = json.find('\n', valueAt);
  }
  CHECK(!all.empty());
  return all;
}

inline std::string unhex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

inline std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += "0123456789abcdef"[static_cast<uint8_t>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<uint8_t>(byte) & 15];
  }
  return text;
}

inline uint32_t number(const Vector& vector, const char* field) {
  return static_cast<uint32_t>(std::stoul(vector.at(field)));
}

// ---- a node --------------------------------------------------------------------------------------------------------

constexpr uint32_t VALUE_BYTES_MAX = 64 * 1024;

// One worker of a node. Its clocks stand still unless a test moves them. The slots are led by the first node of `row`.
class Node {
 public:
  explicit Node(uint16_t number = 1, const std::string& row = "1") : number_(number) {
    henge::MemoryOptions options;
    options.bytes = 16 * 1024 * 1024;
    options.valueBytesMax = VALUE_BYTES_MAX;
    options.nodeName = std::string(1, static_cast<char>('a' + number - 1));
    options.nodeNumber = number;
    options.replicated = row.size() > 1;
    options.hashSeed = 7;
    options.manualClock = true;
    henge::Failure failure;
    memory_ = henge::Memory::create(options, &failure);
    CHECK(memory_ != nullptr);
    memory_->setClock(START_MS);
    worker_ = henge::Worker::open(*memory_, &failure);
    CHECK(worker_ != nullptr);
    install(1, row);
    const henge::View* view = &memory_->view();
    const auto clock = [view] { return henge::nowMs(*view) * 1'000'000; };
    session_ = std::make_unique<henge::Session>(*worker_, VALUE_BYTES_MAX, clock);
    output_.resize(session_->outputBytesMin());
  }

  uint16_t number() const { return number_; }
  henge::Session& session() { return *session_; }
  henge::Worker& worker() { return *worker_; }
  // Every node of the row is a member: "1 2 3".
  void install(uint32_t epoch, const std::string& row, bool isFounding = true) {
    const auto rf = static_cast<uint32_t>(row.size() + 1) / 2;
    CHECK(worker_->install(rows::epochOf(henge::protocol::SLOTS, epoch, rf, row, isFounding).installation()));
  }
  void pass(uint64_t ms) { memory_->setClock(henge::nowMs(memory_->view()) + ms); }

  // A connection that was greeted.
  int32_t open() {
    const int32_t connection = session_->connect();
    CHECK(connection >= 0);
    CHECK(execute(connection, hello(henge::protocol::Role::CLIENT)).empty());
    CHECK(session_->takeControl().size() == 1);
    session_->greet(connection, henge::protocol::Role::CLIENT);
    return connection;
  }
  // The same for another node, which proved that it knows the secret.
  int32_t openPeer(uint16_t node) {
    const int32_t connection = session_->connect();
    CHECK(execute(connection, hello(henge::protocol::Role::PEER)).empty());
    CHECK(execute(connection, encode({0x24, 2, "", "", "proof"})).empty());
    CHECK(session_->takeControl().size() == 2);
    session_->greet(connection, henge::protocol::Role::PEER, node);
    return connection;
  }

  // Executes once. The input is given away for the time of the call, so that a view kept too long is found.
  std::string execute(int32_t connection, std::string_view input, uint32_t* flags = nullptr,
                      uint32_t* epochAhead = nullptr) {
    const std::vector<char> chunk(input.begin(), input.end());
    const henge::Outcome outcome =
        session_->execute(connection, {chunk.data(), chunk.size()}, {output_.data(), output_.size()});
    if (flags != nullptr) *flags = outcome.flags;
    if (epochAhead != nullptr) *epochAhead = outcome.epochAhead;
    return std::string(output_.data(), outcome.bytes);
  }

  // Executes until nothing is held back.
  std::string executeAll(int32_t connection, std::string_view input, uint32_t* flags = nullptr) {
    uint32_t last = 0;
    std::string all = execute(connection, input, &last);
    while ((last & henge::OutputFlag::MORE) != 0) all += execute(connection, {}, &last);
    if (flags != nullptr) *flags = last;
    return all;
  }

  // What some connection is owed; -1 when none is.
  int32_t next(std::string* bytes) {
    size_t count = 0;
    const int32_t connection = session_->nextOutput({output_.data(), output_.size()}, &count);
    bytes->assign(output_.data(), count);
    return connection;
  }

 private:
  static constexpr uint64_t START_MS = 1'700'000'000'000;

  const uint16_t number_;
  std::unique_ptr<henge::Memory> memory_;
  std::unique_ptr<henge::Worker> worker_;
  std::unique_ptr<henge::Session> session_;
  std::vector<char> output_;
};

}  // namespace wire
