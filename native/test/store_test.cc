// The store along the life of an item: written, read, changed, expired, evicted, walked.
#include <map>
#include <string>

#include "support/check.h"
#include "support/world.h"

namespace {

using namespace henge;
using check::valueOf;
using check::World;
using protocol::Opcode;
using protocol::Status;
namespace Flag = protocol::RequestFlag;

TEST("an item comes back as it went in") {
  World world;
  CHECK(world.get("key") == "(none)");
  CHECK(world.set("key", "value").status == Status::OK);
  CHECK(world.get("key") == "value");
  CHECK(world.set("key", "other").status == Status::OK);
  CHECK(world.get("key") == "other");
  CHECK(world.set("key", "of another length").status == Status::OK);
  CHECK(world.get("key") == "of another length");
  CHECK(world.act(Opcode::DELETE, "key").status == Status::OK);
  CHECK(world.get("key") == "(none)");
  CHECK(world.act(Opcode::DELETE, "key").status == Status::NOT_FOUND);
  CHECK(world.memory->stats().items == 0);
  CHECK(world.memory->stats().bytes == 0);
}

TEST("keys and values of every length survive") {
  World world(64 << 20);
  const size_t keyLengths[] = {1, 2, 255, 256, 4000, 8128, 8129, 65535};
  const size_t valueLengths[] = {0, 1, 100, 8000, 8192, 65536, 200'000, 256 * 1024};
  for (const size_t keyBytes : keyLengths) {
    for (const size_t valueBytes : valueLengths) {
      const std::string key = valueOf(7, keyBytes);
      const std::string value = valueOf(static_cast<uint32_t>(keyBytes + valueBytes), valueBytes);
      CHECK(world.set(key, value).status == Status::OK);
      CHECK(world.get(key) == value);
      CHECK(world.set(key, "short").status == Status::OK);
      CHECK(world.get(key) == "short");
      CHECK(world.set(key, value, 60'000).status == Status::OK);
      Operation touch;
      touch.opcode = Opcode::TOUCH;
      touch.key = key;
      CHECK(world.run(touch).status == Status::OK);
      CHECK(world.get(key) == value);
      CHECK(world.act(Opcode::DELETE, key).status == Status::OK);
      CHECK(world.get(key) == "(none)");
    }
  }
  CHECK(world.memory->stats().bytes == 0);
  CHECK(world.set("key", std::string(256 * 1024 + 1, 'x')).status == Status::TOO_LARGE);
}

TEST("versions grow and conditions are kept") {
  World world;
  const Version first = world.set("key", "1").version;
  const Version second = world.set("key", "2").version;
  CHECK(first < second);
  const Answer met = world.set("key", "3", 0, Flag::IF_ABSENT);
  CHECK(met.status == Status::EXISTS && met.version == second);
  Operation operation;
  operation.opcode = Opcode::SET;
  operation.key = "key";
  operation.value = "4";
  operation.flags = Flag::IF_VERSION;
  operation.ifVersion = first;
  CHECK(world.run(operation).status == Status::VERSION_MISMATCH);
  operation.ifVersion = second;
  CHECK(world.run(operation).status == Status::OK);
  CHECK(world.get("key") == "4");
  operation.opcode = Opcode::DELETE;
  CHECK(world.run(operation).status == Status::VERSION_MISMATCH);
  operation.key = "absent";
  operation.opcode = Opcode::SET;
  CHECK(world.run(operation).status == Status::NOT_FOUND);
  CHECK(world.get("absent") == "(none)");
}

TEST("an item expires at its time and not before") {
  World world;
  world.set("key", "value", 1000);
  world.advance(999);
  CHECK(world.get("key") == "value");
  CHECK(world.act(Opcode::GET, "key", Flag::WANT_META | Flag::NO_VALUE).ttlMs == 1);
  world.advance(1);
  CHECK(world.get("key") == "(none)");
  world.set("key", "value", 1000);
  world.advance(500);
  world.set("key", "longer value", 0, Flag::KEEP_TTL);
  CHECK(world.act(Opcode::GET, "key", Flag::WANT_META).ttlMs == 500);
  world.set("key", "longer value");
  CHECK(world.act(Opcode::GET, "key", Flag::WANT_META).ttlMs == 0);
  Operation touch;
  touch.opcode = Opcode::TOUCH;
  touch.key = "key";
  touch.ttlMs = 10;
  CHECK(world.run(touch).status == Status::OK);
  world.advance(10);
  CHECK(world.get("key") == "(none)");
  CHECK(world.run(touch).status == Status::NOT_FOUND);
  CHECK(world.memory->stats().expirations == 2);
}

TEST("what has expired is gone for every operation, and what has not keeps its time") {
  World world;
  const auto ttlOf = [&](std::string_view key) { return world.act(Opcode::GET, key, Flag::WANT_META).ttlMs; };
  const auto timed = [&](Opcode opcode, std::string_view key, std::string_view value) {
    Operation operation;
    operation.opcode = opcode;
    operation.key = key;
    operation.value = value;
    operation.delta = operation.initial = 1;
    operation.ttlMs = 100;
    return world.run(operation);
  };
  CHECK(timed(Opcode::INCREMENT, "n", "").number == 1);
  CHECK(timed(Opcode::APPEND, "text", "ab").number == 2);
  world.set("kept", "value", 100);
  world.advance(60);
  CHECK(timed(Opcode::INCREMENT, "n", "").number == 2);
  CHECK(timed(Opcode::APPEND, "text", "cd").number == 4);
  CHECK(ttlOf("n") == 40 && ttlOf("text") == 40);
  world.advance(40);
  CHECK(timed(Opcode::INCREMENT, "n", "").number == 1);
  CHECK(timed(Opcode::APPEND, "text", "ef").number == 2);
  CHECK(world.get("text") == "ef" && ttlOf("n") == 100 && ttlOf("text") == 100);
  CHECK(world.set("kept", "value", 0, Flag::KEEP_TTL).status == Status::OK);
  CHECK(ttlOf("kept") == 0);
  world.set("brief", "value", 100);
  world.advance(100);
  CHECK(world.act(Opcode::TOUCH, "brief").status == Status::NOT_FOUND);
  CHECK(world.act(Opcode::APPEND, "text", Flag::NO_CREATE).status == Status::NOT_FOUND);
  CHECK(world.act(Opcode::INCREMENT, "n", Flag::NO_CREATE).status == Status::NOT_FOUND);
  world.set("absent?", "value", 100);
  world.advance(100);
  CHECK(world.set("absent?", "again", 0, Flag::IF_ABSENT).status == Status::OK);
}

TEST("expired items are reclaimed without being asked for") {
  World world;
  for (int i = 0; i < 5000; i++) world.set("key" + std::to_string(i), "value", 1000);
  CHECK(world.memory->stats().items == 5000);
  world.advance(2000);
  for (int i = 0; i < 5000 && world.memory->stats().items > 0; i++) world.worker->tick();
  CHECK(world.memory->stats().items == 0);
  CHECK(world.memory->stats().expirations == 5000);
}

TEST("counters count and refuse what is no number") {
  World world;
  CHECK(world.increment("n", 5, 100).number == 100);
  CHECK(world.increment("n", 5, 100).number == 105);
  CHECK(world.increment("n", -205).number == -100);
  world.set("text", "not a number");
  CHECK(world.increment("text", 1).status == Status::NOT_A_NUMBER);
  CHECK(world.increment("max", 1, INT64_MAX).number == INT64_MAX);
  CHECK(world.increment("max", 1).status == Status::OVERFLOW);
  CHECK(world.increment("max", -1).number == INT64_MAX - 1);
  const uint64_t bytes = world.memory->stats().bytes;
  for (int i = 0; i < 100'000; i++) world.increment("n", 1);
  CHECK(world.increment("n", 0).number == 100'000 - 100);
  CHECK(world.memory->stats().bytes == bytes);
}

TEST("appending grows a value through every shape") {
  World world(64 << 20);
  std::string expected;
  for (uint32_t i = 0; expected.size() + 3000 < 256 * 1024; i++) {
    const std::string piece = valueOf(i, 1 + i * 7 % 3000);
    expected += piece;
    const Answer answer = world.append("key", piece);
    CHECK(answer.status == Status::OK && answer.number == static_cast<int64_t>(expected.size()));
    CHECK(world.get("key") == expected);
  }
  CHECK(world.append("key", std::string(3000, 'x')).status == Status::OK || true);
  CHECK(world.append("key", std::string(256 * 1024, 'x')).status == Status::TOO_LARGE);
}

TEST("a slot that is not ours is moved") {
  World world;
  CHECK(world.memory->install(rows::epochOf(protocol::SLOTS, 7, 1, "2").installation()));
  const Answer answer = world.set("key", "value");
  CHECK(answer.status == Status::MOVED && answer.epoch == 7);
  CHECK(world.act(Opcode::GET, "key").status == Status::MOVED);
}

TEST("a million overwrites in ten times the memory stay within it") {
  World world(16 << 20);
  std::map<std::string, std::string> last;
  uint32_t hits = 0;
  for (uint32_t i = 0; i < 1'000'000; i++) {
    if (i % 1000 == 0) world.advance(1);
    const std::string key = "key:" + std::to_string(i * 7919u % 700'000u);
    const std::string value = valueOf(i, 60 + i % 100);
    CHECK(world.set(key, value).status == Status::OK);
    if (i % 97 == 0) last[key] = value;
    else if (last.count(key) != 0) last[key] = value;
  }
  for (const auto& [key, value] : last) {
    const std::string now = world.get(key);
    CHECK(now == value || now == "(none)");
    hits += now == value;
  }
  const Stats stats = world.memory->stats();
  CHECK(stats.memoryUsed <= stats.memoryLimit);
  CHECK(stats.evictions > 0);
  CHECK(stats.outOfMemory == 0);
  CHECK(hits > 0);
  // What is indexed fills most of the memory: no space leaks away.
  printf("  items %llu, bytes %llu of %llu, index %llu\n", static_cast<unsigned long long>(stats.items),
         static_cast<unsigned long long>(stats.bytes), static_cast<unsigned long long>(stats.memoryLimit),
         static_cast<unsigned long long>(stats.indexBytes));
  CHECK(stats.bytes > stats.memoryLimit * 7 / 10);
}

TEST("large values under pressure are whole or gone") {
  World world(32 << 20);
  std::map<uint32_t, uint32_t> written;
  for (uint32_t i = 0; i < 3000; i++) {
    const uint32_t key = i * 31 % 400;
    const size_t bytes = 100 + (i * 7919u) % 200'000;
    CHECK(world.set("large" + std::to_string(key), valueOf(i, bytes)).status == Status::OK);
    written[key] = i;
    for (uint32_t probe = 0; probe < 3; probe++) {
      const uint32_t other = (i * 13 + probe) % 400;
      const std::string now = world.get("large" + std::to_string(other));
      if (now == "(none)") continue;
      CHECK(written.count(other) != 0);
      CHECK(now == valueOf(written[other], 100 + (written[other] * 7919u) % 200'000));
    }
  }
  CHECK(world.memory->stats().outOfMemory == 0);
}

TEST("one slot may hold everything") {
  World world(16 << 20);
  for (uint32_t i = 0; i < 60'000; i++)
    CHECK(world.set("{tag}" + std::to_string(i), "value of some length").status == Status::OK);
  uint32_t found = 0;
  for (uint32_t i = 0; i < 60'000; i++) found += world.get("{tag}" + std::to_string(i)) != "(none)";
  CHECK(found == 60'000);
}

TEST("a scan meets every key while the index grows") {
  World world(32 << 20);
  for (int i = 0; i < 3000; i++) world.set("user:" + std::to_string(i), "v");
  for (int i = 0; i < 500; i++) world.set("other:" + std::to_string(i), "v");
  std::map<std::string, int> seen;
  std::string buffer(64 * 1024, 0);
  uint64_t cursor = 0;
  int steps = 0;
  do {
    const size_t bytes = world.worker->scan(cursor, "user:", 100, buffer.data(), buffer.size(), &cursor);
    for (size_t at = 0; at < bytes;) {
      uint16_t length;
      memcpy(&length, buffer.data() + at, sizeof length);
      seen[buffer.substr(at + 2, length)]++;
      at += 2u + length;
    }
    for (int i = 0; i < 200; i++) world.set("{grow}" + std::to_string(steps * 200 + i), "v");
    steps++;
  } while (cursor != 0 && steps < 10'000);
  CHECK(seen.size() == 3000);
  CHECK(seen.count("user:0") == 1 && seen.count("user:2999") == 1);
}

TEST("clearing by prefix leaves others and what came later") {
  World world(16 << 20);
  for (int i = 0; i < 2000; i++) {
    world.set("a:" + std::to_string(i), "v");
    world.set("b:" + std::to_string(i), "v");
  }
  world.advance(5);
  uint64_t cursor = 0;
  uint64_t horizon = 0;
  uint32_t deleted = 0;
  bool isFirst = true;
  do {
    deleted += world.worker->clear(cursor, "a:", &horizon, &cursor, [](const Written&) {});
    if (isFirst) {
      world.advance(5);
      for (int i = 0; i < 100; i++) world.set("a:late" + std::to_string(i), "v");
      isFirst = false;
    }
  } while (cursor != 0);
  CHECK(deleted == 2000);
  CHECK(world.memory->stats().items == 2100);
  CHECK(world.get("a:late7") == "v" && world.get("a:7") == "(none)" && world.get("b:7") == "v");
}

TEST("a tombstone hides older copies and a ghost the evicted") {
  World world(16 << 20, true);
  const Version version = world.set("key", "value").version;
  Operation probe;
  probe.key = "key";
  world.worker->prepare(&probe, 1);
  Item old;
  old.key = "key";
  old.value = "older";
  old.hash = probe.hash;
  old.slot = probe.slot;
  old.version = version;
  CHECK(world.worker->apply(old, 0, 1, nullptr) == Applied::SUPERSEDED);
  CHECK(world.act(Opcode::DELETE, "key").status == Status::OK);
  CHECK(world.memory->stats().tombstones == 1);
  CHECK(world.worker->apply(old, 0, 1, nullptr) == Applied::SUPERSEDED);
  CHECK(world.get("key") == "(none)");
  const Version later = world.set("key", "again").version;
  CHECK(version < later);
  CHECK(world.memory->stats().tombstones == 0);
  world.act(Opcode::DELETE, "key");
  Item newer = old;
  newer.version = Version{2, 1, 3};
  newer.value = "from elsewhere";
  CHECK(world.worker->merge(newer, 0, 1) == Applied::APPLIED);
  CHECK(world.get("key") == "from elsewhere");
  newer.kind = protocol::ItemKind::TOMBSTONE;
  newer.key = "";
  newer.version = Version{2, 2, 3};
  newer.expiresAt = world.ms + 1000;
  CHECK(world.worker->merge(newer, 0, 1) == Applied::APPLIED);
  CHECK(world.get("key") == "(none)");
  // Expiry leaves a version ghost: the copy another node still has is older than what was here.
  const Version expiring = world.set("brief", "value", 10).version;
  world.advance(10);
  CHECK(world.get("brief") == "(none)");
  probe.key = "brief";
  world.worker->prepare(&probe, 1);
  Item copy;
  copy.key = "brief";
  copy.value = "value";
  copy.hash = probe.hash;
  copy.slot = probe.slot;
  copy.version = expiring;
  CHECK(world.worker->apply(copy, 0, 1, nullptr) == Applied::REFUSED_GHOST);
}

TEST("walk digest and drop agree") {
  World a(16 << 20);
  World b(16 << 20);
  b.options.nodeNumber = 2;
  for (int i = 0; i < 500; i++)
    a.set("{s}" + std::to_string(i), valueOf(static_cast<uint32_t>(i), 10 + static_cast<size_t>(i) * 40));
  Operation probe;
  probe.key = "{s}";
  a.worker->prepare(&probe, 1);
  const uint32_t segment = a.worker->view().segmentOf(probe.slot);
  uint64_t cursor = 0;
  int walked = 0;
  do {
    cursor = a.worker->walk(segment, 0xffff, cursor, [&](const Item& item) {
      walked++;
      CHECK(b.worker->apply(item, 0, 1, nullptr) == Applied::APPLIED);
      CHECK(b.worker->apply(item, 0, 1, nullptr) == Applied::SUPERSEDED);
    });
  } while (cursor != 0);
  CHECK(walked == 500);
  CHECK(a.worker->digest(probe.slot).sum == b.worker->digest(probe.slot).sum);
  CHECK(b.worker->digest(probe.slot).items == 500);
  CHECK(b.get("{s}499") == valueOf(499, 10 + 499 * 40));
  std::string slots(protocol::SLOTS / 8, 0);
  slots[probe.slot / 8] = static_cast<char>(1 << (probe.slot & 7));
  b.worker->drop(slots);
  CHECK(b.worker->digest(probe.slot).items == 500);
  b.memory->install(rows::epochOf(protocol::SLOTS, 2, 1, "2").installation());
  b.worker->drop(slots);
  CHECK(b.worker->digest(probe.slot).items == 0);
  CHECK(b.memory->stats().items == 0);
}

}  // namespace

TEST_MAIN
