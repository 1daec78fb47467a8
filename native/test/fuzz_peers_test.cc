// A million frames on one node of three, from clients, from other nodes, and as answers on its links to them.
//
// The clients are honest, and what is promised to them is checked: each request is answered once, whatever the other
// nodes do. Those flip bits, cut frames short, answer what nobody asked, name epochs at random, or go away. Even slots
// are led here and odd ones elsewhere, so frames meet every state. AddressSanitizer watches the edges: each chunk lies
// in an allocation of exactly its size.
#include <algorithm>
#include <array>
#include <deque>
#include <set>

#include "../store/hash.h"
#include "../store/item_record.h"
#include "wire_support.h"

using check::Random;
using henge::OutputFlag::BEHIND;
using henge::OutputFlag::CLOSE;
using henge::OutputFlag::MORE;
using henge::protocol::Status;
using wire::bytesOf;
using wire::encode;
using wire::Frame;
using wire::Node;

namespace {

// Frames that are run or refused, and answers that are heard.
constexpr uint64_t FRAMES = 1'000'000;
constexpr uint32_t FRAMES_PER_CHUNK_MAX = 40;
constexpr uint32_t KEYS = 64;
constexpr uint32_t CLIENTS = 3;
constexpr uint32_t PEERS = 2;
constexpr uint64_t START_MS = 1'700'000'000'000;
constexpr size_t UNHEARD_MAX = 20'000;

const std::string ALL_SLOTS(henge::protocol::SLOTS / 8, static_cast<char>(0xff));

struct Client {
  int32_t connection = -1;
  uint32_t nextId = 1;
  std::set<uint32_t> unanswered;
};

struct Peer {
  uint16_t node = 0;
  int32_t inbound = -1;
  int32_t link = -1;
  uint32_t nextId = 1;
  std::deque<uint32_t> asked;  // ids of what came to it on the link
};

class Fuzzer {
 public:
  Fuzzer() {
    install(2);
    for (Client& client : clients_) client.connection = node_.open();
    for (uint16_t i = 0; i < peers_.size(); i++) {
      peers_[i].node = static_cast<uint16_t>(i + 2);
      peers_[i].inbound = node_.openPeer(peers_[i].node);
      linkUp(peers_[i]);
    }
  }

  void run() {
    while (node_.worker().counters().framesIn < FRAMES) {
      Peer& peer = peers_[random_.below(PEERS)];
      switch (random_.below(8)) {
        case 0:
        case 1:
          sayAsPeer(peer);
          break;
        case 2:
        case 3:
          answerOn(peer);
          break;
        case 4:
          happen(peer);
          break;
        default:
          sayAsClient(clients_[random_.below(CLIENTS)]);
          break;
      }
      takeOwed();
      node_.session().takeControl();
      node_.session().takeAnswers();
    }
    finish();
  }

 private:
  // ---- what happens beside frames ----

  void happen(Peer& peer) {
    switch (random_.below(12)) {
      case 0:
        node_.session().disconnect(peer.link);
        linkUp(peer);
        return;
      case 1:
        reopen(peer);
        return;
      case 2:
        install(epoch_ + 1 + random_.below(2));
        for (Peer& held : peers_) execute(held.inbound, "", [&held, this] { reopen(held); });
        return;
      case 3:
        node_.pass(random_.below(300));
        node_.session().tick();
        return;
      default:
        node_.session().request(peer.link, encode({0x43, 1, std::string(24, 0)}));
        return;
    }
  }

  void install(uint32_t epoch) {
    epoch_ = epoch;
    rows::Epoch made = rows::epochOf(henge::protocol::SLOTS, epoch, 3, "1 2 3", false);
    for (uint32_t slot = 0; slot < henge::protocol::SLOTS; slot++) {
      const bool isLedHere = (slot + (random_.below(16) == 0 ? 1 : 0)) % 2 == 0;
      if (!isLedHere) made.set(slot, "2 1 3");
    }
    CHECK(node_.worker().install(made.installation()));
    node_.worker().finishTakeOver(epoch, ALL_SLOTS, 0);
  }

  void linkUp(Peer& peer) {
    peer.asked.clear();
    peer.link = node_.session().connect();
    CHECK(node_.session().linkUp(peer.link, peer.node));
  }

  void reopen(Peer& peer) {
    node_.session().disconnect(peer.inbound);
    peer.inbound = node_.openPeer(peer.node);
  }

  // ---- clients ----

  void sayAsClient(Client& client) {
    if (client.unanswered.size() > UNHEARD_MAX) return;
    std::string bytes;
    for (uint32_t count = 1 + random_.below(FRAMES_PER_CHUNK_MAX); count > 0; count--) bytes += request(client);
    execute(client.connection, bytes, [] { CHECK(!"an honest client is broken off"); });
  }

