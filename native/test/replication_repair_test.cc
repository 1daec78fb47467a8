// What keeps copies equal in the long run: the watermark, what is gone and must stay gone, and walks for another node.
#include <unistd.h>

#include "support/pair.h"

namespace {

using namespace cluster;

// ---- watermark -----------------------------------------------------------------------------------------------------

TEST("the watermark passes nothing that a copy in sync does not have") {
  Pair pair;
  const uint64_t startMs = pair.leader.ms;
  pair.advance(10);
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 10);
  pair.set("key", "v");
  pair.advance(10);
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 10);
  pair.link.deliverAll();
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 20);
  pair.set("key", "w");
  pair.advance(10);
  pair.link.lose();
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 20);
  CHECK(pair.leader.worker().watermarkMs(0) == startMs + 20);
  pair.link.reopen();
  pair.leader.worker().beginCatchUp(2, pair.leader.worker().peerBits(2).missed);
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 20);
  pair.leader.worker().declareSynced(2, ALL);
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 30);
}

TEST("a worker in the middle of a chunk holds the watermark at its clock") {
  Pair pair;
  pair.leader.addWorker();
  const uint64_t startMs = pair.leader.ms;
  pair.leader.memory->setClock(startMs + 100);
  pair.leader.worker().beginChunk();
  CHECK(pair.leader.worker().watermarkMs(2) == startMs);
  pair.leader.workers.back()->beginChunk();
  CHECK(pair.leader.worker().watermarkMs(2) == startMs + 100);
}

TEST("copies that were never in sync do not hold the watermark") {
  Pair pair;
  Node third(3);
  pair.leader.install(2, 2, "1 2 3+");
  CHECK(pair.leader.worker().peerBits(3).whole == ALL);
  CHECK(pair.leader.worker().watermarkMs(3) == pair.leader.ms);
}

TEST("what a peer says of itself is kept for all workers") {
  Pair pair;
  Worker& second = pair.leader.addWorker();
  CHECK(second.peerNews(2).heardAtMs == 0);
  pair.leader.worker().heard(2, 0, 77);
  CHECK(second.peerNews(2).heardAtMs == pair.leader.ms && second.peerNews(2).watermarkMs == 77);
  CHECK(second.peerNews(9).heardAtMs == 0);
}

TEST("what a leader said of all it wrote stands when it comes back empty, until it leads nothing") {
  Pair pair;
  Node& copy = pair.copy;
  CHECK(!copy.worker().meet(1, 0xaa));
  copy.worker().heard(1, 0xaa, 5);
  copy.worker().heard(1, 0xbb, 77);  // it was not met yet
  CHECK(copy.worker().peerNews(1).watermarkMs == 5);
  CHECK(copy.worker().meet(1, 0xbb));
  copy.worker().heard(1, 0xbb, 77);
  CHECK(copy.worker().peerNews(1).watermarkMs == 5);
  copy.install(2, 2, "1 2");
  copy.worker().heard(1, 0xbb, 77);
  CHECK(copy.worker().peerNews(1).watermarkMs == 5);
  copy.install(3, 2, "2 1");
  copy.worker().heard(1, 0xbb, 77);
  CHECK(copy.worker().peerNews(1).watermarkMs == 77);
}

TEST("what an empty memory says does not count as its predecessor's, though neither was met") {
  Pair pair;
  Node& copy = pair.copy;
  copy.worker().heard(1, 0xaa, 5);
  copy.worker().heard(1, 0xbb, 77);
  CHECK(copy.worker().peerNews(1).watermarkMs == 5);
  CHECK(copy.worker().meet(1, 0xbb));
}

// ---- what is gone --------------------------------------------------------------------------------------------------

TEST("a deleted key does not come back from a copy that was away, even when its tombstone is gone") {
  for (const bool isForgotten : {false, true}) {
    Pair pair;
    pair.set("key", "v");
    pair.link.deliverAll();
    pair.link.lose();
    pair.advance(1000);
    pair.act(Opcode::DELETE, "key");
    pair.advance(TOMBSTONE_LIFE_MS + 1);
    while (pair.leader.memory->stats().tombstones > 0) pair.leader.worker().tick();
    if (isForgotten) {
      // What the ghosts displace raises the slot's floor.
      const Slot& slot = pair.leader.worker().view().slots[pair.leader.slotOf("key")];
      for (int i = 0; slot.floorTime >> 16 < START_MS + 1000; i++) {
        const std::string name = "{key}" + std::to_string(i);
        Operation brief = Node::operation(Opcode::SET, name, "v");
        brief.ttlMs = 1;
        pair.leader.run(brief);
        if (i % 1000 == 999) {
          pair.advance(2);
          while (pair.leader.memory->stats().items > 0) pair.leader.worker().tick();
        }
      }
      CHECK(hasSlot(pair.leader.worker().peerBits(2).whole, pair.leader.slotOf("key")));
    }
    pair.link.reopen();
    catchUp(pair.leader, pair.leader.worker(), pair.copy);
    CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "[1]");
  }
}

TEST("an item that expired here unseen goes elsewhere too") {
  Pair pair;
  pair.set("key", "old");
  pair.link.deliverAll();
  pair.link.lose();
  pair.advance(10);
  Operation brief = Node::operation(Opcode::SET, "key", "brief");
  brief.ttlMs = 10;
  pair.leader.run(brief);
  pair.advance(10);
  pair.link.reopen();
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "[1]");
}

