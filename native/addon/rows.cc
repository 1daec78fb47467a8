#include "rows.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "../ring/rows.h"
#include "call.h"

namespace henge {

namespace {

constexpr int64_t SLOTS_MAX = 16'384;
constexpr size_t NAME_BYTES_MAX = 255;
constexpr uint32_t VNODES_MAX = 1 << 20;  // many more than any weight has; it bounds what one call can take

template <typename T>
constexpr napi_typedarray_type TYPE_OF = napi_uint8_array;
template <>
constexpr napi_typedarray_type TYPE_OF<uint16_t> = napi_uint16_array;
template <>
constexpr napi_typedarray_type TYPE_OF<uint32_t> = napi_uint32_array;
template <>
constexpr napi_typedarray_type TYPE_OF<double> = napi_float64_array;

// A field that is a typed array; false after it has thrown.
template <typename T>
bool readArray(napi_env env, const Fields& fields, const char* name, const T** data, size_t* length) {
  napi_typedarray_type type = napi_int8_array;
  void* found = nullptr;
  const napi_status status = napi_get_typedarray_info(env, fields.get(name), &type, length, &found, nullptr, nullptr);
  if (status != napi_ok || type != TYPE_OF<T>) {
    napi_throw_type_error(env, nullptr, (std::string(name) + " is not the typed array it must be").c_str());
    return false;
  }
  *data = static_cast<const T*>(found);
  return true;
}

template <typename T>
bool readOfMembers(napi_env env, const Fields& fields, const char* name, size_t members, const T** data) {
  size_t length = 0;
  if (!readArray(env, fields, name, data, &length)) return false;
  if (length == members) return true;
  const std::string message = std::string(name) + " has an entry for each of the " + std::to_string(members) +
                              " members, not " + std::to_string(length);
  napi_throw_range_error(env, nullptr, message.c_str());
  return false;
}

bool allBelow(napi_env env, const char* name, const uint16_t* values, size_t count, size_t bound) {
  if (std::all_of(values, values + count, [bound](uint16_t value) { return value < bound; })) return true;
  napi_throw_range_error(env, nullptr, (std::string(name) + " has an entry that is no member's").c_str());
  return false;
}

bool readNames(napi_env env, napi_value value, size_t members, std::vector<std::string>* names) {
  uint32_t length = 0;
  if (napi_get_array_length(env, value, &length) != napi_ok || length != members) {
    napi_throw_range_error(env, nullptr, "names has an entry for each of the members");
    return false;
  }
  for (uint32_t i = 0; i < length; i++) {
    napi_value name = nullptr;
    char text[NAME_BYTES_MAX + 1];
    size_t bytes = 0;
    napi_get_element(env, value, i, &name);
    if (napi_get_value_string_utf8(env, name, text, sizeof text, &bytes) != napi_ok) {
      napi_throw_type_error(env, nullptr, "names are strings");
      return false;
    }
    names->emplace_back(text, bytes);
  }
  return true;
}

bool readCircle(napi_env env, const Fields& fields, size_t members, Circle* circle) {
  std::vector<std::string> names;
  const uint32_t* vnodes = nullptr;
  if (!readNames(env, fields.get("names"), members, &names) ||
      !readOfMembers(env, fields, "vnodes", members, &vnodes)) {
    return false;
  }
  if (!std::all_of(vnodes, vnodes + members, [](uint32_t count) { return count <= VNODES_MAX; })) {
    napi_throw_range_error(env, nullptr, "a member has too many virtual nodes");
    return false;
  }
  *circle = circleOf(names, vnodes);
  return true;
}

bool readRing(napi_env env, napi_value value, RingOrder* ring) {
  const Fields fields(env, value);
  if (!fields.isObject() || !readArray(env, fields, "numbers", &ring->numbers, &ring->members) ||
      !readOfMembers(env, fields, "zones", ring->members, &ring->zones) ||
      !readOfMembers(env, fields, "bounds", ring->members, &ring->bounds) ||
      !readOfMembers(env, fields, "yieldSteps", ring->members, &ring->yieldSteps) ||
      !readOfMembers(env, fields, "struck", ring->members, &ring->struck)) {
    return false;
  }
  return allBelow(env, "zones", ring->zones, ring->members, ring->members) &&
         readCircle(env, fields, ring->members, &ring->circle);
}

template <typename T>
napi_value makeArray(napi_env env, const std::vector<T>& values) {
  const size_t bytes = values.size() * sizeof(T);
  void* data = nullptr;
  napi_value buffer = nullptr;
  napi_value array = nullptr;
  napi_create_arraybuffer(env, bytes, &data, &buffer);
  if (bytes > 0) memcpy(data, values.data(), bytes);
  napi_create_typedarray(env, TYPE_OF<T>, values.size(), buffer, 0, &array);
  return array;
}

}  // namespace

napi_value layOutRows(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const Fields fields(env, call.argument(0));
  RowsOrder order;
  int64_t rf = 0;
  int64_t slots = 0;
  if (!fields.isObject() || !fields.integer("rf", 1, RF_MAX, &rf) || !fields.integer("slots", 1, SLOTS_MAX, &slots) ||
      !fields.boolean("isCancelled", &order.isCancelled) || !readRing(env, fields.get("current"), &order.current)) {
    return nullptr;
  }
  if ((slots & (slots - 1)) != 0) {
    napi_throw_range_error(env, nullptr, "slots must be a power of two");
    return nullptr;
  }
  order.rf = static_cast<uint32_t>(rf);
  order.slots = static_cast<uint32_t>(slots);
  order.hasNext = fields.has("next");
  if (order.hasNext && !readRing(env, fields.get("next"), &order.next)) return nullptr;
  const Rows rows = layOut(order);
  napi_value result = nullptr;
  napi_create_object(env, &result);
  setField(env, result, "rows", makeArray(env, rows.rows));
  setField(env, result, "roles", makeArray(env, rows.roles));
  setField(env, result, "bases", makeArray(env, rows.bases));
  setField(env, result, "leaders", makeArray(env, rows.leaders));
  if (order.hasNext) setField(env, result, "goals", makeArray(env, rows.goals));
  if (order.hasNext) setField(env, result, "settling", makeArray(env, rows.settling));
  return result;
}

napi_value slotsOfNodeIn(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const Fields fields(env, call.argument(0));
  const uint16_t* rows = nullptr;
  const uint8_t* roles = nullptr;
  size_t entries = 0;
  size_t entriesOfRoles = 0;
  int64_t node = 0;
  if (!fields.isObject() || !readArray(env, fields, "rows", &rows, &entries) ||
      !readArray(env, fields, "roles", &roles, &entriesOfRoles) || !call.integer(1, "node", 1, UINT16_MAX, &node)) {
    return nullptr;
  }
  const auto isRole = [](uint8_t entry) { return roleOf(entry) <= RowRole::RECEIVER; };
  if (entries != entriesOfRoles || !std::all_of(roles, roles + entries, isRole)) {
    napi_throw_range_error(env, nullptr, "roles has the role of each entry of rows");
    return nullptr;
  }
  const SlotsByRole byRole = slotsOfNode(rows, roles, entries / ROW_MAX, static_cast<uint16_t>(node));
  napi_value result = nullptr;
  napi_create_array_with_length(env, byRole.size(), &result);
  for (uint32_t role = 0; role < byRole.size(); role++) {
    napi_set_element(env, result, role, makeArray(env, byRole[role]));
  }
  return result;
}

napi_value votersBeforeOf(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const Fields fields(env, call.argument(0));
  const uint16_t* known = nullptr;
  const uint16_t* rows = nullptr;
  const uint8_t* roles = nullptr;
  const uint16_t* leaders = nullptr;
  const uint16_t* nextLeaders = nullptr;
  size_t entries = 0;
  size_t lengths[4] = {};
  if (!fields.isObject() || !readArray(env, fields, "known", &known, &entries) ||
      !readArray(env, fields, "rows", &rows, &lengths[0]) || !readArray(env, fields, "roles", &roles, &lengths[1]) ||
      !readArray(env, fields, "leaders", &leaders, &lengths[2]) ||
      !readArray(env, fields, "nextLeaders", &nextLeaders, &lengths[3])) {
    return nullptr;
  }
  const size_t slots = entries / ROW_MAX;
  if (lengths[0] != entries || lengths[1] != entries || lengths[2] != slots || lengths[3] != slots) {
    napi_throw_range_error(env, nullptr, "known, rows, roles and leaders are of the same slots");
    return nullptr;
  }
  std::vector<uint16_t> voters(known, known + entries);
  keepVoters(&voters, rows, roles, leaders, nextLeaders);
  return makeArray(env, voters);
}

}  // namespace henge
