#include "requests.h"

#include "../store/item_record.h"
#include "bytes.h"

namespace henge {

namespace {

using protocol::Opcode;

constexpr size_t LENGTH_BYTES = 4;
constexpr size_t QUERY_BYTES = 8 + protocol::VERSION_BYTES;

struct Parts {
  Opcode opcode;
  uint8_t encoding;
  size_t extrasBytes;
  size_t keyBytes;
  size_t valueBytes;
};

void storeHeader(char* at, uint32_t id, const Parts& parts) {
  const size_t bytes = protocol::REQUEST_HEADER_BYTES + parts.extrasBytes + parts.keyBytes + parts.valueBytes;
  at = store(at, static_cast<uint32_t>(bytes - LENGTH_BYTES));
  at = store(at, static_cast<uint8_t>(parts.opcode));
  at = store(at, uint8_t{0});
  at = store(at, uint16_t{0});
  at = store(at, id);
  at = store(at, static_cast<uint16_t>(parts.keyBytes));
  at = store(at, static_cast<uint8_t>(parts.extrasBytes));
  store(at, parts.encoding);
}

}  // namespace

void appendReplicate(std::string* to, uint32_t id, const Written& written) {
  char head[protocol::REQUEST_HEADER_BYTES + REPLICATE_EXTRAS_MAX];
  const size_t extrasBytes = encodeReplicateExtras(head + protocol::REQUEST_HEADER_BYTES, written);
  storeHeader(head, id, {Opcode::REPLICATE, written.encoding, extrasBytes, written.key.size(), written.value.size()});
  to->append(head, protocol::REQUEST_HEADER_BYTES + extrasBytes);
  to->append(written.key);
  to->append(written.value);
}

void appendQuery(std::string* to, uint32_t id, const Question& question) {
  char head[protocol::REQUEST_HEADER_BYTES + QUERY_BYTES];
  storeHeader(head, id, {Opcode::QUERY, protocol::Encoding::BYTES, QUERY_BYTES, question.key.size(), 0});
  char* at = store(head + protocol::REQUEST_HEADER_BYTES, question.epoch);
  at = store(at, question.slot);
  at = store(at, uint16_t{0});
  storeVersion(at, question.version);
  to->append(head, sizeof head);
  to->append(question.key);
}

}  // namespace henge
