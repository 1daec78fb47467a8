// One connection, in windows of up to 64 gets that are then followed by the sets of what was missing. A window ends
// early where an item would come twice, so that a request sees the effect of every earlier one for its item; what
// differs from a replay one by one is the order of insertion inside a window, which is nothing to a cache of thousands
// of items.
#include "replay.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <unordered_set>
#include <vector>

#include "socket.h"

namespace henge::bench {

namespace {

constexpr size_t WINDOW_MAX = 64;
constexpr size_t KEY_BYTES = 20;

struct Request {
  uint32_t item;
  uint32_t valueBytes;
};

struct Counts {
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t refused = 0;
  std::string lastRefusal;
};

std::vector<Request> readTrace(const std::string& file) {
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream) fail("cannot open " + file);
  const auto bytes = static_cast<size_t>(stream.tellg());
  std::vector<Request> requests(bytes / sizeof(Request));
  stream.seekg(0);
  stream.read(reinterpret_cast<char*>(requests.data()), static_cast<std::streamsize>(bytes));
  return requests;
}

std::string keyOf(uint32_t item) {
  char text[KEY_BYTES + 8];
  std::snprintf(text, sizeof text, "item:%015u", item);
  return std::string(text, KEY_BYTES);
}

class Replay {
 public:
  Replay(const Dialect& dialect, const ReplayOptions& options)
      : dialect_(dialect), socket_(options.host, options.port, dialect, true) {}

  // Returns how many requests, from `first` on, made up the window.
  size_t window(const std::vector<Request>& trace, size_t first, Counts* counts) {
    const size_t size = windowSize(trace, first);
    for (size_t index = 0; index < size; index++) {
      dialect_.get(&out_, static_cast<uint32_t>(index) + 1, keyOf(trace[first + index].item));
    }
    collect(size);
    size_t sets = 0;
    for (size_t index = 0; index < size; index++) {
      const Request& request = trace[first + index];
      check(replies_[index], request);
      if (replies_[index].outcome == Outcome::HIT) continue;
      sets++;
      if (value_.size() < request.valueBytes) value_.resize(request.valueBytes, 'v');
      dialect_.set(&out_, static_cast<uint32_t>(sets), keyOf(request.item), {value_.data(), request.valueBytes});
    }
    counts->hits += size - sets;
    counts->misses += sets;
    collect(sets);
    for (size_t index = 0; index < sets; index++) {
      if (replies_[index].outcome == Outcome::STORED) continue;
      counts->refused++;
      counts->lastRefusal = lastRefusal_;
    }
    return size;
  }

 private:
  struct Answer {
    Outcome outcome = Outcome::FAILED;
    size_t bytes = 0;
  };

  size_t windowSize(const std::vector<Request>& trace, size_t first) {
    seen_.clear();
    size_t size = 0;
    while (size < WINDOW_MAX && first + size < trace.size() && seen_.insert(trace[first + size].item).second) size++;
    return size;
  }

  // Sends what was written and waits for `wanted` answers.
  void collect(size_t wanted) {
    socket_.send(&out_);
    for (size_t done = 0; done < wanted;) {
      Reply reply;
      const size_t bytes = dialect_.read(socket_.input(), &reply);
      if (bytes == 0) {
        socket_.receive();
        continue;
      }
      const size_t index = dialect_.isOrdered() ? done : reply.id - 1;
      if (index >= wanted) fail("an answer came to a request that was not made");
      replies_[index] = {reply.outcome, reply.bytes.size()};
      if (reply.outcome == Outcome::FAILED) lastRefusal_ = reply.bytes;
      socket_.consume(bytes);
      done++;
    }
  }

  static void check(const Answer& answer, const Request& request) {
    const bool isWrong = answer.outcome == Outcome::HIT ? answer.bytes != request.valueBytes
                                                        : answer.outcome != Outcome::MISS;
    if (isWrong) fail("a get was answered wrongly for item " + std::to_string(request.item));
  }

  const Dialect& dialect_;
  Socket socket_;
  std::string out_;
  std::string value_;
  std::unordered_set<uint32_t> seen_;
  Answer replies_[WINDOW_MAX];
  std::string lastRefusal_;
};

}  // namespace

void replay(const Dialect& dialect, const ReplayOptions& options) {
  const std::vector<Request> trace = readTrace(options.file);
  Replay run(dialect, options);
  Counts counts;
  const auto start = std::chrono::steady_clock::now();
  for (size_t first = 0; first < trace.size();) first += run.window(trace, first, &counts);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::printf("{\"requests\":%zu,\"hits\":%llu,\"misses\":%llu,\"refused\":%llu,\"refusal\":\"%s\",\"seconds\":%.6f}\n",
              trace.size(), static_cast<unsigned long long>(counts.hits),
              static_cast<unsigned long long>(counts.misses), static_cast<unsigned long long>(counts.refused),
              counts.lastRefusal.c_str(), elapsed.count());
}

}  // namespace henge::bench
