#include "worker.h"

#include <sys/socket.h>
#include <time.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "worker_box.h"

namespace henge {

namespace {

uint64_t monotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Of the session: where the store's clock is set by hand, so is this.
Session::Clock clockOf(const View& view) {
  if (!view.manualClock) return monotonicNs;
  return [&view] { return nowMs(view) * 1'000'000; };
}

}  // namespace

// ---- the box -------------------------------------------------------------------------------------------------------

void Borrowed::hold(napi_env env, napi_value value, std::string_view bytes) {
  drop(env);
  napi_create_reference(env, value, 1, &reference_);
  at_ = const_cast<char*>(bytes.data());
  size_ = bytes.size();
}

void Borrowed::drop(napi_env env) {
  if (reference_ != nullptr) napi_delete_reference(env, reference_);
  reference_ = nullptr;
  at_ = nullptr;
  size_ = 0;
}

WorkerBox::WorkerBox(napi_env env, std::shared_ptr<Memory> memory, std::unique_ptr<Worker> worker)
    : env_(env),
      memory_(std::move(memory)),
      worker_(std::move(worker)),
      session_(std::make_unique<Session>(*worker_, memory_->valueBytesMax(), clockOf(memory_->view()))) {}

void WorkerBox::close() {
  session_.reset();
  worker_.reset();
  memory_.reset();
  input.drop(env_);
  output.drop(env_);
}

bool WorkerBox::isOpen() const {
  if (session_ != nullptr) return true;
  napi_throw_error(env_, nullptr, "The worker is closed");
  return false;
}

bool readConnection(const Call& call, WorkerBox& box, int32_t* connection) {
  int64_t number = 0;
  if (!call.integer(0, "connection", 0, INT32_MAX, &number)) return false;
  *connection = static_cast<int32_t>(number);
  if (box.session().isConnected(*connection)) return true;
  napi_throw_range_error(call.env(), nullptr, ("There is no connection " + std::to_string(number)).c_str());
  return false;
}

// ---- the functions --------------------------------------------------------------------------------------------------

namespace {

napi_value useInput(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  std::string_view bytes;
  if (!box.isOpen() || !call.bytes(0, "buffer", &bytes)) return nullptr;
  box.input.hold(env, call.argument(0), bytes);
  return nullptr;
}

napi_value useOutput(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  std::string_view bytes;
  if (!box.isOpen() || !call.bytes(0, "buffer", &bytes)) return nullptr;
  const size_t least = box.session().outputBytesMin();
  if (bytes.size() < least) {
    const std::string message =
        "The output needs at least " + std::to_string(least) + " bytes, not " + std::to_string(bytes.size());
    napi_throw_range_error(env, nullptr, message.c_str());
    return nullptr;
  }
  box.output.hold(env, call.argument(0), bytes);
  return nullptr;
}

napi_value connect(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  if (!box.isOpen()) return nullptr;
  const int32_t connection = box.session().connect();
  if (connection < 0) {
    napi_throw_range_error(env, nullptr, "A worker has at most 65536 connections");
    return nullptr;
  }
  return makeNumber(env, connection);
}

napi_value greet(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  int32_t connection = -1;
  int64_t role = 0;
  if (!box.isOpen() || !readConnection(call, box, &connection)) return nullptr;
  int64_t node = 0;
  if (!call.integer(1, "role", protocol::Role::CLIENT, protocol::Role::PEER, &role)) return nullptr;
  if (call.has(2) && !call.integer(2, "nodeNumber", 0, UINT16_MAX, &node)) return nullptr;
  box.session().greet(connection, static_cast<uint8_t>(role), static_cast<uint16_t>(node));
  return nullptr;
}

napi_value disconnect(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  int64_t connection = 0;
  if (!box.isOpen() || !call.integer(0, "connection", 0, INT32_MAX, &connection)) return nullptr;
  box.session().disconnect(static_cast<int32_t>(connection));
  box.setFlag(0, box.session().flags());
  return nullptr;
}

// HOT: once a chunk. Three Node-API calls to read the arguments, one to return; no allocation.
napi_value execute(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, arguments, nullptr, &data);
  WorkerBox& box = *static_cast<WorkerBox*>(static_cast<Box*>(data));
  int32_t connection = -1;
  uint32_t bytes = 0;
  if (napi_get_value_int32(env, arguments[0], &connection) != napi_ok ||
      napi_get_value_uint32(env, arguments[1], &bytes) != napi_ok) {
    napi_throw_type_error(env, nullptr, "connection and bytes must be numbers");
    return nullptr;
  }
  if (!box.isOpen()) return nullptr;
  if (!box.session().isConnected(connection)) {
    napi_throw_range_error(env, nullptr, ("There is no connection " + std::to_string(connection)).c_str());
    return nullptr;
  }
  if (bytes > box.input.size() || box.output.size() == 0) {
    napi_throw_range_error(env, nullptr, "bytes must not be more than the input holds, and there must be an output");
    return nullptr;
  }
  const Outcome outcome =
      box.session().execute(connection, {box.input.at(), bytes}, {box.output.at(), box.output.size()});
  box.setFlag(0, outcome.flags);
  box.setFlag(2, outcome.epochAhead);
  napi_value written = nullptr;
  napi_create_uint32(env, static_cast<uint32_t>(outcome.bytes), &written);
  return written;
}

// HOT: once a chunk. The answers go to the kernel without a request object, a callback or a queue of JavaScript's. Any
// error counts as nothing sent: the socket that owns the descriptor meets it at its own next write.
napi_value sendOutput(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, arguments, nullptr, &data);
  WorkerBox& box = *static_cast<WorkerBox*>(static_cast<Box*>(data));
  int32_t descriptor = -1;
  uint32_t bytes = 0;
  if (napi_get_value_int32(env, arguments[0], &descriptor) != napi_ok ||
      napi_get_value_uint32(env, arguments[1], &bytes) != napi_ok || bytes > box.output.size()) {
    napi_throw_range_error(env, nullptr, "descriptor must be a number, bytes not more than the output holds");
    return nullptr;
  }
  const ssize_t sent = ::send(descriptor, box.output.at(), bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
  return makeNumber(env, sent < 0 ? 0 : static_cast<double>(sent));
}

napi_value makeFrame(napi_env env, const ControlFrame& frame) {
  napi_value object = nullptr;
  napi_create_object(env, &object);
  setField(env, object, "connection", makeNumber(env, frame.connection));
  setField(env, object, "nodeNumber", makeNumber(env, frame.node));
  setField(env, object, "requestId", makeNumber(env, frame.requestId));
  setField(env, object, "opcode", makeNumber(env, static_cast<uint8_t>(frame.opcode)));
  setField(env, object, "flags", makeNumber(env, frame.flags));
  setField(env, object, "deadlineMs", makeNumber(env, frame.deadlineMs));
  setField(env, object, "extras", makeBuffer(env, frame.extras));
  setField(env, object, "key", makeBuffer(env, frame.key));
  setField(env, object, "value", makeBuffer(env, frame.value));
  return object;
}

napi_value takeControl(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  if (!box.isOpen()) return nullptr;
  const std::vector<ControlFrame> frames = box.session().takeControl();
  napi_value list = nullptr;
  napi_create_array_with_length(env, frames.size(), &list);
  for (size_t i = 0; i < frames.size(); i++) {
    napi_set_element(env, list, static_cast<uint32_t>(i), makeFrame(env, frames[i]));
  }
  return list;
}

napi_value tick(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  if (!box.isOpen()) return nullptr;
  box.session().tick();
  box.setFlag(0, box.session().flags());
  return nullptr;
}

napi_value close(napi_env env, napi_callback_info info) {
  Call(env, info).box<WorkerBox>().close();
  return nullptr;
}

napi_value abandon(napi_env env, napi_callback_info info) {
  WorkerBox& box = Call(env, info).box<WorkerBox>();
  if (!box.isOpen()) return nullptr;
  box.worker().abandon();
  box.close();
  return nullptr;
}

void defineFlags(napi_env env, napi_value object, WorkerBox& box) {
  napi_value memory = nullptr;
  napi_value array = nullptr;
  void* data = nullptr;
  constexpr size_t BYTES = WorkerBox::FLAGS * sizeof(uint32_t);
  napi_create_arraybuffer(env, BYTES, &data, &memory);
  napi_create_typedarray(env, napi_uint32_array, WorkerBox::FLAGS, memory, 0, &array);
  memset(data, 0, BYTES);
  box.flags.hold(env, array, {static_cast<const char*>(data), BYTES});
  setField(env, object, "flags", array);
}

}  // namespace

