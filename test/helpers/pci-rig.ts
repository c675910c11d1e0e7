import { Bus } from '../../lib/bus/bus.js'
import type { BusDevice } from '../../lib/bus/bus-device.js'
import { PciConfigPorts } from '../../lib/devices/pci/config-ports.js'
import { HostBridge } from '../../lib/devices/pci/host-bridge.js'
import { PciBus } from '../../lib/devices/pci/pci-bus.js'
import { PciDevice, type PciIdentity } from '../../lib/devices/pci/pci-device.js'
import type { MsiLine } from '../../lib/interrupt/irq-line.js'
import { FakeIrqLine } from './fake-irq-line.js'

/** A message-signalled interrupt that keeps what was sent. */
export class FakeMsi implements MsiLine {
  routes: string[] = []
  sent: string[] = []
  closed = false
  route(addressLow: number, addressHigh: number, data: number): void {
    this.routes.push([addressHigh, addressLow, data].map((part) => part.toString(16)).join(':'))
  }
  raise(): void {
    this.sent.push(this.routes.at(-1) ?? 'nowhere')
  }
  close(): void {
    this.closed = true
  }
}

export const LOW_RAM_END = 0x1000_0000

/** Buses with a host bridge in slot 0, and what a guest does with them. */
export class PciRig {
  readonly pio = new Bus('pio')
  readonly mmio = new Bus('mmio')
  readonly lines = Array.from({ length: 4 }, (_, i) => new FakeIrqLine(16 + i))
  readonly messages: FakeMsi[] = []
  readonly bus: PciBus

  constructor(slots?: readonly number[]) {
    this.bus = new PciBus({
      pio: this.pio,
      mmio: this.mmio,
      ranges: {
        memory: [
          { start: LOW_RAM_END, end: 0xfec0_0000 },
          { start: 2 ** 32, end: 2 ** 52 },
        ],
        io: [{ start: 0x1000, end: 0x1_0000 }],
      },
      lines: this.lines,
      ...(slots && { slots }),
      createMsi: () => {
        const message = new FakeMsi()
        this.messages.push(message)
        return message
      },
    })
    this.pio.attach(0xcf8, 8, new PciConfigPorts(this.bus))
    this.bus.plug(new HostBridge(this.bus), 0)
  }

  /** Reads configuration space by mechanism #1. */
  read(slot: number, offset: number, width: 1 | 2 | 4 = 4): number {
    this.select(slot, offset)
    return this.pio.read(0xcfc + (offset & 3), width)
  }

  write(slot: number, offset: number, width: 1 | 2 | 4, value: number): void {
    this.select(slot, offset)
    this.pio.write(0xcfc + (offset & 3), width, value)
  }

  select(slot: number, offset: number): void {
    this.pio.write(0xcf8, 4, (0x8000_0000 | (slot << 11) | (offset & 0xfc)) >>> 0)
  }
}

export const identity: PciIdentity = { vendorId: 0x1234, deviceId: 0x5678, classCode: 0xff0000 }

/** Answers reads with a byte of its own and counts accesses. */
export function counter(name: string, byte = 0xab): BusDevice & { accesses: number } {
  return {
    name,
    accesses: 0,
    read() {
      this.accesses++
      return byte
    },
    write() {
      this.accesses++
    },
  }
}

/** A device with one window of 32-bit memory. */
export function windowed(name: string, size = 0x1000): PciDevice {
  const device = new PciDevice(name, { ...identity, interruptPin: true })
  device.addBar(0, { kind: 'memory32', size, device: counter(name) })
  return device
}
