#include "arena.h"

#include <memory>
#include <utility>

#include "../store/memory.h"
#include "call.h"
#include "installation.h"
#include "worker.h"

namespace henge {

namespace {

constexpr int64_t SAFE_INTEGER_MAX = 9'007'199'254'740'991;

class ArenaBox final : public Box {
 public:
  explicit ArenaBox(std::shared_ptr<Memory> memory) : memory_(std::move(memory)) {}

  bool isOpen(napi_env env) const {
    if (memory_ != nullptr) return true;
    napi_throw_error(env, nullptr, "The arena is closed");
    return false;
  }
  // A worker that is not closed holds the memory too.
  bool isIdle() const { return memory_.use_count() == 1; }
  const std::shared_ptr<Memory>& memory() const { return memory_; }
  void close(bool isClean) {
    memory_->close(isClean);
    memory_.reset();
  }

 private:
  std::shared_ptr<Memory> memory_;
};

const char* nameOf(Origin origin) {
  switch (origin) {
    case Origin::NEW:
      return "new";
    case Origin::WARM:
      return "warm";
    case Origin::SCRUBBED:
      return "scrubbed";
  }
  return "new";
}

napi_value worker(napi_env env, napi_callback_info info) {
  ArenaBox& box = Call(env, info).box<ArenaBox>();
  return box.isOpen(env) ? makeWorker(env, box.memory()) : nullptr;
}

napi_value reap(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  ArenaBox& box = call.box<ArenaBox>();
  int64_t pid = 0;
  if (!box.isOpen(env) || !call.integer(0, "pid", 1, INT32_MAX, &pid)) return nullptr;
  return makeNumber(env, box.memory()->reap(static_cast<int>(pid)));
}

napi_value install(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  ArenaBox& box = call.box<ArenaBox>();
  Installation installation;
  if (!box.isOpen(env) || !readInstallation(env, call.argument(0), box.memory()->view(), &installation)) return nullptr;
  return makeBoolean(env, box.memory()->install(installation));
}

napi_value resume(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  ArenaBox& box = call.box<ArenaBox>();
  bool isWhole = false;
  if (!box.isOpen(env) || !call.boolean(0, "isWhole", &isWhole)) return nullptr;
  box.memory()->resume(isWhole);
  return nullptr;
}

napi_value isFenced(napi_env env, napi_callback_info info) {
  ArenaBox& box = Call(env, info).box<ArenaBox>();
  return box.isOpen(env) ? makeBoolean(env, box.memory()->isFenced()) : nullptr;
}

napi_value setFence(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  ArenaBox& box = call.box<ArenaBox>();
  double deadlineMs = 0;
  if (!box.isOpen(env) || !call.milliseconds(0, "deadlineMs", &deadlineMs)) return nullptr;
  box.memory()->setFence(static_cast<uint64_t>(deadlineMs));
  return nullptr;
}

napi_value epoch(napi_env env, napi_callback_info info) {
  ArenaBox& box = Call(env, info).box<ArenaBox>();
  return box.isOpen(env) ? makeNumber(env, box.memory()->epoch()) : nullptr;
}

struct StatField {
  const char* name;
  uint64_t Stats::* field;
};

constexpr StatField STAT_FIELDS[] = {
    {"items", &Stats::items},
    {"bytes", &Stats::bytes},
    {"memoryUsed", &Stats::memoryUsed},
    {"memoryLimit", &Stats::memoryLimit},
    {"regionsTotal", &Stats::regionsTotal},
    {"regionsFree", &Stats::regionsFree},
    {"indexBytes", &Stats::indexBytes},
    {"tombstones", &Stats::tombstones},
    {"hits", &Stats::hits},
    {"misses", &Stats::misses},
    {"sets", &Stats::sets},
    {"deletes", &Stats::deletes},
    {"increments", &Stats::increments},
    {"appends", &Stats::appends},
    {"touches", &Stats::touches},
    {"evictions", &Stats::evictions},
    {"expirations", &Stats::expirations},
    {"busy", &Stats::busy},
    {"moved", &Stats::moved},
    {"outOfMemory", &Stats::outOfMemory},
    {"protocolErrors", &Stats::protocolErrors},
    {"clockRefusals", &Stats::clockRefusals},
    {"framesIn", &Stats::framesIn},
    {"bytesIn", &Stats::bytesIn},
    {"bytesOut", &Stats::bytesOut},
    {"requests", &Stats::requests},
    {"scrubs", &Stats::scrubs},
    {"workerDeaths", &Stats::workerDeaths},
    {"sealedMicrosecondsMax", &Stats::sealedMicrosecondsMax},
};

napi_value stats(napi_env env, napi_callback_info info) {
  ArenaBox& box = Call(env, info).box<ArenaBox>();
  if (!box.isOpen(env)) return nullptr;
  const Stats stats = box.memory()->stats();
  napi_value object = nullptr;
  napi_create_object(env, &object);
  for (const StatField& entry : STAT_FIELDS) {
    setField(env, object, entry.name, makeNumber(env, static_cast<double>(stats.*entry.field)));
  }
  napi_value buckets = nullptr;
  napi_create_array_with_length(env, CHUNK_BUCKETS, &buckets);
  for (uint32_t i = 0; i < CHUNK_BUCKETS; i++) {
    napi_set_element(env, buckets, i, makeNumber(env, static_cast<double>(stats.chunkMicroseconds[i])));
  }
  setField(env, object, "chunkMicroseconds", buckets);
  setField(env, object, "chunkSeconds", makeNumber(env, stats.chunkSeconds));
  return object;
}

napi_value slotItems(napi_env env, napi_callback_info info) {
  ArenaBox& box = Call(env, info).box<ArenaBox>();
  if (!box.isOpen(env)) return nullptr;
  napi_value memory = nullptr;
  napi_value array = nullptr;
  void* data = nullptr;
  napi_create_arraybuffer(env, protocol::SLOTS * sizeof(uint32_t), &data, &memory);
  box.memory()->slotItems(static_cast<uint32_t*>(data));
  napi_create_typedarray(env, napi_uint32_array, protocol::SLOTS, memory, 0, &array);
  return array;
}

napi_value stuck(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  ArenaBox& box = call.box<ArenaBox>();
  int64_t silentMs = 0;
  if (!box.isOpen(env) || !call.integer(0, "silentMs", 0, SAFE_INTEGER_MAX, &silentMs)) return nullptr;
  const std::vector<int> pids = box.memory()->stuck(static_cast<uint64_t>(silentMs));
  napi_value list = nullptr;
  napi_create_array_with_length(env, pids.size(), &list);
  for (size_t i = 0; i < pids.size(); i++) {
    napi_set_element(env, list, static_cast<uint32_t>(i), makeNumber(env, pids[i]));
  }
  return list;
}

napi_value setClock(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  ArenaBox& box = call.box<ArenaBox>();
  int64_t ms = 0;
  if (!box.isOpen(env) || !call.integer(0, "ms", 0, (int64_t{1} << 48) - 1, &ms)) return nullptr;
  box.memory()->setClock(static_cast<uint64_t>(ms));
  return nullptr;
}

napi_value close(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  ArenaBox& box = call.box<ArenaBox>();
  bool isClean = false;
  if (!box.isOpen(env) || !call.boolean(0, "clean", &isClean)) return nullptr;
  if (!box.isIdle()) {
    napi_throw_error(env, nullptr, "Close the arena's workers before the arena");
    return nullptr;
  }
  box.close(isClean);
  return nullptr;
}

napi_value makeArena(napi_env env, std::shared_ptr<Memory> memory) {
  auto* box = new ArenaBox(memory);  // owned by the functions it defines
  napi_value object = nullptr;
  napi_create_object(env, &object);
  box->define(env, object, "worker", worker);
  box->define(env, object, "reap", reap);
  box->define(env, object, "install", install);
  box->define(env, object, "resume", resume);
  box->define(env, object, "setFence", setFence);
  box->define(env, object, "isFenced", isFenced);
  box->define(env, object, "epoch", epoch);
  box->define(env, object, "stats", stats);
  box->define(env, object, "slotItems", slotItems);
  box->define(env, object, "stuck", stuck);
  box->define(env, object, "setClock", setClock);
  box->define(env, object, "close", close);
  setField(env, object, "slots", makeNumber(env, memory->view().slotCount()));
  setField(env, object, "slotsPerSegment", makeNumber(env, memory->view().geometry.slotsPerSegment));
  setField(env, object, "origin", makeText(env, nameOf(memory->origin())));
  setField(env, object, "incarnation", makeText(env, memory->incarnation()));
  setField(env, object, "path", makeText(env, memory->path()));
  setField(env, object, "pages", makeText(env, memory->pages()));
  return object;
}

bool readGeometry(const Fields& options, napi_env env, Geometry* geometry) {
  if (!options.has("geometry")) return true;
  const Fields fields(env, options.get("geometry"));
  int64_t segments = 0, slotsPerSegment = 0, regionBytes = 0, pageBytes = 0;
  if (!fields.isObject() || !fields.optionalInteger("segments", 1, protocol::SLOTS, &segments) ||
      !fields.optionalInteger("slotsPerSegment", 1, protocol::SLOTS, &slotsPerSegment) ||
      !fields.optionalInteger("regionBytes", 1, UINT32_MAX, &regionBytes) ||
      !fields.optionalInteger("pageBytes", 1, UINT32_MAX, &pageBytes)) {
    return false;
  }
  geometry->segments = static_cast<uint32_t>(segments);
  geometry->slotsPerSegment = static_cast<uint32_t>(slotsPerSegment);
  geometry->regionBytes = static_cast<uint32_t>(regionBytes);
  geometry->pageBytes = static_cast<uint32_t>(pageBytes);
  return true;
}

bool readClock(const Fields& options, napi_env env, bool* isManual) {
  std::string clock = "system";
  if (!options.optionalText("clock", &clock)) return false;
  *isManual = clock == "manual";
  if (*isManual || clock == "system") return true;
  napi_throw_range_error(env, nullptr, ("clock must be 'system' or 'manual', not '" + clock + "'").c_str());
  return false;
}

bool readOptions(const Fields& fields, napi_env env, MemoryOptions* options) {
  int64_t bytes = 0, valueBytesMax = 0, nodeNumber = 0;
  if (!fields.isObject() || !fields.integer("bytes", 1, SAFE_INTEGER_MAX, &bytes) ||
      !fields.integer("valueBytesMax", 1, protocol::Limit::VALUE_BYTES_MAX, &valueBytesMax) ||
      !fields.text("nodeName", &options->nodeName) || !fields.integer("nodeNumber", 0, UINT16_MAX, &nodeNumber) ||
      !fields.boolean("replicated", &options->replicated) || !fields.optionalText("file", &options->file) ||
      !fields.optionalBigint("seed", &options->seed) || !fields.optionalBigint("hashSeed", &options->hashSeed)) {
    return false;
  }
  options->bytes = static_cast<uint64_t>(bytes);
  options->valueBytesMax = static_cast<uint32_t>(valueBytesMax);
  options->nodeNumber = static_cast<uint16_t>(nodeNumber);
  return readGeometry(fields, env, &options->geometry) && readClock(fields, env, &options->manualClock);
}

napi_value arenaOrThrow(napi_env env, std::unique_ptr<Memory> memory, const Failure& failure) {
  if (memory != nullptr) return makeArena(env, std::move(memory));
  throwCoded(env, failure.code, failure.message);
  return nullptr;
}

}  // namespace

napi_value createArena(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  MemoryOptions options;
  if (!readOptions(Fields(env, call.argument(0)), env, &options)) return nullptr;
  Failure failure;
  std::unique_ptr<Memory> memory = Memory::create(options, &failure);
  return arenaOrThrow(env, std::move(memory), failure);
}

napi_value attachArena(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  std::string path;
  if (!call.text(0, "path", &path)) return nullptr;
  Failure failure;
  std::unique_ptr<Memory> memory = Memory::attach(path, &failure);
  return arenaOrThrow(env, std::move(memory), failure);
}

napi_value takeOverArena(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  std::string path;
  if (!call.text(0, "path", &path)) return nullptr;
  Failure failure;
  std::unique_ptr<Memory> memory = Memory::takeOver(path, &failure);
  return arenaOrThrow(env, std::move(memory), failure);
}

}  // namespace henge
