// The harness's native load generator: one thread, so that it takes one core and leaves the other to the server.
//
//   loadgen load|fill|replay henge|resp|memcached --port N [--OPTION VALUE ...]
//
// load and fill: --host --connections --depth --keys --value-bytes --set-share --warm-up --seconds --seed
// replay: --host --file
#include <cstdlib>
#include <map>
#include <string>

#include "load.h"
#include "replay.h"
#include "socket.h"

using namespace henge::bench;

namespace {

class Options {
 public:
  Options(int count, char** words) {
    for (int index = 3; index + 1 < count; index += 2) {
      const std::string name = words[index];
      if (name.rfind("--", 0) != 0) fail("not an option: " + name);
      values_[name.substr(2)] = words[index + 1];
    }
  }

  // Replaces the default by what was given, if anything was.
  void take(const std::string& name, std::string* value) const {
    const auto found = values_.find(name);
    if (found != values_.end()) *value = found->second;
  }

  void take(const std::string& name, double* value) const {
    std::string text;
    take(name, &text);
    if (!text.empty()) *value = std::strtod(text.c_str(), nullptr);
  }

  template <typename Integer>
  void take(const std::string& name, Integer* value) const {
    double number = static_cast<double>(*value);
    take(name, &number);
    *value = static_cast<Integer>(number);
  }

 private:
  std::map<std::string, std::string> values_;
};

LoadOptions loadOptions(const Options& given) {
  LoadOptions options;
  given.take("host", &options.host);
  given.take("port", &options.port);
  given.take("connections", &options.connections);
  given.take("depth", &options.depth);
  given.take("keys", &options.keys);
  given.take("value-bytes", &options.valueBytes);
  given.take("set-share", &options.setShare);
  given.take("warm-up", &options.warmUpSeconds);
  given.take("seconds", &options.seconds);
  given.take("seed", &options.seed);
  if (options.depth == 0 || options.keys == 0) fail("--depth and --keys are at least 1");
  if (options.valueBytes < 20) fail("--value-bytes is at least 20: a value begins with its key");
  return options;
}

ReplayOptions replayOptions(const Options& given) {
  ReplayOptions options;
  given.take("host", &options.host);
  given.take("port", &options.port);
  given.take("file", &options.file);
  return options;
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) fail("usage: loadgen load|fill|replay henge|resp|memcached --port N [--OPTION VALUE ...]");
  const std::string action = words[1];
  const auto dialect = Dialect::named(words[2]);
  if (dialect == nullptr) fail(std::string("no dialect is called ") + words[2]);
  const Options given(count, words);
  if (action == "load") load(*dialect, loadOptions(given));
  else if (action == "fill") fill(*dialect, loadOptions(given));
  else if (action == "replay") replay(*dialect, replayOptions(given));
  else fail("no action is called " + action);
  return 0;
}
