import { cmosContents } from '../arch/x86-64/cmos.js'
import {
  ACPI_PM_PORT,
  CMOS_PORT,
  COM1_GSI,
  COM1_PORT,
  I8042_DATA_PORT,
  POST_CODE_PORT,
  RESET_CONTROL_PORT,
  SCI_GSI,
  SYSTEM_CONTROL_PORT,
} from '../arch/x86-64/layout.js'
import type { CharSink, CharSource } from '../backends/char/char-backend.js'
import type { BusDevice } from '../bus/bus-device.js'
import { ACPI_PM_PORTS, AcpiPm } from '../devices/legacy/acpi-pm.js'
import { CmosRtc } from '../devices/legacy/cmos-rtc.js'
import { I8042, I8042_PORTS } from '../devices/legacy/i8042.js'
import { PostCodePort } from '../devices/legacy/post-code-port.js'
import { ResetControl } from '../devices/legacy/reset-control.js'
import { SystemControlPort } from '../devices/legacy/system-control-port.js'
import { UART_PORTS } from '../devices/serial/registers.js'
import { Uart16550A } from '../devices/serial/uart-16550a.js'
import type { Irqchip } from './irqchip.js'
import type { MachineConfig } from './machine-config.js'
import type { Platform } from './platform.js'

const CMOS_PORTS = 2

/**
 * The devices that every PC has, at the ports they have always had.
 * @returns the one with the power button
 */
export function attachLegacyDevices(
  {
    irqchip,
    pio,
    resettable,
    memory,
    clock,
  }: Pick<Platform, 'pio' | 'resettable' | 'memory' | 'clock'> & { irqchip: Pick<Irqchip, 'line'> },
  { output, input }: { output: CharSink; input: CharSource },
  config: Pick<MachineConfig, 'cpus'>,
  { onPowerOff, onReset }: { onPowerOff: () => void; onReset: () => void },
): AcpiPm {
  const attach = (port: number, ports: number, device: BusDevice & { reset?(): void }) => {
    pio.attach(port, ports, device)
    if (device.reset) resettable.push(device as { reset(): void })
  }
  const uart = new Uart16550A({ irq: irqchip.line(COM1_GSI), output, input })
  attach(COM1_PORT, UART_PORTS, uart)
  attach(I8042_DATA_PORT, I8042_PORTS, new I8042({ onReset }))
  // Keeps the time and its memory through a reset.
  attach(CMOS_PORT, CMOS_PORTS, new CmosRtc({ contents: cmosContents(memory.ram, config.cpus) }))
  attach(RESET_CONTROL_PORT, 1, new ResetControl({ onReset }))
  attach(POST_CODE_PORT, 1, new PostCodePort())
  attach(SYSTEM_CONTROL_PORT, 1, new SystemControlPort({ onReset }))
  const sci = irqchip.line(SCI_GSI)
  const acpiPm = new AcpiPm({ sci, onPowerOff, onReset, clock: () => clock.now() })
  attach(ACPI_PM_PORT, ACPI_PM_PORTS, acpiPm)
  return acpiPm
}
