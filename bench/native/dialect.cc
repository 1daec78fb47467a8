#include "dialect.h"

#include <charconv>
#include <cstring>

#include "../../native/wire/protocol.h"

namespace henge::bench {

namespace {

constexpr std::string_view LINE_END = "\r\n";

// Headers are copied as they lie in memory: the wire is little-endian, and so is every machine the daemon runs on.
template <typename Integer>
void put(std::string* out, Integer value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out->append(bytes, sizeof value);
}

uint32_t takeU32(std::string_view input, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, input.data() + at, sizeof value);
  return value;
}

void putDecimal(std::string* out, size_t number) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out->append(digits, static_cast<size_t>(end - digits));
}

size_t decimalOf(std::string_view digits) {
  size_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

bool startsWith(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// ---- Henge: docs/protocol.md --------------------------------------------------------------------------------------

class HengeDialect : public Dialect {
 public:
  bool greet(std::string* out) const override {
    header(out, protocol::Opcode::HELLO, 1, NAME.size(), protocol::HELLO_BYTES, 0);
    put(out, protocol::PROTOCOL_MAGIC);
    put(out, static_cast<uint8_t>(protocol::PROTOCOL_VERSION));
    put(out, static_cast<uint8_t>(protocol::PROTOCOL_VERSION));
    put(out, protocol::Role::CLIENT);
    put(out, uint8_t{0});
    put(out, uint32_t{0});  // no epoch known
    out->append(NAME);
    return true;
  }

  void get(std::string* out, uint32_t id, std::string_view key) const override {
    header(out, protocol::Opcode::GET, id, key.size(), 0, 0);
    out->append(key);
  }

  void set(std::string* out, uint32_t id, std::string_view key, std::string_view value) const override {
    header(out, protocol::Opcode::SET, id, key.size(), TTL_BYTES, value.size());
    put(out, uint64_t{0});  // does not expire
    out->append(key);
    out->append(value);
  }

  size_t read(std::string_view input, Reply* reply) const override {
    if (input.size() < protocol::RESPONSE_HEADER_BYTES) return 0;
    const size_t bytes = LENGTH_BYTES + takeU32(input, 0);
    if (input.size() < bytes) return 0;
    const auto status = static_cast<protocol::Status>(input[4]);
    const size_t extrasBytes = static_cast<uint8_t>(input[7]);
    reply->id = takeU32(input, 8);
    reply->bytes = input.substr(protocol::RESPONSE_HEADER_BYTES + extrasBytes,
                                bytes - protocol::RESPONSE_HEADER_BYTES - extrasBytes);
    reply->outcome = outcomeOf(status, reply->bytes);
    if (reply->outcome == Outcome::FAILED && reply->bytes.empty()) reply->bytes = nameOf(status);
    return bytes;
  }

  bool isOrdered() const override { return false; }

 private:
  static constexpr std::string_view NAME = "loadgen";
  static constexpr size_t LENGTH_BYTES = 4;
  static constexpr size_t TTL_BYTES = 8;

  static void header(std::string* out, protocol::Opcode opcode, uint32_t id, size_t keyBytes, size_t extrasBytes,
                     size_t valueBytes) {
    const size_t bytes = protocol::REQUEST_HEADER_BYTES + extrasBytes + keyBytes + valueBytes;
    put(out, static_cast<uint32_t>(bytes - LENGTH_BYTES));
    put(out, static_cast<uint8_t>(opcode));
    put(out, uint8_t{0});   // flags
    put(out, uint16_t{0});  // no deadline
    put(out, id);
    put(out, static_cast<uint16_t>(keyBytes));
    put(out, static_cast<uint8_t>(extrasBytes));
    put(out, protocol::Encoding::BYTES);
  }

  // A set is answered without a value, a get's value is never empty here: that tells them apart.
  static Outcome outcomeOf(protocol::Status status, std::string_view value) {
    if (status == protocol::Status::NOT_FOUND) return Outcome::MISS;
    if (status != protocol::Status::OK) return Outcome::FAILED;
    return value.empty() ? Outcome::STORED : Outcome::HIT;
  }

  // For those that say no more than their number.
  static std::string_view nameOf(protocol::Status status) {
    switch (status) {
      case protocol::Status::TOO_LARGE: return "too large";
      case protocol::Status::OUT_OF_MEMORY: return "out of memory";
      case protocol::Status::BUSY: return "busy";
      case protocol::Status::MOVED: return "moved";
      case protocol::Status::EXPIRED: return "expired";
      default: return "an error without words";
    }
  }
};

// ---- RESP2: Redis -------------------------------------------------------------------------------------------------

class RespDialect : public Dialect {
 public:
  void get(std::string* out, uint32_t, std::string_view key) const override {
    out->append("*2\r\n$3\r\nGET\r\n");
    bulk(out, key);
  }

  void set(std::string* out, uint32_t, std::string_view key, std::string_view value) const override {
    out->append("*3\r\n$3\r\nSET\r\n");
    bulk(out, key);
    bulk(out, value);
  }

  size_t read(std::string_view input, Reply* reply) const override {
    const size_t end = input.find(LINE_END);
    if (end == std::string_view::npos) return 0;
    const std::string_view line = input.substr(0, end);
    const size_t lineBytes = end + LINE_END.size();
    reply->bytes = line;
    if (line[0] != '$') {
      reply->outcome = line == "+OK" ? Outcome::STORED : Outcome::FAILED;
      return lineBytes;
    }
    if (line == "$-1") {
      reply->outcome = Outcome::MISS;
      return lineBytes;
    }
    const size_t valueBytes = decimalOf(line.substr(1));
    if (input.size() < lineBytes + valueBytes + LINE_END.size()) return 0;
    reply->outcome = Outcome::HIT;
    reply->bytes = input.substr(lineBytes, valueBytes);
    return lineBytes + valueBytes + LINE_END.size();
  }

 private:
  static void bulk(std::string* out, std::string_view bytes) {
    out->push_back('$');
    putDecimal(out, bytes.size());
    out->append(LINE_END);
    out->append(bytes);
    out->append(LINE_END);
  }
};

// ---- memcached's text protocol ------------------------------------------------------------------------------------

class MemcachedDialect : public Dialect {
 public:
  void get(std::string* out, uint32_t, std::string_view key) const override {
    out->append("get ");
    out->append(key);
    out->append(LINE_END);
  }

  void set(std::string* out, uint32_t, std::string_view key, std::string_view value) const override {
    out->append("set ");
    out->append(key);
    out->append(" 0 0 ");
    putDecimal(out, value.size());
    out->append(LINE_END);
    out->append(value);
    out->append(LINE_END);
  }

  size_t read(std::string_view input, Reply* reply) const override {
    const size_t end = input.find(LINE_END);
    if (end == std::string_view::npos) return 0;
    const std::string_view line = input.substr(0, end);
    const size_t lineBytes = end + LINE_END.size();
    reply->bytes = line;
    if (!startsWith(line, "VALUE ")) {
      reply->outcome = line == "STORED" ? Outcome::STORED : line == "END" ? Outcome::MISS : Outcome::FAILED;
      return lineBytes;
    }
    const size_t valueBytes = decimalOf(line.substr(line.rfind(' ') + 1));
    const size_t bytes = lineBytes + valueBytes + AFTER_VALUE.size();
    if (input.size() < bytes) return 0;
    reply->outcome = Outcome::HIT;
    reply->bytes = input.substr(lineBytes, valueBytes);
    return bytes;
  }

 private:
  static constexpr std::string_view AFTER_VALUE = "\r\nEND\r\n";
};

}  // namespace

bool Dialect::greet(std::string*) const { return false; }

std::unique_ptr<Dialect> Dialect::named(std::string_view name) {
  if (name == "henge") return std::make_unique<HengeDialect>();
  if (name == "resp") return std::make_unique<RespDialect>();
  if (name == "memcached") return std::make_unique<MemcachedDialect>();
  return nullptr;
}

}  // namespace henge::bench
