import { describe, expect, it } from 'vitest'
import { VIRTIO_F_VERSION_1 } from '../../../../lib/devices/virtio/abi.js'
import * as mmio from '../../../../lib/devices/virtio/transport/virtio-mmio.js'
import { EchoDevice } from '../../../helpers/echo-device.js'
import { EchoRig } from '../../../helpers/echo-rig.js'
import { turns } from '../../../helpers/virtio-driver.js'

const QUEUE_REGISTERS = [
  mmio.VIRTIO_MMIO_QUEUE_NUM_MAX,
  mmio.VIRTIO_MMIO_QUEUE_NUM,
  mmio.VIRTIO_MMIO_QUEUE_READY,
  mmio.VIRTIO_MMIO_QUEUE_DESC_LOW,
  mmio.VIRTIO_MMIO_QUEUE_DESC_HIGH,
  mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW,
  mmio.VIRTIO_MMIO_QUEUE_USED_HIGH,
]

describe('virtio-mmio registers', () => {
  it('identify the device', () => {
    const { driver } = new EchoRig()
    expect(driver.read(mmio.VIRTIO_MMIO_MAGIC_VALUE)).toBe(0x74726976)
    expect(driver.read(mmio.VIRTIO_MMIO_VERSION)).toBe(2)
    expect(driver.read(mmio.VIRTIO_MMIO_DEVICE_ID)).toBe(42)
    expect(driver.read(mmio.VIRTIO_MMIO_QUEUE_NUM_MAX)).toBe(16)
    expect(driver.read(mmio.VIRTIO_MMIO_SHM_LEN_LOW)).toBe(0xffff_ffff)
  })

  it.each([1, 2] as const)('accessed with %i bytes read as all ones and ignore writes', (width) => {
    const { transport, driver } = new EchoRig()
    for (let offset = 0; offset < mmio.VIRTIO_MMIO_CONFIG; offset++) {
      expect(transport.read(offset, width)).toBe(2 ** (8 * width) - 1)
      transport.write(offset, width, 1)
    }
    expect(driver.status).toBe(0)
    expect(transport.counters.ignoredWrites).toBe(256)
  })

  it('misaligned read as all ones and ignore writes', () => {
    const { transport, driver } = new EchoRig()
    for (const offset of [0x71, 0x72, 0x73, 0x6f, 0xfe]) {
      expect(transport.read(offset, 4)).toBe(0xffff_ffff)
      transport.write(offset, 4, 1)
    }
    expect(driver.status).toBe(0)
  })

  it('all, with every kind of value, never throw', () => {
    const rig = new EchoRig()
    for (const value of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      for (let offset = 0; offset < mmio.VIRTIO_MMIO_WINDOW; offset += 4) {
        rig.driver.write(offset, value)
        const read = rig.driver.read(offset)
        expect(read).toBeGreaterThanOrEqual(0)
        expect(read).toBeLessThanOrEqual(0xffff_ffff)
      }
    }
    expect(rig.errors).toEqual([])
  })

  it('that do not exist read as 0, ignore writes, and are counted', () => {
    const { driver, transport } = new EchoRig()
    for (const offset of [0x18, 0x1c, 0x28, 0x3c, 0x40, 0x48, 0x54, 0x74, 0x88, 0xc4, 0xf8]) {
      driver.write(offset, 0xffff_ffff)
      expect(driver.read(offset)).toBe(0)
    }
    expect(transport.counters.ignoredReads).toBe(11)
    expect(transport.counters.ignoredWrites).toBe(11)
  })

  it.each([1, 2, 0xffff, 0xffff_ffff])(
    'of queue %i, which is not there, read as 0 and ignore writes',
    (select) => {
      const rig = new EchoRig()
      rig.driver.negotiate()
      rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_SEL, select)
      for (const register of QUEUE_REGISTERS) {
        rig.driver.write(register, 1)
        expect(rig.driver.read(register)).toBe(0)
      }
    },
  )

  it.each([2, 3, 0x8000_0000, 0xffff_ffff])(
    'of features 32 × %i read as 0 and ignore writes',
    (select) => {
      const { driver } = new EchoRig()
      driver.negotiate()
      driver.write(mmio.VIRTIO_MMIO_DEVICE_FEATURES_SEL, select)
      expect(driver.read(mmio.VIRTIO_MMIO_DEVICE_FEATURES)).toBe(0)
      driver.write(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, select)
      driver.write(mmio.VIRTIO_MMIO_DRIVER_FEATURES, 0xffff_ffff)
      expect(driver.status).toBe(0x0b)
    },
  )
})

