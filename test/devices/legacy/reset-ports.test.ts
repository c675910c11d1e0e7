import { describe, expect, it } from 'vitest'
import { PostCodePort } from '../../../lib/devices/legacy/post-code-port.js'
import { ResetControl } from '../../../lib/devices/legacy/reset-control.js'
import { SystemControlPort } from '../../../lib/devices/legacy/system-control-port.js'
import { FakeBus } from '../../helpers/fake-bus.js'

describe('ResetControl', () => {
  it('resets when RST_CPU goes from 0 to 1, as Linux does it', () => {
    let resets = 0
    const port = new ResetControl({ onReset: () => resets++ })
    port.write(0, 1, 0x02)
    expect(port.read(0, 1)).toBe(0x02)
    expect(resets).toBe(0)
    port.write(0, 1, 0x06)
    expect(resets).toBe(1)
    port.write(0, 1, 0x02)
    port.write(0, 1, 0x0e)
    expect(resets).toBe(1)
    port.reset()
    port.write(0, 1, 0x04)
    expect(resets).toBe(2)
  })

  it('with every value and width gives at most one event, and only for a set bit 2', () => {
    for (const width of [1, 2, 4] as const) {
      for (let value = 0; value < 256; value++) {
        let resets = 0
        const port = new ResetControl({ onReset: () => resets++ })
        port.write(0, width, value)
        port.write(0, width, value)
        expect(resets).toBe(width === 1 && value & 4 ? 1 : 0)
        expect(port.read(0, 1) & ~0x0e).toBe(0)
        expect(port.read(0, 4)).toBe(0xffff_ffff)
      }
    }
  })
})

describe('SystemControlPort', () => {
  it('resets when bit 0 goes from 0 to 1, and keeps A20', () => {
    let resets = 0
    const port = new SystemControlPort({ onReset: () => resets++ })
    expect(port.read(0, 1)).toBe(0x02)
    port.write(0, 1, 0x00)
    expect(port.read(0, 1)).toBe(0x00)
    port.write(0, 1, 0x03)
    port.write(0, 1, 0x02)
    port.write(0, 1, 0x03)
    expect(resets).toBe(1)
    port.reset()
    port.write(0, 1, 0x01)
    expect(resets).toBe(2)
  })

  it('ignores wider accesses', () => {
    let resets = 0
    const port = new SystemControlPort({ onReset: () => resets++ })
    port.write(0, 2, 0xffff)
    expect(resets).toBe(0)
    expect(port.read(0, 2)).toBe(0xffff)
  })
})

describe('PostCodePort', () => {
  it('takes codes without a synchronous exit and reads as all ones', () => {
    const port = new PostCodePort()
    const bus = new FakeBus(port)
    bus.out(0, 0x55)
    expect(bus.in(0)).toBe(0xff)
    expect(bus.synchronous).toBe(0)
    bus.drain()
    expect(port.code).toBe(0x55)
    expect(port.read(0, 2)).toBe(0xffff)
  })
})
