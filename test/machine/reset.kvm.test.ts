import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { VirtualMachineOptions } from '../../lib/index.js'
import { PATIENCE } from '../helpers/process-state.js'
import { until } from '../helpers/virtio-driver.js'
import { tinyMachines } from './machines.js'
import * as guest from './tiny-guest.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-reset-'))
afterAll(() => rmSync(folder, { recursive: true }))

const create = tinyMachines()

/** Counts in the CMOS memory, which a reset leaves, and goes on after the instructions that follow the last time. */
const countBoots = (times: number, reset: number[]) => [
  ...guest.outb(0x70, 0x40),
  ...[0xba, 0x71, 0, 0, 0], // mov $0x71, %edx
  ...[0xec, 0xfe, 0xc0, 0xee], // in %dx, %al; inc %al; out %al, %dx
  ...[0x3c, times], // cmp $times, %al
  ...[0x0f, 0x84, reset.length, 0, 0, 0], // je over the reset
  ...reset,
]

const descriptors = () => readdirSync('/proc/self/fd').length

describe('a guest that resets the machine', () => {
  it.each([
    ['chipset', guest.resetByChipset],
    ['keyboard controller', guest.resetByKeyboardController],
    ['port 0x92', [...guest.outb(0x92, 0x01), ...guest.spin]],
    ['ACPI', [...guest.outb(0x60c, 0x01), ...guest.spin]],
  ])('by the %s is started anew with onReset: restart', async (_, reset) => {
    const vm = await create([countBoots(5, reset), guest.print('done'), guest.powerOff], {
      onReset: 'restart',
    })
    let resets = 0
    vm.on('reset', () => resets++)
    await vm.start()
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(resets).toBe(4)
    expect(vm.console.output.read()?.toString()).toBe('done')
  })

  it.each<Partial<VirtualMachineOptions>>([
    { cpus: 2 },
    { memory: { size: '32M', kind: 'memfd' } },
    { memory: { size: '32M', locked: true } },
    { transport: 'pci', rng: true },
  ])('finds memory, registers and devices as at first, with %j', async (options) => {
    const address = 0x100_0000
    const code = [
      // Says what memory, a UART register and the FPU's control word hold, then changes them.
      guest.say(address),
      [0xba, 0xff, 3, 0, 0, 0xec, 0xba, 0xf8, 3, 0, 0, 0xee], // in 0x3ff; out COM1
      guest.store(address, 0x58),
      guest.outb(0x3ff, 0x59),
      countBoots(3, guest.resetByChipset),
      guest.powerOff,
    ]
    const vm = await create(code, { onReset: 'restart', ...options })
    await vm.start()
    const said: number[] = []
    for await (const chunk of vm.console.output) said.push(...(chunk as Buffer))
    expect(said).toEqual([0, 0, 0, 0, 0, 0])
  })

  it('200 times leaves nothing behind', async () => {
    const vm = await create([countBoots(200, guest.resetByChipset), guest.powerOff], {
      onReset: 'restart',
      rng: true,
    })
    let resets = 0
    let after10 = 0
    vm.on('reset', () => {
      resets++
      if (resets === 10) after10 = descriptors()
      if (resets === 199) expect(descriptors()).toBe(after10)
    })
    await vm.start()
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(resets).toBe(199)
  })

  it('ends the machine if its kernel is gone by then', async () => {
    const kernel = join(folder, 'kernel')
    writeFileSync(kernel, guest.kernel(guest.resetByChipset))
    const vm = await create([], { kernel, onReset: 'restart' })
    rmSync(kernel)
    await vm.start()
    expect(await vm.stopped).toMatchObject({ kind: 'error', error: { code: 'ERR_KERNEL_IMAGE' } })
  })
})

describe('reset()', () => {
  it('starts a running guest anew', async () => {
    const vm = await create([guest.print('hi'), guest.spin])
    let text = ''
    vm.console.output.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    await vm.start()
    await until(() => text === 'hi')
    await vm.reset()
    expect(vm.state).toBe('running')
    await until(() => text === 'hihi')
  })

  it('leaves a paused one paused, at its first instruction', async () => {
    const vm = await create([guest.count(0x100_0000)])
    await vm.start()
    const counted = () => vm.memory.dataView(0x100_0000, 4).getUint32(0, true)
    await until(() => counted() > 0)
    await vm.pause()
    await vm.reset()
    expect([vm.state, counted()]).toEqual(['paused', 0])
    await vm.resume()
    await until(() => counted() > 0)
  })

  it('many times at once is one', async () => {
    const vm = await create([guest.spin])
    let resets = 0
    vm.on('reset', () => resets++)
    await vm.start()
    await Promise.all([vm.reset(), vm.reset(), vm.reset()])
    expect(resets).toBe(1)
  })

  it.each(['stop', 'close', 'pause'] as const)('meets %s()', async (method) => {
    const vm = await create([guest.spin])
    await vm.start()
    const reset = vm.reset()
    await vm[method]()
    await reset
    expect(vm.state).toBe({ stop: 'stopped', close: 'closed', pause: 'paused' }[method])
  })

  it('needs a machine that has not ended', async () => {
    const vm = await create([guest.spin])
    await vm.reset()
    await vm.start()
    await vm.stop()
    await expect(vm.reset()).rejects.toMatchObject({ code: 'ERR_STATE' })
    await vm.close()
    await expect(vm.reset()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })
})

/** Enables the power button's event, waits for it and powers off. */
const listen = [
  ...[0xba, 0x02, 0x06, 0, 0, 0x66, 0xb8, 0x00, 0x01, 0x66, 0xef], // PM1_EN = PWRBTN_EN
  ...[0xba, 0x00, 0x06, 0, 0], // mov $PM1_STS, %edx
  ...[0x66, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf9], // 1: in %dx, %ax; test $1, %ah; jz 1b
  ...guest.powerOff,
]

describe('shutdown()', () => {
  it('ends a guest that listens to the power button', async () => {
    const vm = await create([listen])
    await vm.start()
    expect(await vm.shutdown({ timeout: PATIENCE })).toEqual({ kind: 'shutdown' })
    expect(await vm.shutdown()).toEqual({ kind: 'shutdown' })
  })

  it('tells of a guest that does not, which goes on', async () => {
    const vm = await create([guest.spin])
    await vm.start()
    await expect(vm.shutdown({ timeout: 1 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
      option: 'timeout',
      value: 1,
    })
    expect(vm.state).toBe('running')
  })

  it.each([0, -1, NaN, '1', null])('refuses a timeout of %o', async (timeout) => {
    const vm = await create([guest.spin])
    await vm.start()
    await expect(vm.shutdown({ timeout: timeout as number })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option: 'timeout',
    })
  })

  it('needs a running machine', async () => {
    const vm = await create([guest.spin])
    await expect(vm.shutdown()).rejects.toMatchObject({ code: 'ERR_STATE' })
  })
})
