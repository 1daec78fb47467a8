// Requests that wait for other nodes: quorum and all writes for acknowledgements, quorum reads for a majority that has
// what was read. Each is a small ballot: it needs some votes, and some are still out.
//
// The table is bounded, by number and by the bytes it keeps; when it is full a request is refused before it does
// anything. A ballot is named by a ticket that is never used again, so a late vote finds nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "../store/types.h"

namespace henge {

struct Pending {
  enum class Kind : uint8_t { WRITE, READ };

  uint64_t ticket = 0;  // 0: the place is free
  Kind kind = Kind::WRITE;
  uint8_t needed = 0;       // votes
  uint8_t outstanding = 0;  // that may still come
  uint8_t rounds = 0;       // READ: how often it was begun; WRITE: copies that were asked again
  uint16_t slot = 0;
  int32_t connection = -1;
  uint32_t requestId = 0;
  uint64_t deadlineMs = 0;
  std::string answer;  // encoded, to be sent when the votes are there

  std::string key;

  // What a READ asks of the copies.
  uint8_t flags = 0;
  bool isMiss = false;
  Version version;
};

constexpr uint64_t NO_TICKET = 0;  // nobody waits for it

class PendingTable {
 public:
  // A worker answers some 200,000 requests a second and a round trip takes some milliseconds: 1,000 wait in ordinary
  // traffic.
  static constexpr size_t REQUESTS_MAX = 8192;
  // What they keep: answers with values, and keys.
  static constexpr size_t BYTES_MAX = 64 * 1024 * 1024;

  bool isFull() const { return count_ == REQUESTS_MAX || bytes_ >= BYTES_MAX; }
  // Takes in a ballot; returns its ticket. Not when the table is full.
  uint64_t open(Pending pending);
  // nullptr when it was closed.
  Pending* find(uint64_t ticket);
  void close(uint64_t ticket);

  // No ballot's deadline is before this.
  uint64_t soonestMs() const { return soonestMs_; }
  // Tickets of all whose deadline has passed, the oldest place first.
  std::vector<uint64_t> expired(uint64_t nowMs);
  std::vector<uint64_t> tickets() const;

 private:
  static constexpr uint32_t PLACE_BITS = 13;
  static_assert(REQUESTS_MAX == size_t{1} << PLACE_BITS, "a ticket is a count and a place");
  static size_t bytesOf(const Pending& pending) { return pending.answer.size() + pending.key.size(); }

  std::vector<Pending> places_;
  std::vector<uint32_t> free_;
  uint64_t opened_ = 0;
  size_t count_ = 0;
  size_t bytes_ = 0;
  uint64_t soonestMs_ = UINT64_MAX;
};

}  // namespace henge
