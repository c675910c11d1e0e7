import { expect } from 'vitest'
import * as K from '../../../lib/kvm.js'
import { runToExit } from '../../helpers/payloads.js'
import type { IoctlCase } from './ioctl-case.js'

/** A VM: its memory. */
export const vmMemoryCases: IoctlCase[] = [
  {
    ioctl: 'KVM_CHECK_EXTENSION',
    fd: 'vm',
    run: ({ vm }) => expect(vm.checkExtension(K.KVM_CAP_USER_MEMORY)).toBe(1),
  },
  {
    ioctl: 'KVM_ENABLE_CAP',
    fd: 'vm',
    run: ({ vm }) => vm.enableCap(K.KVM_CAP_EXIT_ON_EMULATION_FAILURE, [1n]),
  },
  {
    ioctl: 'KVM_SET_USER_MEMORY_REGION',
    fd: 'vm',
    run: ({ vm, memory }) => {
      const { mapping } = memory.regions[0]!
      vm.setUserMemoryRegion({
        slot: 1,
        guestAddress: 0x100000,
        size: 0x1000,
        mapping,
        offset: 0x1000,
      })
      vm.setUserMemoryRegion({ slot: 1, guestAddress: 0, size: 0 })
    },
  },
  {
    ioctl: 'KVM_SET_USER_MEMORY_REGION2',
    fd: 'vm',
    run: ({ vm, memory }) => {
      const { mapping } = memory.regions[0]!
      vm.setUserMemoryRegion2({ slot: 1, guestAddress: 0x100000, size: 0x1000, mapping })
    },
  },
  {
    ioctl: 'KVM_CREATE_GUEST_MEMFD',
    fd: 'vm',
    run: ({ vm }) => {
      const memfd = vm.createGuestMemfd(0x2000)
      expect(memfd.fd).toBeGreaterThan(2)
      memfd.close()
      expect(memfd.fd).toBe(-1)
    },
  },
  {
    ioctl: 'KVM_SET_MEMORY_ATTRIBUTES',
    fd: 'vm',
    run: ({ kvm }) => {
      if (!(kvm.checkExtension(K.KVM_CAP_VM_TYPES) & (1 << K.KVM_X86_SW_PROTECTED_VM))) {
        using vm = kvm.createVm()
        vm.setMemoryAttributes({
          address: 0,
          size: 0x1000,
          attributes: K.KVM_MEMORY_ATTRIBUTE_PRIVATE,
        })
        return
      }
      using vm = kvm.createVm(K.KVM_X86_SW_PROTECTED_VM)
      vm.setMemoryAttributes({
        address: 0,
        size: 0x1000,
        attributes: K.KVM_MEMORY_ATTRIBUTE_PRIVATE,
      })
    },
  },
  {
    ioctl: 'KVM_GET_DIRTY_LOG',
    fd: 'vm',
    code: [0xa2, 0x00, 0x50, 0xf4], // mov [0x5000], al; hlt
    run: ({ vm, vcpu, memory }) => {
      memory.register(vm, 0, K.KVM_MEM_LOG_DIRTY_PAGES)
      runToExit(vcpu)
      const log = vm.getDirtyLog(0)
      expect([log.length, log[0]! & (1 << 5)]).toEqual([8, 1 << 5])
      expect(vm.getDirtyLog(0)[0]! & (1 << 5)).toBe(0)
    },
  },
  {
    ioctl: 'KVM_CLEAR_DIRTY_LOG',
    fd: 'vm',
    code: [0xa2, 0x00, 0x50, 0xf4],
    run: ({ vm, vcpu, memory }) => {
      vm.enableCap(K.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, [
        BigInt(K.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE),
      ])
      memory.register(vm, 0, K.KVM_MEM_LOG_DIRTY_PAGES)
      runToExit(vcpu)
      expect(vm.getDirtyLog(0)[0]! & 0x20).toBe(0x20)
      expect(vm.getDirtyLog(0)[0]! & 0x20).toBe(0x20)
      vm.clearDirtyLog(0, 0, 16, Uint8Array.of(0xff, 0xff, 0, 0, 0, 0, 0, 0))
      expect(vm.getDirtyLog(0)[0]! & 0x20).toBe(0)
    },
  },
  {
    ioctl: 'KVM_RESET_DIRTY_RINGS',
    fd: 'vm',
    prepare: (vm) => vm.enableDirtyRing(1024),
    code: [0xa2, 0x00, 0x50, 0xa2, 0x00, 0x60, 0xf4],
    run: ({ vm, vcpu, memory }) => {
      memory.register(vm, 0, K.KVM_MEM_LOG_DIRTY_PAGES)
      runToExit(vcpu)
      const ring = vcpu.dirtyRing()
      const pages: number[] = []
      for (let dirty = ring.take(); dirty; dirty = ring.take()) pages.push(dirty.page)
      expect(pages).toEqual(expect.arrayContaining([5, 6]))
      expect(vm.resetDirtyRings()).toBe(pages.length)
      expect(ring.take()).toBeUndefined()
    },
  },
  { ioctl: 'KVM_SET_NR_MMU_PAGES', fd: 'vm', run: ({ vm }) => vm.setNrMmuPages(200) },
  {
    ioctl: 'KVM_GET_NR_MMU_PAGES',
    fd: 'vm',
    run: ({ vm }) => {
      vm.setNrMmuPages(200)
      expect(vm.getNrMmuPages()).toBe(200)
    },
  },
  { ioctl: 'KVM_SET_TSS_ADDR', fd: 'vm', run: ({ vm }) => vm.setTssAddr(0xfffb_d000) },
  {
    ioctl: 'KVM_SET_IDENTITY_MAP_ADDR',
    fd: 'vm',
    prepare: (vm) => vm.setIdentityMapAddr(0xfffb_c000),
    run: () => {},
  },
  { ioctl: 'KVM_SET_BOOT_CPU_ID', fd: 'vm', prepare: (vm) => vm.setBootCpuId(1), run: () => {} },
]
