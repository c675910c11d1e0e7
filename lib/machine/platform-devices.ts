import { PVPANIC_PORT } from '../arch/x86-64/layout.js'
import { ConsoleOutput } from '../backends/char/console-output.js'
import { DebugExit } from '../devices/debug/debug-exit.js'
import { Debugcon } from '../devices/debug/debugcon.js'
import * as testdev from '../devices/debug/pc-testdev.js'
import { Pvpanic } from '../devices/debug/pvpanic.js'
import type { PciDevice } from '../devices/pci/pci-device.js'
import type { Watchdog } from '../devices/watchdog/countdown.js'
import { I6300esb } from '../devices/watchdog/i6300esb.js'
import { IB700_PORT, IB700_PORTS, Ib700 } from '../devices/watchdog/ib700.js'
import type { Cleanup } from '../util/cleanup.js'
import type { Platform } from './platform.js'
import type { PlatformDeviceConfig } from './platform-device-options.js'
import type { StopReason } from './stop-reason.js'

/** What a machine does with its optional devices after they have been attached. */
export interface PlatformDevices {
  /** What the guest writes to its debug console. */
  readonly debugcon: ConsoleOutput | undefined
  readonly watchdog: Watchdog | undefined
  /** Those that are to be plugged into the PCI bus, after the virtio devices. */
  readonly pci: readonly PciDevice[]
}

/** The devices of the option `devices`. */
export function attachPlatformDevices(
  platform: Platform,
  config: PlatformDeviceConfig,
  cleanup: Cleanup,
  { end, onReset }: { end: (reason: StopReason) => void; onReset: () => void },
): PlatformDevices {
  const { pio, warn, resettable } = platform
  let debugcon: ConsoleOutput | undefined
  if (config.debugcon) {
    const { port, bufferSize } = config.debugcon
    debugcon = new ConsoleOutput({ capacity: bufferSize })
    pio.attach(port, 1, new Debugcon({ output: debugcon }))
  }
  if (config.debugExit) {
    const { port, size } = config.debugExit
    const debugExit = new DebugExit({ onExit: (code) => end({ kind: 'exit', code }) })
    pio.attach(port, size, debugExit)
    resettable.push(debugExit)
  }
  if (config.pvpanic) {
    const stops = config.pvpanic.onPanic === 'stop'
    const onPanic = ({ crashLoaded }: { crashLoaded: boolean }) => {
      // A guest with a crash kernel has yet to write its dump.
      if (stops && !crashLoaded) end({ kind: 'panicked', message: undefined })
      else warn({ kind: 'guest-panicked', crashLoaded })
    }
    pio.attach(PVPANIC_PORT, 1, new Pvpanic({ onPanic }))
  }
  if (config.testDevice) attachTestDevice(platform)
  let watchdog: Watchdog | undefined
  const pci: PciDevice[] = []
  if (config.watchdog) {
    const { model, onExpire: what } = config.watchdog
    const onExpire = what === 'reset' ? onReset : () => end({ kind: 'watchdog' })
    if (model === 'ib700') {
      const ib700 = new Ib700({ onExpire })
      pio.attach(IB700_PORT, IB700_PORTS, ib700)
      resettable.push(ib700)
      watchdog = ib700
    } else {
      const i6300esb = new I6300esb({ onExpire })
      pci.push(i6300esb)
      watchdog = i6300esb
    }
    cleanup.own(watchdog)
  }
  return { debugcon, watchdog, pci }
}

function attachTestDevice({ irqchip, pio, mmio, resettable }: Platform): void {
  const ioport = new testdev.TestdevIoport()
  const irq = new testdev.TestdevIrq((gsi) => irqchip.line(gsi))
  const iomem = new testdev.TestdevIomem()
  pio.attach(testdev.TESTDEV_IOPORT, testdev.TESTDEV_PORTS, ioport)
  pio.attach(testdev.TESTDEV_IOPORT_BYTE, testdev.TESTDEV_PORTS, ioport)
  pio.attach(testdev.TESTDEV_FLUSH_PORT, testdev.TESTDEV_PORTS, new testdev.TestdevFlush())
  pio.attach(testdev.TESTDEV_IRQ_PORT, testdev.TESTDEV_IRQ_LINES, irq)
  mmio.attach(testdev.TESTDEV_IOMEM, testdev.TESTDEV_IOMEM_SIZE, iomem)
  resettable.push(ioport, irq, iomem)
}
