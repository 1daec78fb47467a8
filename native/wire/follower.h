// The copy's half of replication: runs what the leaders of slots send on the connections they opened.
//
// Acknowledgements are cumulative: writes that took effect one after the other are answered by one OK with the id of
// the last, when the chunk ends or something else is to be said. A frame of an epoch that is not installed here yet is
// not run: its connection is held until the epoch is.
#pragma once

#include <cstdint>
#include <string>

#include "../store/worker.h"
#include "encoder.h"
#include "parser.h"

namespace henge {

class Follower {
 public:
  enum class Ran : uint8_t { DONE, BEHIND, BROKEN };

  explicit Follower(Worker& worker);

  // Each runs one frame of the node `sender`, which is not 0, and writes its answer, if it has one now, at *out.
  // HOT: replicate() runs once a write and copy; no allocation.
  Ran replicate(const Request& request, const Operation& operation, uint16_t sender, char** out);
  Ran items(const Request& request, std::string_view records, uint16_t sender, char** out);
  Ran query(const Request& request, Operation* operation, uint16_t sender, char** out);
  // Writes the acknowledgement that is due, if any: RESPONSE_HEADER_BYTES.
  void acknowledge(char** out);

  // After BEHIND: the epoch that is to be installed.
  uint32_t epochAhead() const { return epochAhead_; }

 private:
  bool isBehind(uint32_t epoch);
  bool isStorable(const Item& item) const;
  size_t encodeRefusal(char* out, uint32_t id, Applied applied) const;

  Worker& worker_;
  uint32_t acknowledgedId_ = 0;  // of the last write that took effect and was not answered; 0: none
  uint32_t epochAhead_ = 0;
  std::string newer_;
};

}  // namespace henge
