import type { AcpiPm } from '../devices/legacy/acpi-pm.js'
import type { Watchdog } from '../devices/watchdog/countdown.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { Cleanup } from '../util/cleanup.js'
import { openAgent } from './agent.js'
import { attachOwnDevices } from './attached-devices.js'
import { createConsole } from './console.js'
import { deviceStatistics } from './device-stats.js'
import type { EngineEvents } from './engine.js'
import { createGuestLoader } from './guest-loader.js'
import { prefault } from './guest-ram.js'
import { HotPlug } from './hot-plug.js'
import { attachLegacyDevices } from './legacy-devices.js'
import { openImages } from './load-guest.js'
import type { MachineConfig } from './machine-config.js'
import { MachineDebugTarget } from './machine-debug-target.js'
import type { MachineHandles } from './machine-handles.js'
import { machineReset } from './machine-reset.js'
import { openBackends } from './open-backends.js'
import { PanicWatch } from './panic-watch.js'
import { createPlatform } from './platform.js'
import { attachPlatformDevices } from './platform-devices.js'
import type { RunControl } from './run-control.js'
import type { RunLoop } from './run-loop.js'
import { afterPanic, type StopReason, stopReason } from './stop-reason.js'
import { createVcpus, enterAt } from './vcpu-setup.js'
import { createRunControl, createRunLoop } from './vcpu-threads.js'
import { VirtioDevices } from './virtio-devices.js'
import { createVirtioMem, type LocalVirtioMem } from './virtio-mem.js'
import { openStatistics, type VmStatistics } from './vm-stats.js'

/** A machine's parts, as its engine drives them. */
export interface Assembly extends MachineHandles {
  readonly memory: GuestMemory
  /** The guest has ended, for this reason: whoever waits for the agent is told. */
  endAgent(reason: string): void
  readonly virtioMem: LocalVirtioMem | undefined
  readonly watchdog: Watchdog | undefined
  readonly hotPlug: HotPlug
  readonly acpiPm: AcpiPm
  readonly runLoop: RunLoop
  readonly runControl: RunControl
  readonly debugTarget: MachineDebugTarget
  readonly stats: () => VmStatistics
  /**
   * Puts all of the machine back to what it was before its first instruction, its kernel loaded anew. No vCPU may run.
   * @throws what loading the kernel throws, and what the kernel refuses
   */
  reset(): Promise<void>
}

/**
 * Puts a machine together, from what can fail for the user's mistakes to what can't: images, backends, KVM, devices,
 * guest memory, vCPUs. Every step defers its own undoing, and all is undone in reverse.
 */
export async function assemble(
  config: MachineConfig,
  cleanup: Cleanup,
  { onEnd, restart, onWarning }: Pick<EngineEvents, 'onEnd' | 'restart' | 'onWarning'>,
): Promise<Assembly> {
  const images = openImages(config)
  try {
    const backends = await openBackends(config, cleanup, onWarning)
    const console = createConsole(config, cleanup)
    const output = new PanicWatch(console.output)
    const ended = (reason: StopReason) => onEnd(afterPanic(reason, output.message))
    const end = (reason: StopReason) => {
      runLoop.stop()
      ended(reason)
    }
    const platform = createPlatform(config, cleanup, {
      fail: (error) => end({ kind: 'error', error }),
      warn: onWarning,
    })
    if (config.memoryBacking.prefault) await prefault(platform.memory)
    const onReset = () => {
      if (config.onReset === 'stop') return end({ kind: 'reset' })
      // At once: the guest must not go on behind the instruction that resets it.
      void runControl.hold('reset')
      void restart()
    }
    const onPowerOff = () => end({ kind: 'shutdown' })
    const lines = { output, input: console.input }
    const acpiPm = attachLegacyDevices(platform, lines, config, { onPowerOff, onReset })
    platform.resettable.push(output)
    const platformDevices = attachPlatformDevices(platform, config.devices, cleanup, {
      end,
      onReset,
    })

    const virtio = new VirtioDevices(platform, config, acpiPm, cleanup)
    for (const device of backends.devices) virtio.plug(device)
    const virtioMem = createVirtioMem(platform, config)
    if (virtioMem) virtio.plug({ device: virtioMem.device, cleanup: cleanup.child() })
    for (const device of platformDevices.pci) virtio.pci?.bus.plug(device)
    attachOwnDevices(platform, config.attach, virtio.pci?.bus)
    const hotPlug = new HotPlug(virtio, backends, cleanup, onWarning)
    platform.resettable.push(hotPlug)

    const load = createGuestLoader(config, platform, virtio, cleanup)
    const entry = load(images)
    const vcpus = createVcpus(platform, config, cleanup)
    const statistics = openStatistics(platform, vcpus, cleanup)
    const runLoop = createRunLoop(config, platform, vcpus, cleanup, (ending) =>
      ended(stopReason(ending)),
    )
    const runControl = createRunControl(platform, vcpus, runLoop, virtio)
    const stats = () => {
      const { lost } = console.output
      const ofConsole = deviceStatistics({ name: 'console', counters: { lost } })
      return statistics(runLoop, [ofConsole, ...virtio.statistics()])
    }

    const resetMachine = machineReset(platform, vcpus)
    if (entry) enterAt(vcpus[0]!, entry)
    const { devices: _, ...handles } = backends
    const reset = async () => {
      await resetMachine()
      const again = openImages(config)
      try {
        const entryAgain = load(again)
        if (entryAgain) enterAt(vcpus[0]!, entryAgain)
      } finally {
        again.close()
      }
    }

    const { memory, pio } = platform
    const debugTarget = new MachineDebugTarget({
      ...{ memory, vcpus, pio, runLoop, runControl },
      kill: () => end({ kind: 'killed' }),
      reset: restart,
    })
    return {
      memory,
      console,
      ...handles,
      ...platformDevices,
      virtioMem,
      ...openAgent(config, backends.vsock),
      hotPlug,
      acpiPm,
      runLoop,
      runControl,
      debugTarget,
      stats,
      reset,
    }
  } finally {
    images.close()
  }
}
