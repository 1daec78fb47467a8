// How it works: each connection has D places for requests in flight. An answer frees its place (by id, or in order of
// sending), and the place is filled again before the chunk of answers is done with, so that a chunk of k answers leads
// to one write of k requests, as a pipelining client does. The clock is read once per chunk: two reads per request
// would be a third of the generator's own time at depth 32.
//
// Key i is "key:" and 16 digits, its value the key and padding: a hit is checked for length and for its key, so an
// answer given to the wrong request counts as failed.
#include "load.h"

#include <sys/epoll.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

#include "histogram.h"
#include "socket.h"

namespace henge::bench {

namespace {

constexpr size_t KEY_BYTES = 20;
constexpr size_t FILL_DEPTH = 64;
// No answer for this long, and the run has failed.
constexpr int SILENCE_MS_MAX = 5'000;
constexpr size_t EVENTS_MAX = 256;

uint64_t nowNs() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(time.tv_nsec);
}

double seconds(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

// Xorshift64*, Vigna 2016: cheap, and good enough to draw keys.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15U + 1) {}
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dU;
  }
  size_t below(size_t bound) { return static_cast<size_t>(((next() >> 32) * bound) >> 32); }
  bool happens(double share) { return static_cast<double>(next() >> 11) < share * 9007199254740992.0; }

 private:
  uint64_t state_;
};

std::vector<std::array<char, KEY_BYTES>> makeKeys(size_t count) {
  std::vector<std::array<char, KEY_BYTES>> keys(count);
  for (size_t index = 0; index < count; index++) {
    char text[KEY_BYTES + 8];
    std::snprintf(text, sizeof text, "key:%016zu", index);
    std::memcpy(keys[index].data(), text, KEY_BYTES);
  }
  return keys;
}

struct Place {
  size_t key = 0;
  uint64_t sentNs = 0;
};

struct Connection {
  Connection(const LoadOptions& options, const Dialect& dialect)
      : socket(options.host, options.port, dialect, false), places(options.depth) {}

  Socket socket;
  std::vector<Place> places;
  size_t oldest = 0;  // ordered dialects: the place that is answered next
  std::string out;
  bool isWaitingToSend = false;
};

class Load {
 public:
  Load(const Dialect& dialect, const LoadOptions& options)
      : dialect_(dialect), options_(options), keys_(makeKeys(options.keys)), value_(options.valueBytes, 'v') {
    poll_ = epoll_create1(0);
    for (size_t index = 0; index < options.connections; index++) {
      connections_.push_back(std::make_unique<Connection>(options, dialect));
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = connections_.back().get();
      epoll_ctl(poll_, EPOLL_CTL_ADD, connections_.back()->socket.descriptor(), &event);
    }
  }

  // Runs to the end of the time, or, filling, until each key has been set.
  void run(bool isFilling) {
    isFilling_ = isFilling;
    startNs_ = nowNs();
    measuredFromNs_ = startNs_ + static_cast<uint64_t>(options_.warmUpSeconds * 1e9);
    endNs_ = isFilling ? UINT64_MAX : measuredFromNs_ + static_cast<uint64_t>(options_.seconds * 1e9);
    nowNs_ = startNs_;
    for (auto& connection : connections_) {
      for (size_t place = 0; place < options_.depth; place++) request(*connection, place);
      flush(*connection);
    }
    while (inFlight_ > 0) turn();
    stoppedNs_ = nowNs();
  }

  void reportFill() const {
    std::printf("{\"operations\":%llu,\"seconds\":%.6f,\"failed\":%llu}\n", big(all_),
                seconds(stoppedNs_ - startNs_), big(failed_));
  }

  void reportLoad() const {
    const auto microseconds = [this](double share) { return static_cast<double>(latency_.percentile(share)) / 1e3; };
    std::printf("{\"operations\":%llu,\"operationsAll\":%llu,\"seconds\":%.6f,\"misses\":%llu,\"failed\":%llu,"
                "\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}\n",
                big(measured_), big(all_), options_.seconds, big(misses_), big(failed_), microseconds(0.5),
                microseconds(0.9), microseconds(0.99), microseconds(0.999), static_cast<double>(latency_.max()) / 1e3);
  }

 private:
  static unsigned long long big(uint64_t number) { return static_cast<unsigned long long>(number); }

