// The functions of a worker that are about slots, what they do on this node, and what the other nodes have of them.
// Each checks its arguments and hands them to the store.
#include <cstdlib>
#include <cstring>

#include "installation.h"
#include "worker_box.h"

namespace henge {

namespace {

constexpr int64_t SAFE_INTEGER_MAX = 9'007'199'254'740'991;
constexpr int64_t VERSION_MS_MAX = (int64_t{1} << 48) - 1;
constexpr uint8_t FLAGS_ALL = SlotFlag::POSSIBLE_LOSS | SlotFlag::DETACHED | SlotFlag::MERGING | SlotFlag::DEPOSED;

bool readNode(const Call& call, size_t index, uint16_t* node) {
  int64_t number = 0;
  if (!call.integer(index, "nodeNumber", 1, UINT16_MAX, &number)) return false;
  *node = static_cast<uint16_t>(number);
  return true;
}

bool readEpoch(const Call& call, size_t index, uint32_t* epoch) {
  int64_t number = 0;
  if (!call.integer(index, "epoch", 0, UINT32_MAX, &number)) return false;
  *epoch = static_cast<uint32_t>(number);
  return true;
}

bool readFlags(const Call& call, size_t index, uint8_t* flags) {
  int64_t number = 0;
  if (!call.integer(index, "flags", 0, FLAGS_ALL, &number)) return false;
  *flags = static_cast<uint8_t>(number);
  return true;
}

bool readSlots(const Call& call, WorkerBox& box, size_t index, std::string_view* slots) {
  if (!call.bytes(index, "slots", slots)) return false;
  const size_t bytes = (size_t{box.worker().slotCount()} + 7) / 8;
  if (slots->size() == bytes) return true;
  const std::string message =
      "slots has " + std::to_string(bytes) + " bytes here, not " + std::to_string(slots->size());
  napi_throw_range_error(call.env(), nullptr, message.c_str());
  return false;
}

napi_value install(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  Installation installation;
  if (!box.isOpen() || !readInstallation(env, call.argument(0), box.memory().view(), &installation)) return nullptr;
  return makeBoolean(env, box.worker().install(installation));
}

napi_value states(napi_env env, napi_callback_info info) {
  WorkerBox& box = Call(env, info).box<WorkerBox>();
  return box.isOpen() ? makeBuffer(env, box.worker().states()) : nullptr;
}

napi_value slotFlags(napi_env env, napi_callback_info info) {
  WorkerBox& box = Call(env, info).box<WorkerBox>();
  return box.isOpen() ? makeBuffer(env, box.worker().slotFlags()) : nullptr;
}

napi_value slotSets(napi_env env, napi_callback_info info) {
  WorkerBox& box = Call(env, info).box<WorkerBox>();
  return box.isOpen() ? makeBuffer(env, box.worker().slotSets()) : nullptr;
}

napi_value makeArray(napi_env env, napi_typedarray_type type, size_t length, const std::string& bytes) {
  void* data = nullptr;
  napi_value memory = nullptr;
  napi_value array = nullptr;
  napi_create_arraybuffer(env, bytes.size(), &data, &memory);
  memcpy(data, bytes.data(), bytes.size());
  napi_create_typedarray(env, type, length, memory, 0, &array);
  return array;
}

napi_value reigns(napi_env env, napi_callback_info info) {
  WorkerBox& box = Call(env, info).box<WorkerBox>();
  if (!box.isOpen()) return nullptr;
  const Reigns reigns = box.worker().reigns();
  const size_t slots = box.worker().slotCount();
  napi_value object = nullptr;
  napi_create_object(env, &object);
  setField(env, object, "leaders", makeArray(env, napi_uint16_array, slots, reigns.leaders));
  setField(env, object, "heldUntilMs", makeArray(env, napi_float64_array, slots, reigns.heldUntilMs));
  return object;
}

napi_value peerBits(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  if (!box.isOpen() || !readNode(call, 0, &node)) return nullptr;
  const PeerBits bits = box.worker().peerBits(node);
  napi_value object = nullptr;
  napi_create_object(env, &object);
  setField(env, object, "missed", makeBuffer(env, bits.missed));
  setField(env, object, "whole", makeBuffer(env, bits.whole));
  setField(env, object, "synced", makeBuffer(env, bits.synced));
  setField(env, object, "sinceMs", makeNumber(env, static_cast<double>(bits.sinceMs)));
  return object;
}

napi_value peerNews(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  if (!box.isOpen() || !readNode(call, 0, &node)) return nullptr;
  const PeerNews news = box.worker().peerNews(node);
  napi_value object = nullptr;
  napi_create_object(env, &object);
  setField(env, object, "heardAtMs", makeNumber(env, static_cast<double>(news.heardAtMs)));
  setField(env, object, "watermarkMs", makeNumber(env, static_cast<double>(news.watermarkMs)));
  return object;
}

bool readIncarnation(const Call& call, size_t index, uint64_t* incarnation) {
  std::string text;
  if (!call.text(index, "incarnation", &text)) return false;
  char* end = nullptr;
  *incarnation = strtoull(text.c_str(), &end, 16);
  if (text.size() == 16 && *end == 0) return true;
  napi_throw_range_error(call.env(), nullptr, "incarnation has 16 hexadecimal digits");
  return false;
}

napi_value heard(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  uint64_t incarnation = 0;
  int64_t watermarkMs = 0;
  if (!box.isOpen() || !readNode(call, 0, &node) || !readIncarnation(call, 1, &incarnation)) return nullptr;
  if (!call.integer(2, "watermarkMs", 0, VERSION_MS_MAX, &watermarkMs)) return nullptr;
  box.worker().heard(node, incarnation, static_cast<uint64_t>(watermarkMs));
  return nullptr;
}

// The text of Memory::incarnation(): 16 hexadecimal digits.
napi_value meet(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  uint64_t incarnation = 0;
  if (!box.isOpen() || !readNode(call, 0, &node) || !readIncarnation(call, 1, &incarnation)) return nullptr;
  return makeBoolean(env, box.worker().meet(node, incarnation));
}

napi_value watermarkMs(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  int64_t node = 0;
  if (!box.isOpen() || !call.integer(0, "nodeNumber", 0, UINT16_MAX, &node)) return nullptr;
  return makeNumber(env, static_cast<double>(box.worker().watermarkMs(static_cast<uint16_t>(node))));
}

napi_value detach(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  if (box.isOpen() && readNode(call, 0, &node)) box.worker().detach(node);
  return nullptr;
}

napi_value collect(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  int64_t segment = 0, mask = 0, cursor = 0, sinceMs = 0, bytesMax = 0, isHotOnly = 0;
  if (!box.isOpen() || !call.integer(0, "segment", 0, box.memory().view().geometry.segments - 1, &segment) ||
      !call.integer(1, "mask", 0, UINT32_MAX, &mask) || !call.integer(2, "cursor", 0, SAFE_INTEGER_MAX, &cursor) ||
      !call.integer(3, "sinceMs", 0, VERSION_MS_MAX, &sinceMs) ||
      !call.integer(4, "bytesMax", 1, UINT32_MAX, &bytesMax) || !call.integer(5, "isHotOnly", 0, 1, &isHotOnly)) {
    return nullptr;
  }
  const Extract wanted{static_cast<uint32_t>(segment), static_cast<uint32_t>(mask), static_cast<uint64_t>(sinceMs),
                       static_cast<size_t>(bytesMax), isHotOnly != 0};
  const Collected collected = box.worker().collect(wanted, static_cast<uint64_t>(cursor));
  napi_value object = nullptr;
  napi_create_object(env, &object);
  setField(env, object, "bytes", makeBuffer(env, collected.bytes));
  setField(env, object, "items", makeNumber(env, collected.items));
  setField(env, object, "next", makeNumber(env, static_cast<double>(collected.next)));
  return object;
}

napi_value beginCatchUp(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  std::string_view slots;
  if (!box.isOpen() || !readNode(call, 0, &node) || !readSlots(call, box, 1, &slots)) return nullptr;
  box.worker().beginCatchUp(node, slots);
  return nullptr;
}

napi_value failCatchUp(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  std::string_view slots;
  int64_t sinceMs = 0;
  if (!box.isOpen() || !readNode(call, 0, &node) || !readSlots(call, box, 1, &slots) ||
      !call.integer(2, "sinceMs", 0, VERSION_MS_MAX, &sinceMs)) {
    return nullptr;
  }
  box.worker().failCatchUp(node, slots, static_cast<uint64_t>(sinceMs));
  return nullptr;
}

using Towards = std::string (Worker::*)(uint16_t node, std::string_view slots);
using From = std::string (Worker::*)(uint16_t node, uint32_t epoch, std::string_view slots);

// (node, slots) and (node, epoch, slots) to the slots of which it was so.
napi_value callTowards(napi_env env, napi_callback_info info, Towards method) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  std::string_view slots;
  if (!box.isOpen() || !readNode(call, 0, &node) || !readSlots(call, box, 1, &slots)) return nullptr;
  return makeBuffer(env, (box.worker().*method)(node, slots));
}

napi_value callFrom(napi_env env, napi_callback_info info, From method) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t node = 0;
  uint32_t epoch = 0;
  std::string_view slots;
  if (!box.isOpen() || !readNode(call, 0, &node) || !readEpoch(call, 1, &epoch) || !readSlots(call, box, 2, &slots)) {
    return nullptr;
  }
  return makeBuffer(env, (box.worker().*method)(node, epoch, slots));
}

