import type { NativeGuestMemfd, NativeMapping, NativeVm } from '../binding.js'
import type { InitOfStruct } from '../util/struct.js'
import {
  KVM_CAP_DIRTY_LOG_RING,
  KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
  KVM_CAP_NR_MEMSLOTS,
} from './abi/capabilities.js'
import * as request from './abi/ioctls.js'
import { KVM_MEM_GUEST_MEMFD, KvmDirtyGfn, KvmMemoryAttributes } from './abi/memory.js'
import { KvmEnableCap } from './abi/vm.js'
import { Descriptor } from './descriptor.js'
import { checkInteger, Fd } from './fd.js'
import { bytesOf } from './lists.js'

/** A memory slot: {@link VmFd.setUserMemoryRegion}. */
export interface UserMemoryRegion {
  /** The slot's number, the address space (KVM_CAP_MULTI_ADDRESS_SPACE) in the high 16 bits. */
  slot: number
  /** Guest-physical, a multiple of 4096. */
  guestAddress: number
  /** Bytes, a multiple of 4096; 0 deletes the slot. */
  size: number
  /** The memory behind it; absent when deleting. */
  mapping?: NativeMapping
  /** Where in the mapping it begins, a multiple of 4096; 0 unless told. */
  offset?: number
  /** KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY. */
  flags?: number
}

/** A slot with private memory beside the shared: {@link VmFd.setUserMemoryRegion2}. */
export interface UserMemoryRegion2 extends UserMemoryRegion {
  /** Where its private pages come from. */
  guestMemfd?: GuestMemfd
  /** Where in the guest_memfd it begins, a multiple of 4096; 0 unless told. */
  guestMemfdOffset?: number
}

const UINT32 = 0xffff_ffff
const PAGE = 4096
const ADDRESS = Number.MAX_SAFE_INTEGER - PAGE

/** The memory of a virtual machine. Use it as {@link VmFd}. */
export abstract class VmMemory extends Fd<NativeVm> {
  #slots: number | undefined

  /** KVM_CHECK_EXTENSION on the VM: as {@link Kvm.checkExtension}, for this VM's type. */
  checkExtension(capability: number): number {
    checkInteger(capability, 'KVM_CHECK_EXTENSION capability', 0, UINT32)
    return this.native.ioctl(request.KVM_CHECK_EXTENSION, capability)
  }

  /** KVM_ENABLE_CAP on the VM, with up to 4 arguments. */
  enableCap(capability: number, args: readonly bigint[] = [], flags = 0): void {
    this.set(request.KVM_ENABLE_CAP, KvmEnableCap.from({ cap: capability, flags, args }))
  }

