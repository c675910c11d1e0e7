// The VM's methods about memory slots, dirty logs and guest_memfd.
#include <cerrno>
#include <string>

#include "guest_memfd.h"
#include "kvm_compat.h"
#include "mapping.h"
#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"
#include "vm_fd.h"

namespace node_kvm {
namespace {

// What both forms of the ioctl have in common: (slot, flags, guestAddress, size, mapping | null,
// offset).
struct Region {
  uint32_t slot = 0;
  uint32_t flags = 0;
  uint64_t guest_address = 0;
  uint64_t size = 0;
  uint64_t host_address = 0;
  std::shared_ptr<const MappedMemory> memory;
};

bool ReadRegion(napi_env env, const Args& args, Region* region) {
  uint64_t offset = 0;
  if (!GetUint32(env, args[0], "slot", &region->slot) ||
      !GetUint32(env, args[1], "flags", &region->flags) ||
      !GetInteger(env, args[2], "guestAddress", &region->guest_address) ||
      !GetInteger(env, args[3], "size", &region->size)) {
    return false;
  }
  if (IsNullish(env, args[4])) {
    if (region->size == 0) return true;
    ThrowInvalidOption(env, "size", args[3], "0 to delete a slot (no mapping was given)");
    return false;
  }
  auto* mapping = Unwrap<Mapping>(env, args[4], "mapping");
  if (!mapping) return false;
  region->memory = mapping->memory();
  if (!region->memory) {
    ThrowClosed(env, "mapping");
    return false;
  }
  uint64_t available = region->memory->size();
  if (!region->size || region->size > available) {
    ThrowInvalidOption(env, "size", args[3],
                       "from 1 byte to the mapping's " + std::to_string(available));
    return false;
  }
  if (!GetInteger(env, args[5], "offset", &offset, available - region->size)) return false;
  region->host_address = reinterpret_cast<uintptr_t>(region->memory->data() + offset);
  return true;
}

// Only after the kernel took the change: until it let go of the old slot that one's memory had to
// stay.
void RecordSlot(VmResources* resources, Region region) {
  if (region.memory) {
    resources->slots[region.slot] = {region.size, std::move(region.memory)};
  } else {
    resources->slots.erase(region.slot);
  }
}

}  // namespace

napi_value VmFd::SetUserMemoryRegion(napi_env env, const Args& args) {
  ForIoctl naming("KVM_SET_USER_MEMORY_REGION");
  Region region;
  if (!CheckOpen(env) || !ReadRegion(env, args, &region)) return nullptr;
  kvm_userspace_memory_region argument = {};
  argument.slot = region.slot;
  argument.flags = region.flags;
  argument.guest_phys_addr = region.guest_address;
  argument.memory_size = region.size;
  argument.userspace_addr = region.host_address;
  int result = node_kvm::Ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &argument);
  if (result < 0) return ThrowKvmError(env, -result, "KVM_SET_USER_MEMORY_REGION");
  RecordSlot(resources_.get(), std::move(region));
  return nullptr;
}

// The same, then (guestMemfd | null, guestMemfdOffset).
napi_value VmFd::SetUserMemoryRegion2(napi_env env, const Args& args) {
  ForIoctl naming("KVM_SET_USER_MEMORY_REGION2");
  Region region;
  uint64_t memfd_offset = 0;
  if (!CheckOpen(env) || !ReadRegion(env, args, &region)) return nullptr;
  MemoryRegion2 argument = {};
  if (!IsNullish(env, args[6])) {
    auto* memfd = Unwrap<GuestMemfd>(env, args[6], "guestMemfd");
    if (!memfd || !GetInteger(env, args[7], "guestMemfdOffset", &memfd_offset)) return nullptr;
    if (memfd->fd() < 0) return ThrowClosed(env, "guestMemfd");
    argument.guest_memfd = static_cast<__u32>(memfd->fd());
    argument.guest_memfd_offset = memfd_offset;
  }
  argument.slot = region.slot;
  argument.flags = region.flags;
  argument.guest_phys_addr = region.guest_address;
  argument.memory_size = region.size;
  argument.userspace_addr = region.host_address;
  int result = node_kvm::Ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION2, &argument);
  if (result < 0) return ThrowKvmError(env, -result, "KVM_SET_USER_MEMORY_REGION2");
  RecordSlot(resources_.get(), std::move(region));
  return nullptr;
}

