import { Bus } from '../../lib/bus/bus.js'
import type { BusDevice, Shortcuts } from '../../lib/bus/bus-device.js'
import {
  createGuestMemory,
  Kvm,
  type MappedGuestMemory,
  type VcpuFd,
  type VmFd,
} from '../../lib/kvm.js'
import { coalescingZones } from '../../lib/machine/platform.js'
import type { RunEnding } from '../../lib/machine/run-ending.js'
import { RunLoop } from '../../lib/machine/run-loop.js'
import { CODE, toRealMode } from './payloads.js'

export interface RunLoopRig extends Disposable {
  vm: VmFd
  loop: RunLoop
  pio: Bus
  mmio: Bus
  memory: MappedGuestMemory
  vcpus: VcpuFd[]
  /** What the loop reported. */
  ended: Promise<RunEnding>
}

export interface RunLoopRigOptions {
  /** With interrupt controllers in the kernel, a vCPU that halts stays in the kernel; vCPU 1 and up wait for a SIPI. */
  irqchip?: boolean
  spinMicroseconds?: number
  /** KVM collects the writes that devices allow it to. */
  coalescing?: boolean
  onEnd?: (ending: RunEnding) => void
}

/** A machine without devices: 64 KiB of memory, one vCPU in real mode for each program. */
export function runLoopRig(
  programs: readonly (readonly number[])[],
  options: RunLoopRigOptions = {},
): RunLoopRig {
  const kvm = Kvm.open()
  const vm = kvm.createVm()
  if (options.irqchip) vm.createIrqchip()
  const memory = createGuestMemory([{ guestAddress: 0, size: 0x10000 }])
  memory.register(vm)
  const pio = new Bus('pio')
  const mmio = new Bus('mmio')
  let end!: (ending: RunEnding) => void
  const ended = new Promise<RunEnding>((resolve) => {
    end = resolve
  })
  const loop = new RunLoop({
    pio,
    mmio,
    onEnd: options.onEnd ?? end,
    ...(options.coalescing && { coalescing: coalescingZones(vm) }),
    ...(options.spinMicroseconds === undefined
      ? {}
      : { spinMicroseconds: options.spinMicroseconds }),
  })
  const vcpus = programs.map((program, id) => {
    const vcpu = vm.createVcpu(id)
    const address = CODE * (id + 1)
    memory.write(address, Uint8Array.from(program))
    toRealMode(vcpu, address)
    loop.addVcpu(vcpu)
    return vcpu
  })
  return {
    vm,
    loop,
    pio,
    mmio,
    memory,
    vcpus,
    ended,
    [Symbol.dispose]() {
      loop.close()
      for (const vcpu of vcpus) vcpu.close()
      vm.close()
      memory.close()
      kvm.close()
    },
  }
}

export type Access = ['read' | 'write', offset: number, width: number, value: number | bigint]

/** Keeps what it is told; reads give `answer(offset, width)`. */
export function recorder(
  answer: (offset: number, width: number) => number = () => 0,
  shortcuts?: Shortcuts,
): BusDevice & { accesses: Access[] } {
  const accesses: Access[] = []
  return {
    name: 'recorder',
    accesses,
    ...(shortcuts === undefined ? {} : { shortcuts }),
    read: (offset, width) => {
      const value = answer(offset, width)
      accesses.push(['read', offset, width, value])
      return value
    },
    write: (offset, width, value) => void accesses.push(['write', offset, width, value]),
    read64: (offset) => {
      const value = 0x0102_0304_0506_0708n + BigInt(answer(offset, 8))
      accesses.push(['read', offset, 8, value])
      return value
    },
    write64: (offset, value) => void accesses.push(['write', offset, 8, value]),
  }
}
