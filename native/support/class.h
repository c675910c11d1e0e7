#pragma once

#include <node_api.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "support/env_data.h"
#include "support/errors.h"

// JavaScript classes over C++ objects, by raw N-API.
//
//   class Counter {
//    public:
//     static constexpr char kName[] = "Counter";
//     napi_value Add(napi_env env, const Args& args);     // a method; nullptr is undefined, or
//     throws
//   };
//   napi_property_descriptor members[] = {Method<&Counter::Add>("add"),
//   Getter<&Counter::Fd>("fd")}; DefineClass<Counter>(env, exports, Construct, members);
//
//   napi_value Construct(napi_env env, napi_callback_info info) {
//     Args args(env, info);
//     if (!CheckNew<Counter>(env, info)) return nullptr;
//     return Wrap(env, args.self, std::make_unique<Counter>(...));
//   }
//
// Every object carries a type tag. A method called on anything else, and an argument of the wrong
// class, raise a TypeError. The C++ object is deleted by the object's finalizer, or when the
// environment ends.
namespace node_kvm {

struct Args {
  static constexpr size_t kMax = 8;
  size_t count = kMax;
  napi_value values[kMax];  // undefined where absent
  napi_value self = nullptr;

  Args(napi_env env, napi_callback_info info) {
    napi_get_cb_info(env, info, &count, values, &self, nullptr);
  }
  napi_value operator[](size_t index) const { return values[index]; }
};

// The address of a static of this loaded addon: no object of another addon, or of another copy of
// this one, has it.
template <typename T>
const napi_type_tag& TypeTag() {
  static char unique;
  static const napi_type_tag tag = {reinterpret_cast<uintptr_t>(&unique), 0x6b766d2d65646f6eULL};
  return tag;
}

// The T behind `value`; nullptr without an exception if it is something else.
template <typename T>
T* TryUnwrap(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  bool matches = false;
  void* object = nullptr;
  if (!value || napi_typeof(env, value, &type) != napi_ok || type != napi_object) return nullptr;
  if (napi_check_object_type_tag(env, value, &TypeTag<T>(), &matches) != napi_ok || !matches ||
      napi_unwrap(env, value, &object) != napi_ok) {
    return nullptr;
  }
  return static_cast<T*>(object);
}

// The T behind `value`; nullptr with a TypeError pending if it is something else.
template <typename T>
T* Unwrap(napi_env env, napi_value value, const char* argument = "this") {
  T* object = TryUnwrap<T>(env, value);
  if (!object) ThrowTypeError(env, std::string(argument) + ": expected a " + T::kName);
  return object;
}

template <typename T>
napi_value Wrap(napi_env env, napi_value self, std::unique_ptr<T> object) {
  auto finalize = [](napi_env, void* data, void*) { delete static_cast<T*>(data); };
  if (napi_wrap(env, self, object.get(), finalize, nullptr, nullptr) != napi_ok) {
    return ThrowTypeError(env, std::string("cannot construct a ") + T::kName);
  }
  object.release();
  if (napi_type_tag_object(env, self, &TypeTag<T>()) != napi_ok) {
    return ThrowTypeError(env, std::string("cannot construct a ") + T::kName);
  }
  return self;
}

// False with a TypeError pending unless the constructor was called by `new`.
template <typename T>
bool CheckNew(napi_env env, napi_callback_info info) {
  napi_value target = nullptr;
  if (napi_get_new_target(env, info, &target) == napi_ok && target) return true;
  ThrowTypeError(env, std::string("class constructor ") + T::kName + " needs 'new'");
  return false;
}

namespace internal {
template <typename M>
struct MemberOf;
template <typename T, typename... A>
struct MemberOf<napi_value (T::*)(napi_env, A...)> {
  using Class = T;
};

template <auto kMember>
napi_value CallMethod(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto* self = Unwrap<typename MemberOf<decltype(kMember)>::Class>(env, args.self);
  return self ? (self->*kMember)(env, args) : nullptr;
}

template <auto kMember>
napi_value CallGetter(napi_env env, napi_callback_info info) {
  Args args(env, info);
  auto* self = Unwrap<typename MemberOf<decltype(kMember)>::Class>(env, args.self);
  return self ? (self->*kMember)(env) : nullptr;
}

// The constructor of a class whose objects only NewInstance makes.
template <typename T>
napi_value Adopt(napi_env env, napi_callback_info info) {
  Args args(env, info);
  void* adoptee = std::exchange(EnvData::Get(env)->adoptee, nullptr);
  if (!adoptee) return ThrowTypeError(env, std::string("illegal constructor of ") + T::kName);
  return Wrap(env, args.self, std::unique_ptr<T>(static_cast<T*>(adoptee)));
}
}  // namespace internal

// `napi_value T::Member(napi_env, const Args&)` as a method.
template <auto kMember>
napi_property_descriptor Method(const char* name) {
  return {name,    nullptr, internal::CallMethod<kMember>, nullptr,
          nullptr, nullptr, napi_default_method,           nullptr};
}

// `napi_value T::Member(napi_env)` as a read-only property.
template <auto kMember>
napi_property_descriptor Getter(const char* name) {
  return {name,    nullptr, nullptr,      internal::CallGetter<kMember>,
          nullptr, nullptr, napi_default, nullptr};
}

// Defines the class as `exports[T::kName]`; false with an exception pending on failure.
template <typename T, size_t N>
bool DefineClass(napi_env env, napi_value exports, napi_callback constructor,
                 const napi_property_descriptor (&members)[N]) {
  napi_value value = nullptr;
  return napi_define_class(env, T::kName, NAPI_AUTO_LENGTH, constructor, nullptr, N, members,
                           &value) == napi_ok &&
         napi_set_named_property(env, exports, T::kName, value) == napi_ok;
}

// The same for a class that scripts cannot construct: it is kept in `slot`, and NewInstance makes
// its objects.
template <typename T, size_t N>
bool DefinePrivateClass(napi_env env, napi_ref EnvData::*slot,
                        const napi_property_descriptor (&members)[N]) {
  napi_value value = nullptr;
  return napi_define_class(env, T::kName, NAPI_AUTO_LENGTH, internal::Adopt<T>, nullptr, N, members,
                           &value) == napi_ok &&
         napi_create_reference(env, value, 1, &(EnvData::Get(env)->*slot)) == napi_ok;
}

template <typename T>
napi_value NewInstance(napi_env env, napi_ref EnvData::*slot, std::unique_ptr<T> object) {
  EnvData* data = EnvData::Get(env);
  napi_value constructor = nullptr;
  napi_value instance = nullptr;
  if (napi_get_reference_value(env, data->*slot, &constructor) != napi_ok) return nullptr;
  data->adoptee = object.release();
  if (napi_new_instance(env, constructor, 0, nullptr, &instance) == napi_ok) return instance;
  // Still there only if the constructor never ran.
  delete static_cast<T*>(std::exchange(data->adoptee, nullptr));
  return nullptr;
}

}  // namespace node_kvm
