import { PVPANIC_PORT } from '../arch/x86-64/layout.js'
import { ConsoleOutput } from '../backends/char/console-output.js'
import { DebugExit } from '../devices/debug/debug-exit.js'
import { Debugcon } from '../devices/debug/debugcon.js'
import * as testdev from '../devices/debug/pc-testdev.js'
import { Pvpanic } from '../devices/debug/pvpanic.js'
import { IB700_PORT, IB700_PORTS, Ib700 } from '../devices/watchdog/ib700.js'
import type { Cleanup } from '../util/cleanup.js'
import type { Platform } from './platform.js'
import type { PlatformDeviceConfig } from './platform-device-options.js'
import type { StopReason } from './stop-reason.js'

/** What a machine does with its optional devices after they have been attached. */
export interface PlatformDevices {
  /** What the guest writes to its debug console. */
  readonly debugcon: ConsoleOutput | undefined
  readonly watchdog: Ib700 | undefined
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
  let watchdog: Ib700 | undefined
  if (config.watchdog) {
    const { onExpire } = config.watchdog
    watchdog = cleanup.own(
      new Ib700({
        onExpire: onExpire === 'reset' ? onReset : () => end({ kind: 'watchdog' }),
      }),
    )
    pio.attach(IB700_PORT, IB700_PORTS, watchdog)
    resettable.push(watchdog)
  }
  return { debugcon, watchdog }
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
