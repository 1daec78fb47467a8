#include "installation.h"

#include "call.h"

namespace henge {

namespace {

// The entries of a typed array with ROW_MAX of them for each slot; nullptr after it has thrown.
void* readRows(napi_env env, napi_value value, const char* name, napi_typedarray_type wanted, uint32_t slots) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok || type != wanted) {
    const std::string kind = wanted == napi_uint16_array ? "a Uint16Array" : "a Uint8Array";
    napi_throw_type_error(env, nullptr, (std::string(name) + " must be " + kind).c_str());
    return nullptr;
  }
  if (length == static_cast<size_t>(slots) * ROW_MAX) return data;
  const std::string message = std::string(name) + " has " + std::to_string(ROW_MAX) + " entries for each of the " +
                              std::to_string(slots) + " slots, not " + std::to_string(length);
  napi_throw_range_error(env, nullptr, message.c_str());
  return nullptr;
}

}  // namespace

bool readInstallation(napi_env env, napi_value value, const View& view, Installation* installation) {
  const Fields fields(env, value);
  const uint32_t slots = view.slotCount();
  int64_t epoch = 0, rf = 0;
  if (!fields.isObject() || !fields.integer("epoch", 1, UINT32_MAX, &epoch) || !fields.integer("rf", 1, RF_MAX, &rf) ||
      !fields.boolean("isFounding", &installation->isFounding)) {
    return false;
  }
  installation->epoch = static_cast<uint32_t>(epoch);
  installation->rf = static_cast<uint32_t>(rf);
  installation->rows =
      static_cast<const uint16_t*>(readRows(env, fields.get("rows"), "rows", napi_uint16_array, slots));
  if (installation->rows == nullptr) return false;
  installation->roles =
      static_cast<const uint8_t*>(readRows(env, fields.get("roles"), "roles", napi_uint8_array, slots));
  if (installation->roles == nullptr) return false;
  for (size_t i = 0; i < static_cast<size_t>(slots) * ROW_MAX; i++) {
    if (roleOf(installation->roles[i]) <= RowRole::RECEIVER) continue;
    napi_throw_range_error(env, nullptr,
                           (std::to_string(installation->roles[i]) + " is not a role of a row's entry").c_str());
    return false;
  }
  if (rf == 1 || view.replicated) return true;
  napi_throw_range_error(env, nullptr, "An arena that was made for one copy of everything cannot have more");
  return false;
}

}  // namespace henge
