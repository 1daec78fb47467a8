// A worker's link to another node: a connection it opened, the requests under way on it, and their bytes.
//
// Ids count up by one over all requests of a link. Writes and queries are answered by the other end's native code, in
// order, and an OK to a write answers all writes before it: a queue. JavaScript's own requests are answered by
// JavaScript, in any order: a list, which is short.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace henge {

// An answer to a request of JavaScript's. Owns its bytes.
struct LinkAnswer {
  static constexpr uint8_t LOST = 0xff;  // as a status: the link ended first

  int32_t connection;
  uint32_t requestId;
  uint8_t status;
  std::string extras;
  std::string value;
};

struct UnderWay {
  enum class Kind : uint8_t { REPLICATE, QUERY };
  uint32_t id;
  uint32_t bytes;
  uint64_t ticket;  // of the ballot that waits for it; 0: none
  Kind kind;
};

class Link {
 public:
  // Bytes sent and not answered beyond which writes are missed instead of sent: a second of a fast disk's, or a tenth
  // of a slow network's.
  static constexpr size_t UNANSWERED_BYTES_MAX = 16 * 1024 * 1024;
  // JavaScript's requests under way: some dozens in honest traffic.
  static constexpr size_t OWN_REQUESTS_MAX = 1024;

  Link(int32_t connection, uint16_t node, int handle) : connection_(connection), node_(node), handle_(handle) {}

  int32_t connection() const { return connection_; }
  uint16_t node() const { return node_; }
  int handle() const { return handle_; }

  uint32_t takeId();
  void began(const UnderWay& request);
  void beganOwn(uint32_t id, uint32_t bytes);
  bool mayBeginOwn() const { return own_.size() < OWN_REQUESTS_MAX; }

  // Whether a request of JavaScript's had this id; it is over now.
  bool endOwn(uint32_t id);
  // The oldest write or query, taken off the queue, if its id is not behind `id`.
  std::optional<UnderWay> end(uint32_t id);

  // All that is under way.
  const std::deque<UnderWay>& queue() const { return queue_; }
  std::vector<uint32_t> ownIds() const;

  // Changes at most once in half the budget, so that it does not flap.
  bool isFull() const { return isFull_; }
  void weigh();

 private:
  struct Own {
    uint32_t id;
    uint32_t bytes;
  };

  const int32_t connection_;
  const uint16_t node_;
  const int handle_;
  uint32_t lastId_ = 0;
  size_t unansweredBytes_ = 0;
  bool isFull_ = false;
  std::deque<UnderWay> queue_;
  std::vector<Own> own_;
};

}  // namespace henge
