// From answers to bytes: the back half of the binary protocol's door. Pure functions into a buffer with room enough.
//
// A GET's value is copied once, by the store, to where it will be sent from: valuePlace() says where that is, before
// the answer is known; encodeAnswer() then writes the rest around it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "../store/types.h"
#include "protocol.h"

namespace henge {

constexpr size_t CURSOR_BYTES = 8;

// What stands before the keys of an answer to SCAN.
constexpr size_t SCAN_OVERHEAD_BYTES = protocol::RESPONSE_HEADER_BYTES + CURSOR_BYTES;

// Where Worker::execute may put the value of the answer that begins at `out`.
char* valuePlace(char* out, const Operation& operation);

// HOT: each of these writes one whole answer at `out` and returns its length. No allocation; copies no value.
size_t encodeAnswer(char* out, uint32_t id, const Operation& operation, const Answer& answer);
size_t encodeStatus(char* out, uint32_t id, protocol::Status status);

// An answer that says to a person what was wrong.
size_t encodeSentence(char* out, uint32_t id, protocol::Status status, std::string_view sentence);

// To a peer: it does not lead the slot in this epoch, which is this node's.
size_t encodeStale(char* out, uint32_t id, uint32_t epoch);

// To a QUERY: this node has a newer item, whose record it is.
size_t encodeNewer(char* out, uint32_t id, std::string_view record);

// What became of the records of an ITEMS.
struct Tally {
  uint32_t applied = 0;
  uint32_t superseded = 0;
  uint32_t refused = 0;
  uint32_t notStored = 0;
};
size_t encodeTally(char* out, uint32_t id, const Tally& tally);

// A step of SCAN; `keysBytes` bytes of keys stand at keysPlace(out).
char* keysPlace(char* out);
size_t encodeScan(char* out, uint32_t id, uint64_t next, size_t keysBytes);

struct ClearStep {
  uint64_t next;
  uint64_t horizon;
  uint32_t deleted;
};
size_t encodeClear(char* out, uint32_t id, const ClearStep& step);

}  // namespace henge
