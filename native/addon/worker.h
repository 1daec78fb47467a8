// NativeWorker of src/store/addon.ts: one worker's session, its buffers, and the functions JavaScript calls.
#pragma once

#include <node_api.h>

#include <memory>

#include "../store/memory.h"

namespace henge {

// A new worker as a JavaScript object; nullptr after it has thrown.
napi_value makeWorker(napi_env env, const std::shared_ptr<Memory>& memory);

}  // namespace henge
