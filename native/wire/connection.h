// A connection as the wire sees it: how far its life has come, the bytes that could not be used yet, and the bytes that
// it is owed by what happened elsewhere.
//
//   GREETING ──HELLO──▶ WAITING ──greet()──▶ OPEN        any of them ──what cannot be understood──▶ BROKEN
//      │  └──a node's HELLO──▶ CHALLENGED ──AUTHENTICATE──▶ WAITING
//      └──linkUp()──▶ LINK: we opened it, and what comes are answers
//
// In WAITING frames may arrive but none is run: the answer to HELLO decides what they may be. In BROKEN what arrives is
// thrown away: the socket is about to be closed.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "parser.h"

namespace henge {

// Where bytes for a socket are put.
struct Output {
  char* at;
  size_t bytes;
};

// Bytes that arrived and wait: the beginning of a frame, or frames held back. Grows as bytes arrive, never because a
// header says that they will, and gives large memory back when it is empty.
class Backlog {
 public:
  bool isEmpty() const { return begin_ == bytes_.size(); }
  size_t size() const { return bytes_.size() - begin_; }
  std::string_view view() const { return std::string_view(bytes_).substr(begin_); }
  void append(std::string_view bytes);
  void consume(size_t count);
  void clear();

 private:
  // What an idle connection may keep: enough for the cut frames of ordinary traffic, little enough for 10,000 of them.
  static constexpr size_t KEPT_BYTES_MAX = 4096;

  std::string bytes_;
  size_t begin_ = 0;
};

// Whole frames that a connection is owed beside the answers of its own chunks. What bounds it is what bounds the frames
// behind it: a link's budget of bytes, and the requests that may be pending.
class Outbox {
 public:
  bool isEmpty() const { return begin_ == bytes_.size(); }
  // To append whole frames to.
  std::string* bytes() { return &bytes_; }
  // Moves as many whole frames as fit to the output, which holds the largest; returns their bytes.
  size_t take(Output output);

 private:
  // A link fills this once or twice a chunk; a client only while its writes wait for copies.
  static constexpr size_t KEPT_BYTES_MAX = 256 * 1024;

  std::string bytes_;
  size_t begin_ = 0;
};

struct Connection {
  enum class State : uint8_t { FREE, GREETING, CHALLENGED, WAITING, OPEN, LINK, BROKEN };
  State state = State::FREE;
  Gate gate;
  uint16_t generation = 0;
  uint16_t node = 0;  // whose it is: of a peer that was greeted, or the other end of a link
  bool isOwed = false;
  Backlog backlog;
  Outbox outbox;
  // The first `heldBytes` of the backlog are frames that were held back at `heldSinceMs`: their deadlines run.
  size_t heldBytes = 0;
  uint64_t heldSinceMs = 0;

  bool mayRun() const {
    return state == State::OPEN || state == State::LINK || state == State::GREETING || state == State::CHALLENGED;
  }
};

// The connections of one worker, by number. A number is a place and the place's generation, so that one that was given
// back finds nothing, rather than the connection that came after it.
class ConnectionTable {
 public:
  // A worker has fewer descriptors than this; the limit keeps a number within 31 bits.
  static constexpr size_t CONNECTIONS_MAX = 65'536;

  // The new connection's number; -1 when CONNECTIONS_MAX are open.
  int32_t add();
  void remove(int32_t number);
  // nullptr if there is no such connection.
  Connection* find(int32_t number);

 private:
  std::vector<Connection> places_;
  std::vector<uint16_t> free_;
};

// Which connections are owed something, in the order in which it came about; each stands there once.
class Owed {
 public:
  explicit Owed(ConnectionTable& connections) : connections_(connections) {}

  bool isEmpty() const { return numbers_.empty(); }
  // Where to append whole frames for that connection; nullptr if it is gone.
  std::string* outboxOf(int32_t connection);
  // Puts what one connection is owed into the output and returns its number; -1 when nobody is owed anything.
  int32_t take(Output output, size_t* bytes);

 private:
  ConnectionTable& connections_;
  std::deque<int32_t> numbers_;
};

}  // namespace henge
