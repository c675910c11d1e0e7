import type { BusDevice } from '../../../lib/bus/bus-device.js'
import { DebugExit } from '../../../lib/devices/debug/debug-exit.js'
import { Pvpanic } from '../../../lib/devices/debug/pvpanic.js'
import { FwCfg } from '../../../lib/devices/firmware/fw-cfg.js'
import {
  PFLASH_BLOCK,
  PFLASH_READ_ARRAY,
  PflashCfi01,
} from '../../../lib/devices/firmware/pflash-cfi01.js'
import { AcpiPm } from '../../../lib/devices/legacy/acpi-pm.js'
import { CmosRtc } from '../../../lib/devices/legacy/cmos-rtc.js'
import { I8042 } from '../../../lib/devices/legacy/i8042.js'
import { ResetControl } from '../../../lib/devices/legacy/reset-control.js'
import { SystemControlPort } from '../../../lib/devices/legacy/system-control-port.js'
import { Ecam } from '../../../lib/devices/pci/ecam.js'
import { PciHotplug } from '../../../lib/devices/pci/pci-hotplug.js'
import * as reg from '../../../lib/devices/serial/registers.js'
import { Uart16550A } from '../../../lib/devices/serial/uart-16550a.js'
import { Ib700 } from '../../../lib/devices/watchdog/ib700.js'
import { EchoDevice } from '../../helpers/echo-device.js'
import { FakeBus } from '../../helpers/fake-bus.js'
import { FakeIrqLine } from '../../helpers/fake-irq-line.js'
import { plainMemory } from '../../helpers/guest-memories.js'
import { PciRig, windowed } from '../../helpers/pci-rig.js'
import { turns } from '../../helpers/virtio-driver.js'
import { SLOT, VirtioPciRig, WINDOW } from '../../helpers/virtio-pci-driver.js'
import { check, type FuzzTarget, Input } from './target.js'

const WIDTHS = [1, 2, 4] as const
const STEPS = 300

/** What a read gives fits its width. */
function checkRead(value: number, width: number): void {
  check(value >= 0 && value < 2 ** (8 * width) && Number.isInteger(value), `a read of ${value}`)
}

/** Reads and writes of any device's registers; a byte that says which, an offset, and a value. */
function access(device: BusDevice, input: Input, how: number, offset: number): void {
  const width = WIDTHS[(how >> 1) % 3]!
  if (how & 1) device.write(offset, width, value(input, width))
  else checkRead(device.read(offset, width), width)
}

function value(input: Input, width: 1 | 2 | 4): number {
  return width === 1 ? input.u8() : width === 2 ? input.u16() : input.u32()
}

export const virtioPci: FuzzTarget = {
  about: 'the registers of virtio-pci, its configuration space and windows',
  seeds: () => [
    Uint8Array.from([0, 0, 9, 20, 0x10, 9, 0x12, 1, 0, 9, 0x14, 3, 0, 14, 0, 1, 2, 0x10, 6]),
    Uint8Array.from([1, 5, 0x10, 0, 0, 0, 0xd0, 1, 4, 6, 0, 0]),
  ],
  run: async (data) => {
    const input = new Input(data)
    const rig = new VirtioPciRig(new EchoDevice({ queueSizes: [8, 16] }), plainMemory([0, 0x20000]))
    if (input.u8() & 1) rig.start(8)
    for (let steps = 0; steps < STEPS && !input.done; steps++) {
      const step = input.u8()
      const how = input.u8()
      const width = WIDTHS[(how >> 1) % 3]!
      const offset = input.u8() * (how & 0x80 ? 1 : 4)
      if (step % 8 === 0) {
        if (how & 1) rig.pci.write(SLOT, offset & 0xff, width, value(input, width))
        else checkRead(rig.pci.read(SLOT, offset & 0xff, width), width)
      } else if (step % 8 === 1) await turns()
      else if (step % 8 === 2) rig.queues[how & 1]?.offer(offset % 9)
      else {
        // The window is where the guest has put it last; there is nothing elsewhere.
        const base = WINDOW + 0x1000 * ((step >> 3) % 4) + offset
        if (how & 1) rig.pci.mmio.write(base, width, value(input, width))
        else checkRead(rig.pci.mmio.read(base, width), width)
      }
    }
    await turns(2)
    await rig.transport.close()
    rig.memory.close()
    if (rig.errors.length > 0) throw rig.errors[0]!
  },
}

