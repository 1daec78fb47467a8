// layOut() for JavaScript: the rows of an epoch (ring/rows.h).
#pragma once

#include <node_api.h>

namespace henge {

napi_value layOutRows(napi_env env, napi_callback_info info);

}  // namespace henge