napi_value declareSynced(napi_env env, napi_callback_info info) {
  return callTowards(env, info, &Worker::declareSynced);
}
napi_value acceptSynced(napi_env env, napi_callback_info info) { return callFrom(env, info, &Worker::acceptSynced); }
napi_value acceptLead(napi_env env, napi_callback_info info) { return callFrom(env, info, &Worker::acceptLead); }

napi_value seal(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t goal = 0;
  std::string_view slots;
  int64_t slotsMax = 0;
  if (!box.isOpen() || !readNode(call, 0, &goal) || !readSlots(call, box, 1, &slots) ||
      !call.integer(2, "slotsMax", 1, protocol::SLOTS, &slotsMax)) {
    return nullptr;
  }
  return makeBuffer(env, box.worker().seal(goal, slots, static_cast<uint32_t>(slotsMax)));
}

napi_value finishTakeOver(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint32_t epoch = 0;
  std::string_view slots;
  uint8_t flags = 0;
  if (!box.isOpen() || !readEpoch(call, 0, &epoch) || !readSlots(call, box, 1, &slots) || !readFlags(call, 2, &flags)) {
    return nullptr;
  }
  box.worker().finishTakeOver(epoch, slots, flags);
  return nullptr;
}

napi_value unseal(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  std::string_view slots;
  int64_t isGivenToo = 0;
  if (!box.isOpen() || !readSlots(call, box, 0, &slots) || !call.integer(1, "isGivenToo", 0, 1, &isGivenToo))
    return nullptr;
  box.worker().unseal(slots, isGivenToo != 0);
  return nullptr;
}

