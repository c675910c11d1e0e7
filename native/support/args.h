#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace node_kvm {

// Argument checks. Each returns false with VmmError ERR_INVALID_OPTION pending, naming `option`,
// the value and what was expected.

inline constexpr uint64_t kMaxSafeInteger = (uint64_t{1} << 53) - 1;

// A number of a typed array as an unsigned integer; false for NaN, fractions and what is out of
// range.
inline bool ToInteger(double number, uint64_t* out) {
  if (!(number >= 0 && number <= static_cast<double>(kMaxSafeInteger))) return false;
  *out = static_cast<uint64_t>(number);
  return static_cast<double>(*out) == number;
}

// A number that is an integer from `minimum` to `maximum` (at most 2^53 - 1).
bool GetInteger(napi_env env, napi_value value, const char* option, uint64_t* out,
                uint64_t maximum = kMaxSafeInteger, uint64_t minimum = 0);
bool GetUint32(napi_env env, napi_value value, const char* option, uint32_t* out,
               uint32_t maximum = UINT32_MAX);
bool GetInt32(napi_env env, napi_value value, const char* option, int32_t* out);

// A bigint from 0 to 2^64 - 1.
bool GetBigUint64(napi_env env, napi_value value, const char* option, uint64_t* out);

// A Uint8Array (or Buffer). `data` is valid until JavaScript next runs.
struct Bytes {
  uint8_t* data = nullptr;
  size_t size = 0;
};
bool GetBytes(napi_env env, napi_value value, const char* option, Bytes* out);

// A Uint32Array, in elements.
struct Words {
  uint32_t* data = nullptr;
  size_t count = 0;
};
bool GetWords(napi_env env, napi_value value, const char* option, Words* out);

// A typed array of at least one element, kept alive by a reference and used in place; `length` in
// elements.
bool KeepTypedArray(napi_env env, napi_value value, napi_typedarray_type wanted, const char* option,
                    const char* expected, napi_ref* ref, void** data, size_t* length);

// A string without NUL characters, of at most `maximum` bytes in UTF-8.
bool GetString(napi_env env, napi_value value, const char* option, std::string* out,
               size_t maximum = 4096);

// The properties of an object, each read once. A getter may run JavaScript, so before anything else
// is looked at; where one throws, its exception is the one that is pending.
struct Property {
  const char* name;
  napi_value* value;
};
bool GetProperties(napi_env env, napi_value object, const char* option,
                   std::initializer_list<Property> properties);

bool IsNullish(napi_env env, napi_value value);
bool IsFunction(napi_env env, napi_value value);

napi_value MakeInt32(napi_env env, int32_t value);
napi_value MakeNumber(napi_env env, double value);
// A Float64Array.
napi_value MakeNumbers(napi_env env, std::span<const double> values);
napi_value MakeBool(napi_env env, bool value);

}  // namespace node_kvm
