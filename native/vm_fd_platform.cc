// The VM's methods about interrupts, MSRs, other hypervisors' interfaces and memory encryption.
#include <cerrno>
#include <cstring>
#include <string>

#include "event_fd.h"
#include "mapping.h"
#include "memory_encryption.h"
#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"
#include "vm_fd.h"

namespace node_kvm {

// irqfd(event, gsi, flags, resample | null)
napi_value VmFd::Irqfd(napi_env env, const Args& args) {
  ForIoctl naming("KVM_IRQFD");
  kvm_irqfd irqfd = {};
  if (!CheckOpen(env)) return nullptr;
  auto* event = Unwrap<EventFd>(env, args[0], "event");
  if (!event || !GetUint32(env, args[1], "gsi", &irqfd.gsi) ||
      !GetUint32(env, args[2], "flags", &irqfd.flags)) {
    return nullptr;
  }
  if (event->fd() < 0) return ThrowClosed(env, "event");
  irqfd.fd = static_cast<__u32>(event->fd());
  irqfd.flags &= ~KVM_IRQFD_FLAG_RESAMPLE;
  if (!IsNullish(env, args[3])) {
    auto* resample = Unwrap<EventFd>(env, args[3], "resample");
    if (!resample) return nullptr;
    if (resample->fd() < 0) return ThrowClosed(env, "resample");
    irqfd.resamplefd = static_cast<__u32>(resample->fd());
    irqfd.flags |= KVM_IRQFD_FLAG_RESAMPLE;
  }
  int result = node_kvm::Ioctl(fd_.get(), KVM_IRQFD, &irqfd);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_IRQFD") : nullptr;
}

// ioeventfd(event, address, length, datamatch, flags)
napi_value VmFd::Ioeventfd(napi_env env, const Args& args) {
  ForIoctl naming("KVM_IOEVENTFD");
  kvm_ioeventfd ioeventfd = {};
  uint64_t address = 0;
  uint64_t datamatch = 0;
  if (!CheckOpen(env)) return nullptr;
  auto* event = Unwrap<EventFd>(env, args[0], "event");
  if (!event || !GetInteger(env, args[1], "address", &address) ||
      !GetUint32(env, args[2], "length", &ioeventfd.len) ||
      !GetBigUint64(env, args[3], "datamatch", &datamatch) ||
      !GetUint32(env, args[4], "flags", &ioeventfd.flags)) {
    return nullptr;
  }
  if (event->fd() < 0) return ThrowClosed(env, "event");
  ioeventfd.fd = event->fd();
  ioeventfd.addr = address;
  ioeventfd.datamatch = datamatch;
  int result = node_kvm::Ioctl(fd_.get(), KVM_IOEVENTFD, &ioeventfd);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_IOEVENTFD") : nullptr;
}

// setMsrFilter(flags, ranges): each range is [flags, base, count, bitmap].
napi_value VmFd::SetMsrFilter(napi_env env, const Args& args) {
  ForIoctl naming("KVM_X86_SET_MSR_FILTER");
  kvm_msr_filter filter = {};
  // The kernel copies a bitmap as long as the range says: from memory of that very length.
  uint8_t bitmaps[KVM_MSR_FILTER_MAX_RANGES][KVM_MSR_FILTER_MAX_BITMAP_SIZE] = {};
  uint32_t count = 0;
  bool is_array = false;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "flags", &filter.flags)) return nullptr;
  if (napi_is_array(env, args[1], &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, args[1], &count) != napi_ok || count > KVM_MSR_FILTER_MAX_RANGES) {
    return ThrowInvalidOption(env, "ranges", args[1], "an array of at most 16");
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value range = nullptr;
    napi_value parts[4] = {};
    if (napi_get_element(env, args[1], i, &range) != napi_ok) return nullptr;
    for (uint32_t part = 0; part < 4; part++) {
      if (napi_get_element(env, range, part, &parts[part]) != napi_ok) {
        return ThrowInvalidOption(env, "ranges[]", range, "[flags, base, count, bitmap]");
      }
    }
    Bytes bytes;
    kvm_msr_filter_range& target = filter.ranges[i];
    if (!GetUint32(env, parts[0], "ranges[].flags", &target.flags) ||
        !GetUint32(env, parts[1], "ranges[].base", &target.base) ||
        !GetUint32(env, parts[2], "ranges[].count", &target.nmsrs,
                   KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8) ||
        !GetBytes(env, parts[3], "ranges[].bitmap", &bytes)) {
      return nullptr;
    }
    size_t needed = (size_t{target.nmsrs} + 7) / 8;
    if (bytes.size < needed) {
      return ThrowInvalidOption(env, "ranges[].bitmap", parts[3],
                                "at least " + std::to_string(needed) + " bytes");
    }
    if (needed) std::memcpy(bitmaps[i], bytes.data, needed);
    target.bitmap = bitmaps[i];
  }
  int result = node_kvm::Ioctl(fd_.get(), KVM_X86_SET_MSR_FILTER, &filter);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_X86_SET_MSR_FILTER") : nullptr;
}

