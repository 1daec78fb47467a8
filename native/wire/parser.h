// From bytes to requests: the front half of the binary protocol's door.
//
// A pure function of the bytes at hand and of what their connection may do: no socket, no clock, no memory of its own.
// What it yields for a key is the store's Operation, so that another front door is another parser and another encoder.
// Nothing is believed before it is checked, and each thing is checked as soon as its bytes are there: a frame's length
// with the first four, its header with the first sixteen, before any of the rest is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "../store/types.h"
#include "protocol.h"

namespace henge {

// What a connection may send at this point of its life.
struct Gate {
  enum class Expects : uint8_t {
    HELLO,     // and nothing else
    PROOF,     // AUTHENTICATE and nothing else: a peer's HELLO was answered with a challenge
    REQUESTS,  // anything but those two
  };
  Expects expects = Expects::HELLO;
  bool isPeer = false;  // opcodes from PEER_OPCODES up
  size_t frameBytesMax = 0;
};

constexpr uint8_t PEER_OPCODES = 0x40;

struct Request {
  enum class Kind : uint8_t {
    OPERATION,  // for the store, one key
    REPLICATE,  // the same, from the node that leads its slot
    NOOP,
    SCAN,
    CLEAR,
    ITEMS,
    QUERY,
    CONTROL,  // for JavaScript
    REFUSED,  // understood, answered with the sentence
    BROKEN,   // not understood, answered with the sentence, and the last of its connection
  };
  Kind kind = Kind::BROKEN;
  uint16_t deadlineMs = 0;  // 0: none
  uint32_t id = 0;
  size_t frameBytes = 0;    // the whole frame, its header included; BROKEN: all there is
  std::string_view extras;  // CONTROL, REPLICATE, ITEMS, QUERY
  uint64_t cursor = 0;      // SCAN, CLEAR
  uint64_t horizon = 0;     // CLEAR
  uint32_t keysWanted = 0;  // SCAN
};

// Says to a person what was wrong.
struct Sentence {
  char text[160];
};

// Reads the frame at the beginning of `bytes`. False: it is not complete, and nothing is wrong with it so far.
// Key and value of whatever kind of request stand in *operation and point into `bytes`. *sentence is written when kind
// is REFUSED or BROKEN. HOT: runs once an operation; no allocation, no copy.
bool parse(std::string_view bytes, const Gate& gate, Request* request, Operation* operation, Sentence* sentence);

// How many bytes more the frame begun by `bytes` is known to need; its length must have passed parse(), or
// parseReply(), if it is there.
size_t missingBytes(std::string_view bytes);

// The answer to a request of ours, on a connection that we opened.
struct Reply {
  uint8_t status = 0;
  uint32_t id = 0;
  std::string_view extras;
  std::string_view value;
  size_t frameBytes = 0;  // the whole frame; 0: it is not complete
};

// Reads the answer at the beginning of `bytes`. False: no answer can look like this.
bool parseReply(std::string_view bytes, size_t frameBytesMax, Reply* reply);

// Longest frame of a greeted connection on a node with this limit, and of one that has not said hello yet.
size_t frameBytesMax(uint32_t valueBytesMax);
size_t helloFrameBytesMax();

}  // namespace henge
