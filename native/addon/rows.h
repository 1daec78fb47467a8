// The rows of an epoch (ring/rows.h) for JavaScript: layOut(), slotsOfNode() and votersBefore().
#pragma once

#include <node_api.h>

namespace henge {

napi_value layOutRows(napi_env env, napi_callback_info info);
napi_value slotsOfNodeIn(napi_env env, napi_callback_info info);
napi_value votersBeforeOf(napi_env env, napi_callback_info info);

}  // namespace henge
