// A TCP connection with a buffer for what has arrived, and the end of the program for what cannot be mended: a load
// generator whose connection breaks has measured nothing.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "dialect.h"

namespace henge::bench {

// Prints the sentence and exits with status 1.
[[noreturn]] void fail(const std::string& sentence);

class Socket {
 public:
  // Connects, and greets where the dialect wants it. `isBlocking` false: from then on, send and receive never wait.
  Socket(const std::string& host, int port, const Dialect& dialect, bool isBlocking);
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();

  int descriptor() const { return descriptor_; }

  // Sends as much as the kernel takes, and keeps the rest in `out`; blocking: all. True when nothing is left.
  bool send(std::string* out);

  // Appends what has arrived to the input. False when there was nothing.
  bool receive();

  std::string_view input() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void consume(size_t bytes) { begin_ += bytes; }

 private:
  void makeRoom();

  int descriptor_ = -1;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace henge::bench