  /**
   * KVM_SET_USER_MEMORY_REGION: creates, moves, changes the flags of, or deletes a memory slot. The VM keeps the
   * mapping's memory while the slot is there, even after `mapping.close()`.
   * @throws KvmError `EEXIST` if it overlaps another slot, `EINVAL` for what a slot cannot change.
   */
  setUserMemoryRegion(region: UserMemoryRegion): void {
    const { slot, guestAddress, size, mapping, offset, flags } = this.#region(
      region,
      'KVM_SET_USER_MEMORY_REGION',
    )
    this.native.setUserMemoryRegion(slot, flags, guestAddress, size, mapping, offset)
  }

  /** KVM_SET_USER_MEMORY_REGION2 (KVM_CAP_USER_MEMORY2): the same, with memory of a guest_memfd. */
  setUserMemoryRegion2(region: UserMemoryRegion2): void {
    const name = 'KVM_SET_USER_MEMORY_REGION2'
    const { slot, guestAddress, size, mapping, offset, flags } = this.#region(region, name)
    const { guestMemfd, guestMemfdOffset = 0 } = region
    checkInteger(guestMemfdOffset, `${name} guestMemfdOffset`, 0, ADDRESS, PAGE)
    const all = flags | (guestMemfd ? KVM_MEM_GUEST_MEMFD : 0)
    const memfd = guestMemfd?.native ?? null
    this.native.setUserMemoryRegion2(
      slot,
      all,
      guestAddress,
      size,
      mapping,
      offset,
      memfd,
      guestMemfdOffset,
    )
  }

  /** KVM_CREATE_GUEST_MEMFD (KVM_CAP_GUEST_MEMFD): memory that only the guest can see. */
  createGuestMemfd(size: number, flags = 0): GuestMemfd {
    checkInteger(size, 'KVM_CREATE_GUEST_MEMFD size', PAGE, ADDRESS, PAGE)
    return new GuestMemfd(this.native.createGuestMemfd(size, flags))
  }

  /** KVM_SET_MEMORY_ATTRIBUTES (KVM_CAP_MEMORY_ATTRIBUTES): makes guest memory private or shared. */
  setMemoryAttributes(attributes: InitOfStruct<typeof KvmMemoryAttributes>): void {
    this.set(request.KVM_SET_MEMORY_ATTRIBUTES, KvmMemoryAttributes.from(attributes))
  }

  /**
   * KVM_GET_DIRTY_LOG of a slot with KVM_MEM_LOG_DIRTY_PAGES: a bit for each page, page n as bit n % 8 of byte n / 8, set
   * if the guest wrote it since the log was last taken.
   * @throws KvmError `ENOENT` for a slot that does not exist or has no log.
   */
  getDirtyLog(slot: number): Uint8Array {
    checkInteger(slot, 'KVM_GET_DIRTY_LOG slot', 0, UINT32)
    const bitmap = new Uint8Array(Math.ceil(this.native.slotSize(slot) / PAGE / 64) * 8)
    this.native.getDirtyLog(slot, bitmap)
    return bitmap
  }

  /**
   * KVM_CLEAR_DIRTY_LOG (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2): tracks again the pages whose bits are set. Bit 0 of the
   * bitmap is page `firstPage`, a multiple of 64; `pages` too, unless they end the slot.
   */
  clearDirtyLog(slot: number, firstPage: number, pages: number, bitmap: Uint8Array): void {
    this.native.clearDirtyLog(slot, firstPage, pages, bitmap)
  }

  /**
   * Gives every vCPU made from now on a dirty ring of `entries` pages, a power of two (KVM_CAP_DIRTY_LOG_RING or
   * KVM_CAP_DIRTY_LOG_RING_ACQ_REL, whose most bytes are the capability's value).
   */
  enableDirtyRing(entries: number): void {
    const name = 'KVM_CAP_DIRTY_LOG_RING entries'
    const older = this.checkExtension(KVM_CAP_DIRTY_LOG_RING)
    const most = older || this.checkExtension(KVM_CAP_DIRTY_LOG_RING_ACQ_REL)
    const bytes = checkInteger(entries, name, 1, UINT32) * KvmDirtyGfn.size
    if (most > 0) checkInteger(entries, name, 1, most / KvmDirtyGfn.size)
    this.enableCap(older ? KVM_CAP_DIRTY_LOG_RING : KVM_CAP_DIRTY_LOG_RING_ACQ_REL, [BigInt(bytes)])
  }

  /**
   * KVM_RESET_DIRTY_RINGS: tracks again the pages taken from all rings. Returns how many: since Linux 6.16 not all of
   * them if a signal came meanwhile, the rest at the next call.
   */
  resetDirtyRings(): number {
    return this.native.ioctl(request.KVM_RESET_DIRTY_RINGS)
  }

  /** KVM_SET_TSS_ADDR: three pages below 4 GiB that Intel's virtualization without unrestricted guest needs. */
  setTssAddr(guestAddress: number): void {
    checkInteger(guestAddress, 'KVM_SET_TSS_ADDR guestAddress', 0, UINT32)
    this.native.ioctl(request.KVM_SET_TSS_ADDR, guestAddress)
  }

  /** KVM_SET_IDENTITY_MAP_ADDR: one page below 4 GiB, for the same; before the first vCPU. */
  setIdentityMapAddr(guestAddress: number): void {
    checkInteger(guestAddress, 'KVM_SET_IDENTITY_MAP_ADDR guestAddress', 0, UINT32)
    const view = new DataView(new ArrayBuffer(8))
    view.setUint32(0, guestAddress, true)
    this.native.ioctl(request.KVM_SET_IDENTITY_MAP_ADDR, bytesOf(view))
  }

  /** KVM_SET_NR_MMU_PAGES: the most pages of the host that shadow page tables may take. */
  setNrMmuPages(pages: number): void {
    checkInteger(pages, 'KVM_SET_NR_MMU_PAGES pages', 0, UINT32)
    this.native.ioctl(request.KVM_SET_NR_MMU_PAGES, pages)
  }

  /** KVM_GET_NR_MMU_PAGES. */
  getNrMmuPages(): number {
    return this.native.ioctl(request.KVM_GET_NR_MMU_PAGES)
  }

  #region(region: UserMemoryRegion, name: string) {
    const { slot, guestAddress, size, mapping, offset = 0, flags = 0 } = region
    this.#slots ??= this.checkExtension(KVM_CAP_NR_MEMSLOTS)
    checkInteger(slot, `${name} slot`, 0, UINT32)
    checkInteger(slot % 0x1_0000, `${name} slot`, 0, this.#slots - 1)
    checkInteger(guestAddress, `${name} guestAddress`, 0, ADDRESS, PAGE)
    checkInteger(size, `${name} size`, 0, ADDRESS, PAGE)
    checkInteger(offset, `${name} offset`, 0, ADDRESS, PAGE)
    checkInteger(flags, `${name} flags`, 0, UINT32)
    return { slot, guestAddress, size, mapping: mapping ?? null, offset, flags }
  }
}

/** A guest_memfd: {@link VmFd.createGuestMemfd}. Slots keep its memory after `close()`. */
export class GuestMemfd extends Descriptor<NativeGuestMemfd> {}