  std::string request(Client& client) {
    const uint32_t id = client.nextId++;
    client.unanswered.insert(id);
    const auto level = static_cast<uint8_t>(random_.below(3));
    const auto deadlineMs = static_cast<uint16_t>(random_.below(2) * 500);
    const std::string ttl = bytesOf(uint64_t{random_.below(3) * 1'000});
    switch (random_.below(8)) {
      case 0:
        return encode({0x03, id, "", key(), "", level, deadlineMs});
      case 1:
        return encode({0x04, id, ttl, key(), "", level, deadlineMs});
      case 2:
        return encode({0x08, id, std::string(16, 0), key()});
      case 3:
      case 4:
        return encode({0x01, id, "", key(), "", static_cast<uint8_t>(random_.below(4)), deadlineMs});
      default:
        return encode({0x02, id, ttl, key(), noise(random_.below(100)), level, deadlineMs});
    }
  }

  void hear(int32_t connection, std::string_view output) {
    for (Client& client : clients_) {
      if (client.connection != connection) continue;
      for (const wire::Response& response : wire::responses(output)) {
        CHECK(response.status <= static_cast<uint8_t>(Status::NOT_IN_SYNC));
        CHECK(client.unanswered.erase(response.id) == 1);
        answers_[response.status]++;
      }
    }
  }

  // ---- other nodes, as those that ask ----

  void sayAsPeer(Peer& peer) {
    std::string bytes;
    for (uint32_t count = 1 + random_.below(FRAMES_PER_CHUNK_MAX); count > 0; count--) bytes += spoil(frame(peer));
    execute(peer.inbound, bytes, [&peer, this] { reopen(peer); });
  }

  std::string frame(Peer& peer) {
    const uint32_t id = peer.nextId++;
    const std::string name = key();
    const henge::Version version = anyVersion();
    switch (random_.below(8)) {
      case 0: {
        std::string records;
        for (uint32_t count = random_.below(6); count > 0; count--) records += spoil(record());
        return encode({0x41, id, bytesOf(anyEpoch()), "", records});
      }
      case 1:
        return encode({0x42, id,
                       bytesOf(anyEpoch()) + bytesOf(henge::slotOf(name)) + bytesOf(uint16_t{0}) + bytesOf(version),
                       name});
      case 2:
        return encode({static_cast<uint8_t>(0x43 + random_.below(8)), id, noise(random_.below(25)), "",
                       noise(random_.below(20))});
      default:
        break;
    }
    const auto kind = static_cast<uint8_t>(random_.below(3));
    const std::string extras = bytesOf(anyEpoch()) + bytesOf(henge::slotOf(name)) + bytesOf(kind) + '\0' +
                               bytesOf(version.time) + bytesOf(version.epoch) + bytesOf(version.node) +
                               bytesOf(uint16_t{0}) + bytesOf(uint64_t{0}) + bytesOf(node_.worker().view().hash(name)) +
                               (kind == 2 ? bytesOf(anyVersion()) : "");
    return encode({0x40, id, extras, kind == 1 ? "" : name, kind == 0 ? noise(random_.below(100)) : ""});
  }

  std::string record() {
    const std::string name = key();
    const std::string value = noise(random_.below(100));
    henge::Item item;
    item.kind = std::array<uint8_t, 4>{0, 1, 3, 4}[random_.below(4)];
    item.slot = henge::slotOf(name);
    item.hash = random_.next();
    item.version = anyVersion();
    if (item.kind == 0) item.key = name;
    if (item.kind == 0) item.value = value;
    std::string bytes(henge::itemRecordBytes(item), 0);
    henge::encodeItemRecord(bytes.data(), item);
    return bytes;
  }

  // ---- other nodes, as those that answer ----

  void answerOn(Peer& peer) {
    std::string bytes;
    while (!peer.asked.empty() && bytes.size() < 4'096) {
      // Now and then one answer for several: cumulative if it is OK and all are writes, else nonsense.
      const size_t skipped = random_.below(8) == 0 ? random_.below(static_cast<uint32_t>(peer.asked.size())) : 0;
      peer.asked.erase(peer.asked.begin(), peer.asked.begin() + static_cast<std::ptrdiff_t>(skipped));
      bytes += spoil(answer(random_.below(500) == 0 ? random_.word() : peer.asked.front()));
      peer.asked.pop_front();
    }
    execute(peer.link, bytes, [&peer, this] {
      node_.session().disconnect(peer.link);
      linkUp(peer);
    });
  }

  std::string answer(uint32_t id) {
    constexpr std::array<Status, 12> STATUSES = {Status::OK,
                                                 Status::OK,
                                                 Status::OK,
                                                 Status::OK,
                                                 Status::OK,
                                                 Status::OK,
                                                 Status::VERSION_MISMATCH,
                                                 Status::EXISTS,
                                                 Status::STALE,
                                                 Status::NEED_FULL,
                                                 Status::BUSY,
                                                 Status::OUT_OF_MEMORY};
    const Status status = STATUSES[random_.below(STATUSES.size())];
    std::string extras;
    std::string value;
    if (status == Status::STALE && random_.below(8) > 0) extras = bytesOf(anyEpoch());
    if (status == Status::EXISTS) value = spoil(record());
    return bytesOf(static_cast<uint32_t>(8 + extras.size() + value.size())) + bytesOf(static_cast<uint8_t>(status)) +
           bytesOf(uint16_t{0}) + bytesOf(static_cast<uint8_t>(extras.size())) + bytesOf(id) + extras + value;
  }

  // ---- bytes ----

  std::string key() { return "key" + std::to_string(random_.below(KEYS)); }
  uint32_t anyEpoch() { return random_.below(64) == 0 ? epoch_ + 1 : epoch_ - random_.below(3); }
  henge::Version anyVersion() {
    return {epoch_ - random_.below(2), (START_MS + random_.below(5'000)) << 16,
            static_cast<uint16_t>(1 + random_.below(3))};
  }
  std::string bytesOf(const henge::Version& version) {
    return wire::bytesOf(version.time) + wire::bytesOf(version.epoch) + wire::bytesOf(version.node) +
           wire::bytesOf(uint16_t{0});
  }
  template <typename T>
  std::string bytesOf(T value) {
    return wire::bytesOf(value);
  }

  std::string noise(uint32_t count) {
    std::string bytes(count, 0);
    for (char& byte : bytes) byte = static_cast<char>(random_.word());
    return bytes;
  }

  std::string spoil(std::string bytes) {
    switch (random_.below(200)) {
      case 0: {
        char& byte = bytes[random_.below(static_cast<uint32_t>(bytes.size()))];
        byte = static_cast<char>(byte ^ 1 << random_.below(8));
        return bytes;
      }
      case 1:
        return bytes.substr(0, random_.below(static_cast<uint32_t>(bytes.size())));
      case 2:
        return noise(random_.below(40));
      default:
        return bytes;
    }
  }

  // Delivers in pieces; `onClose` when the connection is to be closed.
  template <typename OnClose>
  void execute(int32_t connection, std::string_view bytes, OnClose onClose) {
    do {
      const auto left = static_cast<uint32_t>(bytes.size());
      const size_t step = left == 0 || random_.below(4) > 0 ? left : 1 + random_.below(left);
      uint32_t flags = 0;
      hear(connection, node_.executeAll(connection, bytes.substr(0, step), &flags));
      bytes.remove_prefix(step);
      held_ += (flags & BEHIND) != 0 ? 1 : 0;
      if ((flags & CLOSE) == 0) continue;
      onClose();
      return;
    } while (!bytes.empty());
  }

  void takeOwed() {
    std::string bytes;
    for (int32_t connection = node_.next(&bytes); connection >= 0; connection = node_.next(&bytes)) {
      hear(connection, bytes);
      for (Peer& peer : peers_) {
        if (peer.link == connection) noteAsked(peer, bytes);
      }
    }
  }

  static void noteAsked(Peer& peer, std::string_view bytes) {
    while (!bytes.empty()) {
      CHECK(bytes.size() >= 16);
      const size_t frameBytes = 4 + size_t{henge::load<uint32_t>(bytes.data())};
      CHECK(frameBytes <= bytes.size());
      peer.asked.push_back(henge::load<uint32_t>(bytes.data() + 8));
      bytes.remove_prefix(frameBytes);
    }
  }

  // Whatever still waits is answered when the links end.
  void finish() {
    for (Peer& peer : peers_) node_.session().disconnect(peer.link);
    takeOwed();
    for (const Client& client : clients_) CHECK(client.unanswered.empty());
    // Each outcome was met often: this is no fuzz of refusals.
    for (const Status status :
         {Status::OK, Status::NOT_FOUND, Status::MOVED, Status::NOT_ENOUGH_REPLICAS, Status::NOT_READY}) {
      CHECK(answers_[static_cast<size_t>(status)] > FRAMES / 1'000);
    }
    CHECK(held_ > FRAMES / 1'000);
  }

  Random random_;
  Node node_{1, "1 2 3"};
  uint32_t epoch_ = 1;
  std::array<Client, CLIENTS> clients_;
  std::array<Peer, PEERS> peers_;
  std::array<uint64_t, 256> answers_{};  // by status
  uint64_t held_ = 0;
};

}  // namespace

TEST("a million frames of other nodes crash nothing, and each of a client's requests is answered once") {
  std::printf("HENGE_SEED=%llu\n", static_cast<unsigned long long>(check::seed()));
  std::fflush(stdout);
  Fuzzer().run();
}

TEST_MAIN