export const pci: FuzzTarget = {
  about: 'PCI configuration: both mechanisms, base addresses, ECAM, hot plugging',
  seeds: () => [
    Uint8Array.from([9, 0x10, 1, 0, 0, 0, 0xc0, 9, 4, 1, 7, 0, 0, 0, 2, 0, 0, 0, 0xc0]),
    Uint8Array.from([1, 0x60, 0, 1, 0, 0, 0xe0, 5, 0, 0x10, 0, 0, 3, 2, 0, 0, 0xc0, 3]),
  ],
  run: (data) => {
    const input = new Input(data)
    const rig = new PciRig()
    const devices = [windowed('a'), windowed('b', 0x10000)]
    for (const [i, device] of devices.entries()) rig.bus.plug(device, i + 1)
    const ecam = new Ecam(rig.bus)
    const out = new Set<number>()
    const hotplug = new PciHotplug({ onEvent() {}, onEject: (slot) => out.add(slot) })
    for (let steps = 0; steps < STEPS && !input.done; steps++) {
      const step = input.u8()
      const how = step >> 3
      const width = WIDTHS[(how >> 1) % 3]!
      switch (step & 7) {
        case 0:
        case 1: {
          const [slot, offset] = [how >> 3, input.u8()]
          if (how & 1) rig.write(slot, offset, width, value(input, width))
          else checkRead(rig.read(slot, offset, width), width)
          break
        }
        case 2: {
          const address = input.u32()
          if (how & 1) rig.mmio.write(address, width, value(input, width))
          else checkRead(rig.mmio.read(address, width), width)
          break
        }
        case 3:
          access(ecam, input, how, input.u32() % 0x1000_0000)
          break
        case 4: {
          const port = 0xcf8 + (input.u8() & 7)
          if (how & 1) rig.pio.write(port, width, value(input, width))
          else checkRead(rig.pio.read(port, width), width)
          break
        }
        case 5:
          access(hotplug, input, how, input.u8() % 12)
          break
        case 6:
          hotplug.requestEject(how)
          break
        default:
          devices[how & 1]?.reset()
      }
    }
    check(
      [...out].every((slot) => slot < 32),
      'a slot that there is not',
    )
    check(rig.mmio.ranges.length < 16, `${rig.mmio.ranges.length} windows`)
  },
}

export const serial: FuzzTarget = {
  about: 'the registers of the 16550A, with and without what the vCPU thread answers',
  seeds: () => [
    Uint8Array.from([7, 1, 15, 4, 11, 1, 1, 65, 3, 66, 0, 10]),
    Uint8Array.from([31, 0x80, 1, 1, 9, 0, 31, 3, 19, 7, 16, 0x41, 2, 2, 10]),
  ],
  run: (data) => {
    const input = new Input(data)
    const make = () => {
      const sent: number[] = []
      const queue: number[] = []
      let notify = () => {}
      const irq = new FakeIrqLine()
      const uart = new Uart16550A({
        irq,
        output: { put: (byte) => sent.push(byte) },
        input: { take: () => queue.shift() ?? -1, onReadable: (callback) => (notify = callback) },
      })
      const type = (byte: number) => {
        queue.push(byte)
        notify()
      }
      return { sent, irq, uart, type }
    }
    const direct = make()
    const shortcut = make()
    const bus = new FakeBus(shortcut.uart)
    for (let steps = 0; steps < 1000 && !input.done; steps++) {
      const step = input.u8()
      const offset = (step >> 2) & 7
      const width = step >> 5 === 7 ? 4 : step >> 5 === 6 ? 2 : 1
      if ((step & 3) === 0) {
        const read = direct.uart.read(offset, width)
        checkRead(read, width)
        check(bus.in(offset, width) === read, 'another value where the vCPU thread answers')
      } else if ((step & 3) === 1) {
        const written = value(input, width)
        direct.uart.write(offset, width, written)
        bus.out(offset, written, width)
      } else {
        bus.drain()
        for (const { uart, type } of [direct, shortcut]) {
          if (step === 3) uart.receiveBreak()
          else type(step)
        }
      }
    }
    bus.drain()
    check(shortcut.irq.level === direct.irq.level, 'another level of the interrupt')
    check(Buffer.from(shortcut.sent).equals(Buffer.from(direct.sent)), 'other bytes sent')
    const pending = (direct.uart.read(reg.UART_IIR, 1) & 1) === 0
    check(pending === shortcut.irq.level, 'IIR and the line disagree')
  },
}

