// A million and more frames, valid and not, on connections that are opened, cut and dropped at random.
//
// Half of the connections are honest: their frames are whole, and their answers must be theirs, each one, in order.
// The others flip bits, cut frames short, lie about lengths, send noise, or say no hello. Every connection fills its
// values with a byte of its own; a run of that byte in another's output would be memory that leaked. AddressSanitizer
// watches the edges: each chunk lies in an allocation of exactly its size, and so does the output.
//
// A frame cut short takes the next one's first bytes for its key. So that two connections still never name the same
// key, those bytes too (deadline and id) are marked with the connection.
#include <algorithm>
#include <array>
#include <deque>

#include "wire_support.h"

using check::Random;
using henge::OutputFlag::CLOSE;
using henge::OutputFlag::MORE;
using henge::protocol::Status;
using wire::bytesOf;
using wire::encode;
using wire::Frame;
using wire::Node;

namespace {

// Frames that are run or refused; what is thrown away behind a broken one is not counted.
constexpr uint64_t FRAMES = 1'200'000;
constexpr uint32_t FRAMES_PER_CHUNK_MAX = 40;
constexpr size_t CONNECTIONS = 8;
// Executes in a row that may all leave something over; a session that needs more has hung.
constexpr uint32_t EXECUTES_MAX = 100'000;
// Bytes of a foreign mark in a row that cannot be chance.
constexpr size_t RUN_BYTES = 8;

struct Peer {
  int32_t connection = -1;
  bool isHonest = false;
  char mark = 0;
  uint8_t tag = 0;
  uint32_t nextId = 0;
  std::deque<uint32_t> expected;  // ids to be answered, in order (honest ones only)
};

class Fuzzer {
 public:
  Fuzzer() {
    for (size_t i = 0; i < CONNECTIONS; i++) {
      peers_[i].isHonest = i % 2 == 0;
      peers_[i].mark = static_cast<char>(0xc0 + i);
      peers_[i].tag = static_cast<uint8_t>(0x11 * (i + 1));
      peers_[i].nextId = 1 + (uint32_t{peers_[i].tag} << 24);
      open(peers_[i]);
    }
  }

