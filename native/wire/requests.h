// Requests to other nodes, as bytes: what the leader of a slot writes to its copies, and what it asks them. Each
// function appends one whole frame.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "../store/replication.h"

namespace henge {

// What QUERY asks: does the copy have this version of the key, which the leader has in this epoch?
struct Question {
  uint32_t epoch = 0;
  uint16_t slot = 0;
  Version version;
  std::string_view key;
};

// HOT: once a write and copy. Two copies of key and value are made on their way out: here, and out of the outbox.
void appendReplicate(std::string* to, uint32_t id, const Written& written);
void appendQuery(std::string* to, uint32_t id, const Question& question);

}  // namespace henge
