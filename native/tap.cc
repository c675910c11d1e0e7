#include "tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "support/args.h"
#include "support/close_aside.h"
#include "support/errors.h"

namespace node_kvm {
namespace {

constexpr char kTunPath[] = "/dev/net/tun";

// Opens a queue of the interface `*name`, which becomes the kernel's choice of a pattern. 0, or the
// errno, `*step` being what failed and `*fd` empty if that was open().
int OpenQueue(bool multi_queue, std::string* name, UniqueFd* fd, const char** step) {
  *step = "open";
  *fd = UniqueFd(open(kTunPath, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!*fd) return errno;
  ifreq request = {};
  std::memcpy(request.ifr_name, name->data(), name->size());
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi_queue ? IFF_MULTI_QUEUE : 0));
  *step = "TUNSETIFF";
  if (ioctl(fd->get(), TUNSETIFF, &request) < 0) return errno;
  int header_size = Tap::kHeaderSize;
  *step = "TUNSETVNETHDRSZ";
  if (ioctl(fd->get(), TUNSETVNETHDRSZ, &header_size) < 0) return errno;
  request.ifr_name[IFNAMSIZ - 1] = 0;
  *name = request.ifr_name;
  return 0;
}

}  // namespace

int Tap::Poll::Open(napi_env env, int fd, std::function<void()> callback) {
  on_ = false;
  failed_ = false;
  return LoopHandle::Open(env, std::move(callback), [fd](uv_loop_t* loop, uv_poll_t* handle) {
    return uv_poll_init(loop, handle, fd);
  });
}

void Tap::Poll::Watch(bool on) {
  if (!state_ || on == on_ || failed_) return;
  on_ = on;
  if (!on) {
    uv_poll_stop(&state_->handle);
    return;
  }
  uv_poll_start(&state_->handle, UV_READABLE, [](uv_poll_t* poll, int status, int) {
    auto* state = static_cast<State*>(poll->data);
    if (!state->owner) return;
    if (status < 0) static_cast<Poll*>(state->owner)->failed_ = true;
    std::function<void()> callback = state->callback;  // it may close this very handle
    callback();
  });
}

// new Tap(name, create, multiQueue, fd?). Unless told to create it, the interface must be there.
// fd: a queue of it that somebody else has opened, which stays theirs too.
napi_value Tap::New(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!CheckNew<Tap>(env, info)) return nullptr;
  std::string name;
  if (!GetString(env, args[0], "name", &name, IFNAMSIZ - 1)) return nullptr;
  bool create = false;
  bool multi_queue = false;
  napi_get_value_bool(env, args[1], &create);
  napi_get_value_bool(env, args[2], &multi_queue);
  UniqueFd fd;
  if (!IsNullish(env, args[3])) {
    uint32_t number = 0;
    if (!GetUint32(env, args[3], "fd", &number, INT32_MAX)) return nullptr;
    fd = UniqueFd(fcntl(static_cast<int>(number), F_DUPFD_CLOEXEC, 0));
    if (!fd) return ThrowKvmError(env, errno, "fcntl");
    return Wrap(env, args.self, std::make_unique<Tap>(std::move(fd), std::move(name), multi_queue));
  }
  if (!create && if_nametoindex(name.c_str()) == 0) return ThrowKvmError(env, ENODEV, "TUNSETIFF");
  const char* step = "";
  if (int error = OpenQueue(multi_queue, &name, &fd, &step)) {
    return ThrowKvmError(env, error, step, fd ? nullptr : kTunPath);
  }
  return Wrap(env, args.self, std::make_unique<Tap>(std::move(fd), std::move(name), multi_queue));
}