export const chips: FuzzTarget = {
  about: 'the small chips: i8042, clock, power management, resets, watchdog, debug ports',
  seeds: () => [
    Uint8Array.from([7, 4, 0x60, 7, 0, 0x65, 7, 4, 0xd1, 6, 0]),
    Uint8Array.from([9, 0, 0x0b, 9, 1, 2, 9, 0, 4, 8, 1, 10, 2, 10, 8, 17, 4, 0, 0x34]),
  ],
  run: (data) => {
    const input = new Input(data)
    const fired: Record<string, number> = {}
    const once = (name: string) => () => {
      fired[name] = (fired[name] ?? 0) + 1
    }
    let now = 0
    const devices: (BusDevice & { reset?(): void })[] = [
      new I8042({ onReset: once('i8042'), irq: new FakeIrqLine(1) }),
      new CmosRtc({ clock: () => now }),
      new AcpiPm({
        sci: new FakeIrqLine(9),
        onPowerOff: once('off'),
        onReset: once('pm'),
        clock: () => BigInt(now) * 1000n,
      }),
      new ResetControl({ onReset: once('control') }),
      new SystemControlPort({ onReset: once('port92') }),
      new Ib700({ onExpire: () => {}, schedule: () => () => {}, clock: () => now }),
      new DebugExit({ onExit: once('exit') }),
      new Pvpanic({ onPanic: () => {} }),
    ]
    for (let steps = 0; steps < 1000 && !input.done; steps++) {
      const step = input.u8()
      const how = step >> 3
      access(devices[step & 7]!, input, how, input.u8() & 0x3f)
      now += input.u8() << (how >> 2)
    }
    for (const [name, times] of Object.entries(fired)) check(times === 1, `${name} fired ${times}×`)
  },
}

const MEMORY = 0x4000

export const fwCfg: FuzzTarget = {
  about: 'fw_cfg by ports and by DMA',
  seeds: () => [
    // Selects the directory, reads it, then has it transferred to 0x2000.
    Uint8Array.from([
      1,
      0x19,
      0,
      0,
      0,
      0,
      2,
      0,
      0,
      16,
      ...dma(0x0019_000a, 64, 0x2000),
      3,
      0,
      0x10,
    ]),
    Uint8Array.from([2, 0, 0, 16, ...dma(0x0021_0018, 2, 0x1000), 3, 0, 0x10, 4]),
  ],
  run: (data) => {
    const input = new Input(data)
    const memory = plainMemory([0, MEMORY])
    let made = 0
    const item = {
      size: 100,
      read: () => {
        made++
        return new Uint8Array(10)
      },
    }
    const device = new FwCfg({
      memory,
      items: { 5: Uint8Array.of(3, 0) },
      files: { 'etc/b': Buffer.from('second'), 'etc/a': item },
    })
    for (let steps = 0; steps < STEPS && !input.done; steps++) {
      const step = input.u8()
      if ((step & 7) === 0) access(device, input, step >> 3, input.u8() % 12)
      else if ((step & 7) === 1) device.write(0, 2, input.u16())
      else if ((step & 7) === 2) {
        const at = input.u16() & 0x3fff
        memory.write(Math.min(at, MEMORY - 64), input.bytes(input.u8() & 0x3f))
      } else if ((step & 7) === 3) {
        device.write(4, 4, step < 0xf0 ? 0 : input.u32())
        // In the order of the wire, as the guest writes it.
        device.write(8, 4, Buffer.from(Uint32Array.of(input.u16()).buffer).readUInt32BE())
      } else checkRead(device.read(1, 1), 1)
    }
    check(made <= STEPS, 'an item was made more often than it was asked for')
    memory.close()
  },
}

/** The structure of a transfer. */
function dma(control: number, length: number, address: number): number[] {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32BE(control, 0)
  bytes.writeUInt32BE(length, 4)
  bytes.writeUInt32BE(address, 12)
  return [...bytes]
}

const FLASH = 4 * PFLASH_BLOCK

export const pflash: FuzzTarget = {
  about: 'commands of the flash that firmware keeps its variables in',
  seeds: () => [
    Uint8Array.from([1, 0, 0, 0x40, 1, 8, 0, 0xaa, 0, 8, 0, 1, 0, 0, 0xff, 0, 8, 0]),
    Uint8Array.from([1, 0, 0x10, 0x20, 1, 0, 0x10, 0xd0, 1, 0, 0, 0xe8, 1, 0, 0, 1, 1, 2, 0, 5]),
  ],
  run: (data) => {
    const input = new Input(data)
    const bytes = new Uint8Array(FLASH).fill(0xa5)
    const shadow = bytes.slice()
    let array = true
    const flash = new PflashCfi01({
      bytes,
      onArrayMode: (mode) => (array = mode),
      onChange: (offset, length) => {
        check(
          length > 0 && offset >= 0 && offset <= FLASH - length,
          'a change outside of the flash',
        )
        shadow.set(bytes.subarray(offset, offset + length), offset)
      },
    })
    for (let steps = 0; steps < 1000 && !input.done; steps++) {
      const step = input.u8()
      const offset = input.u16() % FLASH
      const width = WIDTHS[(step >> 1) % 3]!
      if (offset > FLASH - width) continue
      if (step & 1) flash.write(offset, width, value(input, width))
      else {
        const read = flash.read(offset, width)
        checkRead(read, width)
        if (array && width === 1) check(read === bytes[offset], 'another byte than there is')
      }
    }
    // As many as the longest command has, and back to where contents are read.
    for (let i = 0; i < 300; i++) flash.write(0, 1, PFLASH_READ_ARRAY)
    check(Buffer.compare(shadow, bytes) === 0, 'a change that was not told of')
  },
}