napi_value makeWorker(napi_env env, const std::shared_ptr<Memory>& memory) {
  Failure failure;
  std::unique_ptr<Worker> worker = Worker::open(*memory, &failure);
  if (worker == nullptr) {
    throwCoded(env, failure.code, failure.message);
    return nullptr;
  }
  const uint32_t id = worker->id();
  auto* box = new WorkerBox(env, memory, std::move(worker));  // owned by the functions it defines
  napi_value object = nullptr;
  napi_create_object(env, &object);
  box->define(env, object, "useInput", useInput);
  box->define(env, object, "useOutput", useOutput);
  box->define(env, object, "connect", connect);
  box->define(env, object, "greet", greet);
  box->define(env, object, "disconnect", disconnect);
  box->define(env, object, "execute", execute);
  box->define(env, object, "send", sendOutput);
  box->define(env, object, "takeControl", takeControl);
  box->define(env, object, "tick", tick);
  box->define(env, object, "close", close);
  box->define(env, object, "abandon", abandon);
  defineLinks(env, object, *box);
  defineSlots(env, object, *box);
  defineFlags(env, object, *box);
  setField(env, object, "id", makeNumber(env, id));
  setField(env, object, "outputBytesMin", makeNumber(env, static_cast<double>(box->session().outputBytesMin())));
  return object;
}

}  // namespace henge
