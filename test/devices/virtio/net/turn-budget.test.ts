import { afterEach, beforeEach, expect, it } from 'vitest'
import { VirtualSwitch } from '../../../../lib/backends/net/virtual-switch.js'
import { VIRTIO_F_EVENT_IDX } from '../../../../lib/devices/virtio/abi.js'
import { BYTE_BUDGET, CHAIN_BUDGET } from '../../../../lib/devices/virtio/queue/virtqueue.js'
import { plainMemory } from '../../../helpers/guest-memories.js'
import { NetRig } from '../../../helpers/net-driver.js'
import { turns } from '../../../helpers/virtio-driver.js'

const ADDRESS = 0x60000
let rig: NetRig
let seen = 0

beforeEach(async () => {
  const network = new VirtualSwitch()
  const port = network.port()
  await port.open()
  seen = 0
  network.on('frame', () => seen++)
  rig = new NetRig(port, plainMemory([0, 0x200000]), { queueSize: 1024 })
  rig.driver.start([VIRTIO_F_EVENT_IDX], 1024)
})
afterEach(async () => {
  await rig.close()
  expect(rig.reasons).toEqual([])
  expect(rig.errors).toEqual([])
})

it.each([
  ['short', 60, CHAIN_BUDGET, 600],
  ['long', 60_000, Math.ceil(BYTE_BUDGET / 60_000), 40],
])(
  '%s frames are sent over several turns of the event loop, with one kick',
  async (_name, length, first, count) => {
    for (let i = 0; i < count; i++) rig.tx.add([{ address: ADDRESS, length }])
    rig.driver.kick(1)
    expect(seen).toBe(first)
    await turns(4)
    expect(seen).toBe(count)
    expect(rig.tx.used()).toHaveLength(count)
  },
)