TEST("a floor takes what is older and lets what is left come anew") {
  Pair pair;
  pair.set("stays", "v");
  pair.set("goes", "v");
  pair.link.deliverAll();
  const Operation key = pair.copy.located("stays");
  Item floor;
  floor.kind = protocol::ItemKind::FLOOR;
  floor.slot = key.slot;
  floor.version = Version{1, (pair.leader.ms << 16) + 60'000, 1};
  CHECK(pair.copy.worker().merge(floor, 3, 1) == Applied::STALE);
  CHECK(pair.copy.get("stays", ReadLevel::NEAREST) == "v");
  CHECK(pair.copy.worker().merge(floor, 1, 1) == Applied::APPLIED);
  CHECK(pair.copy.get("stays", ReadLevel::NEAREST) == "[1]");
  pair.leader.worker().failCatchUp(2, ALL, 0);
  catchUp(pair.leader, pair.leader.worker(), pair.copy);
  CHECK(pair.copy.get("stays", ReadLevel::NEAREST) == "v");
  // From anybody but the leader it is below the floor.
  Node third(3);
  third.install(1, 3, "3 1 2", true);
}

TEST("what finds no room in a copy is as good as evicted there") {
  Pair pair;
  pair.set("key", "old");
  pair.link.deliverAll();
  // Everything of the copy is in use by items that were asked for again.
  const std::string filler(3000, 'f');
  Item item;
  item.value = filler;
  item.heat = 7 << 2;
  for (int i = 0; i < 1500; i++) {
    const std::string name = "filler" + std::to_string(i);
    item.key = name;
    item.version = Version{1, (pair.leader.ms << 16) + static_cast<uint64_t>(i), 1};
    pair.copy.worker().apply(item, 1, 1, nullptr);
  }
  pair.link.lose();
  const std::string value(100'000, 'n');
  const Version newer = pair.set("key", value).version;
  const Operation key = pair.copy.located("key");
  item.key = "key";
  item.value = value;
  item.heat = 0;
  item.version = newer;
  Applied applied = Applied::APPLIED;
  for (int i = 0; i < 200 && applied != Applied::NO_MEMORY; i++) {
    item.version.time++;
    applied = pair.copy.worker().merge(item, 1, 1);
  }
  CHECK(applied == Applied::NO_MEMORY);
  CHECK(pair.copy.worker().view().versionGhostsOf(pair.copy.worker().view().segmentOf(key.slot)).find(key.hash) ==
        item.version);
  CHECK(pair.copy.get("key", ReadLevel::NEAREST) == "[15]");
  CHECK(pair.copy.get("key", ReadLevel::DEGRADED) == "[1]");
}

// ---- walks ---------------------------------------------------------------------------------------------------------

TEST("a walk for another node keeps to its bounds and leaves nothing out while items come and go") {
  Node node(1);
  node.install(1, 2, "1 2", true);
  check::Random random;
  for (int i = 0; i < 3000; i++) node.set("key" + std::to_string(i), std::string(random.below(300), 'v'));
  node.set("large", std::string(100'000, 'l'));
  std::vector<bool> seen(3000, false);
  bool sawLarge = false;
  int added = 0;
  for (uint32_t segment = 0; segment < SEGMENTS; segment++) {
    uint64_t cursor = 0;
    do {
      const Collected collected = node.worker().collect({segment, 0xf, 0, 2000}, cursor);
      std::string_view records = collected.bytes;
      uint32_t items = 0;
      Item item;
      while (!records.empty()) {
        CHECK(decodeItemRecord(&records, &item));
        items++;
        if (item.key == "large") sawLarge = true;
        if (item.key.substr(0, 3) == "key")
          seen[static_cast<size_t>(std::stoi(std::string(item.key.substr(3))))] = true;
      }
      CHECK(items == collected.items);
      CHECK(items <= 1 || collected.bytes.size() <= 2000);
      cursor = collected.next;
      // The index grows under the walk, and keys already seen are written anew.
      for (int i = 0; i < 20 && added < 4000; i++) node.set("new" + std::to_string(added++), "v");
      node.set("key" + std::to_string(random.below(3000)), "again");
    } while (cursor != 0);
  }
  CHECK(sawLarge);
  for (const bool each : seen) CHECK(each);
}

TEST("a walk takes only the slots and the time asked for") {
  Node node(1);
  node.install(1, 2, "1 2", true);
  for (int i = 0; i < 200; i++) node.set("old" + std::to_string(i), "v");
  node.setClock(node.ms + 5);
  for (int i = 0; i < 200; i++) node.set("new" + std::to_string(i), "v");
  const uint32_t slot = node.slotOf("new7");
  const Collected collected = node.worker().collect({slot / 4u, 1u << (slot % 4), node.ms, 1 << 20}, 0);
  std::string_view records = collected.bytes;
  Item item;
  bool isFound = false;
  while (!records.empty()) {
    CHECK(decodeItemRecord(&records, &item));
    CHECK(item.slot == slot && item.key.substr(0, 3) == "new");
    isFound = isFound || item.key == "new7";
  }
  CHECK(isFound && collected.next == 0);
}

TEST("a record that is cut or malformed is not taken") {
  Item item;
  item.key = "key";
  item.value = "value";
  item.slot = 3;
  std::string bytes(itemRecordBytes(item), 0);
  encodeItemRecord(bytes.data(), item);
  for (size_t length = 0; length < bytes.size(); length++) {
    std::string_view cut = std::string_view(bytes).substr(0, length);
    Item out;
    CHECK(!decodeItemRecord(&cut, &out));
  }
  check::Random random;
  for (int i = 0; i < 20'000; i++) {
    std::string broken = bytes;
    broken[random.below(protocol::ITEM_RECORD_BYTES)] = static_cast<char>(random.word());
    std::string_view view = broken;
    Item out;
    if (decodeItemRecord(&view, &out))
      CHECK(out.slot < protocol::SLOTS && out.key.size() + out.value.size() <= broken.size());
  }
}

}  // namespace

TEST_MAIN
