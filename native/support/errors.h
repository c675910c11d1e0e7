#pragma once

#include <node_api.h>

#include <string>

namespace node_kvm {

// Each function leaves a JavaScript exception pending and returns nullptr, so that a callback can
// `return Throw...`.

// A failed system call: KvmError { code: 'EEXIST', errno: 17, syscall }. `error` is the positive
// errno.
napi_value ThrowKvmError(napi_env env, int error, const char* syscall,
                         const char* detail = nullptr);

// VmmError with one of the codes in lib/errors.ts.
napi_value ThrowVmmError(napi_env env, const char* code, const std::string& message);

// While one lives, ThrowInvalidOption on this thread puts the ioctl before the option:
// "KVM_IOEVENTFD length: expected ...".
class ForIoctl {
 public:
  explicit ForIoctl(const char* name) : outer_(current_) { current_ = name; }
  ~ForIoctl() { current_ = outer_; }
  ForIoctl(const ForIoctl&) = delete;
  ForIoctl& operator=(const ForIoctl&) = delete;

  // nullptr outside of any.
  static const char* current() { return current_; }

 private:
  static inline thread_local const char* current_ = nullptr;
  const char* outer_;
};

// VmmError ERR_INVALID_OPTION "option: expected ..., got ...". `value` may be nullptr (absent).
napi_value ThrowInvalidOption(napi_env env, const char* option, napi_value value,
                              const std::string& expected);

// VmmError ERR_CLOSED "<what> is closed".
napi_value ThrowClosed(napi_env env, const char* what);

napi_value ThrowTypeError(napi_env env, const std::string& message);

// The name of an errno ("EEXIST"), or "E<number>" for one without a name.
std::string ErrnoName(int error);

}  // namespace node_kvm
