// One call from JavaScript: its arguments, checked, and its result. The vocabulary in which the addon is written.
//
// A method returns false after it has thrown into JavaScript; the caller then returns nullptr at once.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace henge {

// What stands behind the functions of a JavaScript object. The functions own it together: a function taken off its
// object must work for as long as somebody holds it.
class Box {
 public:
  virtual ~Box() = default;

  // Puts a function on the object. The callback finds the box through Call::box().
  void define(napi_env env, napi_value object, const char* name, napi_callback callback);

 private:
  static void release(napi_env env, void* data, void* hint);

  size_t functions_ = 0;
};

// What can go wrong in operation: an Error with this code.
void throwCoded(napi_env env, const char* code, const std::string& message);

class Call {
 public:
  Call(napi_env env, napi_callback_info info);

  napi_env env() const { return env_; }
  template <typename T>
  T& box() const {
    return *static_cast<T*>(box_);
  }
  napi_value argument(size_t index) const { return arguments_[index]; }

  // An optional argument was given.
  bool has(size_t index) const;
  // A whole number from `least` to `most`.
  bool integer(size_t index, const char* name, int64_t least, int64_t most, int64_t* out) const;
  // Of a clock: fractions are allowed, and cut off by who takes them.
  bool milliseconds(size_t index, const char* name, double* out) const;
  bool text(size_t index, const char* name, std::string* out) const;
  bool boolean(size_t index, const char* name, bool* out) const;
  // The view's memory; valid while the value lives.
  bool bytes(size_t index, const char* name, std::string_view* out) const;

 private:
  static constexpr size_t ARGUMENTS_MAX = 6;

  napi_env env_;
  napi_value arguments_[ARGUMENTS_MAX] = {};
  Box* box_ = nullptr;
};

// The fields of an options object. A missing optional field leaves *out as it was.
class Fields {
 public:
  Fields(napi_env env, napi_value object) : env_(env), object_(object) {}

  bool isObject() const;
  bool integer(const char* name, int64_t least, int64_t most, int64_t* out) const;
  bool optionalInteger(const char* name, int64_t least, int64_t most, int64_t* out) const;
  bool text(const char* name, std::string* out) const;
  bool optionalText(const char* name, std::string* out) const;
  bool boolean(const char* name, bool* out) const;
  bool optionalBigint(const char* name, uint64_t* out) const;
  // An undefined value when the field is missing.
  napi_value get(const char* name) const;
  bool has(const char* name) const;

 private:
  napi_env env_;
  napi_value object_;
};

// Values for JavaScript.
napi_value makeNumber(napi_env env, double number);
napi_value makeBoolean(napi_env env, bool boolean);
napi_value makeText(napi_env env, std::string_view text);
napi_value makeBuffer(napi_env env, std::string_view bytes);
void setField(napi_env env, napi_value object, const char* name, napi_value value);

}  // namespace henge
