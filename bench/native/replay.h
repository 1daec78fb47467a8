// Replay of a trace as an application uses a cache: get, and set what was missing.
#pragma once

#include <string>

#include "dialect.h"

namespace henge::bench {

struct ReplayOptions {
  std::string host = "127.0.0.1";
  int port = 0;
  // Requests in order, 8 bytes each: u32 number of the item, u32 bytes of its value (at least 1).
  std::string file;
};

// Prints a line of JSON: requests, hits, misses, refused (sets the server did not take), seconds.
void replay(const Dialect& dialect, const ReplayOptions& options);

}  // namespace henge::bench
