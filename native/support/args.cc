#include "support/args.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "support/errors.h"

namespace node_kvm {
namespace {

bool GetWhole(napi_env env, napi_value value, const char* option, double minimum, double maximum,
              double* out) {
  napi_valuetype type = napi_undefined;
  double number = 0;
  if (value && napi_typeof(env, value, &type) == napi_ok && type == napi_number &&
      napi_get_value_double(env, value, &number) == napi_ok && number >= minimum &&
      number <= maximum && std::trunc(number) == number) {
    *out = number;
    return true;
  }
  char expected[96];
  std::snprintf(expected, sizeof expected, "an integer from %.0f to %.0f", minimum, maximum);
  ThrowInvalidOption(env, option, value, expected);
  return false;
}

bool GetTypedArray(napi_env env, napi_value value, const char* option, napi_typedarray_type wanted,
                   const char* expected, void** data, size_t* length) {
  bool is_typed_array = false;
  napi_typedarray_type type = napi_int8_array;
  if (value && napi_is_typedarray(env, value, &is_typed_array) == napi_ok && is_typed_array &&
      napi_get_typedarray_info(env, value, &type, length, data, nullptr, nullptr) == napi_ok &&
      type == wanted) {
    if (*data || *length == 0) return true;
  }
  ThrowInvalidOption(env, option, value, expected);
  return false;
}

}  // namespace

bool GetInteger(napi_env env, napi_value value, const char* option, uint64_t* out, uint64_t maximum,
                uint64_t minimum) {
  double number = 0;
  if (!GetWhole(env, value, option, static_cast<double>(minimum), static_cast<double>(maximum),
                &number)) {
    return false;
  }
  *out = static_cast<uint64_t>(number);
  return true;
}

bool GetUint32(napi_env env, napi_value value, const char* option, uint32_t* out,
               uint32_t maximum) {
  uint64_t wide = 0;
  if (!GetInteger(env, value, option, &wide, maximum)) return false;
  *out = static_cast<uint32_t>(wide);
  return true;
}

bool GetInt32(napi_env env, napi_value value, const char* option, int32_t* out) {
  double number = 0;
  if (!GetWhole(env, value, option, INT32_MIN, INT32_MAX, &number)) return false;
  *out = static_cast<int32_t>(number);
  return true;
}

bool GetBigUint64(napi_env env, napi_value value, const char* option, uint64_t* out) {
  napi_valuetype type = napi_undefined;
  bool lossless = false;
  if (value && napi_typeof(env, value, &type) == napi_ok && type == napi_bigint &&
      napi_get_value_bigint_uint64(env, value, out, &lossless) == napi_ok && lossless) {
    return true;
  }
  ThrowInvalidOption(env, option, value, "a bigint from 0 to 2^64 - 1");
  return false;
}

bool GetBytes(napi_env env, napi_value value, const char* option, Bytes* out) {
  void* data = nullptr;
  if (!GetTypedArray(env, value, option, napi_uint8_array, "a Uint8Array", &data, &out->size)) {
    return false;
  }
  out->data = static_cast<uint8_t*>(data);
  return true;
}

bool GetWords(napi_env env, napi_value value, const char* option, Words* out) {
  void* data = nullptr;
  if (!GetTypedArray(env, value, option, napi_uint32_array, "a Uint32Array", &data, &out->count)) {
    return false;
  }
  out->data = static_cast<uint32_t*>(data);
  return true;
}

bool KeepTypedArray(napi_env env, napi_value value, napi_typedarray_type wanted, const char* option,
                    const char* expected, napi_ref* ref, void** data, size_t* length) {
  bool is_typed_array = false;
  napi_typedarray_type type = napi_int8_array;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, value, &type, length, data, nullptr, nullptr) != napi_ok ||
      type != wanted || *length == 0) {
    ThrowInvalidOption(env, option, value, expected);
    return false;
  }
  return napi_create_reference(env, value, 1, ref) == napi_ok;
}

bool GetString(napi_env env, napi_value value, const char* option, std::string* out,
               size_t maximum) {
  size_t length = 0;
  if (value && napi_get_value_string_utf8(env, value, nullptr, 0, &length) == napi_ok &&
      length <= maximum) {
    out->resize(length + 1);
    napi_get_value_string_utf8(env, value, out->data(), length + 1, &length);
    out->resize(length);
    if (out->find('\0') == std::string::npos) return true;
  }
  ThrowInvalidOption(env, option, value,
                     "a string of at most " + std::to_string(maximum) + " bytes without NUL");
  return false;
}

bool GetProperties(napi_env env, napi_value object, const char* option,
                   std::initializer_list<Property> properties) {
  napi_valuetype type = napi_undefined;
  if (!object || napi_typeof(env, object, &type) != napi_ok || type != napi_object) {
    ThrowInvalidOption(env, option, object, "an object");
    return false;
  }
  return std::all_of(properties.begin(), properties.end(), [&](const Property& property) {
    return napi_get_named_property(env, object, property.name, property.value) == napi_ok;
  });
}

bool IsNullish(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  return !value || napi_typeof(env, value, &type) != napi_ok || type == napi_undefined ||
         type == napi_null;
}

bool IsFunction(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  return value && napi_typeof(env, value, &type) == napi_ok && type == napi_function;
}

napi_value MakeInt32(napi_env env, int32_t value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

napi_value MakeNumber(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

napi_value MakeNumbers(napi_env env, std::span<const double> values) {
  void* data = nullptr;
  napi_value buffer = nullptr;
  napi_value array = nullptr;
  if (napi_create_arraybuffer(env, values.size_bytes(), &data, &buffer) != napi_ok ||
      napi_create_typedarray(env, napi_float64_array, values.size(), buffer, 0, &array) !=
          napi_ok) {
    return nullptr;
  }
  std::copy(values.begin(), values.end(), static_cast<double*>(data));
  return array;
}

napi_value MakeBool(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

}  // namespace node_kvm
