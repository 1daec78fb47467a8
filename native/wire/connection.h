// A connection as the wire sees it: how far its life has come, and the bytes that could not be used yet.
//
//   GREETING ──HELLO──▶ WAITING ──greet()──▶ OPEN        any of them ──what cannot be understood──▶ BROKEN
//
// In WAITING frames may arrive but none is run: the answer to HELLO decides what they may be. In BROKEN what arrives is
// thrown away: the socket is about to be closed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parser.h"

namespace henge {

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

struct Connection {
  enum class State : uint8_t { FREE, GREETING, WAITING, OPEN, BROKEN };
  State state = State::FREE;
  Gate gate;
  uint16_t generation = 0;
  Backlog backlog;
  // The first `heldBytes` of the backlog are frames that were held back at `heldSinceMs`: their deadlines run.
  size_t heldBytes = 0;
  uint64_t heldSinceMs = 0;

  bool mayRun() const { return state == State::GREETING || state == State::OPEN; }
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

}  // namespace henge
