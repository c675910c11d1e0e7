import { describe, expect, it } from 'vitest'
import {
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../../../lib/devices/virtio/abi.js'
import * as mmio from '../../../../lib/devices/virtio/transport/virtio-mmio.js'
import { EchoDevice } from '../../../helpers/echo-device.js'
import { EchoRig, RAM } from '../../../helpers/echo-rig.js'
import { turns } from '../../../helpers/virtio-driver.js'

const NEXT = VIRTQ_DESC_F_NEXT
const WRITE = VIRTQ_DESC_F_WRITE
const INDIRECT = VIRTQ_DESC_F_INDIRECT

function started(features: number[] = [VIRTIO_F_INDIRECT_DESC], size = 16): EchoRig {
  const rig = new EchoRig()
  rig.driver.start(features, size)
  expect(rig.driver.status & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(0)
  return rig
}

/** The device asks for a reset, tells the driver, touches the queue no more, and works again after a reset. */
async function expectNeedsReset(rig: EchoRig): Promise<void> {
  expect(rig.reasons).toHaveLength(1)
  expect(rig.driver.status & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(VIRTIO_CONFIG_S_NEEDS_RESET)
  expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS) & mmio.VIRTIO_MMIO_INT_CONFIG).toBe(2)
  const seen = rig.device.seen.length
  rig.driver.kick(0)
  await turns(3)
  expect(rig.device.seen).toHaveLength(seen)
  expect(rig.reasons).toHaveLength(1)

  rig.driver.start([], 16)
  rig.queue.add([{ address: 0x8000, length: 16 }])
  rig.driver.kick(0)
  expect(rig.queue.used()).toHaveLength(1)
  expect(rig.driver.status & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(0)
  expect(rig.errors).toEqual([])
}

describe('queue geometry', () => {
  it('of size 0 does not get ready, and DRIVER_OK without a queue needs a reset', async () => {
    const rig = new EchoRig()
    rig.driver.negotiate()
    rig.driver.placeQueue(0, 0, 0x1000, 0x2000, 0x3000)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_QUEUE_READY)).toBe(0)
    rig.driver.driverOk()
    await expectNeedsReset(rig)
  })

  it.each([3, 5, 257, 32, 17, 0xffff_ffff])('of size %i needs a reset', async (size) => {
    const rig = new EchoRig()
    rig.driver.negotiate()
    rig.driver.placeQueue(0, size, 0x1000, 0x2000, 0x3000)
    rig.driver.driverOk()
    expect(rig.device.activations).toBe(0)
    await expectNeedsReset(rig)
  })

  const hole = 0x800000
  it.each<[string, number | bigint, number | bigint, number | bigint]>([
    ['descriptor table not aligned to 16', 0x1008, 0x2000, 0x3000],
    ['available ring not aligned to 2', 0x1000, 0x2001, 0x3000],
    ['used ring not aligned to 4', 0x1000, 0x2000, 0x3002],
    ['descriptor table partly past the end of RAM', RAM - 16, 0x2000, 0x3000],
    ['available ring partly past the end of RAM', 0x1000, RAM - 2, 0x3000],
    ['used ring partly past the end of RAM', 0x1000, 0x2000, RAM - 8],
    ['available ring wrapping 2^64', 0x1000, 0xffff_ffff_ffff_fffen, 0x3000],
    ['used ring wrapping 2^64', 0x1000, 0x2000, 0xffff_ffff_ffff_fffcn],
    ['descriptor table at 2^53', 2n ** 53n, 0x2000, 0x3000],
    ['descriptor table in a hole', hole, 0x2000, 0x3000],
    ['available ring in a hole', 0x1000, hole, 0x3000],
    ['used ring in a hole', 0x1000, 0x2000, hole],
    ['used ring over the descriptor table', 0x1000, 0x2000, 0x1010],
    ['used ring over the available ring', 0x1000, 0x2000, 0x2004],
    ['all in one place', 0x1000, 0x1000, 0x1000],
  ])('with %s needs a reset', async (_name, descriptors, avail, used) => {
    const rig = new EchoRig()
    rig.driver.negotiate()
    rig.driver.placeQueue(0, 16, descriptors, avail, used)
    rig.driver.driverOk()
    await expectNeedsReset(rig)
  })

  it('of two queues that share one ring needs a reset', () => {
    const rig = new EchoRig(new EchoDevice({ queueSizes: [16, 16] }))
    rig.driver.negotiate()
    rig.driver.placeQueue(0, 16, 0x1000, 0x2000, 0x3000)
    rig.driver.placeQueue(1, 16, 0x1000, 0x2000, 0x3000)
    rig.driver.driverOk()
    expect(rig.reasons).toHaveLength(1)
  })

  it.each([32768, 0, 8])('does not change to size %i after DRIVER_OK', (size) => {
    const rig = started()
    const { descriptorArea, driverArea, deviceArea } = rig.queue
    rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_READY, 0)
    rig.driver.placeQueue(0, size, descriptorArea, driverArea, deviceArea)
    for (let i = 0; i < 40; i++) {
      rig.queue.add([{ address: 0x8000, length: 16 }])
      rig.driver.kick(0)
      expect(rig.queue.used()).toHaveLength(1)
    }
  })

  it('does not move after DRIVER_OK', () => {
    const rig = started()
    rig.driver.placeQueue(0, 16, 0xa000, 0xb000, 0xc000)
    rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    expect(rig.queue.used()).toHaveLength(1)
    expect(rig.memory.read(0xc000, 256)).toEqual(new Uint8Array(256))
  })
})

