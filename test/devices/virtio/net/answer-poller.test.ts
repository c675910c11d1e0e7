import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { VirtualSwitch } from '../../../../lib/backends/net/virtual-switch.js'
import { VIRTIO_F_EVENT_IDX } from '../../../../lib/devices/virtio/abi.js'
import { AnswerPoller } from '../../../../lib/devices/virtio/net/answer-poller.js'
import type { Virtqueue } from '../../../../lib/devices/virtio/queue/virtqueue.js'
import { EchoRig } from '../../../helpers/echo-rig.js'
import { plainMemory } from '../../../helpers/guest-memories.js'
import { NetRig } from '../../../helpers/net-driver.js'
import { type RingDriver, type RingLayout, startRing } from '../../../helpers/ring-driver.js'
import { turns } from '../../../helpers/virtio-driver.js'

const answer = [{ address: 0x8000, length: 64 }]

describe.each<{ layout: RingLayout; features: number[] }>([
  { layout: 'split', features: [] },
  { layout: 'split', features: [VIRTIO_F_EVENT_IDX] },
  { layout: 'packed', features: [] },
  { layout: 'packed', features: [VIRTIO_F_EVENT_IDX] },
])('AnswerPoller on a $layout ring with features $features', ({ layout, features }) => {
  let driver: RingDriver
  let queue: Virtqueue
  let answers: AnswerPoller

  beforeEach(() => {
    const rig = new EchoRig(undefined, undefined, layout === 'packed')
    driver = startRing(rig, layout, 8, features)
    rig.device.hold = true
    queue = rig.device.context!.queues[0]!
    queue.enableNotifications()
    answers = new AnswerPoller(queue)
  })

  it('finds the answer to a lone short frame, for which the driver need not kick', () => {
    answers.received(60)
    expect(answers.expect()).toBe(true)
    driver.add(answer)
    expect(driver.wantsKick()).toBe(false)
    expect(answers.look()).toBe(true)
  })

  it('asks for a kick once it has looked in vain', () => {
    answers.received(60)
    answers.expect()
    expect(answers.look()).toBe(false)
    driver.add(answer)
    expect(driver.wantsKick()).toBe(true)
  })

  it.each([[[1500]], [[60, 60]], [[]]])('expects none to frames of %j bytes', (lengths) => {
    for (const length of lengths) answers.received(length)
    expect(answers.expect()).toBe(false)
    driver.add(answer)
    expect(driver.wantsKick()).toBe(true)
  })

  it('expects it again after frames that it could not be expected to', () => {
    answers.received(1500)
    expect(answers.expect()).toBe(false)
    answers.received(60)
    expect(answers.expect()).toBe(true)
  })

  it('misses nothing that comes where more frames follow the first', () => {
    answers.received(60)
    expect(answers.expect()).toBe(true)
    answers.received(60)
    expect(answers.expect()).toBe(false)
    driver.add(answer)
    expect(answers.look()).toBe(true)
  })

  it('does not look at a queue that has stopped', () => {
    answers.received(60)
    answers.expect()
    driver.add(answer)
    queue.stop()
    expect(answers.look()).toBe(false)
  })
})

describe('a network card', () => {
  const ANSWER = 0x60000
  let network: VirtualSwitch
  let rig: NetRig
  let sent: number

  beforeEach(async () => {
    network = new VirtualSwitch()
    const port = network.port()
    await port.open()
    sent = 0
    rig = new NetRig(port, plainMemory([0, 0x100000]))
    rig.driver.start([VIRTIO_F_EVENT_IDX], 64)
    rig.buffers(8)
    await turns(2)
    network.on('frame', () => sent++)
  })
  afterEach(async () => {
    await rig.close()
    expect(rig.errors).toEqual([])
  })

  function receive(length: number): void {
    network.inject(new Uint8Array(length).fill(0xff))
  }

  it('sends the answer to a lone short frame without a kick', async () => {
    let kick = true
    vi.spyOn(rig.irq, 'pulse').mockImplementationOnce(() => {
      kick = rig.tx.availEvent === rig.tx.availIdx
      rig.tx.add([{ address: ANSWER, length: 72 }])
    })
    receive(60)
    await turns(2)
    expect(kick).toBe(false)
    expect(sent).toBe(2)
    expect(rig.tx.availEvent).toBe(rig.tx.availIdx)
  })

  it('asks for kicks again where the driver has no answer', async () => {
    receive(60)
    await turns(2)
    expect(rig.rx.used()).toHaveLength(1)
    expect(rig.tx.availEvent).toBe(rig.tx.availIdx)
  })

  it('looks for none after a reset', async () => {
    const reset = vi.spyOn(rig.irq, 'pulse').mockImplementationOnce(() => rig.transport.reset())
    receive(60)
    await turns(2)
    expect(reset).toHaveBeenCalled()
    expect(sent).toBe(1)
  })

  it('is kicked for the answer to a long one', async () => {
    let kick = false
    vi.spyOn(rig.irq, 'pulse').mockImplementationOnce(() => {
      kick = rig.tx.availEvent === rig.tx.availIdx
    })
    receive(1514)
    await turns(2)
    expect(kick).toBe(true)
  })
})
