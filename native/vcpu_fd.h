#pragma once

#include <node_api.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "kvm_compat.h"
#include "support/buffer_set.h"
#include "support/class.h"
#include "support/unique_fd.h"
#include "vm_resources.h"

namespace node_kvm {

// A vCPU: its descriptor, its run page, and who may use them. Held by shared_ptr by its JavaScript
// object, by the thread that runs it, and by every view of the run page; all of it is given back
// with the last of these.
class Vcpu {
 public:
  // nullptr with mmap's errno on failure.
  static std::shared_ptr<Vcpu> Create(UniqueFd fd, size_t run_size, uint32_t xsave_size,
                                      std::shared_ptr<VmResources> resources, int* error);
  ~Vcpu();
  Vcpu(const Vcpu&) = delete;
  Vcpu& operator=(const Vcpu&) = delete;

  int fd() const { return fd_.get(); }
  // The run page and what the kernel maps after it (PIO data, the coalesced ring): `run_size`
  // bytes.
  kvm_run* run() const { return run_; }
  size_t run_size() const { return run_size_; }
  uint32_t xsave_size() const { return xsave_size_; }
  // The dirty ring, mapped on first use; nullptr with the errno if there is none. `size` in bytes.
  uint8_t* DirtyRing(size_t* size, int* error);
  VmResources& resources() const { return *resources_; }

  // A thread owns the vCPU from TryEnter (false if another has it) to Leave: it is in KVM_RUN, or
  // may enter at any moment. Meanwhile every call from JavaScript throws ERR_VCPU_RUNNING, since
  // the kernel would make it wait for the guest. A thread that waits for JavaScript to answer an
  // exit leaves first, so that handlers can use the vCPU.
  bool TryEnter() { return !busy_.exchange(true, std::memory_order_acquire); }
  void Leave() { busy_.store(false, std::memory_order_release); }
  bool busy() const { return busy_.load(std::memory_order_acquire); }

 private:
  Vcpu() = default;

  UniqueFd fd_;
  kvm_run* run_ = nullptr;
  size_t run_size_ = 0;
  uint32_t xsave_size_ = 0;
  uint8_t* dirty_ring_ = nullptr;
  size_t dirty_ring_size_ = 0;
  std::shared_ptr<VmResources> resources_;
  std::atomic<bool> busy_{false};
};

// The JavaScript class. Besides its methods each object has an own function `run()`, which needs no
// `this`.
class VcpuFd {
 public:
  static constexpr char kName[] = "Vcpu";
  explicit VcpuFd(std::shared_ptr<Vcpu> vcpu) : vcpu_(std::move(vcpu)) {}
  static napi_value New(napi_env env, std::shared_ptr<Vcpu> vcpu);

  // nullptr once closed.
  const std::shared_ptr<Vcpu>& vcpu() const { return vcpu_; }

  napi_value Fd(napi_env env);
  napi_value RunPage(napi_env env);
  napi_value Ioctl(napi_env env, const Args& args);
  napi_value DeviceAttr(napi_env env, const Args& args);
  napi_value DirtyRing(napi_env env, const Args& args);
  napi_value SetSignalMask(napi_env env, const Args& args);
  napi_value GetOneReg(napi_env env, const Args& args);
  napi_value SetOneReg(napi_env env, const Args& args);
  napi_value XenVcpuInfoHva(napi_env env, const Args& args);
  napi_value MemoryEncryptOp(napi_env env, const Args& args);
  napi_value Stats(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  static napi_value Run(napi_env env, napi_callback_info info);
  // False with ERR_CLOSED or ERR_VCPU_RUNNING pending.
  bool CheckUsable(napi_env env);
  napi_value OneReg(napi_env env, const Args& args, uint32_t request, const char* name);

  std::shared_ptr<Vcpu> vcpu_;
  BufferSet buffers_;
  // What `run()` finds: shared with that function, emptied by close().
  struct RunTarget;
  std::shared_ptr<RunTarget> run_target_;
};

bool DefineVcpuFd(napi_env env);

}  // namespace node_kvm