describe('the available ring', () => {
  it.each([17, 18, 1000, 0x8000, 0xffff])('whose index jumps by %i needs a reset', async (by) => {
    const rig = started()
    rig.queue.publish(by)
    rig.driver.kick(0)
    await expectNeedsReset(rig)
  })

  it('whose index runs backwards needs a reset', async () => {
    const rig = started()
    rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    rig.queue.publish(0)
    rig.driver.kick(0)
    await expectNeedsReset(rig)
  })

  it.each([16, 17, 0xffff])('that names descriptor %i of 16 needs a reset', async (head) => {
    const rig = started()
    rig.queue.offer(head)
    rig.queue.publish()
    rig.driver.kick(0)
    await expectNeedsReset(rig)
  })

  it('that offers one head twice before it is used needs a reset', async () => {
    const rig = started()
    rig.device.hold = true
    rig.queue.setDescriptor(3, 0x8000, 16, 0)
    rig.queue.offer(3)
    rig.queue.offer(3)
    rig.queue.publish()
    rig.driver.kick(0)
    expect(rig.device.seen).toHaveLength(1)
    rig.device.hold = false
    await expectNeedsReset(rig)
  })

  it('that offers one head twice, once it was used, is served twice', () => {
    const rig = started()
    rig.queue.setDescriptor(3, 0x8000, 16, 0)
    for (let i = 0; i < 2; i++) {
      rig.queue.offer(3)
      rig.queue.publish()
      rig.driver.kick(0)
    }
    expect(rig.queue.used()).toEqual([
      { id: 3, length: 0 },
      { id: 3, length: 0 },
    ])
  })

  it('wraps at 65,536 three times under load', () => {
    for (const features of [[], [VIRTIO_F_EVENT_IDX]]) {
      const rig = started(features, 16)
      let count = 0
      while (count < 3 * 65_536 + 100) {
        const batch = 1 + (count % 16)
        for (let i = 0; i < batch; i++)
          rig.queue.setDescriptor(i, 0x8000 + i, 1 + ((count + i) & 0xff), WRITE)
        for (let i = 0; i < batch; i++) rig.queue.offer(i)
        rig.queue.publish()
        rig.driver.kick(0)
        const used = rig.queue.used()
        if (used.length !== batch) expect(used).toHaveLength(batch)
        used.forEach(({ id, length }, i) => {
          if (id !== i || length !== 1 + ((count + i) & 0xff))
            expect({ id, length, count }).toBe('in order')
        })
        rig.device.seen.length = 0
        count += batch
      }
      expect(rig.reasons).toEqual([])
    }
  })
})

