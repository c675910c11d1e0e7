import { describe, expect, it } from 'vitest'
import type { PlatformDeviceOptions, VirtualMachineOptions } from '../../lib/index.js'
import { parseConfig } from '../../lib/machine/machine-config.js'

const parse = (devices: object) =>
  parseConfig({ kernel: 'vmlinuz', devices } as VirtualMachineOptions).devices

describe('devices', () => {
  it('are asked for by true, or by what more there is to say', () => {
    const all: PlatformDeviceOptions = {
      debugcon: true,
      debugExit: { size: 1 },
      pvpanic: { onPanic: 'warn' },
      testDevice: true,
      watchdog: { onExpire: 'reset' },
    }
    expect(parse(all)).toEqual({
      debugcon: { port: 0xe9, bufferSize: 2 ** 20 },
      debugExit: { port: 0xf4, size: 1 },
      pvpanic: { onPanic: 'warn' },
      testDevice: true,
      watchdog: { model: 'ib700', onExpire: 'reset' },
      vmGenerationId: undefined,
    })
    expect(parse({ debugcon: false, pvpanic: true, watchdog: {} })).toMatchObject({
      debugcon: undefined,
      pvpanic: { onPanic: 'stop' },
      watchdog: { model: 'ib700', onExpire: 'stop' },
    })
  })

  it('have a generation ID as the guest reads a GUID, or a random one', () => {
    const { vmGenerationId } = parse({ vmGenerationId: '00112233-4455-6677-8899-aAbBcCdDeEfF' })
    expect(Buffer.from(vmGenerationId!).toString('hex')).toBe('33221100554477668899aabbccddeeff')
    const [one, other] = [parse({ vmGenerationId: true }), parse({ vmGenerationId: true })]
    expect(one.vmGenerationId).toHaveLength(16)
    expect(one.vmGenerationId).not.toEqual(other.vmGenerationId)
  })

  it.each<[option: string, devices: object, value: unknown]>([
    ['devices.debugcon', { debugcon: 0xe9 }, 0xe9],
    ['devices.debugcon', { debugcon: null }, null],
    ['devices.debugcon.port', { debugcon: { port: 0x10000 } }, 0x10000],
    ['devices.debugcon.port', { debugcon: { port: -1 } }, -1],
    ['devices.debugcon.bufferSize', { debugcon: { bufferSize: 1 } }, 1],
    ['devices.debugExit.size', { debugExit: { size: 3 } }, 3],
    ['devices.debugExit.port', { debugExit: { port: '0xf4' } }, '0xf4'],
    ['devices.pvpanic.onPanic', { pvpanic: { onPanic: 'reset' } }, 'reset'],
    ['devices.testDevice', { testDevice: 1 }, 1],
    ['devices.watchdog.model', { watchdog: { model: 'i6300' } }, 'i6300'],
    ['devices.watchdog.onExpire', { watchdog: { onExpire: 'warn' } }, 'warn'],
    ['devices.watchdog.timeout', { watchdog: { timeout: 3 } }, 3],
    ['devices.vmGenerationId', { vmGenerationId: 'x' }, 'x'],
    ['devices.vmGenerationId', { vmGenerationId: 7 }, 7],
    ['devices.floppy', { floppy: true }, true],
  ])('refuses %s', (option, devices, value) => {
    expect(() => parse(devices)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option, value }),
    )
  })
})
