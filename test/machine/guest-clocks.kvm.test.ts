import { describe, expect, it } from 'vitest'
import { MSR_IA32_TSC } from '../../lib/arch/x86-64/msrs.js'
import { VirtualMachine } from '../../lib/index.js'
import { Kvm, type VcpuFd } from '../../lib/kvm.js'
import { GuestClocks } from '../../lib/machine/guest-clocks.js'
import { RunControl } from '../../lib/machine/run-control.js'
import { SkippingClock } from '../../lib/util/skipping-clock.js'
import { forever, incAl, out8 } from '../helpers/real-mode.js'
import { recorder, runLoopRig } from '../helpers/run-loop-rig.js'
import * as guest from './tiny-guest.js'

/** Some tenths of a second. */
const TICKS = 2n ** 29n
const tsc = (vcpu: VcpuFd) => vcpu.getMsrs([MSR_IA32_TSC])[0]!

function rig() {
  const kvm = Kvm.open()
  const vm = kvm.createVm()
  vm.createIrqchip()
  const vcpus = [vm.createVcpu(0), vm.createVcpu(1)]
  for (const vcpu of vcpus) vcpu.setCpuid2(kvm.getSupportedCpuid())
  return {
    ...{ vm, vcpus },
    [Symbol.dispose]() {
      for (const each of [...vcpus, vm, kvm]) each.close()
    },
  }
}

describe("a guest's clocks", () => {
  it('stand still while its vCPUs do', () => {
    using machine = rig()
    const { vm, vcpus } = machine
    const devices = new SkippingClock()
    const clocks = new GuestClocks(vm, vcpus, devices)
    clocks.start()
    clocks.stop()
    const before = vcpus.map(tsc)
    const kvmclock = vm.getClock().clock
    const device = devices.now()
    while (tsc(vcpus[0]!) - before[0]! < TICKS);
    const passed = vm.getClock().clock - kvmclock
    const started = process.hrtime.bigint()
    /** What a clock may show that goes on from when it was stopped, in nanoseconds, however long ago it was started. */
    const most = () => passed / 2n + process.hrtime.bigint() - started
    clocks.stop()
    clocks.start()
    expect(vm.getClock().clock - kvmclock).toBeLessThan(most())
    if (!clocks.setsTsc) {
      console.log('not tested: the TSC, whose offset this KVM does not set')
    } else {
      for (const [index, vcpu] of vcpus.entries()) {
        const ticks = tsc(vcpu) - before[index]!
        expect(ticks).toBeGreaterThanOrEqual(0n)
        expect(ticks).toBeLessThan((most() * TICKS) / passed)
      }
      expect(devices.now() - device).toBeLessThan(most())
    }
    const again = vcpus.map(tsc)
    expect(vcpus.every((vcpu, index) => tsc(vcpu) > again[index]!)).toBe(true)
  })

  it('are never stopped while vCPUs run, in whatever order they are held and let go', async () => {
    using loop = runLoopRig([forever([...out8(0x10), ...incAl])])
    const device = recorder(undefined, { posted: [0] })
    loop.pio.attach(0x10, 1, device)
    let stopped = false
    // A descriptor of a vCPU that runs refuses.
    const look = () => loop.vcpus[0]!.getRegs()
    const control = new RunControl(loop.loop, {
      stop: () => {
        look()
        stopped = true
      },
      start: () => {
        if (stopped) look()
        stopped = false
      },
    })
    const held: Promise<void>[] = []
    for (let i = 0; i < 300; i++) {
      const who = (['program', 'debugger', 'reset'] as const)[i % 3]!
      held.push(control.hold(who))
      if (i % 7 === 0) await held.at(-1)
      for (const each of ['program', 'debugger', 'reset'] as const) control.release(each)
      if (i % 11 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(held)
    expect(stopped).toBe(false)
    await control.hold('program')
    expect(stopped).toBe(true)
  })

  it('do not jump in a machine that is paused', async () => {
    // Stores the TSC for ever.
    const store = [0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0] // rdtsc; shl $32, %rdx; or %rdx, %rax
    const place = 0x180_0000
    const code = [...store, 0x48, 0x89, 0x04, 0x25, 0, 0, 0x80, 0x01, 0xeb, 0xed]
    await using vm = await VirtualMachine.create({ kernel: guest.kernel(code), memory: '32M' })
    const seen = () => vm.memory.dataView(place, 8).getBigUint64(0, true)
    await vm.start()
    let last = 0n
    for (let i = 0; i < 100; i++) {
      while (seen() <= last) await new Promise((resolve) => setImmediate(resolve))
      await vm.pause()
      last = seen()
      await vm.resume()
    }
    expect(last).toBeGreaterThan(0n)
  })
})