// createGuestMemfd(size, flags)
napi_value VmFd::CreateGuestMemfd(napi_env env, const Args& args) {
  ForIoctl naming("KVM_CREATE_GUEST_MEMFD");
  struct CreateGuestMemfd argument = {};
  uint64_t size = 0;
  uint64_t flags = 0;
  if (!CheckOpen(env) || !GetInteger(env, args[0], "size", &size) ||
      !GetInteger(env, args[1], "flags", &flags)) {
    return nullptr;
  }
  argument.size = size;
  argument.flags = flags;
  int fd = node_kvm::Ioctl(fd_.get(), KVM_CREATE_GUEST_MEMFD, &argument);
  if (fd < 0) return ThrowKvmError(env, -fd, "KVM_CREATE_GUEST_MEMFD");
  return NewInstance(env, &EnvData::guest_memfd_class, std::make_unique<GuestMemfd>(UniqueFd(fd)));
}

// slotSize(slot): bytes, 0 for a slot that does not exist.
napi_value VmFd::SlotSize(napi_env env, const Args& args) {
  uint32_t slot = 0;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "slot", &slot)) return nullptr;
  auto found = resources_->slots.find(slot);
  return MakeNumber(env,
                    found == resources_->slots.end() ? 0 : static_cast<double>(found->second.size));
}

bool VmFd::DirtyBitmap(napi_env env, uint32_t slot, napi_value bitmap, Bytes* bytes,
                       uint64_t* pages) {
  if (!GetBytes(env, bitmap, "bitmap", bytes)) return false;
  auto found = resources_->slots.find(slot);
  if (found == resources_->slots.end()) {
    ThrowKvmError(env, ENOENT, "KVM_GET_DIRTY_LOG", "no such slot");
    return false;
  }
  *pages = found->second.size / kPageSize;
  // The kernel writes whole words of 64 pages.
  uint64_t needed = (*pages + 63) / 64 * 8;
  if (bytes->size >= needed) return true;
  ThrowInvalidOption(env, "bitmap", bitmap, "at least " + std::to_string(needed) + " bytes");
  return false;
}

// getDirtyLog(slot, bitmap)
napi_value VmFd::GetDirtyLog(napi_env env, const Args& args) {
  ForIoctl naming("KVM_GET_DIRTY_LOG");
  kvm_dirty_log log = {};
  Bytes bytes;
  uint64_t pages = 0;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "slot", &log.slot) ||
      !DirtyBitmap(env, log.slot, args[1], &bytes, &pages)) {
    return nullptr;
  }
  log.dirty_bitmap = bytes.data;
  int result = node_kvm::Ioctl(fd_.get(), KVM_GET_DIRTY_LOG, &log);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_GET_DIRTY_LOG") : nullptr;
}

// clearDirtyLog(slot, firstPage, pages, bitmap): bit 0 of the bitmap is `firstPage`.
napi_value VmFd::ClearDirtyLog(napi_env env, const Args& args) {
  ForIoctl naming("KVM_CLEAR_DIRTY_LOG");
  kvm_clear_dirty_log log = {};
  uint64_t first_page = 0;
  Bytes bytes;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "slot", &log.slot) ||
      !GetInteger(env, args[1], "firstPage", &first_page) ||
      !GetUint32(env, args[2], "pages", &log.num_pages) ||
      !GetBytes(env, args[3], "bitmap", &bytes)) {
    return nullptr;
  }
  uint64_t needed = (uint64_t{log.num_pages} + 63) / 64 * 8;
  if (bytes.size < needed) {
    return ThrowInvalidOption(env, "bitmap", args[3],
                              "at least " + std::to_string(needed) + " bytes");
  }
  log.first_page = first_page;
  log.dirty_bitmap = bytes.data;
  int result = node_kvm::Ioctl(fd_.get(), KVM_CLEAR_DIRTY_LOG, &log);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_CLEAR_DIRTY_LOG") : nullptr;
}

}  // namespace node_kvm
