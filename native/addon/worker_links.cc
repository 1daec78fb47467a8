// The functions of a worker that are about links to other nodes, and about output that one connection's bytes cause on
// others.
#include <string>

#include "worker_box.h"

namespace henge {

namespace {

napi_value linkUp(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  int32_t connection = -1;
  int64_t node = 0;
  if (!box.isOpen() || !readConnection(call, box, &connection)) return nullptr;
  if (!call.integer(1, "nodeNumber", 1, UINT16_MAX, &node)) return nullptr;
  if (box.session().linkUp(connection, static_cast<uint16_t>(node))) return nullptr;
  const std::string message =
      "There is a link to node " + std::to_string(node) + ", no room for one, or no new connection";
  napi_throw_range_error(env, nullptr, message.c_str());
  return nullptr;
}

napi_value request(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  int32_t connection = -1;
  std::string_view frame;
  if (!box.isOpen() || !readConnection(call, box, &connection) || !call.bytes(1, "frame", &frame)) return nullptr;
  if (!box.session().isLink(connection)) {
    napi_throw_range_error(env, nullptr, ("Connection " + std::to_string(connection) + " is no link").c_str());
    return nullptr;
  }
  const size_t most = box.session().requestBytesMax();
  if (frame.size() < protocol::REQUEST_HEADER_BYTES || frame.size() > most) {
    const std::string message =
        "A frame has " + std::to_string(protocol::REQUEST_HEADER_BYTES) + " to " + std::to_string(most) + " bytes";
    napi_throw_range_error(env, nullptr, message.c_str());
    return nullptr;
  }
  const uint32_t id = box.session().request(connection, std::string(frame));
  if (id != 0) return makeNumber(env, id);
  napi_throw_range_error(env, nullptr, "Too many requests are under way on this link");
  return nullptr;
}

napi_value makeAnswer(napi_env env, const LinkAnswer& answer) {
  napi_value object = nullptr;
  napi_create_object(env, &object);
  setField(env, object, "connection", makeNumber(env, answer.connection));
  setField(env, object, "requestId", makeNumber(env, answer.requestId));
  setField(env, object, "status", makeNumber(env, answer.status));
  setField(env, object, "extras", makeBuffer(env, answer.extras));
  setField(env, object, "value", makeBuffer(env, answer.value));
  return object;
}

napi_value takeAnswers(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  if (!box.isOpen()) return nullptr;
  const std::vector<LinkAnswer> answers = box.session().takeAnswers();
  napi_value list = nullptr;
  napi_create_array_with_length(env, answers.size(), &list);
  for (size_t i = 0; i < answers.size(); i++) {
    napi_set_element(env, list, static_cast<uint32_t>(i), makeAnswer(env, answers[i]));
  }
  return list;
}

// HOT: once a chunk and link where there are copies.
napi_value nextOutput(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  WorkerBox& box = call.box<WorkerBox>();
  if (!box.isOpen()) return nullptr;
  if (box.output.size() == 0) {
    napi_throw_range_error(env, nullptr, "There must be an output");
    return nullptr;
  }
  size_t bytes = 0;
  const int32_t connection = box.session().nextOutput({box.output.at(), box.output.size()}, &bytes);
  box.setFlag(1, static_cast<uint32_t>(bytes));
  return makeNumber(env, connection);
}

}  // namespace

void defineLinks(napi_env env, napi_value object, WorkerBox& box) {
  box.define(env, object, "linkUp", linkUp);
  box.define(env, object, "request", request);
  box.define(env, object, "takeAnswers", takeAnswers);
  box.define(env, object, "nextOutput", nextOutput);
}

}  // namespace henge
