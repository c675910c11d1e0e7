#include "event_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "support/args.h"
#include "support/errors.h"

namespace node_kvm {
namespace {

// The counter, taken; 0 when not raised.
uint64_t TakeEventFd(int fd) {
  uint64_t count = 0;
  ssize_t got = 0;
  do {
    got = read(fd, &count, sizeof count);
  } while (got < 0 && errno == EINTR);
  return got == sizeof count ? count : 0;
}

}  // namespace

bool SignalEventFd(int fd, uint64_t value) {
  ssize_t put = 0;
  do {
    put = write(fd, &value, sizeof value);
  } while (put < 0 && errno == EINTR);
  return put == sizeof value || errno == EAGAIN;
}

napi_value EventFd::Fd(napi_env env) { return MakeInt32(env, fd()); }

napi_value EventFd::Signal(napi_env env, const Args& args) {
  if (!fd_) return ThrowClosed(env, "eventfd");
  uint64_t value = 1;
  if (!IsNullish(env, args[0]) && !GetInteger(env, args[0], "value", &value, kMaxSafeInteger, 1)) {
    return nullptr;
  }
  if (!SignalEventFd(fd(), value)) return ThrowKvmError(env, errno, "write");
  return nullptr;
}

napi_value EventFd::Take(napi_env env, const Args&) {
  if (!fd_) return ThrowClosed(env, "eventfd");
  return MakeNumber(env, static_cast<double>(TakeEventFd(fd())));
}

napi_value EventFd::Watch(napi_env env, const Args& args) {
  if (!fd_) return ThrowClosed(env, "eventfd");
  if (!IsFunction(env, args[0])) {
    return ThrowInvalidOption(env, "callback", args[0], "a function");
  }
  if (poll_.open()) {
    return ThrowVmmError(env, "ERR_STATE", "the eventfd is watched already");
  }
  if (!callback_.Set(env, args.self, args[0], "node-kvm:eventfd")) {
    return ThrowVmmError(env, "ERR_STATE", "the eventfd cannot be watched any more");
  }
  // The raw pointer is safe: the destructor and close() end the watch first.
  if (int error = poll_.Open(env, fd(), UV_READABLE, [this] { OnReadable(); }); error < 0) {
    callback_.Reset();
    return ThrowKvmError(env, -error, "epoll_ctl");
  }
  if (ref_) poll_.Ref();
  return nullptr;
}

void EventFd::OnReadable() {
  double count = static_cast<double>(TakeEventFd(fd()));
  if (count > 0) callback_.Call(&count, 1);
}

napi_value EventFd::Unwatch(napi_env, const Args&) {
  poll_.Close();
  callback_.Reset();
  return nullptr;
}

napi_value EventFd::Ref(napi_env, const Args&) {
  ref_ = true;
  poll_.Ref();
  return nullptr;
}

napi_value EventFd::Unref(napi_env, const Args&) {
  ref_ = false;
  poll_.Unref();
  return nullptr;
}

napi_value EventFd::Close(napi_env env, const Args& args) {
  Unwatch(env, args);
  fd_.reset();
  return nullptr;
}

namespace {
napi_value Construct(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!CheckNew<EventFd>(env, info)) return nullptr;
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return ThrowKvmError(env, errno, "eventfd");
  return Wrap(env, args.self, std::make_unique<EventFd>(std::move(fd)));
}
}  // namespace

bool DefineEventFd(napi_env env, napi_value exports) {
  napi_property_descriptor members[] = {
      Getter<&EventFd::Fd>("fd"),           Method<&EventFd::Signal>("signal"),
      Method<&EventFd::Take>("take"),       Method<&EventFd::Watch>("watch"),
      Method<&EventFd::Unwatch>("unwatch"), Method<&EventFd::Ref>("ref"),
      Method<&EventFd::Unref>("unref"),     Method<&EventFd::Close>("close"),
  };
  return DefineClass<EventFd>(env, exports, Construct, members);
}

}  // namespace node_kvm