// hypervEventfd(event | null, connectionId, flags)
napi_value VmFd::HypervEventfd(napi_env env, const Args& args) {
  ForIoctl naming("KVM_HYPERV_EVENTFD");
  kvm_hyperv_eventfd argument = {};
  if (!CheckOpen(env) || !GetUint32(env, args[1], "connectionId", &argument.conn_id) ||
      !GetUint32(env, args[2], "flags", &argument.flags)) {
    return nullptr;
  }
  argument.fd = -1;
  if (!IsNullish(env, args[0])) {
    auto* event = Unwrap<EventFd>(env, args[0], "event");
    if (!event) return nullptr;
    if (event->fd() < 0) return ThrowClosed(env, "event");
    argument.fd = event->fd();
  }
  int result = node_kvm::Ioctl(fd_.get(), KVM_HYPERV_EVENTFD, &argument);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_HYPERV_EVENTFD") : nullptr;
}

// xenHvmConfig(flags, msr, blob32 | null, blob64 | null): each blob is whole pages of hypercall
// code.
napi_value VmFd::XenHvmConfig(napi_env env, const Args& args) {
  ForIoctl naming("KVM_XEN_HVM_CONFIG");
  kvm_xen_hvm_config config = {};
  if (!CheckOpen(env) || !GetUint32(env, args[0], "flags", &config.flags) ||
      !GetUint32(env, args[1], "msr", &config.msr)) {
    return nullptr;
  }
  std::shared_ptr<const void> pins[2];
  for (int i = 0; i < 2; i++) {
    const char* option = i == 0 ? "blob32" : "blob64";
    if (IsNullish(env, args[2 + i])) continue;
    Bytes bytes;
    if (!GetBytes(env, args[2 + i], option, &bytes)) return nullptr;
    if (bytes.size % kPageSize || bytes.size / kPageSize > UINT8_MAX) {
      return ThrowInvalidOption(env, option, args[2 + i], "from 1 to 255 pages of 4096 bytes");
    }
    // The kernel reads it each time the guest asks for a page: it must stay as long as the VM.
    auto copy = std::make_shared<std::vector<uint8_t>>(bytes.data, bytes.data + bytes.size);
    auto address = reinterpret_cast<uintptr_t>(copy->data());
    auto pages = static_cast<__u8>(bytes.size / kPageSize);
    (i == 0 ? config.blob_addr_32 : config.blob_addr_64) = address;
    (i == 0 ? config.blob_size_32 : config.blob_size_64) = pages;
    pins[i] = std::move(copy);
  }
  int result = node_kvm::Ioctl(fd_.get(), KVM_XEN_HVM_CONFIG, &config);
  if (result < 0) return ThrowKvmError(env, -result, "KVM_XEN_HVM_CONFIG");
  resources_->xen_blobs[0] = std::move(pins[0]);
  resources_->xen_blobs[1] = std::move(pins[1]);
  return nullptr;
}

// xenSharedInfoHva(mapping, offset): the shared info page, by its place in this process.
napi_value VmFd::XenSharedInfoHva(napi_env env, const Args& args) {
  ForIoctl naming("KVM_XEN_HVM_SET_ATTR");
  uint64_t offset = 0;
  if (!CheckOpen(env)) return nullptr;
  auto* mapping = Unwrap<Mapping>(env, args[0], "mapping");
  if (!mapping) return nullptr;
  if (!mapping->memory()) return ThrowClosed(env, "mapping");
  if (!GetInteger(env, args[1], "offset", &offset, mapping->memory()->size() - kPageSize))
    return nullptr;
  kvm_xen_hvm_attr attr = {};
  attr.type = KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA;
  attr.u.shared_info.gfn = reinterpret_cast<uintptr_t>(mapping->memory()->data() + offset);
  int result = node_kvm::Ioctl(fd_.get(), KVM_XEN_HVM_SET_ATTR, &attr);
  if (result < 0) return ThrowKvmError(env, -result, "KVM_XEN_HVM_SET_ATTR");
  resources_->pinned.push_back(mapping->memory());
  return nullptr;
}

napi_value VmFd::MemoryEncryptOp(napi_env env, const Args& args) {
  return CheckOpen(env) ? node_kvm::MemoryEncryptOp(env, fd_.get(), args) : nullptr;
}

// memoryEncryptRegion(register, mapping, offset, size)
napi_value VmFd::MemoryEncryptRegion(napi_env env, const Args& args) {
  bool add = false;
  uint64_t offset = 0;
  uint64_t size = 0;
  if (!CheckOpen(env)) return nullptr;
  if (napi_get_value_bool(env, args[0], &add) != napi_ok) {
    return ThrowInvalidOption(env, "register", args[0], "a boolean");
  }
  const char* name = add ? "KVM_MEMORY_ENCRYPT_REG_REGION" : "KVM_MEMORY_ENCRYPT_UNREG_REGION";
  ForIoctl naming(name);
  auto* mapping = Unwrap<Mapping>(env, args[1], "mapping");
  if (!mapping) return nullptr;
  if (!mapping->memory()) return ThrowClosed(env, "mapping");
  uint64_t available = mapping->memory()->size();
  if (!GetInteger(env, args[2], "offset", &offset, available) ||
      !GetInteger(env, args[3], "size", &size, available - offset)) {
    return nullptr;
  }
  kvm_enc_region region = {};
  region.addr = reinterpret_cast<uintptr_t>(mapping->memory()->data() + offset);
  region.size = size;
  int result = node_kvm::Ioctl(
      fd_.get(), add ? KVM_MEMORY_ENCRYPT_REG_REGION : KVM_MEMORY_ENCRYPT_UNREG_REGION, &region);
  if (result < 0) return ThrowKvmError(env, -result, name);
  // Its pages are pinned by the kernel; a reference more keeps their addresses meaning the same.
  if (add) resources_->pinned.push_back(mapping->memory());
  return nullptr;
}

}  // namespace node_kvm