describe('a descriptor chain', () => {
  function offerChain(rig: EchoRig, head = 0): void {
    rig.queue.offer(head)
    rig.queue.publish()
    rig.driver.kick(0)
  }

  it('that points at itself needs a reset', async () => {
    const rig = started()
    rig.queue.setDescriptor(0, 0x8000, 16, NEXT, 0)
    offerChain(rig)
    await expectNeedsReset(rig)
  })

  it.each([2, 3, 7, 15, 16])('that loops over %i descriptors needs a reset', async (length) => {
    const rig = started()
    for (let i = 0; i < length; i++) rig.queue.setDescriptor(i, 0x8000, 16, NEXT, (i + 1) % length)
    offerChain(rig)
    await expectNeedsReset(rig)
  })

  it('that loops over empty descriptors needs a reset', async () => {
    const rig = started()
    for (let i = 0; i < 3; i++) rig.queue.setDescriptor(i, 0x8000, 0, NEXT, (i + 1) % 3)
    offerChain(rig)
    await expectNeedsReset(rig)
  })

  it.each([16, 0xffff])('whose next is %i of 16 needs a reset', async (next) => {
    const rig = started()
    rig.queue.setDescriptor(0, 0x8000, 16, NEXT, next)
    offerChain(rig)
    await expectNeedsReset(rig)
  })

  it('of exactly the queue size is served', () => {
    const rig = started()
    for (let i = 0; i < 16; i++)
      rig.queue.setDescriptor(i, 0x8000 + i, 16, i < 15 ? NEXT : 0, i + 1)
    offerChain(rig)
    expect(rig.device.seen[0]!.readable).toHaveLength(16)
    expect(rig.reasons).toEqual([])
  })

  it('of more than 2^32 bytes needs a reset', async () => {
    const rig = started()
    for (let i = 0; i < 5; i++) rig.queue.setDescriptor(i, 0, 0x4000_0000, i < 4 ? NEXT : 0, i + 1)
    offerChain(rig)
    await expectNeedsReset(rig)
  })

  it('with the longest descriptor there is reaches the device, which has to bound it', () => {
    const rig = started()
    rig.queue.setDescriptor(0, 0x8000, 16, NEXT, 1)
    rig.queue.setDescriptor(1, 0x8000, 0xffff_ffff, NEXT | WRITE, 2)
    rig.queue.setDescriptor(2, 0x9000, 1, WRITE)
    offerChain(rig)
    expect(rig.device.seen[0]!.writable).toEqual([
      [0x8000, 0xffff_ffff],
      [0x9000, 1],
    ])
  })

  it('has its empty descriptors left out', () => {
    const rig = started()
    rig.queue.setDescriptor(0, 0x8000, 0, NEXT, 1)
    rig.queue.setDescriptor(1, 0x8000, 5, NEXT, 2)
    rig.queue.setDescriptor(2, 0x8100, 0, NEXT, 3)
    rig.queue.setDescriptor(3, 0x8200, 7, NEXT | WRITE, 4)
    rig.queue.setDescriptor(4, 0x8300, 0, 0)
    offerChain(rig)
    expect(rig.device.seen).toEqual([
      { id: 0, queue: 0, readable: [[0x8000, 5]], writable: [[0x8200, 7]] },
    ])
  })

  it('of nothing reaches the device as nothing', () => {
    const rig = started()
    rig.queue.setDescriptor(0, 0x8000, 0, 0)
    offerChain(rig)
    expect(rig.device.seen).toEqual([{ id: 0, queue: 0, readable: [], writable: [] }])
  })

  it('with a readable descriptor after a writable one needs a reset', async () => {
    const rig = started()
    rig.queue.setDescriptor(0, 0x8000, 16, NEXT | WRITE, 1)
    rig.queue.setDescriptor(1, 0x9000, 16, 0)
    offerChain(rig)
    await expectNeedsReset(rig)
  })

  it('with unknown flag bits is served', () => {
    const rig = started()
    rig.queue.setDescriptor(0, 0x8000, 16, 0xfff8)
    offerChain(rig)
    expect(rig.device.seen[0]!.readable).toEqual([[0x8000, 16]])
  })

  it('at an address of 2^53 and above names no memory', () => {
    const rig = started()
    rig.queue.setDescriptor(0, 0xffff_ffff_ffff_0000n, 16, 0)
    offerChain(rig)
    expect(rig.memory.findRegion(rig.device.seen[0]!.readable[0]![0], 1)).toBeUndefined()
  })
})

