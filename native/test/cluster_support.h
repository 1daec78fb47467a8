// Fixtures for the tests of replication: two or three nodes in one process, each with a real store and session, and
// links between them that carry bytes only when a test lets them.
//
// Every node leads nothing or everything: the first of the row leads all slots. A link is opened by one node and
// greeted by the other; a Wire is its two directions. carry() moves bytes until nobody owes anybody anything.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "wire_support.h"

namespace wire {

inline std::string rowOf(uint16_t count) {
  std::string row = "1";
  for (uint16_t i = 2; i <= count; i++) row += " " + std::to_string(i);
  return row;
}

class Cluster {
 public:
  // `count` nodes, numbered from 1, which have `count` copies of everything; node 1 leads.
  explicit Cluster(uint16_t count) {
    for (uint16_t number = 1; number <= count; number++) nodes_.push_back(std::make_unique<Node>(number, rowOf(count)));
  }

  Node& node(uint16_t number) { return *nodes_.at(number - size_t{1}); }

  // Node `from` opens its link to node `to`; returns the connection at `from`.
  int32_t link(uint16_t from, uint16_t to) {
    Wire wire{from, to, node(from).session().connect(), node(to).openPeer(from), "", 0, 0};
    CHECK(node(from).session().linkUp(wire.here, to));
    wires_.push_back(wire);
    return wire.here;
  }
  // The leader has links to all copies, and they are in sync.
  void linkAll() {
    for (size_t i = 1; i < nodes_.size(); i++) link(1, nodes_[i]->number());
    sync();
  }
  void sync() {
    const std::string all(henge::protocol::SLOTS / 8, static_cast<char>(0xff));
    for (size_t i = 1; i < nodes_.size(); i++) {
      const std::string synced = node(1).worker().declareSynced(nodes_[i]->number(), all);
      CHECK(nodes_[i]->worker().acceptSynced(1, node(1).worker().installedEpoch(), synced) == synced);
    }
  }
  // Both ends learn that the link is gone; what was on it is lost.
  void cut(uint16_t from, uint16_t to) {
    Wire& wire = wireOf(from, to);
    node(from).session().disconnect(wire.here);
    node(to).session().disconnect(wire.there);
    wires_.erase(wires_.begin() + (&wire - wires_.data()));
  }

  int32_t client(uint16_t number) { return node(number).open(); }
  // Runs a client's bytes; its answers, those of this call and those that come later, are heard().
  void say(uint16_t number, int32_t connection, std::string_view bytes) {
    uint32_t flags = 0;
    heard_[{number, connection}] += node(number).executeAll(connection, bytes, &flags);
  }
  // The answers a client got since it was last asked.
  std::vector<Response> heard(uint16_t number, int32_t connection) {
    collect(number);
    return responses(std::exchange(heard_[{number, connection}], ""));
  }
  // Says, lets everything arrive, and returns what was answered.
  std::vector<Response> ask(uint16_t number, int32_t connection, std::string_view bytes) {
    say(number, connection, bytes);
    carry();
    return heard(number, connection);
  }

  // Moves what is owed on all wires, both ways, until nothing is.
  void carry() {
    for (int rounds = 0; rounds < ROUNDS_MAX; rounds++) {
      bool isQuiet = true;
      for (Wire& wire : wires_) isQuiet = !carryOver(wire) && isQuiet;
      if (isQuiet) return;
    }
    CHECK(!"the cluster comes to rest");
  }
  // The requests that wait at the end of the link that opened it, as bytes; they are taken off it.
  std::string take(uint16_t from, uint16_t to) {
    collect(from);
    return std::exchange(wireOf(from, to).requests, "");
  }
  // Gives bytes to the greeted end of a link, and returns what it answers.
  std::string deliver(uint16_t from, uint16_t to, std::string_view bytes) {
    return node(to).executeAll(wireOf(from, to).there, bytes, &wireOf(from, to).flagsThere);
  }
  // Gives answers to the end that opened a link.
  uint32_t answer(uint16_t from, uint16_t to, std::string_view bytes) {
    CHECK(node(from).executeAll(wireOf(from, to).here, bytes, &wireOf(from, to).flagsHere).empty());
    return wireOf(from, to).flagsHere;
  }
  uint32_t flagsThere(uint16_t from, uint16_t to) { return wireOf(from, to).flagsThere; }

 private:
  static constexpr int ROUNDS_MAX = 1'000;

  struct Wire {
    uint16_t from;
    uint16_t to;
    int32_t here;
    int32_t there;
    std::string requests;
    uint32_t flagsHere;
    uint32_t flagsThere;
  };

  Wire& wireOf(uint16_t from, uint16_t to) {
    for (Wire& wire : wires_) {
      if (wire.from == from && wire.to == to) return wire;
    }
    CHECK(!"there is such a link");
    return wires_.front();
  }

  // Takes a node's owed output: to wires, or to its clients.
  void collect(uint16_t number) {
    std::string bytes;
    for (int32_t connection = node(number).next(&bytes); connection >= 0; connection = node(number).next(&bytes)) {
      std::string* to = &heard_[{number, connection}];
      for (Wire& wire : wires_) {
        if (wire.from == number && wire.here == connection) to = &wire.requests;
      }
      *to += bytes;
    }
  }

  bool carryOver(Wire& wire) {
    collect(wire.from);
    if (wire.requests.empty()) return false;
    const std::string answers =
        node(wire.to).executeAll(wire.there, std::exchange(wire.requests, ""), &wire.flagsThere);
    CHECK(node(wire.from).executeAll(wire.here, answers, &wire.flagsHere).empty());
    return true;
  }

  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Wire> wires_;
  std::map<std::pair<uint16_t, int32_t>, std::string> heard_;
};

}  // namespace wire
