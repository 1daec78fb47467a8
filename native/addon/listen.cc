#include "listen.h"

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace henge {

namespace {

const char* codeOf(int error) {
  switch (error) {
    case EADDRINUSE:
      return "EADDRINUSE";
    case EADDRNOTAVAIL:
      return "EADDRNOTAVAIL";
    case EACCES:
      return "EACCES";
    case EAFNOSUPPORT:
      return "EAFNOSUPPORT";
    case EMFILE:
      return "EMFILE";
    default:
      return "EIO";
  }
}

bool prepare(int descriptor, const addrinfo& address, int backlog) {
  const int on = 1;
  const int off = 0;
  if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return false;
  if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return false;
  if (address.ai_family == AF_INET6 && setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) {
    return false;
  }
  return bind(descriptor, address.ai_addr, address.ai_addrlen) == 0 && listen(descriptor, backlog) == 0;
}

}  // namespace

Listening listenTcp(const std::string& host, int port, int backlog) {
  Listening result;
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* address = nullptr;
  const int unresolved = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &address);
  if (unresolved != 0) {
    result.code = "ENOTFOUND";
    result.message = "Cannot listen on " + host + ": " + gai_strerror(unresolved);
    return result;
  }
  const int descriptor = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor >= 0 && prepare(descriptor, *address, backlog)) {
    result.descriptor = descriptor;
  } else {
    const int error = errno;
    if (descriptor >= 0) ::close(descriptor);
    result.code = codeOf(error);
    result.message = "Cannot listen on " + host + " port " + std::to_string(port) + ": " + strerror(error);
  }
  freeaddrinfo(address);
  return result;
}

}  // namespace henge