// reopen(): goes on with an interface of the same name, after the one that was open has been
// deleted. Posted buffers stay, as does whether the queue is enabled.
napi_value Tap::Reopen(napi_env env, const Args&) {
  if (!fd_) return ThrowClosed(env, "TAP");
  if (if_nametoindex(name_.c_str()) == 0) return ThrowKvmError(env, ENODEV, "TUNSETIFF");
  UniqueFd fd;
  const char* step = "";
  std::string name = name_;
  if (int error = OpenQueue(multi_queue_, &name, &fd, &step)) {
    return ThrowKvmError(env, error, step, fd ? nullptr : kTunPath);
  }
  poll_.Close();
  fd_ = std::move(fd);
  gone_ = false;
  ioctl(fd_.get(), TUNSETOFFLOAD, static_cast<unsigned long>(offload_));
  if (!enabled_) {
    ifreq request = {};
    request.ifr_flags = IFF_DETACH_QUEUE;
    ioctl(fd_.get(), TUNSETQUEUE, &request);
  }
  if (!memory_) return nullptr;
  int error = OpenPoll(env);
  if (error < 0) return ThrowKvmError(env, -error, "epoll_ctl");
  WatchIfUseful(true);
  Tell();
  return nullptr;
}

int Tap::OpenPoll(napi_env env) {
  // The raw pointer is safe: the destructor, detach() and close() end the watch first.
  return poll_.Open(env, fd_.get(), [this] {
    Tell();
    callback_.Call();
  });
}

Tap::~Tap() {
  poll_.Close();
  Unshare();
}

void Tap::Unshare() {
  callback_.Reset();
  if (batch_ref_) napi_delete_reference(env_, std::exchange(batch_ref_, nullptr));
  if (results_ref_) napi_delete_reference(env_, std::exchange(results_ref_, nullptr));
  batch_ = nullptr;
  results_ = nullptr;
}

napi_value Tap::Fd(napi_env env) { return MakeInt32(env, fd_.get()); }

napi_value Tap::Name(napi_env env) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, name_.data(), name_.size(), &result);
  return result;
}

// [frames too long for the buffers, receive errors, the last one's errno, frames filtered out,
//  frames lost to the capture]
napi_value Tap::Counters(napi_env env) {
  napi_value result = nullptr;
  napi_create_array_with_length(env, 5, &result);
  napi_set_element(env, result, 0, MakeNumber(env, oversized_));
  napi_set_element(env, result, 1, MakeNumber(env, receive_errors_));
  napi_set_element(env, result, 2, MakeNumber(env, receive_error_));
  napi_set_element(env, result, 3, MakeNumber(env, filtered_));
  napi_set_element(env, result, 4, MakeNumber(env, capture_.dropped()));
  return result;
}

void Tap::Tell() {
  if (!results_) return;
  results_[results_size_] = (gone() ? kGone : 0) | (waiting_.empty() ? 0 : kStarved);
}

// look(): whether the interface has been deleted, if nobody reads or writes that would be told.
napi_value Tap::Look(napi_env env, const Args&) {
  if (!fd_) return ThrowClosed(env, "TAP");
  ifreq request = {};
  if (ioctl(fd_.get(), TUNGETIFF, &request) < 0) Note(errno);
  Tell();
  return nullptr;
}

void Tap::Note(int error) {
  if (error == EBADFD && enabled_) gone_ = true;
}

void Tap::WatchIfUseful(bool on) {
  poll_.Watch(on && enabled_ && !posted_.empty() && waiting_.empty());
}

// enable(on): whether the kernel gives frames to this one of several queues.
napi_value Tap::Enable(napi_env env, const Args& args) {
  bool on = false;
  if (!fd_) return ThrowClosed(env, "TAP");
  napi_get_value_bool(env, args[0], &on);
  if (on == enabled_) return nullptr;
  // A queue that is taken off polls as one whose interface has gone.
  if (!on) poll_.Watch(false);
  ifreq request = {};
  request.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
  if (ioctl(fd_.get(), TUNSETQUEUE, &request) < 0) return ThrowKvmError(env, errno, "TUNSETQUEUE");
  enabled_ = on;
  WatchIfUseful(on);
  Tell();
  return nullptr;
}

// setCarrier(on): whether the host sees a cable. false if the kernel cannot (before 4.20).
napi_value Tap::SetCarrier(napi_env env, const Args& args) {
  bool on = false;
  if (!fd_) return ThrowClosed(env, "TAP");
  napi_get_value_bool(env, args[0], &on);
  int carrier = on ? 1 : 0;
  return MakeBool(env, ioctl(fd_.get(), TUNSETCARRIER, &carrier) == 0);
}

