#include "socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace henge::bench {

namespace {

constexpr size_t BUFFER_BYTES_START = 256 * 1024;
// Less room than this before a read: move what is left to the front, or grow.
constexpr size_t ROOM_BYTES_MIN = 64 * 1024;

int connectTo(const std::string& host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) fail("not an IPv4 address: " + host);
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  if (descriptor < 0) fail(std::string("socket: ") + std::strerror(errno));
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fail("connect to " + host + ":" + std::to_string(port) + ": " + std::strerror(errno));
  }
  const int yes = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return descriptor;
}

}  // namespace

void fail(const std::string& sentence) {
  std::fprintf(stderr, "loadgen: %s\n", sentence.c_str());
  std::exit(1);
}

Socket::Socket(const std::string& host, int port, const Dialect& dialect, bool isBlocking)
    : descriptor_(connectTo(host, port)), buffer_(BUFFER_BYTES_START) {
  std::string hello;
  if (dialect.greet(&hello)) {
    send(&hello);
    Reply reply;
    size_t bytes = 0;
    while ((bytes = dialect.read(input(), &reply)) == 0) receive();
    if (reply.outcome == Outcome::FAILED) fail("greeting refused: " + std::string(reply.bytes));
    consume(bytes);
  }
  if (!isBlocking) fcntl(descriptor_, F_SETFL, O_NONBLOCK);
}

Socket::~Socket() { close(descriptor_); }

bool Socket::send(std::string* out) {
  size_t sent = 0;
  while (sent < out->size()) {
    const ssize_t bytes = ::send(descriptor_, out->data() + sent, out->size() - sent, MSG_NOSIGNAL);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0 && errno == EAGAIN) break;
    if (bytes < 0) fail(std::string("send: ") + std::strerror(errno));
    sent += static_cast<size_t>(bytes);
  }
  out->erase(0, sent);
  return out->empty();
}

bool Socket::receive() {
  makeRoom();
  const ssize_t bytes = recv(descriptor_, buffer_.data() + end_, buffer_.size() - end_, 0);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (bytes < 0) fail(std::string("receive: ") + std::strerror(errno));
  if (bytes == 0) fail("the server closed the connection");
  end_ += static_cast<size_t>(bytes);
  return true;
}

void Socket::makeRoom() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ >= ROOM_BYTES_MIN) return;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (buffer_.size() - end_ < ROOM_BYTES_MIN) buffer_.resize(2 * buffer_.size());
}

}  // namespace henge::bench
