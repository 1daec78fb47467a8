// The protocols the load generator speaks: how a get and a set are written, and how an answer is read. Just enough of
// each to measure its server fairly: plain gets and sets, every answer's status looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace henge::bench {

enum class Outcome : uint8_t { HIT, MISS, STORED, FAILED };

struct Reply {
  Outcome outcome = Outcome::FAILED;
  // Which request is answered, where the protocol says so (`isOrdered` false).
  uint32_t id = 0;
  // HIT: the value. FAILED: what the server said. Points into the input.
  std::string_view bytes;
};

class Dialect {
 public:
  // "henge", "resp" or "memcached"; nullptr for any other name.
  static std::unique_ptr<Dialect> named(std::string_view name);
  virtual ~Dialect() = default;

  // What is said first on a connection; nothing in most dialects. It is answered as any request is.
  virtual bool greet(std::string* out) const;
  virtual void get(std::string* out, uint32_t id, std::string_view key) const = 0;
  virtual void set(std::string* out, uint32_t id, std::string_view key, std::string_view value) const = 0;

  // Reads one answer from the front of the input. Returns its length in bytes; 0 when it is not all there yet.
  virtual size_t read(std::string_view input, Reply* reply) const = 0;

  // Answers come in the order of the requests and carry no id.
  virtual bool isOrdered() const { return true; }
};

}  // namespace henge::bench