// setOwner(uid): keeps the interface when it is closed, for that user to open.
napi_value Tap::SetOwner(napi_env env, const Args& args) {
  uint32_t user = 0;
  if (!fd_) return ThrowClosed(env, "TAP");
  if (!GetUint32(env, args[0], "owner", &user)) return nullptr;
  if (ioctl(fd_.get(), TUNSETOWNER, static_cast<unsigned long>(user)) < 0) {
    return ThrowKvmError(env, errno, "TUNSETOWNER");
  }
  if (ioctl(fd_.get(), TUNSETPERSIST, 1UL) < 0) return ThrowKvmError(env, errno, "TUNSETPERSIST");
  return nullptr;
}

// filter(flags, macs, vlans): TapFilter's flags, addresses as numbers in a Float64Array, and a bit
// for each VLAN (512 bytes, or none for all).
napi_value Tap::Filter(napi_env env, const Args& args) {
  uint32_t flags = 0;
  Bytes vlans;
  bool is_typed_array = false;
  napi_typedarray_type type = napi_int8_array;
  void* data = nullptr;
  size_t count = 0;
  if (!GetUint32(env, args[0], "flags", &flags) || !GetBytes(env, args[2], "vlans", &vlans)) {
    return nullptr;
  }
  if (napi_is_typedarray(env, args[1], &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, args[1], &type, &count, &data, nullptr, nullptr) != napi_ok ||
      type != napi_float64_array || count > 4096) {
    return ThrowInvalidOption(env, "macs", args[1], "a Float64Array of at most 4096 elements");
  }
  std::vector<uint64_t> macs(count);
  for (size_t i = 0; i < count; i++) {
    if (!ToInteger(static_cast<const double*>(data)[i], &macs[i])) {
      return ThrowInvalidOption(env, "macs", args[1], "addresses of 48 bits");
    }
  }
  filter_.Set(flags, std::move(macs),
              vlans.size == 0 ? std::vector<uint8_t>()
                              : std::vector<uint8_t>(vlans.data, vlans.data + vlans.size));
  return nullptr;
}

// capture(capacity, snapLength): keeps records of frames both ways; capacity 0 ends that.
napi_value Tap::Capture(napi_env env, const Args& args) {
  uint32_t capacity = 0;
  uint32_t snap_length = 0;
  if (!GetUint32(env, args[0], "capacity", &capacity, 1U << 30) ||
      !GetUint32(env, args[1], "snapLength", &snap_length)) {
    return nullptr;
  }
  capture_.Start(capacity, snap_length);
  return nullptr;
}

// takeCaptured(): the records since the last call, or undefined.
napi_value Tap::TakeCaptured(napi_env env, const Args&) {
  napi_value result = nullptr;
  if (capture_.size() == 0) return nullptr;
  std::vector<uint8_t> records = capture_.Take();
  napi_create_buffer_copy(env, records.size(), records.data(), nullptr, &result);
  return result;
}

// setOffload(TUN_F_...): what the guest takes. false if the kernel does not offer it.
napi_value Tap::SetOffload(napi_env env, const Args& args) {
  uint32_t bits = 0;
  if (!fd_) return ThrowClosed(env, "TAP");
  if (!GetUint32(env, args[0], "offload", &bits)) return nullptr;
  if (ioctl(fd_.get(), TUNSETOFFLOAD, static_cast<unsigned long>(bits)) < 0) {
    return MakeBool(env, false);
  }
  offload_ = bits;
  return MakeBool(env, true);
}