using Ending = std::string (Worker::*)(std::string_view slots);

napi_value endSeal(napi_env env, napi_callback_info info, Ending ending) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  std::string_view slots;
  if (!box.isOpen() || !readSlots(call, box, 0, &slots)) return nullptr;
  return makeBuffer(env, (box.worker().*ending)(slots));
}

napi_value give(napi_env env, napi_callback_info info) { return endSeal(env, info, &Worker::give); }
napi_value settle(napi_env env, napi_callback_info info) { return endSeal(env, info, &Worker::settle); }

napi_value yield(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  uint16_t leader = 0;
  uint32_t epoch = 0;
  std::string_view slots;
  if (!box.isOpen() || !readNode(call, 0, &leader) || !readEpoch(call, 1, &epoch) || !readSlots(call, box, 2, &slots)) {
    return nullptr;
  }
  box.worker().yield(leader, epoch, slots);
  return nullptr;
}

napi_value clearFlags(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  std::string_view slots;
  uint8_t flags = 0;
  if (!box.isOpen() || !readSlots(call, box, 0, &slots) || !readFlags(call, 1, &flags)) return nullptr;
  box.worker().clearFlags(slots, flags);
  return nullptr;
}

napi_value drop(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  std::string_view slots;
  if (box.isOpen() && readSlots(call, box, 0, &slots)) box.worker().drop(slots);
  return nullptr;
}

napi_value digest(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  int64_t slot = 0;
  if (!box.isOpen() || !call.integer(0, "slot", 0, box.worker().slotCount() - 1, &slot)) return nullptr;
  const Digest digest = box.worker().digest(static_cast<uint16_t>(slot));
  napi_value object = nullptr;
  napi_value sum = nullptr;
  napi_create_object(env, &object);
  napi_create_bigint_uint64(env, digest.sum, &sum);
  setField(env, object, "sum", sum);
  setField(env, object, "items", makeNumber(env, digest.items));
  return object;
}

napi_value isSteward(napi_env env, napi_callback_info info) {
  WorkerBox& box = Call(env, info).box<WorkerBox>();
  return box.isOpen() ? makeBoolean(env, box.worker().isSteward()) : nullptr;
}

}  // namespace

void defineSlots(napi_env env, napi_value object, WorkerBox& box) {
  box.define(env, object, "install", install);
  box.define(env, object, "states", states);
  box.define(env, object, "slotFlags", slotFlags);
  box.define(env, object, "slotSets", slotSets);
  box.define(env, object, "reigns", reigns);
  box.define(env, object, "peerBits", peerBits);
  box.define(env, object, "peerNews", peerNews);
  box.define(env, object, "heard", heard);
  box.define(env, object, "meet", meet);
  box.define(env, object, "watermarkMs", watermarkMs);
  box.define(env, object, "detach", detach);
  box.define(env, object, "collect", collect);
  box.define(env, object, "beginCatchUp", beginCatchUp);
  box.define(env, object, "failCatchUp", failCatchUp);
  box.define(env, object, "declareSynced", declareSynced);
  box.define(env, object, "acceptSynced", acceptSynced);
  box.define(env, object, "finishTakeOver", finishTakeOver);
  box.define(env, object, "seal", seal);
  box.define(env, object, "unseal", unseal);
  box.define(env, object, "give", give);
  box.define(env, object, "settle", settle);
  box.define(env, object, "acceptLead", acceptLead);
  box.define(env, object, "yield", yield);
  box.define(env, object, "clearFlags", clearFlags);
  box.define(env, object, "drop", drop);
  box.define(env, object, "digest", digest);
  box.define(env, object, "isSteward", isSteward);
}

}  // namespace henge
