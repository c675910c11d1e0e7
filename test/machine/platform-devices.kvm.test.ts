import { describe, expect, it } from 'vitest'
import { VirtualMachine, type VmWarning } from '../../lib/index.js'
import { tinyMachines } from './machines.js'
import * as guest from './tiny-guest.js'

const create = tinyMachines()

async function start(...given: Parameters<typeof create>) {
  const vm = await create(...given)
  await vm.start()
  return vm
}

const text = async (stream: AsyncIterable<unknown>) => {
  let all = ''
  for await (const chunk of stream) all += (chunk as Buffer).toString('latin1')
  return all
}

describe('debugcon', () => {
  it.each([
    [true, 0xe9],
    [{ port: 0x402 }, 0x402],
  ])('%o', async (debugcon, port) => {
    const said = [...Buffer.from('early')].map((byte) => guest.outb(port, byte))
    const vm = await start([...said, guest.powerOff], { devices: { debugcon } })
    expect(await text(vm.debugcon!)).toBe('early')
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  })

  it('is not there unless asked for', async () => {
    const vm = await start([guest.outb(0xe9, 1), guest.powerOff], {})
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(vm.debugcon).toBeUndefined()
  })

  it('names the port that another device has', async () => {
    const devices = { debugcon: { port: 0x3f8 } }
    const kernel = guest.kernel(guest.powerOff)
    await expect(VirtualMachine.create({ kernel, memory: '32M', devices })).rejects.toMatchObject({
      code: 'ERR_BUS_CONFLICT',
      value: 0x3f8,
    })
  })
})

it('debugExit ends the machine with its code', async () => {
  const vm = await start([guest.outb(0xf4, 0x10), guest.outb(0xf4, 0x11)], {
    devices: { debugExit: true },
  })
  expect(await vm.stopped).toEqual({ kind: 'exit', code: 0x10 })
})

describe('pvpanic', () => {
  const code = [guest.outb(0x505, 1), guest.powerOff]

  it('ends the machine', async () => {
    const vm = await start(code, { devices: { pvpanic: true } })
    expect(await vm.stopped).toEqual({ kind: 'panicked' })
  })

  it('warns, if that is what was asked for', async () => {
    const devices = { pvpanic: { onPanic: 'warn' as const } }
    const vm = await start(code, { devices })
    const warnings: VmWarning[] = []
    vm.on('warning', (warning) => warnings.push(warning))
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(warnings).toEqual([{ kind: 'guest-panicked', crashLoaded: false }])
  })

  it('only warns of a guest whose crash kernel takes over', async () => {
    const crash = [guest.outb(0x505, 2), guest.powerOff]
    const vm = await start(crash, { devices: { pvpanic: true } })
    const warnings: VmWarning[] = []
    vm.on('warning', (warning) => warnings.push(warning))
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(warnings).toEqual([{ kind: 'guest-panicked', crashLoaded: true }])
  })
})

describe('watchdog', () => {
  // Two seconds less all of them: at once.
  const hang = [guest.outb(0x443, 15), guest.spin]

  it('ends a machine whose guest hangs', async () => {
    const vm = await start(hang, { devices: { watchdog: true } })
    expect(await vm.stopped).toEqual({ kind: 'watchdog' })
  })

  it('resets it, if that is what was asked for', async () => {
    const devices = { watchdog: { onExpire: 'reset' as const } }
    const vm = await start(hang, { devices })
    expect(await vm.stopped).toEqual({ kind: 'reset' })
  })

  it('may be one on PCI', async () => {
    const lock = [
      ...[0xba, 0xf8, 0x0c, 0, 0], // mov $0xcf8, %edx
      ...[0xb8, 0x68, 0x08, 0x00, 0x80, 0xef], // mov $0x80000868, %eax; out %eax, (%dx)
      ...guest.outb(0xcfc, 2),
    ]
    const window = 0xc000_0000
    const unlocked = (register: number, value: number) => [
      ...guest.store(window + 0xc, 0x80),
      ...guest.store(window + 0xc, 0x86),
      ...guest.store(window + register, value),
    ]
    const code = [unlocked(0, 1), unlocked(4, 1), lock, guest.spin]
    const devices = { watchdog: { model: 'i6300esb' as const } }
    const vm = await start(code, { devices })
    expect(await vm.stopped).toEqual({ kind: 'watchdog' })
    await expect(start([guest.spin], { devices, transport: 'mmio' })).rejects.toMatchObject({
      ...{ code: 'ERR_INVALID_OPTION', option: 'devices.watchdog.model' },
    })
  })

  it('leaves a guest alone that has stopped it', async () => {
    const code = [guest.outb(0x443, 14), guest.outb(0x441, 0), guest.powerOff]
    const vm = await start(code, { devices: { watchdog: true } })
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  })
})

it('testDevice has its memory and its ports', async () => {
  const code = [
    guest.store(0xff00_0004, 0x4142_4344),
    guest.say(0xff00_0004, 3),
    guest.outb(0xe1, 0x5a),
    // mov $0xe9, %edx; in %dx, %al; mov $COM1, %edx; out %al, %dx
    [0xba, 0xe9, 0, 0, 0, 0xec, 0xba, 0xf8, 3, 0, 0, 0xee],
    guest.powerOff,
  ]
  const vm = await start(code, { devices: { testDevice: true } })
  expect(await text(vm.console.output)).toBe('AZ')
})