// attach(memory, batch, results, onReadable)
napi_value Tap::Attach(napi_env env, const Args& args) {
  if (!fd_) return ThrowClosed(env, "TAP");
  if (memory_) return ThrowVmmError(env, "ERR_STATE", "the TAP is attached already");
  auto* memory = Unwrap<AddressSpace>(env, args[0], "memory");
  if (!memory) return nullptr;
  if (!IsFunction(env, args[3])) {
    return ThrowInvalidOption(env, "onReadable", args[3], "a function");
  }
  env_ = env;
  void* batch = nullptr;
  void* results = nullptr;
  if (!KeepTypedArray(env, args[1], napi_float64_array, "batch", "a Float64Array", &batch_ref_,
                      &batch, &batch_size_) ||
      !KeepTypedArray(env, args[2], napi_int32_array, "results", "an Int32Array", &results_ref_,
                      &results, &results_size_)) {
    Unshare();
    return nullptr;
  }
  if (results_size_ == 0) {
    Unshare();
    return ThrowInvalidOption(env, "results", args[2], "room for the state");
  }
  results_size_--;
  batch_ = static_cast<double*>(batch);
  results_ = static_cast<int32_t*>(results);
  if (!callback_.Set(env, args.self, args[3], "node-kvm:tap")) {
    Unshare();
    return ThrowVmmError(env, "ERR_STATE", "the TAP cannot be watched any more");
  }
  int error = OpenPoll(env);
  if (error < 0) {
    Unshare();
    return ThrowKvmError(env, -error, "epoll_ctl");
  }
  overflow_.resize(kFrameMax);
  memory_ = memory->snapshot();
  return nullptr;
}

napi_value Tap::Detach(napi_env, const Args&) {
  poll_.Close();
  posted_.clear();
  waiting_.clear();
  Tell();
  Unshare();
  spare_.clear();
  memory_.reset();
  return nullptr;
}

// features(txChecksum, txGsoTypes, rxChecksum, mergeable, mtu): what was negotiated; mtu 0: none.
napi_value Tap::Features(napi_env env, const Args& args) {
  uint32_t gso_types = 0;
  uint32_t mtu = 0;
  napi_get_value_bool(env, args[0], &tx_checksum_);
  if (!GetUint32(env, args[1], "txGsoTypes", &gso_types) ||
      !GetUint32(env, args[4], "mtu", &mtu, 65535)) {
    return nullptr;
  }
  filter_.SetMtu(mtu);
  tx_gso_types_ = gso_types;
  napi_get_value_bool(env, args[2], &rx_checksum_);
  napi_get_value_bool(env, args[3], &mergeable_);
  return nullptr;
}

napi_value Tap::Reset(napi_env, const Args&) {
  posted_.clear();
  waiting_.clear();
  poll_.Watch(false);
  Tell();
  return nullptr;
}

// watch(on): whether onReadable is called; receive() watches by itself while buffers are posted.
napi_value Tap::Watch(napi_env env, const Args& args) {
  bool on = false;
  napi_get_value_bool(env, args[0], &on);
  WatchIfUseful(on);
  return nullptr;
}

// close(): a promise. With its last descriptor an interface that was made for it goes, which takes
// the kernel tens of milliseconds.
napi_value Tap::Close(napi_env env, const Args& args) {
  Detach(env, args);
  return CloseAside(env, std::move(fd_));
}

bool DefineTap(napi_env env, napi_value exports) {
  napi_property_descriptor members[] = {
      Getter<&Tap::Fd>("fd"),
      Getter<&Tap::Name>("name"),
      Getter<&Tap::Counters>("counters"),
      Method<&Tap::Look>("look"),
      Method<&Tap::SetOffload>("setOffload"),
      Method<&Tap::Attach>("attach"),
      Method<&Tap::Detach>("detach"),
      Method<&Tap::Features>("features"),
      Method<&Tap::Transmit>("transmit"),
      Method<&Tap::Post>("post"),
      Method<&Tap::Receive>("receive"),
      Method<&Tap::GiveUp>("giveUp"),
      Method<&Tap::Reset>("reset"),
      Method<&Tap::Watch>("watch"),
      Method<&Tap::Enable>("enable"),
      Method<&Tap::Reopen>("reopen"),
      Method<&Tap::SetCarrier>("setCarrier"),
      Method<&Tap::SetOwner>("setOwner"),
      Method<&Tap::Filter>("filter"),
      Method<&Tap::Capture>("capture"),
      Method<&Tap::TakeCaptured>("takeCaptured"),
      Method<&Tap::Close>("close"),
  };
  return DefineClass<Tap>(env, exports, Tap::New, members);
}

}  // namespace node_kvm
