import { describe, expect, it } from 'vitest'
import { featureBits, VIRTIO_F_VERSION_1 } from '../../../../lib/devices/virtio/abi.js'
import { GuestAccess } from '../../../../lib/devices/virtio/queue/guest-access.js'
import { ActiveDevice } from '../../../../lib/devices/virtio/transport/active-device.js'
import { QueueSetup } from '../../../../lib/devices/virtio/transport/queue-setup.js'
import { EchoDevice } from '../../../helpers/echo-device.js'
import { plainMemory } from '../../../helpers/guest-memories.js'
import { Allocator, DriverQueue, turns } from '../../../helpers/virtio-driver.js'

const SIZE = 16

/** An echo device with two queues, of which the driver has set up the first. */
function rig() {
  const heard: string[] = []
  const memory = plainMemory([0, 0x10000])
  const device = new EchoDevice({ queueSizes: [SIZE, SIZE] })
  const setups = device.queueSizes.map((size) => new QueueSetup(size))
  const driver = new DriverQueue(memory, new Allocator(0x1000), 0, SIZE)
  const setUp = () => {
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const)
      setups[0]!.setAddress([area, 'low'], driver[area])
    setups[0]!.setReady(true)
  }
  setUp()
  const active = new ActiveDevice({
    device,
    setups,
    driverFeatures: featureBits(VIRTIO_F_VERSION_1),
    memory,
    access: new GuestAccess(memory),
    events: {
      queueInterrupt: (index) => heard.push(`interrupt ${index}`),
      configInterrupt: () => heard.push('configuration'),
      takeLines: () => ({
        kick: undefined,
        call: undefined,
        release: () => heard.push('released'),
      }),
      failed: (error) => heard.push(`late: ${error.message}`),
    },
    guard: (call) => call(),
    needsReset: (reason) => heard.push(`needs reset: ${reason}`),
    fail: (error) => heard.push(`failed: ${error.message}`),
  })
  active.start()
  return { active, device, driver, heard, memory, setUp, context: device.context! }
}

describe('an active device', () => {
  it('is notified once however often a turn is asked for', async () => {
    const { device, context } = rig()
    await turns(2)
    expect(device.notifications).toBe(1) // for what was available before DRIVER_OK
    for (let i = 0; i < 3; i++) context.schedule(0)
    expect(device.notifications).toBe(1)
    await turns(2)
    expect(device.notifications).toBe(2)
  })

  it('is not notified of a queue that the driver has not set up', async () => {
    const { active, device, context } = rig()
    await turns(2)
    active.notify(1)
    context.schedule(1)
    await turns(2)
    expect(device.notifications).toBe(1)
  })

  it('gives away the queues that there are', () => {
    const { active, context, driver, heard } = rig()
    const queue = context.handOver(0, () => {})!
    expect(queue.geometry.deviceArea).toBe(driver.deviceArea)
    expect(context.handOver(1, () => {})).toBeUndefined()
    queue.interrupt()
    active.resetQueue(0)
    queue.interrupt()
    queue.release()
    expect(context.handOver(0, () => {})).toBeUndefined()
    expect(heard).toEqual(['interrupt 0', 'released'])
  })

  it('opens a queue for another setup once its reset is done', () => {
    const { active, device, setUp } = rig()
    expect([active.queueOpen(0), active.queueResetting(0)]).toEqual([false, false])
    expect([active.resetQueue(1), active.resetQueue(0), active.resetQueue(0)]).toEqual([
      false,
      true,
      false,
    ])
    expect([active.queueOpen(0), active.queueResetting(0)]).toEqual([true, false])
    setUp()
    active.activateQueue(0)
    expect(active.queueOpen(0)).toBe(false)
    expect(device.queueActivations).toEqual([0])
    expect(device.context!.queues[0]!.stopped).toBe(false)
  })
})

describe('a device that was active', () => {
  it('is heard no more', async () => {
    const { active, context, device, heard } = rig()
    const queue = context.handOver(0, () => {})!
    active.end()
    queue.interrupt()
    context.configChanged()
    context.needsReset('too late')
    context.schedule(0)
    await turns(2)
    expect(context.handOver(0, () => {})).toBeUndefined()
    expect(context.queues[0]!.stopped).toBe(true)
    expect(device.notifications).toBe(0)
    expect(heard).toEqual([])
  })

  it('is still heard of its failures', () => {
    const { active, context, heard } = rig()
    context.fail(new Error('one'))
    active.end()
    context.fail(new Error('two'))
    expect(heard).toEqual(['failed: one', 'late: two'])
  })
})
