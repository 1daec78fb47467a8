#include "call.h"

#include <cmath>
#include <cstdio>

namespace henge {

namespace {

void throwType(napi_env env, const char* name, const char* wanted) {
  napi_throw_type_error(env, nullptr, (std::string(name) + " must be " + wanted).c_str());
}

napi_valuetype typeOf(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  return type;
}

bool readInteger(napi_env env, napi_value value, const char* name, int64_t least, int64_t most, int64_t* out) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) {
    throwType(env, name, "a number");
    return false;
  }
  if (std::floor(number) == number && number >= static_cast<double>(least) && number <= static_cast<double>(most)) {
    *out = static_cast<int64_t>(number);
    return true;
  }
  char message[160];
  snprintf(message, sizeof message, "%s must be a whole number from %lld to %lld, not %.17g", name,
           static_cast<long long>(least), static_cast<long long>(most), number);
  napi_throw_range_error(env, nullptr, message);
  return false;
}

bool readText(napi_env env, napi_value value, const char* name, std::string* out) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) {
    throwType(env, name, "a string");
    return false;
  }
  out->resize(length + 1);  // the terminating zero is written too
  napi_get_value_string_utf8(env, value, out->data(), out->size(), &length);
  out->resize(length);
  return true;
}

bool readBoolean(napi_env env, napi_value value, const char* name, bool* out) {
  if (napi_get_value_bool(env, value, out) == napi_ok) return true;
  throwType(env, name, "a boolean");
  return false;
}

}  // namespace

void Box::define(napi_env env, napi_value object, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, this, &function);
  napi_add_finalizer(env, function, this, release, nullptr, nullptr);
  functions_++;
  setField(env, object, name, function);
}

void Box::release(napi_env, void* data, void*) {
  Box* box = static_cast<Box*>(data);
  if (--box->functions_ == 0) delete box;
}

void throwCoded(napi_env env, const char* code, const std::string& message) {
  napi_throw_error(env, code, message.c_str());
}

Call::Call(napi_env env, napi_callback_info info) : env_(env) {
  size_t count = ARGUMENTS_MAX;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, arguments_, nullptr, &data);
  box_ = static_cast<Box*>(data);
}

bool Call::has(size_t index) const { return typeOf(env_, arguments_[index]) != napi_undefined; }

bool Call::integer(size_t index, const char* name, int64_t least, int64_t most, int64_t* out) const {
  return readInteger(env_, arguments_[index], name, least, most, out);
}

bool Call::milliseconds(size_t index, const char* name, double* out) const {
  if (napi_get_value_double(env_, arguments_[index], out) == napi_ok && *out >= 0 && *out < 1e15) return true;
  throwType(env_, name, "milliseconds, 0 or more");
  return false;
}

bool Call::text(size_t index, const char* name, std::string* out) const {
  return readText(env_, arguments_[index], name, out);
}

bool Call::boolean(size_t index, const char* name, bool* out) const {
  return readBoolean(env_, arguments_[index], name, out);
}

bool Call::bytes(size_t index, const char* name, std::string_view* out) const {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  const napi_status status =
      napi_get_typedarray_info(env_, arguments_[index], &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok || type != napi_uint8_array) {
    throwType(env_, name, "a Uint8Array");
    return false;
  }
  *out = length == 0 ? std::string_view("", 0) : std::string_view(static_cast<const char*>(data), length);
  return true;
}

bool Fields::isObject() const {
  if (typeOf(env_, object_) == napi_object) return true;
  throwType(env_, "options", "an object");
  return false;
}

napi_value Fields::get(const char* name) const {
  napi_value value = nullptr;
  if (napi_get_named_property(env_, object_, name, &value) != napi_ok) napi_get_undefined(env_, &value);
  return value;
}

bool Fields::has(const char* name) const { return typeOf(env_, get(name)) != napi_undefined; }

bool Fields::integer(const char* name, int64_t least, int64_t most, int64_t* out) const {
  return readInteger(env_, get(name), name, least, most, out);
}

bool Fields::optionalInteger(const char* name, int64_t least, int64_t most, int64_t* out) const {
  return !has(name) || integer(name, least, most, out);
}

bool Fields::text(const char* name, std::string* out) const { return readText(env_, get(name), name, out); }

bool Fields::optionalText(const char* name, std::string* out) const { return !has(name) || text(name, out); }

bool Fields::boolean(const char* name, bool* out) const { return readBoolean(env_, get(name), name, out); }

bool Fields::optionalBigint(const char* name, uint64_t* out) const {
  if (!has(name)) return true;
  bool isLossless = false;
  if (napi_get_value_bigint_uint64(env_, get(name), out, &isLossless) != napi_ok || !isLossless) {
    throwType(env_, name, "a bigint of 64 bits");
    return false;
  }
  return true;
}

napi_value makeNumber(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

napi_value makeBoolean(napi_env env, bool boolean) {
  napi_value value = nullptr;
  napi_get_boolean(env, boolean, &value);
  return value;
}

napi_value makeText(napi_env env, std::string_view text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

napi_value makeBuffer(napi_env env, std::string_view bytes) {
  napi_value value = nullptr;
  napi_create_buffer_copy(env, bytes.size(), bytes.data(), nullptr, &value);
  return value;
}

void setField(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

}  // namespace henge