  void turn() {
    epoll_event events[EVENTS_MAX];
    const int ready = epoll_wait(poll_, events, EVENTS_MAX, SILENCE_MS_MAX);
    if (ready == 0) fail(std::to_string(inFlight_) + " requests were not answered within 5 s");
    for (int index = 0; index < ready; index++) {
      auto& connection = *static_cast<Connection*>(events[index].data.ptr);
      if ((events[index].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) answer(connection);
      flush(connection);
    }
  }

  // Hot: once per chunk of answers. No allocation once the buffers have grown.
  void answer(Connection& connection) {
    if (!connection.socket.receive()) return;
    nowNs_ = nowNs();
    Reply reply;
    for (size_t bytes = 0; (bytes = dialect_.read(connection.socket.input(), &reply)) > 0;) {
      const size_t place = placeOf(connection, reply);
      count(connection.places[place], reply);
      connection.socket.consume(bytes);
      request(connection, place);
    }
  }

  size_t placeOf(Connection& connection, const Reply& reply) const {
    if (!dialect_.isOrdered()) return (reply.id - 1) % options_.depth;
    const size_t place = connection.oldest;
    connection.oldest = (place + 1) % options_.depth;
    return place;
  }

  void count(const Place& place, const Reply& reply) {
    inFlight_--;
    all_++;
    if (!isRight(place, reply)) failed_++;
    if (nowNs_ < measuredFromNs_ || nowNs_ >= endNs_) return;
    measured_++;
    misses_ += reply.outcome == Outcome::MISS ? 1 : 0;
    latency_.add(nowNs_ - place.sentNs);
  }

  bool isRight(const Place& place, const Reply& reply) const {
    if (reply.outcome != Outcome::HIT) return reply.outcome != Outcome::FAILED;
    return reply.bytes.size() == options_.valueBytes &&
           std::memcmp(reply.bytes.data(), keys_[place.key].data(), KEY_BYTES) == 0;
  }

  void request(Connection& connection, size_t place) {
    if (isFilling_ ? nextToFill_ == options_.keys : nowNs_ >= endNs_) return;
    const size_t key = isFilling_ ? nextToFill_++ : random_.below(options_.keys);
    connection.places[place] = {key, nowNs_};
    const std::string_view name(keys_[key].data(), KEY_BYTES);
    const uint32_t id = idOf(place);
    if (isFilling_ || random_.happens(options_.setShare)) {
      value_.replace(0, KEY_BYTES, name);
      dialect_.set(&connection.out, id, name, value_);
    } else {
      dialect_.get(&connection.out, id, name);
    }
    inFlight_++;
  }

  // Ids grow, so that none is used again while an answer may still come; the remainder tells the place.
  uint32_t idOf(size_t place) {
    const uint32_t depth = static_cast<uint32_t>(options_.depth);
    generation_ = (generation_ + 1) % (UINT32_MAX / depth - 1);
    return generation_ * depth + static_cast<uint32_t>(place) + 1;
  }

  void flush(Connection& connection) {
    if (connection.out.empty()) return;
    const bool isWaiting = !connection.socket.send(&connection.out);
    if (isWaiting == connection.isWaitingToSend) return;
    connection.isWaitingToSend = isWaiting;
    epoll_event event{};
    event.events = isWaiting ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &connection;
    epoll_ctl(poll_, EPOLL_CTL_MOD, connection.socket.descriptor(), &event);
  }

  const Dialect& dialect_;
  const LoadOptions& options_;
  const std::vector<std::array<char, KEY_BYTES>> keys_;
  std::string value_;
  Random random_{options_.seed};
  std::vector<std::unique_ptr<Connection>> connections_;
  int poll_ = -1;

  bool isFilling_ = false;
  size_t nextToFill_ = 0;
  uint32_t generation_ = 0;
  uint64_t startNs_ = 0;
  uint64_t measuredFromNs_ = 0;
  uint64_t endNs_ = 0;
  uint64_t nowNs_ = 0;
  uint64_t stoppedNs_ = 0;

  size_t inFlight_ = 0;
  uint64_t all_ = 0;
  uint64_t measured_ = 0;
  uint64_t misses_ = 0;
  uint64_t failed_ = 0;
  Histogram latency_;
};

}  // namespace

void fill(const Dialect& dialect, const LoadOptions& options) {
  LoadOptions filling = options;
  filling.connections = 1;
  filling.depth = FILL_DEPTH;
  Load run(dialect, filling);
  run.run(true);
  run.reportFill();
}

void load(const Dialect& dialect, const LoadOptions& options) {
  Load run(dialect, options);
  run.run(false);
  run.reportLoad();
}

}  // namespace henge::bench