describe('feature negotiation', () => {
  function negotiated(features: bigint, device = new EchoDevice()): EchoRig {
    const rig = new EchoRig(device)
    rig.driver.status = 1
    rig.driver.status = 3
    rig.driver.writeFeatures(features)
    rig.driver.status = 0x0b
    return rig
  }
  const VERSION_1 = 1n << BigInt(VIRTIO_F_VERSION_1)

  it('accepts what is offered', () => {
    expect(negotiated(VERSION_1).driver.status).toBe(0x0b)
  })

  it('refuses a bit that was not offered, and gives the device no sign of it', () => {
    const rig = negotiated(VERSION_1 | 2n)
    expect(rig.driver.status).toBe(0x03)
    rig.driver.status = 0x07
    rig.driver.status = 0x0f
    expect(rig.driver.status).toBe(0x03)
    expect(rig.device.activations).toBe(0)
  })

  it('refuses a driver of before version 1', () => {
    expect(negotiated(0n).driver.status).toBe(0x03)
  })

  it('is over at FEATURES_OK', () => {
    const rig = negotiated(VERSION_1, new EchoDevice({ features: 6n }))
    rig.driver.writeFeatures(VERSION_1 | 6n)
    rig.driver.setUpQueue(0, 16)
    rig.driver.driverOk()
    expect(rig.device.context!.features).toBe(0n)
  })

  it('tells the device its own features alone', () => {
    const rig = new EchoRig(new EchoDevice({ features: 6n }))
    rig.driver.negotiate([1, 28])
    rig.driver.setUpQueue(0, 16)
    rig.driver.driverOk()
    expect(rig.device.context!.features).toBe(2n)
  })
})

describe('device status', () => {
  it('keeps its bits: clearing one is ignored', () => {
    const rig = new EchoRig()
    rig.driver.start()
    for (const value of [0x0e, 0x0d, 0x0b, 0x07, 0x01]) {
      rig.driver.status = value
      expect(rig.driver.status).toBe(0x0f)
    }
    expect(rig.device.activations).toBe(1)
    expect(rig.device.resets).toBe(1)
  })

  it.each([0x04, 0x08, 0x02, 0x0f, 0x10, 0x40, 0x0b])('does not begin with 0x%x', (value) => {
    const rig = new EchoRig()
    rig.driver.status = value
    expect(rig.driver.status).toBe(0)
  })

  it('activates once', () => {
    const rig = new EchoRig()
    rig.driver.start()
    rig.driver.driverOk()
    rig.driver.driverOk()
    expect(rig.device.activations).toBe(1)
  })
})

describe('reset', () => {
  it('reads as done only when the device is', async () => {
    const rig = new EchoRig()
    rig.driver.start()
    rig.device.hold = true
    rig.queue.add([{ address: 0x8000, length: 16, writable: true }])
    rig.driver.kick(0)
    let drained!: () => void
    rig.device.draining = new Promise((resolve) => {
      drained = resolve
    })
    const ring = rig.memory.read(rig.queue.deviceArea, 64)
    rig.driver.status = 0
    await turns(2)
    expect(rig.driver.status).toBe(0x0f)
    rig.driver.status = 1
    rig.driver.kick(0)
    expect(rig.driver.status).toBe(0x0f)
    drained()
    await turns(2)
    expect(rig.driver.status).toBe(0)
    expect(rig.memory.read(rig.queue.deviceArea, 64)).toEqual(ring)
    rig.device.draining = undefined
    rig.device.hold = false
    rig.driver.start()
    rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    expect(rig.queue.used()).toHaveLength(1)
  })

  it('leaves no used entry and no interrupt behind', () => {
    const rig = new EchoRig()
    rig.driver.start()
    rig.device.hold = true
    const id = rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    const context = rig.device.context!
    const ring = rig.memory.read(rig.queue.deviceArea, 64)
    rig.driver.status = 0
    context.queues[0]!.push(id, 1)
    context.queues[0]!.publish()
    context.configChanged()
    context.needsReset('late')
    expect(rig.memory.read(rig.queue.deviceArea, 64)).toEqual(ring)
    expect(rig.irq.pulses).toBe(0)
    expect(rig.driver.status).toBe(0)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(0)
  })

  it('forgets the queues', () => {
    const rig = new EchoRig()
    rig.driver.start()
    rig.driver.status = 0
    rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_SEL, 0)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_QUEUE_READY)).toBe(0)
  })

  it('storms leave the device as it was', () => {
    const rig = new EchoRig()
    for (let i = 0; i < 10_000; i++) {
      rig.driver.status = 1
      rig.driver.status = 0
    }
    rig.driver.start()
    expect(rig.driver.status).toBe(0x0f)
    expect(rig.errors).toEqual([])
  })
})

