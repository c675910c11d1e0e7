#include "support/errors.h"

#include <cerrno>
#include <cmath>
#include <cstdio>

#include "support/env_data.h"

namespace node_kvm {
namespace {

napi_value String(napi_env env, const std::string& text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

// Throws `new class(...args)`, or a plain Error with the same message before setErrorClasses was
// called.
napi_value ThrowInstance(napi_env env, napi_ref class_ref, size_t count, const napi_value* args,
                         const char* code, const std::string& message) {
  // An exception that is already pending names the first thing that went wrong: it stays.
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) != napi_ok || pending) return nullptr;
  napi_value constructor = nullptr;
  if (class_ref) napi_get_reference_value(env, class_ref, &constructor);
  napi_value error = nullptr;
  if (constructor && napi_new_instance(env, constructor, count, args, &error) == napi_ok) {
    napi_throw(env, error);
  } else {
    napi_is_exception_pending(env, &pending);
    if (!pending) napi_throw_error(env, code, message.c_str());
  }
  return nullptr;
}

std::string Describe(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  if (!value || napi_typeof(env, value, &type) != napi_ok) return "undefined";
  switch (type) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean: {
      bool flag = false;
      napi_get_value_bool(env, value, &flag);
      return flag ? "true" : "false";
    }
    case napi_number: {
      double number = 0;
      napi_get_value_double(env, value, &number);
      if (std::isnan(number)) return "NaN";
      if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
      char text[40];
      std::snprintf(text, sizeof text, "%.17g", number);
      return text;
    }
    case napi_string: {
      char text[84];
      size_t length = 0;
      napi_get_value_string_utf8(env, value, text, sizeof text, &length);
      return '"' + std::string(text, length) + '"';
    }
    case napi_bigint: {
      uint64_t word = 0;
      int sign = 0;
      size_t words = 1;
      napi_get_value_bigint_words(env, value, &sign, &words, &word);
      if (words > 1) return "a bigint of more than 64 bits";
      return (sign ? "-" : "") + std::to_string(word) + "n";
    }
    case napi_function:
      return "a function";
    case napi_symbol:
      return "a symbol";
    default:
      return "an object";
  }
}

}  // namespace

std::string ErrnoName(int error) {
#define CASE(name) \
  case name:       \
    return #name
  switch (error) {
    CASE(EPERM);
    CASE(ENOENT);
    CASE(ESRCH);
    CASE(EINTR);
    CASE(EIO);
    CASE(ENXIO);
    CASE(E2BIG);
    CASE(ENOEXEC);
    CASE(EBADF);
    CASE(EAGAIN);
    CASE(ENOMEM);
    CASE(EACCES);
    CASE(EFAULT);
    CASE(EBUSY);
    CASE(EEXIST);
    CASE(EXDEV);
    CASE(ENODEV);
    CASE(ENOTDIR);
    CASE(EISDIR);
    CASE(EINVAL);
    CASE(ENFILE);
    CASE(EMFILE);
    CASE(ENOTTY);
    CASE(ETXTBSY);
    CASE(EFBIG);
    CASE(ENOSPC);
    CASE(ESPIPE);
    CASE(EROFS);
    CASE(EPIPE);
    CASE(ERANGE);
    CASE(EDEADLK);
    CASE(ENAMETOOLONG);
    CASE(ENOSYS);
    CASE(ELOOP);
    CASE(ENODATA);
    CASE(ETIME);
    CASE(EOVERFLOW);
    CASE(EBADFD);
    CASE(EOPNOTSUPP);
    CASE(EADDRINUSE);
    CASE(ENETDOWN);
    CASE(ENOBUFS);
    CASE(ETIMEDOUT);
    CASE(EALREADY);
    CASE(EINPROGRESS);
    CASE(EREMOTEIO);
    CASE(EDQUOT);
    CASE(ECANCELED);
    CASE(EHWPOISON);
    default:
      return "E" + std::to_string(error);
  }
#undef CASE
}

napi_value ThrowKvmError(napi_env env, int error, const char* syscall, const char* detail) {
  // What the kernel says of a request that it does not know.
  if (!detail && error == ENOTTY) detail = "this KVM has no such ioctl";
  std::string code = ErrnoName(error);
  napi_value args[4] = {String(env, code), nullptr, String(env, syscall), nullptr};
  napi_create_int32(env, error, &args[1]);
  if (detail) args[3] = String(env, detail);
  return ThrowInstance(env, EnvData::Get(env)->kvm_error, detail ? 4 : 3, args, code.c_str(),
                       std::string(syscall) + ": " + code);
}

napi_value ThrowVmmError(napi_env env, const char* code, const std::string& message) {
  napi_value args[2] = {String(env, code), String(env, message)};
  return ThrowInstance(env, EnvData::Get(env)->vmm_error, 2, args, code, message);
}

napi_value ThrowInvalidOption(napi_env env, const char* option, napi_value value,
                              const std::string& expected) {
  const char* ioctl = ForIoctl::current();
  std::string name = ioctl ? std::string(ioctl) + " " + option : option;
  std::string message = name + ": expected " + expected + ", got " + Describe(env, value);
  napi_value details = nullptr;
  napi_create_object(env, &details);
  napi_set_named_property(env, details, "option", String(env, name));
  if (value) napi_set_named_property(env, details, "value", value);
  napi_set_named_property(env, details, "expected", String(env, expected));
  napi_value args[3] = {String(env, "ERR_INVALID_OPTION"), String(env, message), details};
  return ThrowInstance(env, EnvData::Get(env)->vmm_error, 3, args, "ERR_INVALID_OPTION", message);
}

napi_value ThrowClosed(napi_env env, const char* what) {
  return ThrowVmmError(env, "ERR_CLOSED", std::string(what) + " is closed");
}

napi_value ThrowTypeError(napi_env env, const std::string& message) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) {
    napi_throw_type_error(env, nullptr, message.c_str());
  }
  return nullptr;
}

}  // namespace node_kvm
