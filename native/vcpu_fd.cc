#include "vcpu_fd.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "mapping.h"
#include "memory_encryption.h"
#include "stats_fd.h"
#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"

namespace node_kvm {
namespace {

napi_value ThrowRunning(napi_env env) {
  return ThrowVmmError(env, "ERR_VCPU_RUNNING", "the vCPU is inside KVM_RUN on another thread");
}

}  // namespace

std::shared_ptr<Vcpu> Vcpu::Create(UniqueFd fd, size_t run_size, uint32_t xsave_size,
                                   std::shared_ptr<VmResources> resources, int* error) {
  std::shared_ptr<Vcpu> vcpu(new Vcpu);
  void* run = mmap(nullptr, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) {
    *error = errno;
    return nullptr;
  }
  vcpu->run_ = static_cast<kvm_run*>(run);
  vcpu->run_size_ = run_size;
  madvise(run, run_size, MADV_DONTFORK);
  vcpu->fd_ = std::move(fd);
  vcpu->xsave_size_ = xsave_size;
  vcpu->resources_ = std::move(resources);
  return vcpu;
}

Vcpu::~Vcpu() {
  if (run_) munmap(run_, run_size_);
  if (dirty_ring_) munmap(dirty_ring_, dirty_ring_size_);
}

uint8_t* Vcpu::DirtyRing(size_t* size, int* error) {
  constexpr off_t kOffset = KVM_DIRTY_LOG_PAGE_OFFSET * 4096;
  if (!dirty_ring_) {
    dirty_ring_size_ = resources_->dirty_ring_size;
    *error = ENXIO;
    if (!dirty_ring_size_) return nullptr;
    void* ring =
        mmap(nullptr, dirty_ring_size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), kOffset);
    *error = errno;
    if (ring == MAP_FAILED) return nullptr;
    madvise(ring, dirty_ring_size_, MADV_DONTFORK);
    dirty_ring_ = static_cast<uint8_t*>(ring);
  }
  *size = dirty_ring_size_;
  return dirty_ring_;
}

struct VcpuFd::RunTarget {
  std::shared_ptr<Vcpu> vcpu;
  Heartbeat* heartbeat;
};

napi_value VcpuFd::New(napi_env env, std::shared_ptr<Vcpu> vcpu) {
  auto target = std::make_shared<RunTarget>(RunTarget{vcpu, &EnvData::Get(env)->heartbeat});
  auto object = std::make_unique<VcpuFd>(std::move(vcpu));
  object->run_target_ = target;
  napi_value instance = NewInstance(env, &EnvData::vcpu_class, std::move(object));
  if (!instance) return nullptr;

  // A function of the object's own, that finds its vCPU by its data: no `this` to look up and check
  // on the one call that is made for every exit. It may outlive the object, hence its share in the
  // target.
  auto* share = new std::shared_ptr<RunTarget>(std::move(target));
  napi_value run = nullptr;
  if (napi_create_function(env, "run", NAPI_AUTO_LENGTH, Run, share->get(), &run) != napi_ok) {
    delete share;
    return nullptr;
  }
  auto finalize = [](napi_env, void* data, void*) {
    delete static_cast<std::shared_ptr<RunTarget>*>(data);
  };
  napi_property_descriptor property = {"run",   nullptr, nullptr,         nullptr,
                                       nullptr, run,     napi_enumerable, nullptr};
  if (napi_add_finalizer(env, run, share, finalize, nullptr, nullptr) != napi_ok ||
      napi_define_properties(env, instance, 1, &property) != napi_ok) {
    return nullptr;
  }
  return instance;
}

napi_value VcpuFd::Run(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data) != napi_ok) return nullptr;
  auto* target = static_cast<RunTarget*>(data);
  Vcpu* vcpu = target->vcpu.get();
  if (!vcpu) return ThrowClosed(env, "Vcpu");
  if (!vcpu->TryEnter()) return ThrowRunning(env);
  if (int error = target->heartbeat->Enter()) {
    target->heartbeat->Leave();
    vcpu->Leave();
    return ThrowKvmError(env, error, "timer_create", "run() needs a timer to come back by");
  }
  int result = ioctl(vcpu->fd(), KVM_RUN, 0) < 0 ? -errno : 0;
  target->heartbeat->Leave();
  vcpu->Leave();
  napi_value value = nullptr;
  napi_create_int32(env, result, &value);
  return value;
}

bool VcpuFd::CheckUsable(napi_env env) {
  if (!vcpu_) {
    ThrowClosed(env, "Vcpu");
    return false;
  }
  if (vcpu_->busy()) {
    ThrowRunning(env);
    return false;
  }
  return true;
}

napi_value VcpuFd::Fd(napi_env env) { return MakeInt32(env, vcpu_ ? vcpu_->fd() : -1); }

napi_value VcpuFd::RunPage(napi_env env) {
  if (!vcpu_) return ThrowClosed(env, "Vcpu");
  return buffers_.Make(env, vcpu_, reinterpret_cast<uint8_t*>(vcpu_->run()), vcpu_->run_size());
}

napi_value VcpuFd::Ioctl(napi_env env, const Args& args) {
  if (!CheckUsable(env)) return nullptr;
  return CheckedIoctl(env, vcpu_->fd(), kVcpu, args, vcpu_->xsave_size());
}

napi_value VcpuFd::DeviceAttr(napi_env env, const Args& args) {
  return CheckUsable(env) ? node_kvm::DeviceAttr(env, vcpu_->fd(), kVcpu, args) : nullptr;
}

