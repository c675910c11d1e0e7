import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  VIRTIO_ID_BALLOON,
  VIRTIO_ID_CONSOLE,
  VIRTIO_ID_RNG,
  VIRTIO_ID_VSOCK,
} from '../../lib/devices/virtio/abi.js'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { until } from '../helpers/virtio-driver.js'
import { says } from './says.js'
import * as guest from './tiny-guest.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-devices-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** What is in the slots, from the first on. */
function deviceIds(options: Partial<VirtualMachineOptions>, slots: number): Promise<number[]> {
  const ids = Array.from({ length: slots }, (_, slot) =>
    guest.say(guest.register(slot, mmio.VIRTIO_MMIO_DEVICE_ID)),
  )
  return says(options, ...ids)
}

describe('devices that are asked for', () => {
  it('are in the slots, in order', async () => {
    const options = { balloon: {}, rng: true, virtioConsole: {}, vsock: {} }
    const ids = await deviceIds(options, 4)
    expect(ids).toEqual([VIRTIO_ID_RNG, VIRTIO_ID_VSOCK, VIRTIO_ID_CONSOLE, VIRTIO_ID_BALLOON])
  })

  it('are none unless asked for', async () => {
    const kernel = guest.kernel(guest.powerOff)
    await using vm = await VirtualMachine.create({ kernel, memory: '32M', transport: 'mmio' })
    expect([vm.vsock, vm.virtioConsole, vm.balloon]).toEqual([undefined, undefined, undefined])
    expect([vm.disks, vm.nets]).toEqual([[], []])
  })
})

describe('vsock', () => {
  const kernel = guest.kernel(guest.powerOff)

  it('gives the context ID that was asked for', async () => {
    await using vm = await VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      vsock: { cid: 77 },
    })
    expect(vm.vsock?.cid).toBe(77)
  })

  it('makes its Unix socket and takes it away', async () => {
    const unixSocket = join(folder, 'vsock')
    const vm = await VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      vsock: { unixSocket },
    })
    expect(existsSync(unixSocket)).toBe(true)
    await vm.close()
    expect(existsSync(unixSocket)).toBe(false)
  })

  it('names the option where the socket cannot be made', async () => {
    const unixSocket = join(folder, 'taken')
    writeFileSync(unixSocket, '')
    const vm = VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      vsock: { unixSocket },
    })
    await expect(vm).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option: 'vsock.unixSocket',
      value: unixSocket,
    })
    expect(existsSync(unixSocket)).toBe(true)
  })
})

const RING = {
  size: 16,
  descriptorArea: 0x100_0000,
  driverArea: 0x100_1000,
  deviceArea: 0x100_2000,
}

/** Puts one buffer into the ring, which the guest gives to the device in its first slot. */
function offer(vm: VirtualMachine, address: number, length: number, writable: boolean): void {
  const descriptor = vm.memory.dataView(RING.descriptorArea, 16)
  descriptor.setBigUint64(0, BigInt(address), true)
  descriptor.setUint32(8, length, true)
  descriptor.setUint16(12, writable ? 2 : 0, true) // VIRTQ_DESC_F_WRITE
  vm.memory.dataView(RING.driverArea + 2, 2).setUint16(0, 1, true)
}

describe('virtioConsole', () => {
  it('has hvc0 and the ports asked for', async () => {
    const kernel = guest.kernel(guest.powerOff)
    const virtioConsole = { ports: ['agent', 'log'] }
    await using vm = await VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      virtioConsole,
    })
    expect(vm.virtioConsole?.ports.map(({ name }) => name)).toEqual(['console', 'agent', 'log'])
  })

  it('gives the guest what is written, and ends with the machine', async () => {
    const kernel = guest.kernel(guest.startDevice(0, RING))
    const vm = await VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      virtioConsole: {},
    })
    const hvc0 = vm.virtioConsole!.ports[0]!
    offer(vm, 0x100_4000, 16, true)
    await vm.start()
    await new Promise((resolve) => hvc0.input.write('hello', resolve))
    expect(Buffer.from(vm.memory.view(0x100_4000, 5)).toString()).toBe('hello')
    const ended = new Promise((resolve) => hvc0.output.resume().once('end', resolve))
    await vm.close()
    await ended
  })

  it('shows the guest the size of its terminal', async () => {
    const columns = guest.register(0, mmio.VIRTIO_MMIO_CONFIG)
    const kernel = guest.kernel(guest.say(columns), guest.say(columns, 2), guest.powerOff)
    await using vm = await VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      virtioConsole: {},
    })
    vm.virtioConsole!.resize(132, 43)
    await vm.start()
    const said: number[] = []
    for await (const chunk of vm.console.output) said.push(...(chunk as Buffer))
    expect(said).toEqual([132, 43])
  })
})

describe('balloon', () => {
  it('asks the guest for memory, and takes what it gives', async () => {
    const pages = guest.register(0, mmio.VIRTIO_MMIO_CONFIG)
    const kernel = guest.kernel(
      guest.startDevice(0, RING),
      guest.say(pages),
      guest.store(pages + 4, 2),
    )
    await using vm = await VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      balloon: {},
    })
    const balloon = vm.balloon!
    balloon.target = 2 * 4096
    vm.memory.fill(0x150_0000, 8192, 0xff)
    vm.memory.dataView(0x100_4000, 4).setUint32(0, 0x1500, true)
    offer(vm, 0x100_4000, 4, false)
    await vm.start()
    const [said] = await new Promise<Buffer>((resolve) =>
      vm.console.output.once('data', (chunk: Buffer) => resolve(chunk)),
    )
    expect(said).toBe(2)
    await until(() => balloon.actual === 8192 && balloon.counters.discardedPages === 1)
    const first = vm.memory.view(0x150_0000, 4096)
    expect(first.every((byte) => byte === 0)).toBe(true)
    expect(vm.memory.view(0x150_1000, 1)[0]).toBe(0xff)
  })

  it('refuses a target that is no whole number of pages', async () => {
    const kernel = guest.kernel(guest.powerOff)
    await using vm = await VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      balloon: {},
    })
    expect(() => {
      vm.balloon!.target = 1000
    }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'target' }))
    expect(await vm.balloon!.statistics()).toEqual({})
  })
})