  void run() {
    while (node_.worker().counters().framesIn < FRAMES) {
      Peer& peer = peers_[random_.below(CONNECTIONS)];
      if (random_.below(2'000) == 0) {
        node_.session().disconnect(peer.connection);
        open(peer);
      }
      if (random_.below(50) == 0) node_.session().greet(peer.connection, static_cast<uint8_t>(random_.below(2)));
      std::string bytes;
      const uint32_t count = 1 + random_.below(FRAMES_PER_CHUNK_MAX);
      for (uint32_t i = 0; i < count; i++) bytes += peer.isHonest ? honestFrame(peer) : hostileFrame(peer);
      deliver(peer, bytes);
      node_.session().takeControl();
    }
  }

 private:
  void open(Peer& peer) {
    peer.expected.clear();
    if (peer.isHonest || random_.below(3) > 0) {
      peer.connection = node_.open();
      return;
    }
    // A stranger: one that says no hello, or whose hello is not answered yet.
    peer.connection = node_.session().connect();
    if (random_.below(2) == 0) return;
    CHECK(node_.execute(peer.connection, wire::hello()).empty());
    node_.session().takeControl();
  }

  // ---- what is sent ----

  Frame validFrame(const Peer& peer, uint32_t id) {
    Frame frame = anyFrame(peer, id);
    frame.deadlineMs = static_cast<uint16_t>(peer.tag << 8 | peer.tag);
    return frame;
  }

  Frame anyFrame(const Peer& peer, uint32_t id) {
    // So far apart that no flipped bits turn one connection's key into another's.
    const std::string key = std::string(6, static_cast<char>(peer.mark - 0x60)) + std::to_string(random_.below(64));
    const std::string ttl = bytesOf(uint64_t{random_.below(3) * 1000});
    const auto flags = static_cast<uint8_t>(random_.below(3) | (random_.below(2) == 0 ? 0x04 : 0));
    switch (random_.below(40)) {
      case 0:
        return {0x00, id};
      case 1:
        return {0x23, id};
      case 2:
        return {0x07, id, std::string(8, 0) + bytesOf(static_cast<uint16_t>(1 + random_.below(20))), key.substr(0, 3)};
      case 3:
        return {0x08, id, bytesOf(uint64_t{0}) + bytesOf(uint64_t{0}), key};
      case 4:
      case 5:
        return {0x03, id, "", key, "", flags};
      case 6:
        return {0x04, id, ttl, key, "", flags};
      case 7:
        return {0x05, id, bytesOf(int64_t{1}) + bytesOf(int64_t{1}) + ttl, "n" + key, "", flags};
      case 8:
        return {0x06, id, ttl, key, std::string(random_.below(50), peer.mark), flags};
      default:
        break;
    }
    if (random_.below(3) > 0) return {0x01, id, "", key, "", flags};
    const uint32_t valueBytes = random_.below(400) == 0 ? wire::VALUE_BYTES_MAX + 10 : 200;
    return {0x02, id, ttl, key, std::string(random_.below(valueBytes), peer.mark), flags};
  }

  std::string honestFrame(Peer& peer) {
    const uint32_t id = peer.nextId++;
    const Frame frame = validFrame(peer, id);
    // A control frame is JavaScript's to answer; it has an answer here only when the queue is full.
    if (frame.opcode != 0x23) peer.expected.push_back(id);
    return encode(frame);
  }

  std::string hostileFrame(Peer& peer) {
    std::string bytes = encode(validFrame(peer, peer.nextId++));
    switch (random_.below(16)) {
      case 0:
        for (uint32_t flips = 1 + random_.below(3); flips > 0; flips--) {
          char& byte = bytes[random_.below(static_cast<uint32_t>(bytes.size()))];
          byte = static_cast<char>(byte ^ (1 << random_.below(8)));
        }
        return bytes;
      case 1:
        return bytes.substr(0, random_.below(static_cast<uint32_t>(bytes.size())));
      case 2:
        return bytesOf(random_.word() >> random_.below(32)) + bytes.substr(4);
      case 3:
        return noise(random_.below(64));
      case 4:
      case 5:
        return plausibleFrame();
      default:
        return bytes;
    }
  }

  // Lengths that agree, about anything at all.
  std::string plausibleFrame() {
    Frame frame;
    frame.opcode = static_cast<uint8_t>(random_.below(4) == 0 ? random_.word() : random_.below(9));
    frame.id = random_.below(64) == 0 ? 0 : random_.word();
    frame.flags = static_cast<uint8_t>(random_.word());
    frame.deadlineMs = static_cast<uint16_t>(random_.word());
    frame.encoding = static_cast<uint8_t>(random_.word());
    constexpr std::array<uint32_t, 7> EXTRAS = {0, 8, 10, 16, 24, 12, 255};
    frame.extras = noise(EXTRAS[random_.below(EXTRAS.size())]);
    frame.key = noise(random_.below(24));
    frame.value = noise(random_.below(3) == 0 ? random_.below(40) : 0);
    return encode(frame);
  }

  std::string noise(uint32_t count) {
    std::string bytes(count, 0);
    for (char& byte : bytes) byte = static_cast<char>(random_.word());
    return bytes;
  }

  // ---- how it is sent, and what must come back ----

  void deliver(Peer& peer, std::string_view bytes) {
    while (!bytes.empty()) {
      uint32_t limit = static_cast<uint32_t>(bytes.size());
      if (random_.below(4) == 0) limit = std::min<uint32_t>(limit, 1 + random_.below(40));
      const size_t step = 1 + random_.below(limit);
      uint32_t flags = execute(peer, bytes.substr(0, step));
      bytes.remove_prefix(step);
      for (uint32_t i = 0; (flags & MORE) != 0; i++) {
        CHECK(i < EXECUTES_MAX);
        flags = execute(peer, {});
      }
      if ((flags & CLOSE) == 0) continue;
      CHECK(!peer.isHonest);
      CHECK(node_.execute(peer.connection, bytes).empty());
      node_.session().disconnect(peer.connection);
      open(peer);
      return;
    }
  }

  uint32_t execute(Peer& peer, std::string_view chunk) {
    uint32_t flags = 0;
    const std::string output = node_.execute(peer.connection, chunk, &flags);
    checkMarks(peer, output);
    for (const wire::Response& response : wire::responses(output)) {
      CHECK(response.status <= static_cast<uint8_t>(Status::PROTOCOL_ERROR));
      if (!peer.isHonest) continue;
      if (response.status == static_cast<uint8_t>(Status::BUSY)) {
        // Either a control frame too many, which nothing expects, or the store's.
        if (peer.expected.empty() || peer.expected.front() != response.id) continue;
      }
      CHECK(!peer.expected.empty());
      CHECK(peer.expected.front() == response.id);
      peer.expected.pop_front();
    }
    return flags;
  }

  void checkMarks(const Peer& peer, std::string_view output) {
    size_t run = 0;
    for (size_t i = 1; i < output.size(); i++) {
      run = output[i] == output[i - 1] ? run + 1 : 0;
      const auto byte = static_cast<uint8_t>(output[i]);
      const bool isMark = byte >= 0xc0 && byte < 0xc0 + CONNECTIONS;
      CHECK(run + 1 < RUN_BYTES || !isMark || output[i] == peer.mark);
    }
  }

  Random random_;
  Node node_;
  std::array<Peer, CONNECTIONS> peers_;
};

}  // namespace

TEST("over a million frames crash nothing, hang nothing, and leak nothing from one connection to another") {
  std::printf("HENGE_SEED=%llu\n", static_cast<unsigned long long>(check::seed()));
  std::fflush(stdout);
  Fuzzer().run();
}

TEST_MAIN