// dirtyRing(): an ArrayBuffer over the vCPU's ring of struct kvm_dirty_gfn.
napi_value VcpuFd::DirtyRing(napi_env env, const Args&) {
  if (!CheckUsable(env)) return nullptr;
  int error = 0;
  size_t size = 0;
  uint8_t* ring = vcpu_->DirtyRing(&size, &error);
  if (!ring) return ThrowKvmError(env, error, "mmap", "the dirty ring");
  return buffers_.Make(env, vcpu_, ring, size);
}

// setSignalMask(mask | null): the signals that are blocked inside KVM_RUN, signal n as bit n - 1.
napi_value VcpuFd::SetSignalMask(napi_env env, const Args& args) {
  ForIoctl naming("KVM_SET_SIGNAL_MASK");
  struct {
    __u32 len = 8;
    __u8 sigset[8];
  } argument;
  uint64_t mask = 0;
  if (!CheckUsable(env)) return nullptr;
  bool clear = IsNullish(env, args[0]);
  if (!clear && !GetBigUint64(env, args[0], "mask", &mask)) return nullptr;
  // A vCPU that cannot be kicked could never be stopped.
  mask &= ~(uint64_t{1} << (KickSignal() - 1));
  std::memcpy(argument.sigset, &mask, sizeof mask);
  int result = node_kvm::Ioctl(vcpu_->fd(), KVM_SET_SIGNAL_MASK, clear ? nullptr : &argument);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_SET_SIGNAL_MASK") : nullptr;
}

// (id, bytes): the size of a register is part of its id.
napi_value VcpuFd::OneReg(napi_env env, const Args& args, uint32_t request, const char* name) {
  ForIoctl naming(name);
  kvm_one_reg reg = {};
  uint64_t id = 0;
  Bytes bytes;
  if (!CheckUsable(env) || !GetBigUint64(env, args[0], "id", &id) ||
      !GetBytes(env, args[1], "bytes", &bytes)) {
    return nullptr;
  }
  size_t size = size_t{1} << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
  if (bytes.size < size) {
    return ThrowInvalidOption(env, "bytes", args[1],
                              "the " + std::to_string(size) + " bytes that the id says");
  }
  reg.id = id;
  reg.addr = reinterpret_cast<uintptr_t>(bytes.data);
  int result = node_kvm::Ioctl(vcpu_->fd(), request, &reg);
  return result < 0 ? ThrowKvmError(env, -result, name) : nullptr;
}

napi_value VcpuFd::GetOneReg(napi_env env, const Args& args) {
  return OneReg(env, args, KVM_GET_ONE_REG, "KVM_GET_ONE_REG");
}

napi_value VcpuFd::SetOneReg(napi_env env, const Args& args) {
  return OneReg(env, args, KVM_SET_ONE_REG, "KVM_SET_ONE_REG");
}

// xenVcpuInfoHva(mapping, offset): Xen's vcpu_info, by its place in this process.
napi_value VcpuFd::XenVcpuInfoHva(napi_env env, const Args& args) {
  ForIoctl naming("KVM_XEN_VCPU_SET_ATTR");
  constexpr uint64_t kVcpuInfoSize = 64;
  uint64_t offset = 0;
  if (!CheckUsable(env)) return nullptr;
  auto* mapping = Unwrap<Mapping>(env, args[0], "mapping");
  if (!mapping) return nullptr;
  if (!mapping->memory()) return ThrowClosed(env, "mapping");
  if (!GetInteger(env, args[1], "offset", &offset, mapping->memory()->size() - kVcpuInfoSize)) {
    return nullptr;
  }
  kvm_xen_vcpu_attr attr = {};
  attr.type = KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA;
  attr.u.gpa = reinterpret_cast<uintptr_t>(mapping->memory()->data() + offset);
  int result = node_kvm::Ioctl(vcpu_->fd(), KVM_XEN_VCPU_SET_ATTR, &attr);
  if (result < 0) return ThrowKvmError(env, -result, "KVM_XEN_VCPU_SET_ATTR");
  vcpu_->resources().pinned.push_back(mapping->memory());
  return nullptr;
}

napi_value VcpuFd::MemoryEncryptOp(napi_env env, const Args& args) {
  return CheckUsable(env) ? node_kvm::MemoryEncryptOp(env, vcpu_->fd(), args) : nullptr;
}

napi_value VcpuFd::Stats(napi_env env, const Args&) {
  return CheckUsable(env) ? StatsFd::Open(env, vcpu_->fd()) : nullptr;
}

napi_value VcpuFd::Close(napi_env env, const Args&) {
  if (!vcpu_) return nullptr;
  if (!CheckUsable(env)) return nullptr;
  buffers_.DetachAll(env);
  run_target_->vcpu.reset();
  vcpu_.reset();
  return nullptr;
}

bool DefineVcpuFd(napi_env env) {
  napi_property_descriptor members[] = {
      Getter<&VcpuFd::Fd>("fd"),
      Getter<&VcpuFd::RunPage>("runPage"),
      Method<&VcpuFd::Ioctl>("ioctl"),
      Method<&VcpuFd::DeviceAttr>("deviceAttr"),
      Method<&VcpuFd::DirtyRing>("dirtyRing"),
      Method<&VcpuFd::SetSignalMask>("setSignalMask"),
      Method<&VcpuFd::GetOneReg>("getOneReg"),
      Method<&VcpuFd::SetOneReg>("setOneReg"),
      Method<&VcpuFd::XenVcpuInfoHva>("xenVcpuInfoHva"),
      Method<&VcpuFd::MemoryEncryptOp>("memoryEncryptOp"),
      Method<&VcpuFd::Stats>("stats"),
      Method<&VcpuFd::Close>("close"),
  };
  return DefinePrivateClass<VcpuFd>(env, &EnvData::vcpu_class, members);
}

}  // namespace node_kvm
