import type { VirtioVsock } from '../devices/virtio/vsock/virtio-vsock.js'
import type { StatsFd } from '../kvm/stats-fd.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { Cleanup } from '../util/cleanup.js'
import { createConsole, type VmConsole } from './console.js'
import { apicIds } from './cpu-options.js'
import type { VmBalloon, VmDisk, VmNet, VmVirtioConsole } from './device-handles.js'
import { DeviceSlots } from './device-slots.js'
import { attachLegacyDevices } from './legacy-devices.js'
import { loadGuest, openImages } from './load-guest.js'
import type { MachineConfig } from './machine-config.js'
import { openBackends } from './open-backends.js'
import { createPlatform } from './platform.js'
import { RunLoop } from './run-loop.js'
import { type StopReason, stopReason } from './stop-reason.js'
import { enterAt, setUpVcpu } from './vcpu-setup.js'
import { plugVirtioDevice } from './virtio-slot.js'
import { collectStats, type VmStatistics } from './vm-stats.js'
import type { VmWarning } from './vm-warning.js'

/** A machine's parts, as {@link VirtualMachine} drives them. */
export interface Assembly {
  readonly memory: GuestMemory
  readonly console: VmConsole
  readonly disks: readonly VmDisk[]
  readonly nets: readonly VmNet[]
  readonly vsock: VirtioVsock | undefined
  readonly virtioConsole: VmVirtioConsole | undefined
  readonly balloon: VmBalloon | undefined
  readonly runLoop: RunLoop
  readonly stats: () => VmStatistics
}

/** What a machine's parts tell of. */
export interface AssemblyEvents {
  /** Called once, when the guest ends by itself or by a failure. */
  onEnd(reason: StopReason): void
  onWarning(warning: VmWarning): void
}

/**
 * Puts a machine together, from what can fail for the user's mistakes to what can't: images, backends, KVM, devices,
 * guest memory, vCPUs. Every step defers its own undoing, and all is undone in reverse.
 */
export async function assemble(
  config: MachineConfig,
  cleanup: Cleanup,
  { onEnd, onWarning }: AssemblyEvents,
): Promise<Assembly> {
  const images = openImages(config)
  try {
    const backends = await openBackends(config, cleanup)
    const end = (reason: StopReason) => {
      runLoop.stop()
      onEnd(reason)
    }
    const platform = createPlatform(config, cleanup, {
      fail: (error) => end({ kind: 'error', error }),
      warn: onWarning,
    })
    const console = createConsole(config, cleanup)
    attachLegacyDevices(platform, console, {
      onPowerOff: () => end({ kind: 'shutdown' }),
      onReset: () => end({ kind: 'reset' }),
    })
    const slots = new DeviceSlots()
    for (const device of backends.devices) {
      plugVirtioDevice(platform, slots.take(), device, config, cleanup)
    }
    const entry = loadGuest(config, images, platform.memory, slots.taken)

    const runLoop = new RunLoop({
      pio: platform.pio,
      mmio: platform.mmio,
      onEnd: (ending) => onEnd(stopReason(ending)),
    })
    const { cpus, topology } = config
    const vcpuStats: StatsFd[] = []
    for (const [index, id] of apicIds(cpus, topology).entries()) {
      const vcpu = cleanup.own(platform.vm.createVcpu(id))
      setUpVcpu(vcpu, { vcpu: index, vcpus: cpus, topology }, platform.supportedCpuid)
      if (index === 0) enterAt(vcpu, entry)
      runLoop.addVcpu(vcpu)
      // Now, as a vCPU that runs gives no descriptor.
      if (platform.hasStats) vcpuStats.push(cleanup.own(vcpu.stats()))
    }
    const vmStats = platform.hasStats ? cleanup.own(platform.vm.stats()) : undefined
    const { pio, mmio } = platform
    const stats = () =>
      collectStats({
        exits: runLoop.exitCounts(),
        vcpus: runLoop.counters(),
        ...{ pio, mmio, vmStats, vcpuStats },
      })
    // Last, so that it is undone first: no thread may run when anything else is given back.
    cleanup.own(runLoop)
    const { devices: _, ...handles } = backends
    return { memory: platform.memory, console, ...handles, runLoop, stats }
  } finally {
    images.close()
  }
}
