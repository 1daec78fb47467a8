// Closed loop: C connections with D requests in flight each, every answer followed at once by the next request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "dialect.h"

namespace henge::bench {

struct LoadOptions {
  std::string host = "127.0.0.1";
  int port = 0;
  size_t connections = 50;
  size_t depth = 1;
  size_t keys = 100'000;
  size_t valueBytes = 100;
  double setShare = 0.1;
  double warmUpSeconds = 0;
  double seconds = 1;
  uint64_t seed = 1;
};

// Sets every key once, 64 in flight. Prints a line of JSON: operations, seconds, failed.
void fill(const Dialect& dialect, const LoadOptions& options);

// Gets and sets at random for the time given. Prints a line of JSON: what was done after the warm-up, with latencies in
// microseconds, and `operationsAll` with the warm-up's, for the server's CPU time per operation.
void load(const Dialect& dialect, const LoadOptions& options);

}  // namespace henge::bench
