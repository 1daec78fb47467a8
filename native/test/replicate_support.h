// Requests and answers as tests of replication on the wire write and read them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cluster_support.h"

namespace replicate {

using henge::protocol::Status;
using wire::bytesOf;
using wire::Cluster;
using wire::encode;
using wire::Response;

inline constexpr uint8_t GET = 0x01;
inline constexpr uint8_t SET = 0x02;
inline constexpr uint8_t DELETE = 0x03;
inline constexpr uint8_t TOUCH = 0x04;
inline constexpr uint8_t INCREMENT = 0x05;
inline constexpr uint8_t CLEAR = 0x08;
inline constexpr uint8_t PROBE = 0x47;
inline constexpr uint8_t ONE = 0;
inline constexpr uint8_t QUORUM = 1;
inline constexpr uint8_t ALL = 2;
inline constexpr uint8_t NEAREST = 2;

inline const std::string ALL_SLOTS(henge::protocol::SLOTS / 8, static_cast<char>(0xff));

inline bool is(const Response& response, Status status, uint32_t id) {
  return response.status == static_cast<uint8_t>(status) && response.id == id;
}

inline std::string set(uint32_t id, const std::string& key, const std::string& value, uint8_t level = ONE,
                       uint64_t ttlMs = 0, uint16_t deadlineMs = 0) {
  return encode({SET, id, bytesOf(ttlMs), key, value, level, deadlineMs});
}
inline std::string get(uint32_t id, const std::string& key, uint8_t level = 0) {
  return encode({GET, id, "", key, "", level});
}

// The only answer, of this id; its value.
inline std::string valueOf(const std::vector<Response>& answers, uint32_t id) {
  CHECK(answers.size() == 1);
  CHECK(is(answers[0], Status::OK, id));
  return answers[0].value;
}
inline void checkOnly(const std::vector<Response>& answers, Status status, uint32_t id) {
  CHECK(answers.size() == 1);
  CHECK(is(answers[0], status, id));
}

inline bool isAnyMissed(Cluster& cluster, uint16_t node) {
  return cluster.node(1).worker().peerBits(node).missed.find_first_not_of('\0') != std::string::npos;
}

inline std::string acknowledgement(uint32_t id, Status status = Status::OK, const std::string& extras = "") {
  return bytesOf(static_cast<uint32_t>(8 + extras.size())) + bytesOf(static_cast<uint8_t>(status)) +
         bytesOf(uint16_t{0}) + bytesOf(static_cast<uint8_t>(extras.size())) + bytesOf(id) + extras;
}

// Ids of the requests in these bytes.
inline std::vector<uint32_t> idsOf(std::string_view bytes) {
  std::vector<uint32_t> ids;
  while (!bytes.empty()) {
    ids.push_back(henge::load<uint32_t>(bytes.data() + 8));
    bytes.remove_prefix(4 + henge::load<uint32_t>(bytes.data()));
  }
  return ids;
}

}  // namespace replicate
