#include "encoder.h"

#include "bytes.h"

namespace henge {

namespace {

using protocol::Opcode;
using protocol::Status;
namespace Flag = protocol::RequestFlag;

constexpr size_t LENGTH_BYTES = 4;

struct Head {
  uint32_t id = 0;
  Status status = Status::OK;
  uint8_t hints = 0;
  uint8_t encoding = protocol::Encoding::BYTES;
};

// Writes the header of an answer whose extras and value end at `end`, and returns the answer's length.
size_t finish(char* out, const Head& head, size_t extrasBytes, const char* end) {
  const auto bytes = static_cast<size_t>(end - out);
  char* at = store(out, static_cast<uint32_t>(bytes - LENGTH_BYTES));
  at = store(at, static_cast<uint8_t>(head.status));
  at = store(at, head.hints);
  at = store(at, head.encoding);
  at = store(at, static_cast<uint8_t>(extrasBytes));
  store(at, head.id);
  return bytes;
}

char* storeMeta(char* at, const Answer& answer) { return store(storeVersion(at, answer.version), answer.ttlMs); }

// An item was there, or is now: only then is there something for Meta to describe.
bool hasMeta(const Operation& operation, Status status) {
  if ((operation.flags & Flag::WANT_META) == 0) return false;
  return status == Status::OK || status == Status::EXISTS || status == Status::VERSION_MISMATCH;
}

}  // namespace

char* valuePlace(char* out, const Operation& operation) {
  const bool wantsMeta = (operation.flags & Flag::WANT_META) != 0;
  return out + protocol::RESPONSE_HEADER_BYTES + (wantsMeta ? protocol::META_BYTES : 0);
}

size_t encodeAnswer(char* out, uint32_t id, const Operation& operation, const Answer& answer) {
  Head head{id, answer.status, answer.hints};
  char* const extras = out + protocol::RESPONSE_HEADER_BYTES;
  char* value = extras;
  if (hasMeta(operation, answer.status)) value = storeMeta(extras, answer);
  if (answer.status == Status::MOVED) value = store(extras, answer.epoch);
  char* end = value;
  if (answer.status == Status::OK) {
    switch (operation.opcode) {
      case Opcode::GET:
        head.encoding = answer.encoding;
        if ((operation.flags & Flag::NO_VALUE) == 0) end = value + answer.valueBytes;
        break;
      case Opcode::INCREMENT:
        head.encoding = answer.encoding;
        end = store(value, answer.number);
        break;
      case Opcode::APPEND:
        end = store(value, static_cast<uint32_t>(answer.number));
        break;
      default:
        break;
    }
  }
  return finish(out, head, static_cast<size_t>(value - extras), end);
}

size_t encodeStatus(char* out, uint32_t id, Status status) {
  return finish(out, {id, status}, 0, out + protocol::RESPONSE_HEADER_BYTES);
}

size_t encodeSentence(char* out, uint32_t id, Status status, std::string_view sentence) {
  char* const value = out + protocol::RESPONSE_HEADER_BYTES;
  memcpy(value, sentence.data(), sentence.size());
  return finish(out, {id, status, 0, protocol::Encoding::UTF8}, 0, value + sentence.size());
}

size_t encodeStale(char* out, uint32_t id, uint32_t epoch) {
  char* const extras = out + protocol::RESPONSE_HEADER_BYTES;
  return finish(out, {id, Status::STALE}, sizeof epoch, store(extras, epoch));
}

size_t encodeNewer(char* out, uint32_t id, std::string_view record) {
  char* const value = out + protocol::RESPONSE_HEADER_BYTES;
  memcpy(value, record.data(), record.size());
  return finish(out, {id, Status::EXISTS}, 0, value + record.size());
}

size_t encodeTally(char* out, uint32_t id, const Tally& tally) {
  char* const value = out + protocol::RESPONSE_HEADER_BYTES;
  char* end = store(value, tally.applied);
  end = store(end, tally.superseded);
  end = store(end, tally.refused);
  end = store(end, tally.notStored);
  return finish(out, {id}, 0, end);
}

char* keysPlace(char* out) { return out + SCAN_OVERHEAD_BYTES; }

size_t encodeScan(char* out, uint32_t id, uint64_t next, size_t keysBytes) {
  const char* keys = store(out + protocol::RESPONSE_HEADER_BYTES, next);
  return finish(out, {id}, CURSOR_BYTES, keys + keysBytes);
}

size_t encodeClear(char* out, uint32_t id, const ClearStep& step) {
  char* const extras = out + protocol::RESPONSE_HEADER_BYTES;
  char* end = store(extras, step.next);
  end = store(end, step.horizon);
  end = store(end, step.deleted);
  return finish(out, {id}, static_cast<size_t>(end - extras), end);
}

}  // namespace henge
