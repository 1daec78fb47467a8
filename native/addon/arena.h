// NativeArena of src/store/addon.ts: a store's memory, and what the primary process does with it.
#pragma once

#include <node_api.h>

namespace henge {

// create(options), attach(path) and takeOver(path) of the addon.
napi_value createArena(napi_env env, napi_callback_info info);
napi_value attachArena(napi_env env, napi_callback_info info);
napi_value takeOverArena(napi_env env, napi_callback_info info);

}  // namespace henge
