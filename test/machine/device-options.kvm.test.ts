import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import { MemoryDisk, VirtualMachine, VirtualSwitch } from '../../lib/index.js'
import { le32 } from '../../lib/util/bits.js'
import { until } from '../helpers/virtio-driver.js'
import { says } from './says.js'
import * as guest from './tiny-guest.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-device-options-'))
afterAll(() => rmSync(folder, { recursive: true }))

const KERNEL = guest.kernel(guest.powerOff)
const SPINNER = guest.kernel(guest.spin)

const at = (offset: number) => guest.register(0, offset)

/** The size of a queue in units of 256. */
const queueSize = (queue: number) => [
  ...guest.store(at(mmio.VIRTIO_MMIO_QUEUE_SEL), queue),
  ...guest.say(at(mmio.VIRTIO_MMIO_QUEUE_NUM_MAX), 1),
]

describe('disks', () => {
  it('have one queue unless told, and as many as told', async () => {
    const backend = () => new MemoryDisk(4096)
    expect(await says({ disks: [backend()] }, queueSize(0), queueSize(1))).toEqual([1, 0])
    const disks = [{ backend: backend(), queues: 3 }]
    expect(await says({ disks }, queueSize(2), queueSize(3))).toEqual([1, 0])
  })

  it.each([
    ['as many as there are', undefined, 3],
    ['no more than its rate', { operations: { perSecond: 1e-6, burst: 0.5 } }, 1],
  ])('answers %s', async (_, rateLimit, answered) => {
    const queue = { size: 16, descriptorArea: 0x100_0000, driverArea: 0x100_1000 }
    const kernel = guest.kernel(guest.startDevice(0, { ...queue, deviceArea: 0x100_2000 }))
    const disks = [{ backend: new MemoryDisk(4096), ...(rateLimit && { rateLimit }) }]
    await using vm = await VirtualMachine.create({
      kernel,
      memory: '32M',
      transport: 'mmio',
      disks,
    })
    for (let i = 0; i < 3; i++) {
      // VIRTIO_BLK_T_FLUSH: a header of zeroes but for its type, and a status.
      vm.memory.dataView(0x100_3000, 16).setUint32(0, 4, true)
      const view = vm.memory.dataView(queue.descriptorArea + 32 * i, 32)
      view.setBigUint64(0, 0x100_3000n, true)
      view.setUint32(8, 16, true)
      view.setUint16(12, 1, true) // VIRTQ_DESC_F_NEXT
      view.setUint16(14, 2 * i + 1, true)
      view.setBigUint64(16, 0x100_4000n, true)
      view.setUint32(24, 1, true)
      view.setUint16(28, 2, true) // VIRTQ_DESC_F_WRITE
      vm.memory.dataView(queue.driverArea + 4 + 2 * i, 2).setUint16(0, 2 * i, true)
    }
    vm.memory.dataView(queue.driverArea + 2, 2).setUint16(0, 3, true)
    await vm.start()
    await until(() => vm.disks[0]!.counters.flushes >= answered)
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(vm.disks[0]!.counters.flushes).toBe(answered)
    vm.disks[0]!.setLimits({ rateLimit: null })
    await until(() => vm.disks[0]!.counters.flushes === 3)
  })

  it('tell what moves their data', async () => {
    const disks = [new MemoryDisk(4096), { backend: new MemoryDisk(4096) }]
    await using vm = await VirtualMachine.create({
      kernel: KERNEL,
      memory: '32M',
      transport: 'mmio',
      disks,
    })
    expect(vm.disks.map(({ name }) => name)).toEqual(['block0', 'block1'])
    for (const { engine } of vm.disks) expect(engine).toMatch(/\w/)
  })

  it.each([
    [false, 0],
    [true, 4],
  ])('offer packed queues or not: %s', async (packedQueues, bit) => {
    const options = { disks: [new MemoryDisk(4096)], packedQueues }
    const [word] = await says(
      options,
      guest.store(at(mmio.VIRTIO_MMIO_DEVICE_FEATURES_SEL), 1),
      guest.say(at(mmio.VIRTIO_MMIO_DEVICE_FEATURES)),
    )
    expect(word! & 4).toBe(bit)
  })
})

describe('network cards', () => {
  /** The status of a network card, byte 6 of its configuration. */
  const sayLink = guest.say(at(mmio.VIRTIO_MMIO_CONFIG + 4), 2)

  it('have their cable plugged in unless told', async () => {
    const port = () => new VirtualSwitch().port()
    expect(await says({ nets: [port()] }, sayLink)).toEqual([1])
    expect(await says({ nets: [{ backend: port(), link: false }] }, sayLink)).toEqual([0])
  })

  it('have their cable pulled while the machine runs', async () => {
    const nets = [new VirtualSwitch().port({ mac: '52:54:00:00:00:07' })]
    const waits = [
      ...[0xbb, ...le32(at(mmio.VIRTIO_MMIO_CONFIG + 4))],
      ...[0x8b, 0x03, 0xa9, 0, 0, 1, 0, 0x75, 0xf7], // 1: mov (%rbx), %eax; test $1 << 16, %eax; jnz 1b
    ]
    const kernel = guest.kernel(guest.print('up'), waits, guest.powerOff)
    await using vm = await VirtualMachine.create({ kernel, memory: '32M', transport: 'mmio', nets })
    const [net] = vm.nets
    expect(net).toMatchObject({ name: 'net0', mac: '52:54:00:00:00:07', link: true })
    await vm.start()
    await new Promise((resolve) => vm.console.output.once('readable', resolve))
    expect(vm.state).toBe('running')
    net!.setLink(false)
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(net!.link).toBe(false)
    expect(net!.announce()).toBe(false) // no driver
  })

  it('have their frames captured', async () => {
    const network = new VirtualSwitch()
    const nets = [{ backend: network.port(), transmitLimit: { bytes: { perSecond: 1e6 } } }]
    await using vm = await VirtualMachine.create({
      kernel: SPINNER,
      memory: '32M',
      transport: 'mmio',
      nets,
    })
    const path = join(folder, 'frames.pcap')
    vm.nets[0]!.setLimits({ transmitLimit: null, receiveLimit: { bytes: { perSecond: 1e6 } } })
    const capture = vm.nets[0]!.capture(path)
    await capture.stop()
    expect(readFileSync(path)).toHaveLength(24)
  })
})

describe('queues used in order', () => {
  it.each([
    ['not told', { rng: true }, 0],
    ['a disk', { disks: [new MemoryDisk(4096)], inOrderQueues: true }, 0],
    ['another device', { rng: true, inOrderQueues: true }, 8],
  ])('are not offered by disks, and by others when told: %s', async (_name, options, bit) => {
    const [word] = await says(
      options,
      guest.store(at(mmio.VIRTIO_MMIO_DEVICE_FEATURES_SEL), 1),
      guest.say(at(mmio.VIRTIO_MMIO_DEVICE_FEATURES)),
    )
    expect(word! & 8).toBe(bit)
  })
})
