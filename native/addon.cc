// The addon's door: what `require('henge.node')` gives, as src/store/addon.ts describes it.
//
// Node-API is known to this file and to addon/ only; ring/, store/ and wire/ can be built and tested without Node.
// Every argument is checked here, so that what lies behind may trust what it gets. Plain C interface: the binary works
// with every Node from 20 on.
#include <node_api.h>

#include "addon/arena.h"
#include "addon/call.h"
#include "addon/listen.h"
#include "addon/rows.h"
#include "store/types.h"
// Needs the protocol's numbers, which types.h brings.
#include "store/hash.h"

namespace henge {

namespace {

napi_value listenTcpSocket(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  std::string host;
  int64_t port = 0;
  int64_t backlog = 0;
  if (!call.text(0, "host", &host) || !call.integer(1, "port", 0, UINT16_MAX, &port) ||
      !call.integer(2, "backlog", 1, INT32_MAX, &backlog)) {
    return nullptr;
  }
  const Listening listening = listenTcp(host, static_cast<int>(port), static_cast<int>(backlog));
  if (listening.descriptor < 0) {
    throwCoded(env, listening.code, listening.message);
    return nullptr;
  }
  return makeNumber(env, listening.descriptor);
}

napi_value slotOfKey(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  std::string_view key;
  return call.bytes(0, "key", &key) ? makeNumber(env, slotOf(key)) : nullptr;
}

void define(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  setField(env, exports, name, function);
}

}  // namespace

}  // namespace henge

NAPI_MODULE_INIT() {
  henge::define(env, exports, "create", henge::createArena);
  henge::define(env, exports, "attach", henge::attachArena);
  henge::define(env, exports, "takeOver", henge::takeOverArena);
  henge::define(env, exports, "listenTcp", henge::listenTcpSocket);
  henge::define(env, exports, "slotOf", henge::slotOfKey);
  henge::define(env, exports, "layOut", henge::layOutRows);
  henge::define(env, exports, "slotsOfNode", henge::slotsOfNodeIn);
  henge::define(env, exports, "votersBefore", henge::votersBeforeOf);
  return exports;
}
