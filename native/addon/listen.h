// A listening TCP socket of a worker's own. Node cannot set SO_REUSEPORT before version 23; with it the kernel spreads
// new connections over all workers, and none of them passes descriptors around.
#pragma once

#include <string>

namespace henge {

struct Listening {
  int descriptor = -1;
  const char* code = nullptr;  // of the error, as Node names it: 'EADDRINUSE'
  std::string message;
};

// Bound to the first address that `host` resolves to; `::` takes IPv4 too. The descriptor does not block and is closed
// on exec.
Listening listenTcp(const std::string& host, int port, int backlog);

}  // namespace henge
