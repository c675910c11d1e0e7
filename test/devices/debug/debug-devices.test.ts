import { describe, expect, it } from 'vitest'
import { DebugExit } from '../../../lib/devices/debug/debug-exit.js'
import { Debugcon } from '../../../lib/devices/debug/debugcon.js'
import * as testdev from '../../../lib/devices/debug/pc-testdev.js'
import { Pvpanic } from '../../../lib/devices/debug/pvpanic.js'
import { FakeBus } from '../../helpers/fake-bus.js'
import { FakeIrqLine } from '../../helpers/fake-irq-line.js'

describe('Debugcon', () => {
  it('takes characters without a wait, and says that it is there', () => {
    const text: number[] = []
    const bus = new FakeBus(new Debugcon({ output: { put: (byte) => void text.push(byte) } }))
    for (const byte of Buffer.from('hello')) bus.out(0, byte)
    expect(bus.in(0)).toBe(0xe9)
    expect(bus.synchronous).toBe(0)
    bus.drain()
    expect(Buffer.from(text).toString()).toBe('hello')
  })
})

describe('DebugExit', () => {
  it('gives the code of the first write, until it is reset', () => {
    const codes: number[] = []
    const device = new DebugExit({ onExit: (code) => codes.push(code) })
    device.write(0, 4, 0xdead_beef)
    device.write(0, 1, 7)
    expect(codes).toEqual([0xdead_beef])
    device.reset()
    device.write(0, 1, 7)
    expect(codes).toEqual([0xdead_beef, 7])
    expect(device.read()).toBe(0)
  })
})

describe('Pvpanic', () => {
  it.each([
    [0, []],
    [1, [{ crashLoaded: false }]],
    [2, [{ crashLoaded: true }]],
    [3, [{ crashLoaded: false }]],
    [0xfc, []],
  ])('takes event %i', (value, expected) => {
    const events: unknown[] = []
    const device = new Pvpanic({ onPanic: (event) => events.push(event) })
    expect(device.read()).toBe(3)
    device.write(0, 1, value)
    expect(events).toEqual(expected)
  })
})

describe('the test device', () => {
  it('reads back its port as it was written, whatever the widths', () => {
    const port = new testdev.TestdevIoport()
    port.write(0, 4, 0x1234_5678)
    port.write(1, 1, 0xaa)
    expect(port.read(0, 4)).toBe(0x1234_aa78)
    port.write(2, 2, 0xbeef)
    expect([port.read(2, 1), port.read(3, 1), port.read(0, 2)]).toEqual([0xef, 0xbe, 0xaa78])
    port.reset()
    expect(port.read(0, 4)).toBe(0)
  })

  it('asserts and deasserts interrupt lines, those only that are used', () => {
    const lines = new Map<number, FakeIrqLine>()
    const irq = new testdev.TestdevIrq((gsi) => {
      const line = new FakeIrqLine(gsi)
      lines.set(gsi, line)
      return line
    })
    irq.write(23, 1, 1)
    expect(lines.get(23)?.level).toBe(true)
    irq.write(23, 1, 0)
    expect(lines.get(23)?.level).toBe(false)
    irq.write(3, 4, 0x100)
    irq.reset()
    expect(lines.get(3)).toMatchObject({ level: false, edges: 1 })
    expect([...lines.keys()]).toEqual([23, 3])
  })

  it('has memory that keeps what is written, with every width', () => {
    const memory = new testdev.TestdevIomem()
    memory.write64(8, 0x1122_3344_5566_7788n)
    expect([memory.read(8, 4), memory.read(14, 2), memory.read(9, 1)]).toEqual([
      0x5566_7788, 0x1122, 0x77,
    ])
    memory.write(testdev.TESTDEV_IOMEM_SIZE - 4, 4, 0xffff_fffe)
    expect(memory.read(testdev.TESTDEV_IOMEM_SIZE - 4, 4)).toBe(0xffff_fffe)
    memory.reset()
    expect(memory.read64(8)).toBe(0n)
  })

  it('takes a flush of any page for done', () => {
    const flush = new testdev.TestdevFlush()
    flush.write()
    expect(flush.read(0, 4)).toBe(0xffff_ffff)
  })
})
