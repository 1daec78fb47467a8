// Items as they travel between nodes: the records of ITEMS and QUERY, and the extras of REPLICATE (src/protocol/spec.ts
// draws them).
#pragma once

#include "replication.h"

namespace henge {

inline size_t itemRecordBytes(const Item& item) {
  return protocol::ITEM_RECORD_BYTES + item.key.size() + item.value.size();
}

// Writes itemRecordBytes(item) bytes.
size_t encodeItemRecord(char* out, const Item& item);

// Takes the first record off `bytes`; its views point into them. False: there is no whole, valid one.
bool decodeItemRecord(std::string_view* bytes, Item* item);

constexpr size_t REPLICATE_EXTRAS_MAX = protocol::REPLICATE_BYTES + protocol::VERSION_BYTES;
// Returns how many bytes were written, at most REPLICATE_EXTRAS_MAX.
size_t encodeReplicateExtras(char* out, const Written& written);

struct ReplicateExtras {
  uint32_t epoch = 0;  // the sender's
  bool hasBase = false;
  Version base;
};
// Fills all of *item but key, value and encoding. False: the extras are none of REPLICATE's.
bool decodeReplicateExtras(std::string_view extras, ReplicateExtras* head, Item* item);

}  // namespace henge
