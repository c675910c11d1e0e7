#include "vcpu_fd.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>

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
  target->heartbeat->Enter();
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
      Getter<&VcpuFd::Fd>("fd"),       Getter<&VcpuFd::RunPage>("runPage"),
      Method<&VcpuFd::Ioctl>("ioctl"), Method<&VcpuFd::DeviceAttr>("deviceAttr"),
      Method<&VcpuFd::Close>("close"),
  };
  return DefinePrivateClass<VcpuFd>(env, &EnvData::vcpu_class, members);
}

}  // namespace node_kvm
