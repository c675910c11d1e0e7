import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { Cleanup } from '../util/cleanup.js'
import { GuestClocks } from './guest-clocks.js'
import type { MachineConfig } from './machine-config.js'
import type { Platform } from './platform.js'
import { RunControl } from './run-control.js'
import type { RunEnding } from './run-ending.js'
import { RunLoop } from './run-loop.js'
import { pinVcpu } from './vcpu-setup.js'
import type { VirtioDevices } from './virtio-devices.js'

/**
 * Gives each vCPU its thread. After all that threads use, so that it is undone before: none may run when anything else is
 * given back.
 * @throws VmmError `ERR_INVALID_OPTION` for CPUs that a thread may not be pinned to; KvmError
 */
export function createRunLoop(
  { name, cpuNice, cpuAffinity }: MachineConfig,
  { pio, mmio, coalescing, irqchip }: Platform,
  vcpus: readonly VcpuFd[],
  cleanup: Cleanup,
  onEnd: (ending: RunEnding) => void,
): RunLoop {
  const { ioapic } = irqchip
  const runLoop = cleanup.own(
    new RunLoop({
      ...{ name, pio, mmio, onEnd },
      ...(coalescing && { coalescing }),
      onIoapicEoi: ioapic && ((vector) => ioapic.endOfInterrupt(vector)),
    }),
  )
  for (const [index, vcpu] of vcpus.entries()) {
    runLoop.addVcpu(vcpu, cpuNice)
    pinVcpu(runLoop, index, cpuAffinity[index])
  }
  return runLoop
}

/** What lets them run, and has clocks and devices stand still while they don't. */
export function createRunControl(
  { vm, clock }: Platform,
  vcpus: readonly VcpuFd[],
  runLoop: RunLoop,
  virtio: VirtioDevices,
): RunControl {
  const clocks = new GuestClocks(vm, vcpus, clock)
  return new RunControl(runLoop, {
    stop: () => {
      virtio.pause()
      clocks.stop()
    },
    start: () => {
      clocks.start()
      virtio.resume()
    },
  })
}