describe('interrupts', () => {
  it('are told apart and acknowledged by bit', () => {
    const rig = new EchoRig()
    rig.driver.start()
    rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    rig.device.context!.configChanged()
    expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(3)
    rig.driver.write(mmio.VIRTIO_MMIO_INTERRUPT_ACK, 0xffff_fffe)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(1)
    rig.driver.write(mmio.VIRTIO_MMIO_INTERRUPT_STATUS, 0)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(1)
    rig.driver.write(mmio.VIRTIO_MMIO_INTERRUPT_ACK, 1)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(0)
    expect(rig.irq.pulses).toBe(2)
  })

  it('come once for a batch', () => {
    const rig = new EchoRig()
    rig.driver.start()
    for (let i = 0; i < 8; i++) rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    expect(rig.queue.used()).toHaveLength(8)
    expect(rig.irq.pulses).toBe(1)
  })

  it('stay away if the driver wants none', () => {
    const rig = new EchoRig()
    rig.driver.start()
    rig.queue.availFlags = 1
    rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    expect(rig.irq.pulses).toBe(0)
  })
})

describe('the configuration space', () => {
  it('reads at every width, and as zeroes past its end', () => {
    const { transport } = new EchoRig()
    expect(transport.read(0x100, 1)).toBe(0x10)
    expect(transport.read(0x102, 2)).toBe(0x1312)
    expect(transport.read(0x104, 4)).toBe(0x17161514)
    expect(transport.read(0x116, 4)).toBe(0x2726)
    expect(transport.read(0x1ff, 1)).toBe(0)
    expect(transport.read(0x1fc, 4)).toBe(0)
  })

  it('takes writes that lie inside it, from a driver', () => {
    const rig = new EchoRig()
    rig.transport.write(0x100, 1, 7)
    rig.driver.start()
    rig.transport.write(0x104, 2, 0xabcd)
    rig.transport.write(0x116, 4, 1)
    rig.transport.write(0x1fc, 4, 1)
    expect(rig.device.configWrites).toEqual([[4, 2, 0xabcd]])
  })

  it('has a generation that changes with it', () => {
    const rig = new EchoRig()
    rig.driver.start()
    const before = rig.driver.read(mmio.VIRTIO_MMIO_CONFIG_GENERATION)
    rig.device.config[0] = 1
    rig.device.context!.configChanged()
    expect(rig.driver.read(mmio.VIRTIO_MMIO_CONFIG_GENERATION)).not.toBe(before)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(2)
  })
})

describe('close', () => {
  it('resets, waits, closes the device, and may be called again', async () => {
    const rig = new EchoRig()
    rig.driver.start()
    await Promise.all([rig.transport.close(), rig.transport.close()])
    rig.driver.status = 1
    expect(rig.driver.status).toBe(0)
    rig.driver.kick(0)
    expect(rig.device.notifications).toBe(0)
    expect(rig.device.closed).toBeGreaterThan(0)
  })

  it('of the memory under a device makes kicks do nothing', () => {
    const rig = new EchoRig()
    rig.driver.start()
    rig.memory.close()
    rig.transport.notify(0)
    expect(rig.device.notifications).toBe(0)
  })
})
