import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/binding.js'
import * as K from '../../lib/kvm.js'
import { payload, tinyVm } from '../helpers/payloads.js'
import { openFds } from '../helpers/process-state.js'

const invalid = (option: string | RegExp) =>
  expect.objectContaining({
    name: 'VmmError',
    code: 'ERR_INVALID_OPTION',
    option: typeof option === 'string' ? option : expect.stringMatching(option),
  })
const refused = (code: string, syscall: string) =>
  expect.objectContaining({ name: 'KvmError', code, syscall })

/** Numbers that are none of anything's. */
const nonsense = [
  Number.NaN,
  Infinity,
  -1,
  0.5,
  2 ** 53,
  '1',
  null,
  undefined,
  1n,
  {},
  [],
  true,
] as never[]

describe('Kvm.open', () => {
  it('tells the ways in which there may be no KVM apart', () => {
    const folder = mkdtempSync(join(tmpdir(), 'node-kvm-open-'))
    try {
      const file = join(folder, 'file')
      writeFileSync(file, '')
      expect(() => K.Kvm.open(join(folder, 'nothing'))).toThrow(
        expect.objectContaining({ code: 'ERR_KVM_ABSENT' }),
      )
      expect(() => K.Kvm.open(file)).toThrow(
        expect.objectContaining({ code: 'ERR_KVM_UNSUPPORTED' }),
      )
      expect(() => K.Kvm.open('/dev/zero')).toThrow(
        expect.objectContaining({ code: 'ERR_KVM_UNSUPPORTED' }),
      )
      expect(() => K.Kvm.open(folder)).toThrow(refused('EISDIR', 'open'))
      expect(() => K.Kvm.open(join(file, 'x'))).toThrow(refused('ENOTDIR', 'open'))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  const open = (statSync('/dev/kvm').mode & 0o006) !== 0
  it.skipIf(process.getuid?.() !== 0 || open)('tells of a lack of permission', () => {
    try {
      process.setegid?.(65534)
      process.seteuid?.(65534)
      expect(() => K.Kvm.open()).toThrow(
        expect.objectContaining({ code: 'ERR_KVM_FORBIDDEN', value: '/dev/kvm' }),
      )
    } finally {
      process.seteuid?.(0)
      process.setegid?.(0)
    }
  })

  it.each([...nonsense.filter((path) => path !== '1'), 'a\0b', 'x'.repeat(5000)])(
    'refuses the path %#',
    (path) => {
      if (path === undefined) return
      expect(() => K.Kvm.open(path)).toThrow(invalid('path'))
    },
  )
})

describe('numbers', () => {
  it('of no address space are refused', () => {
    using tiny = tinyVm(payload.hlt)
    using event = new K.EventFd()
    for (const space of [undefined, 'PIO', 0] as never[]) {
      expect(() => tiny.vm.ioeventfd(event, { space, address: 0, length: 1 })).toThrow(
        invalid('KVM_IOEVENTFD space'),
      )
    }
  })

  it('out of range are refused with the ioctl and the field', () => {
    using tiny = tinyVm(payload.hlt, { prepare: (vm) => vm.createIrqchip() })
    const { kvm, vm, vcpu, memory } = tiny
    const { mapping } = memory.regions[0]!
    using event = new K.EventFd()
    const region = { slot: 1, guestAddress: 0x100000, size: 0x1000, mapping }
    for (const value of nonsense) {
      const bad: [string, () => unknown][] = [
        ['KVM_CREATE_VCPU id', () => vm.createVcpu(value)],
        [
          'KVM_SET_USER_MEMORY_REGION slot',
          () => vm.setUserMemoryRegion({ ...region, slot: value }),
        ],
        [
          'KVM_SET_USER_MEMORY_REGION size',
          () => vm.setUserMemoryRegion({ ...region, size: value }),
        ],
        [
          'KVM_SET_USER_MEMORY_REGION guestAddress',
          () => vm.setUserMemoryRegion({ ...region, guestAddress: value }),
        ],
        ['KVM_IRQ_LINE gsi', () => vm.irqLine(value, true)],
        ['KVM_IRQFD gsi', () => vm.irqfd(event, value)],
        [
          'KVM_IOEVENTFD address',
          () => vm.ioeventfd(event, { space: 'pio', address: value, length: 1 }),
        ],
        ['KVM_SET_TSS_ADDR guestAddress', () => vm.setTssAddr(value)],
        ['KVM_SET_IDENTITY_MAP_ADDR guestAddress', () => vm.setIdentityMapAddr(value)],
        ['KVM_CREATE_GUEST_MEMFD size', () => vm.createGuestMemfd(value)],
        ['KVM_GET_DIRTY_LOG slot', () => vm.getDirtyLog(value)],
        ['KVM_INTERRUPT irq', () => vcpu.interrupt(value)],
        ['KVM_SET_TSC_KHZ khz', () => vcpu.setTscKhz(value)],
        ['KVM_GET_MSRS entries[0].index', () => vcpu.getMsrs([value])],
        ['KVM_GET_MSRS entries[0].index', () => kvm.getMsrs([value])],
      ]
      for (const [option, call] of bad) expect(call).toThrow(invalid(option))
    }
  })

  it('are refused with the ioctl and the field where the addon checks them', () => {
    using tiny = tinyVm(payload.hlt, { prepare: (vm) => vm.createIrqchip() })
    const { kvm, vm, vcpu, memory } = tiny
    const { mapping } = memory.regions[0]!
    const bytes = new Uint8Array(64)
    for (const value of nonsense.filter((value) => value !== undefined && value !== null)) {
      const bad: [string, () => unknown][] = [
        ['KVM_CREATE_VM type', () => kvm.createVm(value)],
        ['KVM_CHECK_EXTENSION argument', () => kvm.checkExtension(value)],
        ['KVM_CREATE_DEVICE type', () => vm.createDevice(value)],
        ['KVM_CREATE_DEVICE type', () => vm.testDevice(value)],
        ['KVM_HAS_DEVICE_ATTR group', () => vcpu.hasDeviceAttr(value, 0)],
        ['KVM_GET_DEVICE_ATTR attribute', () => vcpu.getDeviceAttr(0, value)],
        ['KVM_SET_DEVICE_ATTR group', () => vcpu.setDeviceAttr(value, 0, bytes)],
        ['KVM_CLEAR_DIRTY_LOG slot', () => vm.clearDirtyLog(value, 0, 64, bytes)],
        ['KVM_CLEAR_DIRTY_LOG firstPage', () => vm.clearDirtyLog(0, value, 64, bytes)],
        ['KVM_CLEAR_DIRTY_LOG pages', () => vm.clearDirtyLog(0, 0, value, bytes)],
        ['KVM_XEN_HVM_CONFIG flags', () => vm.xenHvmConfig(value, 0)],
        ['KVM_XEN_HVM_CONFIG msr', () => vm.xenHvmConfig(0, value)],
        ['KVM_XEN_HVM_SET_ATTR offset', () => vm.xenSetSharedInfo(mapping, value)],
        ['KVM_XEN_VCPU_SET_ATTR offset', () => vcpu.xenSetVcpuInfo(mapping, value)],
        ['KVM_HYPERV_EVENTFD conn_id', () => vm.hypervEventfd(value, null)],
        ['KVM_MEMORY_ENCRYPT_REG_REGION offset', () => vm.memoryEncryptRegRegion(mapping, value)],
        ['KVM_CREATE_GUEST_MEMFD flags', () => vm.createGuestMemfd(4096, value)],
      ]
      for (const [option, call] of bad) expect(call).toThrow(invalid(option))
    }
    for (const value of [0, -1n, 2n ** 64n, '1', {}] as never[]) {
      expect(() => vcpu.setSignalMask(value)).toThrow(invalid('KVM_SET_SIGNAL_MASK mask'))
      expect(() => vcpu.getOneReg(value)).toThrow(invalid('KVM_GET_ONE_REG id'))
      expect(() => vcpu.setOneReg(value, bytes)).toThrow(invalid('KVM_SET_ONE_REG id'))
      expect(() => vm.setPmuEventFilter({ action: 0, events: [0n, value] })).toThrow(
        invalid('KVM_SET_PMU_EVENT_FILTER events[1]'),
      )
    }
    expect(() => vcpu.setOneReg(K.KVM_REG_X86 | K.KVM_REG_SIZE_U1024, bytes)).toThrow(
      invalid('KVM_SET_ONE_REG bytes'),
    )
    expect(() => vcpu.setLapic(bytes)).toThrow(invalid('KVM_SET_LAPIC argument'))
    expect(() => vcpu.setXsave(bytes)).toThrow(invalid('KVM_SET_XSAVE argument'))
    expect(() => vcpu.setNestedState(bytes)).toThrow(invalid('KVM_SET_NESTED_STATE argument'))
  })

  it('just past a limit are refused', () => {
    using tiny = tinyVm(payload.hlt, { prepare: (vm) => vm.createIrqchip() })
    const { kvm, vm, vcpu } = tiny
    expect(() => vm.createVcpu(kvm.checkExtension(K.KVM_CAP_MAX_VCPU_ID))).toThrow(
      invalid('KVM_CREATE_VCPU id'),
    )
    const slot = kvm.checkExtension(K.KVM_CAP_NR_MEMSLOTS)
    expect(() => vm.setUserMemoryRegion({ slot, guestAddress: 0, size: 0 })).toThrow(
      invalid('KVM_SET_USER_MEMORY_REGION slot'),
    )
    const gsi = kvm.checkExtension(K.KVM_CAP_IRQ_ROUTING)
    expect(() => vm.irqLine(gsi, true)).toThrow(invalid('KVM_IRQ_LINE gsi'))
    expect(() => vm.setGsiRouting([{ gsi, type: 1 }])).toThrow(invalid('KVM_SET_GSI_ROUTING gsi'))
    const leaf = { function: 0, index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0 }
    expect(() => vcpu.setCpuid2(Array(257).fill(leaf))).toThrow(
      invalid('KVM_SET_CPUID2 entries.length'),
    )
    expect(() => vcpu.getMsrs(Array(257).fill(0x10))).toThrow(
      invalid('KVM_GET_MSRS entries.length'),
    )
    const range = { flags: 3, base: 0, count: 8, bitmap: new Uint8Array(1) }
    expect(() => vm.setMsrFilter(Array(17).fill(range))).toThrow(
      invalid('KVM_X86_SET_MSR_FILTER ranges.length'),
    )
    expect(() => vm.setMsrFilter([{ ...range, count: 9 }])).toThrow(
      invalid('KVM_X86_SET_MSR_FILTER ranges[].bitmap'),
    )
    expect(() => vm.setMsrFilter([{ ...range, count: 0x600 * 8 + 1 }])).toThrow(invalid(/count/))
    expect(() => vm.setPmuEventFilter({ action: 0, events: Array(301).fill(0n) })).toThrow(
      invalid(/events/),
    )
  })

  it('in structs are refused with the field', () => {
    using tiny = tinyVm(payload.hlt)
    expect(() => tiny.vcpu.setRegs({ rax: 1 as never })).toThrow(invalid('kvm_regs.rax'))
    expect(() => tiny.vcpu.setRegs({ eax: 1n } as never)).toThrow(invalid('kvm_regs.eax'))
    expect(() => tiny.vcpu.setSregs({ cs: { dpl: 256 } })).toThrow(invalid('kvm_segment.dpl'))
    expect(() => tiny.vcpu.setMsrs([{ index: 0x10, data: -1n }])).toThrow(invalid(/data/))
    expect(() => tiny.vm.registerCoalescedMmio({ addr: 2 ** 53, size: 4 })).toThrow(
      invalid('kvm_coalesced_mmio_zone.addr'),
    )
    const leaf = { function: 0, index: 0, flags: 0, eax: 2 ** 32, ebx: 0, ecx: 0, edx: 0 }
    expect(() => tiny.vcpu.setCpuid2([leaf])).toThrow(invalid('KVM_SET_CPUID2 entries[0].eax'))
  })
})

describe('memory slots', () => {
  it('that are unaligned, overlap or exceed their mapping are refused', () => {
    using tiny = tinyVm(payload.hlt)
    const { vm, memory } = tiny
    const { mapping } = memory.regions[0]!
    const name = 'KVM_SET_USER_MEMORY_REGION'
    const region = { slot: 1, guestAddress: 0x100000, size: 0x1000, mapping }
    expect(() => vm.setUserMemoryRegion({ ...region, guestAddress: 0x100001 })).toThrow(
      invalid(`${name} guestAddress`),
    )
    expect(() => vm.setUserMemoryRegion({ ...region, size: 0x1001 })).toThrow(
      invalid(`${name} size`),
    )
    expect(() => vm.setUserMemoryRegion({ ...region, offset: 1 })).toThrow(
      invalid(`${name} offset`),
    )
    expect(() => vm.setUserMemoryRegion({ ...region, size: 0x11000 })).toThrow(
      invalid('KVM_SET_USER_MEMORY_REGION size'),
    )
    expect(() => vm.setUserMemoryRegion({ ...region, offset: 0x10000 })).toThrow(
      invalid('KVM_SET_USER_MEMORY_REGION offset'),
    )
    expect(() => vm.setUserMemoryRegion({ ...region, guestAddress: 0x8000 })).toThrow(
      refused('EEXIST', name),
    )
    expect(() => vm.setUserMemoryRegion({ slot: 1, guestAddress: 0, size: 0x1000 })).toThrow(
      invalid('KVM_SET_USER_MEMORY_REGION size'),
    )
    expect(() => vm.setUserMemoryRegion({ slot: 9, guestAddress: 0, size: 0 })).toThrow(
      refused('EINVAL', name),
    )
    expect(() => vm.setUserMemoryRegion({ ...region, mapping: {} as never })).toThrow(TypeError)
  })

  it('without a log have none to take', () => {
    using tiny = tinyVm(payload.hlt)
    expect(() => tiny.vm.getDirtyLog(0)).toThrow(refused('ENOENT', 'KVM_GET_DIRTY_LOG'))
    expect(() => tiny.vm.getDirtyLog(5)).toThrow(refused('ENOENT', 'KVM_GET_DIRTY_LOG'))
    tiny.memory.register(tiny.vm, 0, K.KVM_MEM_LOG_DIRTY_PAGES)
    expect(() => tiny.vm.native.getDirtyLog(0, new Uint8Array(7))).toThrow(
      invalid('KVM_GET_DIRTY_LOG bitmap'),
    )
    expect(() => tiny.vm.clearDirtyLog(0, 0, 128, new Uint8Array(8))).toThrow(
      invalid('KVM_CLEAR_DIRTY_LOG bitmap'),
    )
  })

  it('with a log that was never asked for have no dirty ring', () => {
    using tiny = tinyVm(payload.hlt)
    expect(() => tiny.vcpu.dirtyRing()).toThrow(refused('ENXIO', 'mmap'))
    expect(() => tiny.vm.enableDirtyRing(2 ** 31)).toThrow(invalid(/entries/))
    expect(() => tiny.vm.enableDirtyRing(3)).toThrow(refused('EINVAL', 'KVM_ENABLE_CAP'))
  })
})

describe('the checked ioctl', () => {
  it('refuses what is not listed for the descriptor', () => {
    using tiny = tinyVm(payload.hlt)
    for (const number of [0, 1, 0xae80, 0xdead_beef, 0x5401, K.KVM_GET_REGS]) {
      expect(() => tiny.vm.ioctl(number, new Uint8Array(4096))).toThrow(invalid('request'))
    }
    for (const number of nonsense) expect(() => tiny.vm.ioctl(number)).toThrow(invalid('request'))
  })

  it('refuses what carries a pointer or returns a descriptor', () => {
    using tiny = tinyVm(payload.hlt)
    const named = binding()
      .ioctls()
      .filter((entry) => entry.kind === 'named')
    expect(named.length).toBeGreaterThan(20)
    for (const { request } of named) {
      for (const object of [tiny.kvm, tiny.vm, tiny.vcpu]) {
        expect(() => object.ioctl(request, new Uint8Array(4096))).toThrow(invalid('request'))
      }
    }
  })

  it('refuses bytes that are too few, of another kind, or detached', () => {
    using tiny = tinyVm(payload.hlt)
    const structs = binding()
      .ioctls()
      .filter(({ kind, fds }) => kind === 'struct' && fds === 4)
    for (const { name, request, size } of structs) {
      const argumentOfIt = invalid(`${name} argument`)
      expect(() => tiny.vcpu.ioctl(request, new Uint8Array(size - 1))).toThrow(argumentOfIt)
      for (const argument of [
        undefined,
        0,
        null,
        {},
        new Uint16Array(size),
        new ArrayBuffer(size),
        new DataView(new ArrayBuffer(size)),
      ]) {
        expect(() => tiny.vcpu.ioctl(request, argument as never)).toThrow(argumentOfIt)
      }
    }
    const detached = new Uint8Array(144)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    expect(() => tiny.vcpu.ioctl(K.KVM_GET_REGS, detached)).toThrow(
      invalid('KVM_GET_REGS argument'),
    )
    expect(() => tiny.vcpu.ioctl(K.KVM_GET_XSAVE2, new Uint8Array(4095))).toThrow(
      invalid('KVM_GET_XSAVE2 argument'),
    )
  })

  it('refuses lists that say they are longer than they are', () => {
    using tiny = tinyVm(payload.hlt)
    for (const { request, size, entrySize, fds, name } of binding()
      .ioctls()
      .filter(({ kind }) => kind === 'list')) {
      const object = fds & 1 ? tiny.kvm : fds & 2 ? tiny.vm : tiny.vcpu
      const bytes = new Uint8Array(size + 2 * entrySize)
      const view = new DataView(bytes.buffer)
      const at = name === 'KVM_SET_PMU_EVENT_FILTER' ? 4 : 0
      for (const count of [3, 0x7fff_ffff, 0xffff_ffff]) {
        view.setUint32(at, count, true)
        expect(() => object.ioctl(request, bytes)).toThrow(invalid(`${name} argument`))
      }
      expect(() => object.ioctl(request, bytes.subarray(0, size - 1))).toThrow(
        invalid(`${name} argument`),
      )
    }
    const registers = new BigUint64Array(3)
    registers[0] = 0x1_0000_0001n
    expect(() => tiny.vcpu.ioctl(K.KVM_GET_REG_LIST, new Uint8Array(registers.buffer))).toThrow(
      invalid('KVM_GET_REG_LIST argument'),
    )
  })

  it('refuses a host address in Xen attributes', () => {
    using tiny = tinyVm(payload.hlt)
    const hva = K.KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA
    expect(() => tiny.vm.xenSetAttr({ type: hva, shared_info_gfn: 0x7fff_0000_0000n })).toThrow(
      invalid('KVM_XEN_HVM_SET_ATTR argument'),
    )
    const vcpuHva = K.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA
    expect(() => tiny.vcpu.xenSetAttr({ type: vcpuHva, gpa: 1n })).toThrow(
      invalid('KVM_XEN_VCPU_SET_ATTR argument'),
    )
  })
})

describe('memory encryption', () => {
  it('refuses commands and pointers that do not fit', () => {
    using tiny = tinyVm(payload.hlt)
    const { vm } = tiny
    const command = new Uint8Array(24)
    expect(() => vm.memoryEncryptOp(new Uint8Array(23))).toThrow(
      invalid('KVM_MEMORY_ENCRYPT_OP command'),
    )
    expect(() => vm.memoryEncryptOp(command, [] as never)).toThrow(
      invalid('KVM_MEMORY_ENCRYPT_OP data'),
    )
    const op = (pointers: unknown) => () =>
      vm.memoryEncryptOp(command, new Uint8Array(16), pointers as never)
    const target = new Uint8Array(8)
    expect(op(7)).toThrow(invalid('KVM_MEMORY_ENCRYPT_OP pointers'))
    expect(op(Array(17).fill([0, target]))).toThrow(invalid('KVM_MEMORY_ENCRYPT_OP pointers'))
    expect(op([[9, target]])).toThrow(invalid('KVM_MEMORY_ENCRYPT_OP pointers[].offset'))
    expect(op([[0, {}]])).toThrow(invalid('KVM_MEMORY_ENCRYPT_OP pointers[].bytes'))
    expect(op([null])).toThrow()
    expect(() => vm.memoryEncryptOp(command, new Uint8Array(7), [[0, target]])).toThrow(
      invalid('KVM_MEMORY_ENCRYPT_OP data'),
    )
    const { mapping } = tiny.memory.regions[0]!
    expect(() => vm.memoryEncryptRegRegion(mapping, 0, mapping.size + 1)).toThrow(
      invalid('KVM_MEMORY_ENCRYPT_REG_REGION size'),
    )
    expect(() => vm.memoryEncryptRegRegion(mapping, mapping.size + 1, 0)).toThrow(
      invalid('KVM_MEMORY_ENCRYPT_REG_REGION offset'),
    )
  })

  it('says so where a KVM has none', () => {
    using tiny = tinyVm(payload.hlt)
    const command = Uint8Array.from({ length: 24 }, (_, index) => index)
    const data = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
    expect(() => tiny.vm.memoryEncryptOp(command, data, [[0, new Uint8Array(4)]])).toThrow(
      expect.objectContaining({ name: 'KvmError', syscall: 'KVM_MEMORY_ENCRYPT_OP' }),
    )
  })
})

describe('what a kernel lacks', () => {
  it('is an ENOTTY that names the ioctl', () => {
    using tiny = tinyVm(payload.hlt)
    // Linux 5.20 dropped it.
    expect(() => tiny.vm.getNrMmuPages()).toThrow(refused('ENOTTY', 'KVM_GET_NR_MMU_PAGES'))
    expect(() => tiny.vm.getNrMmuPages()).toThrow('this KVM has no such ioctl')
  })

  it('is not among the capabilities, whose values are what checkExtension() says', () => {
    using kvm = K.Kvm.open()
    const found = kvm.capabilities()
    const constants = Object.entries(K).filter(([name]) => name.startsWith('KVM_CAP_'))
    expect(constants.length).toBeGreaterThan(230)
    for (const [name, number] of constants) {
      expect([name, found.get(name) ?? 0]).toEqual([name, kvm.checkExtension(number as number)])
    }
    expect(found.has('KVM_CAP_S390_PSW')).toBe(false)
    expect(found.get('KVM_CAP_USER_MEMORY')).toBe(1)
  })
})

describe('a vCPU that runs on another thread', () => {
  it('refuses every call until it has come back', async () => {
    using tiny = tinyVm(payload.spin)
    const { vcpu } = tiny
    const channel = new (binding().ExitChannel)()
    try {
      channel.addVcpu(vcpu.native)
      channel.run(() => {})
      await new Promise((resolve) => setTimeout(resolve, 50))
      const running = expect.objectContaining({ code: 'ERR_VCPU_RUNNING' })
      expect(() => vcpu.getRegs()).toThrow(running)
      expect(() => vcpu.setRegs({})).toThrow(running)
      expect(() => vcpu.run()).toThrow(running)
      expect(() => vcpu.hasDeviceAttr(0, 0)).toThrow(running)
      expect(() => vcpu.stats()).toThrow(running)
      expect(() => vcpu.dirtyRing()).toThrow(running)
      expect(() => vcpu.setSignalMask(null)).toThrow(running)
      expect(() => vcpu.close()).toThrow(running)
      expect(vcpu.closed).toBe(false)
    } finally {
      channel.close()
    }
    expect(vcpu.getRegs().rip).toBe(0x1000n)
  })
})

describe('descriptors', () => {
  it('of another kind are refused', () => {
    using tiny = tinyVm(payload.hlt, { prepare: (vm) => vm.createIrqchip() })
    expect(() => tiny.vm.irqfd(tiny.vcpu as never, 1)).toThrow(TypeError)
    expect(() => tiny.vm.irqfd({ native: {} } as never, 1)).toThrow(TypeError)
    expect(() => tiny.vm.irqfd(null as never, 1)).toThrow(TypeError)
  })

  it('run out as KvmError, with nothing left behind', () => {
    const spare: number[] = []
    const before = openFds()
    using kvm = K.Kvm.open()
    try {
      for (;;) spare.push(openSync('/dev/null', 'r'))
    } catch (error) {
      expect(error).toMatchObject({ code: 'EMFILE' })
    }
    try {
      expect(() => kvm.createVm()).toThrow(refused('EMFILE', 'KVM_CREATE_VM'))
      expect(() => new K.EventFd()).toThrow(refused('EMFILE', 'eventfd'))
      expect(() => K.createGuestMemory([{ guestAddress: 0, size: 4096 }])).toThrow(
        refused('EMFILE', 'memfd_create'),
      )
      expect(() => K.Kvm.open()).toThrow(refused('EMFILE', 'open'))
    } finally {
      for (const fd of spare) closeSync(fd)
    }
    expect(openFds()).toBe(before + 1)
  })
})

describe('eventfds', () => {
  it('take one watcher, which must be a function', () => {
    using event = new K.EventFd()
    for (const callback of [undefined, null, 1, {}])
      expect(() => event.watch(callback as never)).toThrow(invalid('callback'))
    event.watch(() => {})
    expect(() => event.watch(() => {})).toThrow(expect.objectContaining({ code: 'ERR_STATE' }))
    event.unwatch()
    event.unwatch()
    event.watch(() => {})
  })

  it('refuse values that no counter can take', () => {
    using event = new K.EventFd()
    for (const value of [0, ...nonsense.filter((bad) => bad !== undefined && bad !== null)]) {
      expect(() => event.signal(value)).toThrow(invalid('value'))
    }
    event.signal(2 ** 53 - 1)
    expect(event.take()).toBe(2 ** 53 - 1)
    expect(event.take()).toBe(0)
  })

  it('raise uncaughtException for a callback that throws, and go on', async () => {
    using event = new K.EventFd()
    event.ref()
    const thrown = new Error('mine')
    const caught = new Promise((resolve) => {
      const others = process.listeners('uncaughtException')
      process.removeAllListeners('uncaughtException')
      process.once('uncaughtException', (error) => {
        for (const listener of others) process.on('uncaughtException', listener)
        resolve(error)
      })
    })
    let calls = 0
    const again = new Promise<void>((resolve) => {
      event.watch(() => {
        if (++calls === 1) throw thrown
        resolve()
      })
    })
    event.signal()
    expect(await caught).toBe(thrown)
    event.signal()
    await again
  })

  it('may be closed in their own callback', async () => {
    const event = new K.EventFd()
    event.ref()
    await new Promise<void>((resolve) => {
      event.watch(() => {
        event.close()
        resolve()
      })
      event.signal()
    })
    expect(event.closed).toBe(true)
  })
})
