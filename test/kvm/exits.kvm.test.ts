import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as K from '../../lib/kvm.js'
import { payload, runToExit, tinyVm, toLongMode, toProtectedMode } from '../helpers/payloads.js'
import { slow } from '../helpers/process-state.js'

const capabilities = K.Kvm.open()
const has = (capability: number) => capabilities.checkExtension(capability) !== 0

/** Some exits a software KVM, which wants no VT-x or SVM, never makes, or makes too late. */
const software = !/\b(vmx|svm)\b/.test(readFileSync('/proc/cpuinfo', 'utf8'))
if (software) console.log('not tested: exits that a KVM in software does not make')
if (slow) console.log('not tested: breakpoints, which QEMU does not emulate for a nested guest')
for (const [name, capability] of Object.entries({
  KVM_CAP_EXIT_HYPERCALL: K.KVM_CAP_EXIT_HYPERCALL,
  KVM_CAP_SPLIT_IRQCHIP: K.KVM_CAP_SPLIT_IRQCHIP,
  KVM_CAP_DIRTY_LOG_RING: K.KVM_CAP_DIRTY_LOG_RING,
  KVM_CAP_XEN_HVM: K.KVM_CAP_XEN_HVM,
  KVM_CAP_HYPERV_SYNIC2: K.KVM_CAP_HYPERV_SYNIC2,
})) {
  if (!has(capability)) console.log(`not tested: exits that take ${name}`)
}

/** A hypercall instruction that this processor has. */
const isAmd = capabilities
  .getSupportedCpuid()
  .some((leaf) => leaf.function === 0 && leaf.ebx === 0x6874_7541)
const hypercall = isAmd ? [0x0f, 0x01, 0xd9] : [0x0f, 0x01, 0xc1]

