// Reads an Installation of src/store/addon.ts.
#pragma once

#include <node_api.h>

#include "../store/view.h"

namespace henge {

// The installation's arrays belong to JavaScript and are good until the call returns. False after it has thrown.
bool readInstallation(napi_env env, napi_value value, const View& view, Installation* installation);

}  // namespace henge