describe('an indirect descriptor', () => {
  const TABLE = 0xf000

  function offerIndirect(rig: EchoRig, address: number | bigint, bytes: number, flags = 0): void {
    rig.queue.setDescriptor(0, address, bytes, INDIRECT | flags, 1)
    rig.queue.offer(0)
    rig.queue.publish()
    rig.driver.kick(0)
  }

  it('without the feature needs a reset', async () => {
    const rig = started([])
    rig.queue.writeDescriptorAt(TABLE, 0x8000, 16, 0)
    offerIndirect(rig, TABLE, 16)
    await expectNeedsReset(rig)
  })

  it('with NEXT needs a reset', async () => {
    const rig = started()
    rig.queue.writeDescriptorAt(TABLE, 0x8000, 16, 0)
    offerIndirect(rig, TABLE, 16, NEXT)
    await expectNeedsReset(rig)
  })

  it('after direct ones is served', () => {
    const rig = started()
    rig.queue.setDescriptor(4, 0x8000, 16, NEXT, 5)
    rig.queue.setDescriptor(5, TABLE, 32, INDIRECT)
    rig.queue.writeDescriptorAt(TABLE, 0x8100, 8, NEXT, 1)
    rig.queue.writeDescriptorAt(TABLE + 16, 0x8200, 4, WRITE)
    rig.queue.offer(4)
    rig.queue.publish()
    rig.driver.kick(0)
    expect(rig.device.seen).toEqual([
      {
        id: 4,
        queue: 0,
        readable: [
          [0x8000, 16],
          [0x8100, 8],
        ],
        writable: [[0x8200, 4]],
      },
    ])
  })

  it('inside an indirect table needs a reset', async () => {
    const rig = started()
    rig.queue.writeDescriptorAt(TABLE, TABLE, 16, INDIRECT)
    offerIndirect(rig, TABLE, 16)
    await expectNeedsReset(rig)
  })

  it.each([0, 8, 17, 31, 0xffff_ffff])('of %i bytes needs a reset', async (bytes) => {
    const rig = started()
    offerIndirect(rig, TABLE, bytes)
    await expectNeedsReset(rig)
  })

  it.each<[string, number | bigint, number]>([
    ['outside RAM', 0x800000, 16],
    ['partly outside RAM', RAM - 16, 32],
    ['wrapping 2^64', 0xffff_ffff_ffff_fff0n, 32],
    ['of 4 GiB', 0, 0xffff_fff0],
  ])('%s needs a reset', async (_name, address, bytes) => {
    const rig = started()
    offerIndirect(rig, address, bytes)
    await expectNeedsReset(rig)
  })

  it('has its WRITE flag ignored', () => {
    const rig = started()
    rig.queue.writeDescriptorAt(TABLE, 0x8000, 16, 0)
    offerIndirect(rig, TABLE, 16, WRITE)
    expect(rig.device.seen[0]!.readable).toEqual([[0x8000, 16]])
  })

  it('of a table at an odd address is served', () => {
    const rig = started()
    rig.queue.writeDescriptorAt(TABLE + 3, 0x8000, 0x12345, 0)
    offerIndirect(rig, TABLE + 3, 16)
    expect(rig.device.seen[0]!.readable).toEqual([[0x8000, 0x12345]])
  })

  it('whose table loops needs a reset', async () => {
    const rig = started()
    rig.queue.writeDescriptorAt(TABLE, 0x8000, 16, NEXT, 1)
    rig.queue.writeDescriptorAt(TABLE + 16, 0x8000, 16, NEXT, 0)
    offerIndirect(rig, TABLE, 32)
    await expectNeedsReset(rig)
  })

  it('whose next lies past the table needs a reset', async () => {
    const rig = started()
    rig.queue.writeDescriptorAt(TABLE, 0x8000, 16, NEXT, 2)
    offerIndirect(rig, TABLE, 32)
    await expectNeedsReset(rig)
  })

  it('to more segments than the queue has entries needs a reset, and a huge table costs no memory', async () => {
    const rig = started()
    const entries = 4096
    for (let i = 0; i < entries; i++)
      rig.queue.writeDescriptorAt(0x20000 + 16 * i, 0x8000, 1, NEXT, i + 1)
    offerIndirect(rig, 0x20000, 16 * entries)
    await expectNeedsReset(rig)
  })
})