describe('exits of a real guest', () => {
  it('irq-window-open, when asked for', () => {
    using tiny = tinyVm(payload.spin)
    tiny.vcpu.setRegs({ rip: 0x1000n, rflags: 0x202n })
    tiny.vcpu.runPage.requestInterruptWindow = true
    expect(runToExit(tiny.vcpu)).toEqual({ reason: 'irq-window-open' })
    expect(tiny.vcpu.runPage.ifFlag).toBe(true)
    expect(tiny.vcpu.runPage.readyForInterruptInjection).toBe(true)
  })

  it.skipIf(software)('set-tpr, when CR8 is lowered without an in-kernel irqchip', () => {
    // mov al, 5; mov cr8, rax; mov al, 2; mov cr8, rax; hlt
    const code = [0x48, 0xc7, 0xc0, 5, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc0]
    using tiny = tinyVm([...code, 0xb0, 2, 0x44, 0x0f, 0x22, 0xc0, 0xf4])
    tiny.vcpu.setCpuid2(tiny.kvm.getSupportedCpuid())
    toLongMode(tiny)
    let exit = runToExit(tiny.vcpu)
    if (exit.reason === 'set-tpr' && exit.cr8 === 5n) exit = runToExit(tiny.vcpu)
    expect(exit).toEqual({ reason: 'set-tpr', cr8: 2n })
    expect(runToExit(tiny.vcpu)).toEqual({ reason: 'hlt' })
  })

  // QEMU's emulation of SVM intercepts no INT3, and does not give the nested guest its debug registers.
  it.skipIf(software || slow)('debug, at a software breakpoint', () => {
    using tiny = tinyVm([0x90, 0xcc, 0xf4])
    toProtectedMode(tiny.vcpu)
    tiny.vcpu.setGuestDebug({ control: K.KVM_GUESTDBG_ENABLE | K.KVM_GUESTDBG_USE_SW_BP })
    expect(runToExit(tiny.vcpu)).toMatchObject({ reason: 'debug', exception: 3, pc: 0x1001n })
  })

  it.skipIf(slow)('debug, at a hardware breakpoint', () => {
    using tiny = tinyVm([0x90, 0x90, 0x90, 0xf4])
    const control = K.KVM_GUESTDBG_ENABLE | K.KVM_GUESTDBG_USE_HW_BP
    const debugreg = [0x1002n, 0n, 0n, 0n, 0n, 0n, 0n, 0x402n]
    tiny.vcpu.setGuestDebug({ control, debugreg })
    expect(runToExit(tiny.vcpu)).toMatchObject({ reason: 'debug', exception: 1, pc: 0x1002n })
  })

  it.skipIf(software || !has(K.KVM_CAP_EXIT_HYPERCALL))(
    'hypercall, and hands the answer to the guest',
    () => {
      const KVM_HC_MAP_GPA_RANGE = 12n
      using tiny = tinyVm([...hypercall, 0xf4], {
        prepare: (vm) => vm.enableCap(K.KVM_CAP_EXIT_HYPERCALL, [1n << KVM_HC_MAP_GPA_RANGE]),
      })
      tiny.vcpu.setCpuid2(tiny.kvm.getSupportedCpuid())
      toLongMode(tiny)
      tiny.vcpu.setRegs({
        rax: KVM_HC_MAP_GPA_RANGE,
        rbx: 0x4000n,
        rcx: 2n,
        rdx: 0n,
        rip: 0x1000n,
        rflags: 2n,
      })
      expect(runToExit(tiny.vcpu)).toMatchObject({
        reason: 'hypercall',
        number: KVM_HC_MAP_GPA_RANGE,
        args: [0x4000n, 2n, 0n, 0n, 0n, 0n],
        longMode: true,
      })
      tiny.vcpu.runPage.hypercallResult = 0x77n
      expect(runToExit(tiny.vcpu)).toEqual({ reason: 'hlt' })
      expect(tiny.vcpu.getRegs().rax).toBe(0x77n)
    },
  )

  it('rdmsr and wrmsr of an unknown MSR, answered or refused', () => {
    // mov ecx, 0xdead; rdmsr; wrmsr; hlt, with the handler of #GP at 0x2000
    using tiny = tinyVm([0x66, 0xb9, 0xad, 0xde, 0, 0, 0x0f, 0x32, 0x0f, 0x30, 0xf4], {
      prepare: (vm) =>
        vm.enableCap(K.KVM_CAP_X86_USER_SPACE_MSR, [
          BigInt(K.KVM_MSR_EXIT_REASON_UNKNOWN | K.KVM_MSR_EXIT_REASON_INVAL),
        ]),
    })
    const { vcpu, memory } = tiny
    expect(runToExit(vcpu)).toMatchObject({ reason: 'rdmsr', index: 0xdead, cause: 'unknown' })
    vcpu.runPage.msrData = 0x0000_0005_0000_0006n
    expect(runToExit(vcpu)).toMatchObject({
      reason: 'wrmsr',
      index: 0xdead,
      data: 0x0000_0005_0000_0006n,
    })
    memory.write(13 * 4, Uint8Array.of(0x00, 0x20, 0x00, 0x00))
    memory.write(0x2000, Uint8Array.of(0xf4))
    vcpu.runPage.msrError = true
    expect(runToExit(vcpu)).toEqual({ reason: 'hlt' })
    expect(vcpu.getRegs().rip).toBe(0x2001n)
  })

  it.skipIf(software || !has(K.KVM_CAP_SPLIT_IRQCHIP))('ioapic-eoi, with the split irqchip', () => {
    // mov dword [0xfee000b0], 0; hlt
    using tiny = tinyVm([0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0, 0xf4], {
      prepare: (vm) => vm.enableCap(K.KVM_CAP_SPLIT_IRQCHIP, [24n]),
    })
    const { vm, vcpu } = tiny
    toProtectedMode(vcpu)
    const level = 0xc000
    const msi = { address_lo: 0xfee0_0000, data: level | 0x31 }
    vm.setGsiRouting([{ gsi: 5, type: K.KVM_IRQ_ROUTING_MSI, msi }])
    const lapic = new DataView(vcpu.getLapic().buffer)
    lapic.setUint32(0xf0, 0x1ff, true)
    lapic.setUint32(0x110, 1 << 0x11, true) // in service: vector 0x31
    lapic.setUint32(0x190, 1 << 0x11, true) // and level-triggered
    vcpu.setLapic(new Uint8Array(lapic.buffer))
    expect(runToExit(vcpu)).toEqual({ reason: 'ioapic-eoi', vector: 0x31 })
  })

  it.skipIf(!has(K.KVM_CAP_DIRTY_LOG_RING))(
    'dirty-ring-full, and goes on after the ring was emptied',
    () => {
      // A software KVM may look at its ring only when the guest has done much more, and overruns it then: the ring counts
      // as full for ever, with nothing in it to take. So there the guest writes to fewer pages than the ring holds.
      const count = software ? 1000 : 2000
      const end = new Uint8Array(Uint32Array.of((16 + count) << 12).buffer)
      // mov edi, 0x10000; l: mov [edi], al; add edi, 0x1000; cmp edi, end; jb l; hlt; hlt
      const loop = [0x88, 0x07, 0x81, 0xc7, 0, 0x10, 0, 0, 0x81, 0xff, ...end, 0x72, 0xf0]
      using tiny = tinyVm([0xbf, 0, 0, 1, 0, ...loop, 0xf4, 0xf4], {
        size: 0x80_0000,
        prepare: (vm) => vm.enableDirtyRing(1024),
      })
      const { vm, vcpu, memory } = tiny
      memory.register(vm, 0, K.KVM_MEM_LOG_DIRTY_PAGES)
      toProtectedMode(vcpu)
      const ring = vcpu.dirtyRing()
      expect(ring.capacity).toBe(1024)
      const pages = new Set<number>()
      let full = 0
      for (let halts = 0; halts < 2; ) {
        const exit = runToExit(vcpu)
        for (let dirty = ring.take(); dirty; dirty = ring.take()) pages.add(dirty.page)
        if (exit.reason === 'hlt') {
          halts++
          continue
        }
        expect(exit).toEqual({ reason: 'dirty-ring-full' })
        expect(++full).toBeLessThan(4)
        vm.resetDirtyRings()
      }
      expect(full).toBeGreaterThan(0)
      const written = Array.from({ length: count }, (_, index) => index + 16)
      // The page of the code may be among them.
      const seen = [...pages].filter((page) => page >= 16)
      expect(seen.sort((a, b) => a - b)).toEqual(written)
    },
  )

  it('internal-error, when instructions are not in memory', () => {
    using tiny = tinyVm([0xea, 0x00, 0x00, 0x00, 0x20], {
      prepare: (vm) => vm.enableCap(K.KVM_CAP_EXIT_ON_EMULATION_FAILURE, [1n]),
    })
    const exit = runToExit(tiny.vcpu)
    expect(exit).toMatchObject({ reason: 'internal-error', suberror: 1, name: 'emulation' })
  })

  it('keeps registers in the run page, where asked to', () => {
    using tiny = tinyVm([0xb8, 0x34, 0x12, 0xe6, 0x10, 0xe6, 0x10, 0xf4]) // mov ax, 0x1234; out 0x10, al; out …
    const { vcpu } = tiny
    const { struct } = vcpu.runPage
    struct.kvm_valid_regs = K.KVM_SYNC_X86_REGS | K.KVM_SYNC_X86_SREGS | K.KVM_SYNC_X86_EVENTS
    runToExit(vcpu)
    expect(struct.sync_regs.regs.rax).toBe(0x1234n)
    expect(struct.sync_regs.sregs.cs.limit).toBe(0xffff)
    struct.sync_regs.regs.rax = 0x55n
    struct.kvm_dirty_regs = K.KVM_SYNC_X86_REGS
    expect(runToExit(vcpu)).toMatchObject({ reason: 'io', data: Uint8Array.of(0x55) })
  })

  it.skipIf(!has(K.KVM_CAP_XEN_HVM))('xen, for a hypercall of a Xen guest', () => {
    using tiny = tinyVm([...hypercall, 0xf4])
    tiny.vm.xenHvmConfig(K.KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL, 0x4000_0200)
    tiny.vcpu.setCpuid2(tiny.kvm.getSupportedCpuid())
    toLongMode(tiny)
    tiny.vcpu.setRegs({
      rax: 17n,
      rdi: 1n,
      rsi: 2n,
      rdx: 3n,
      r10: 4n,
      r8: 5n,
      r9: 6n,
      rip: 0x1000n,
      rflags: 2n,
    })
    expect(runToExit(tiny.vcpu)).toMatchObject({
      reason: 'xen',
      longMode: true,
      cpl: 0,
      input: 17n,
      params: [1n, 2n, 3n, 4n, 5n, 6n],
    })
  })

  it.skipIf(!has(K.KVM_CAP_HYPERV_SYNIC2))('hyperv, when the guest sets up its SynIC', () => {
    // mov ecx, 0x40000080 (SCONTROL); mov eax, 1; xor edx, edx; wrmsr; hlt
    const code = [0xb9, 0x80, 0, 0, 0x40, 0xb8, 1, 0, 0, 0, 0x31, 0xd2, 0x0f, 0x30, 0xf4]
    using tiny = tinyVm(code, { prepare: (vm) => vm.createIrqchip() })
    tiny.vcpu.enableCap(K.KVM_CAP_HYPERV_SYNIC2)
    tiny.vcpu.setCpuid2(
      [...tiny.vcpu.getSupportedHvCpuid(), ...tiny.kvm.getSupportedCpuid()].filter(firstOfEach()),
    )
    toProtectedMode(tiny.vcpu)
    expect(runToExit(tiny.vcpu)).toMatchObject({
      reason: 'hyperv',
      type: 'synic',
      msr: 0x4000_0080,
      control: 1n,
    })
  })
})

function firstOfEach() {
  const seen = new Set<string>()
  return ({ function: leaf, index }: K.CpuidEntry) => {
    const key = `${leaf}/${index}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  }
}