describe('what the driver may write over at any time', () => {
  it('is not read back: the used index and entries', () => {
    const rig = started()
    rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    rig.memory.fill(rig.queue.deviceArea + 2, 2, 0x55)
    rig.memory.fill(rig.queue.deviceArea + 4, 8, 0x55)
    rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    expect(rig.queue.deviceUsedIdx).toBe(2)
    expect(rig.reasons).toEqual([])
  })

  it('costs an interrupt more or less at worst: used_event', () => {
    const rig = started([VIRTIO_F_EVENT_IDX])
    for (let i = 0; i < 2000; i++) {
      rig.queue.usedEvent = (i * 40503) & 0xffff
      rig.queue.add([{ address: 0x8000, length: 16 }])
      rig.driver.kick(0)
      expect(rig.queue.used()).toHaveLength(1)
    }
    expect(rig.irq.pulses).toBeLessThanOrEqual(2000)
  })

  it('has no meaning without EVENT_IDX: used_event', () => {
    const rig = started([])
    rig.queue.usedEvent = 0x7777
    for (let i = 0; i < 10; i++) {
      rig.queue.add([{ address: 0x8000, length: 16 }])
      rig.driver.kick(0)
    }
    expect(rig.irq.pulses).toBe(10)
  })
})

describe('kicks', () => {
  it('of an empty queue by the hundred thousand do no work and raise no interrupt', async () => {
    const rig = started()
    for (let i = 0; i < 100_000; i++) rig.driver.kick(0)
    await turns(2)
    expect(rig.irq.pulses).toBe(0)
    expect(rig.device.seen).toEqual([])
  })

  it.each([1, 2, 0xffff, 0x8000_0000, 0xffff_ffff])(
    'of queue %i, which is not there, are ignored',
    async (index) => {
      const rig = started()
      const before = rig.device.notifications
      rig.driver.kick(index)
      rig.transport.notify(index)
      rig.transport.notify(-1)
      rig.transport.notify(0.5)
      expect(rig.device.notifications).toBe(before)
    },
  )

  it('before DRIVER_OK are ignored', () => {
    const rig = new EchoRig()
    rig.driver.kick(0)
    rig.driver.negotiate()
    rig.driver.setUpQueue(0, 16)
    rig.driver.kick(0)
    expect(rig.device.notifications).toBe(0)
  })

  it('leave no more in flight than the queue has entries', () => {
    const rig = started([], 16)
    rig.device.hold = true
    for (let i = 0; i < 16; i++) {
      rig.queue.setDescriptor(i, 0x8000, 16, 0)
      rig.queue.offer(i)
    }
    rig.queue.publish()
    rig.driver.kick(0)
    expect(rig.device.context!.queues[0]!.inFlight).toBe(16)
    for (let i = 0; i < 100; i++) {
      rig.queue.offer(i % 16)
      rig.queue.publish()
      rig.driver.kick(0)
    }
    expect(rig.device.seen).toHaveLength(16)
    expect(rig.reasons).toHaveLength(1)
  })

  it('are answered in bounded turns: a queue that never gets empty does not hold the event loop', async () => {
    const rig = new EchoRig(new EchoDevice({ queueSizes: [1024] }), undefined)
    rig.driver.start([], 1024)
    for (let i = 0; i < 1024; i++) {
      rig.queue.setDescriptor(i, 0x8000, 16, 0)
      rig.queue.offer(i)
    }
    rig.queue.publish()
    rig.driver.kick(0)
    expect(rig.device.seen.length).toBeLessThanOrEqual(256)
    await turns(6)
    expect(rig.device.seen).toHaveLength(1024)
    expect(rig.queue.used()).toHaveLength(1024)
  })

  it('of long chains too', () => {
    const rig = new EchoRig(new EchoDevice({ queueSizes: [1024] }))
    rig.driver.start([VIRTIO_F_INDIRECT_DESC], 1024)
    for (let i = 0; i < 1000; i++)
      rig.queue.writeDescriptorAt(0x80000 + 16 * i, 0x8000, 1, i < 999 ? NEXT : 0, i + 1)
    for (let i = 0; i < 1024; i++) {
      rig.queue.setDescriptor(i, 0x80000, 16_000, INDIRECT)
      rig.queue.offer(i)
    }
    rig.queue.publish()
    rig.driver.kick(0)
    expect(rig.device.seen.length).toBeLessThanOrEqual(5)
  })
})

describe('a device that throws', () => {
  it('stops, tells the machine, and works after a reset', async () => {
    const rig = started()
    rig.device.throwOnNotify = true
    rig.driver.kick(0)
    expect(rig.errors.map((error) => error.message)).toEqual(['a fault in the device'])
    rig.device.throwOnNotify = false
    rig.errors.length = 0
    await expectNeedsReset(rig)
  })
})
