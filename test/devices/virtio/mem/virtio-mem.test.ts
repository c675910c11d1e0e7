import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as abi from '../../../../lib/devices/virtio/mem/abi.js'
import { BlockMap } from '../../../../lib/devices/virtio/mem/block-map.js'
import { type MemoryBlocks, VirtioMem } from '../../../../lib/devices/virtio/mem/virtio-mem.js'
import { DeviceRig } from '../../../helpers/device-rig.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

const BLOCK = 2 ** 21
const ADDRESS = 2 ** 32
const BLOCKS = 16
const REQUEST = 0x10_0000
const RESPONSE = 0x10_1000
const ACK = abi.VIRTIO_MEM_RESP_ACK
const NACK = abi.VIRTIO_MEM_RESP_NACK
const ERROR = abi.VIRTIO_MEM_RESP_ERROR

/** Memory that keeps account; what it is told must make sense. */
class Account implements MemoryBlocks {
  readonly plugged = new Set<number>()
  holds = false
  fails = false
  release: () => void = () => {}

  plug(offset: number, size: number): void {
    if (this.fails) throw new Error('no slot')
    for (let at = offset; at < offset + size; at += BLOCK) {
      expect(this.plugged.has(at)).toBe(false)
      this.plugged.add(at)
    }
  }

  async unplug(offset: number, size: number): Promise<void> {
    for (let at = offset; at < offset + size; at += BLOCK) {
      expect(this.plugged.delete(at)).toBe(true)
    }
    if (!this.holds) return
    await new Promise<void>((resolve) => {
      this.release = resolve
    })
  }
}

function rigOf(options: { node?: number; requestedSize?: number } = {}) {
  const account = new Account()
  const device = new VirtioMem(account, {
    ...{ address: ADDRESS, regionSize: BLOCKS * BLOCK, blockSize: BLOCK },
    ...options,
  })
  const rig = new DeviceRig(device)
  rig.driver.start([], 64)
  const offer = (type: number, block = 0, count = 0) => {
    const view = rig.memory.dataView(REQUEST, abi.REQUEST_SIZE)
    view.setUint16(0, type, true)
    view.setBigUint64(abi.REQUEST_ADDR, BigInt(ADDRESS + block * BLOCK), true)
    view.setUint16(abi.REQUEST_NB_BLOCKS, count, true)
    const ring = rig.driver.queues[0]!
    ring.add([
      { address: REQUEST, length: abi.REQUEST_SIZE },
      { address: RESPONSE, length: abi.RESPONSE_SIZE, writable: true },
    ])
    rig.driver.kick(0)
    return ring
  }
  const send = async (type: number, block = 0, count = 0) => {
    rig.memory.fill(RESPONSE, abi.RESPONSE_SIZE, 0xee)
    const ring = offer(type, block, count)
    await until(() => ring.deviceUsedIdx === ring.availIdx, 'an answer')
    ring.used()
    const view = rig.memory.dataView(RESPONSE, abi.RESPONSE_SIZE)
    return { type: view.getUint16(0, true), state: view.getUint16(abi.RESPONSE_STATE, true) }
  }
  return { rig, device, account, offer, send }
}

describe('virtio-mem', () => {
  it('tells of its region, and of its node if there is one', () => {
    const { rig, device } = rigOf({ node: 3, requestedSize: 2 * BLOCK })
    expect(device.features).toBe(3n)
    const config = new DataView(device.config.buffer)
    expect(config.getUint16(abi.CONFIG_NODE_ID, true)).toBe(3)
    const sizes = [abi.CONFIG_BLOCK_SIZE, abi.CONFIG_ADDR, abi.CONFIG_REGION_SIZE]
    expect(sizes.map((offset) => Number(config.getBigUint64(offset, true)))).toEqual([
      ...[BLOCK, ADDRESS, BLOCKS * BLOCK],
    ])
    expect([device.requested, device.plugged]).toEqual([2 * BLOCK, 0])
    expect(rigOf().device.features).toBe(2n)
    expect(rig.errors).toEqual([])
  })

  it('plugs as much as is asked for, and tells of the state of blocks', async () => {
    const { rig, device, account, send } = rigOf()
    expect(await send(abi.VIRTIO_MEM_REQ_PLUG, 0, 1)).toMatchObject({ type: NACK })
    device.requested = 4 * BLOCK
    expect(rig.irq.pulses).toBeGreaterThan(0)
    expect(await send(abi.VIRTIO_MEM_REQ_PLUG, 2, 3)).toMatchObject({ type: ACK })
    expect(await send(abi.VIRTIO_MEM_REQ_PLUG, 5, 2)).toMatchObject({ type: NACK })
    expect(device.plugged).toBe(3 * BLOCK)
    expect([...account.plugged]).toEqual([2, 3, 4].map((block) => block * BLOCK))
    for (const [block, count, state] of [
      [2, 3, abi.VIRTIO_MEM_STATE_PLUGGED],
      [0, 2, abi.VIRTIO_MEM_STATE_UNPLUGGED],
      [1, 2, abi.VIRTIO_MEM_STATE_MIXED],
      [4, 2, abi.VIRTIO_MEM_STATE_MIXED],
    ] as const) {
      expect(await send(abi.VIRTIO_MEM_REQ_STATE, block, count)).toEqual({ type: ACK, state })
    }
    expect(await send(abi.VIRTIO_MEM_REQ_UNPLUG, 3, 1)).toMatchObject({ type: ACK })
    expect(await send(abi.VIRTIO_MEM_REQ_UNPLUG, 2, 3)).toMatchObject({ type: ERROR })
    expect(await send(abi.VIRTIO_MEM_REQ_UNPLUG_ALL)).toMatchObject({ type: ACK })
    expect([device.plugged, account.plugged.size]).toEqual([0, 0])
    expect(device.counters).toMatchObject({ acknowledged: 7, refused: 2, errors: 1 })
  })

  it('is busy where the host has no memory, and plugs nothing then', async () => {
    const { device, account, send } = rigOf({ requestedSize: BLOCK })
    account.fails = true
    expect(await send(abi.VIRTIO_MEM_REQ_PLUG, 0, 1)).toMatchObject({
      type: abi.VIRTIO_MEM_RESP_BUSY,
    })
    expect(device.plugged).toBe(0)
  })

  it('answers when the memory has gone back, and takes no other request before', async () => {
    const { account, device, send, offer } = rigOf({ requestedSize: 2 * BLOCK })
    await send(abi.VIRTIO_MEM_REQ_PLUG, 0, 2)
    account.holds = true
    const ring = offer(abi.VIRTIO_MEM_REQ_UNPLUG, 0, 2)
    await turns()
    expect(device.plugged).toBe(0)
    offer(abi.VIRTIO_MEM_REQ_STATE, 0, 1)
    await turns()
    expect(ring.deviceUsedIdx).toBe(1)
    account.release()
    await until(() => ring.deviceUsedIdx === 3, 'both answers')
  })

  it('keeps what is plugged through a reset by the driver, not through one of the machine', async () => {
    const { rig, account, device, send } = rigOf({ requestedSize: BLOCK })
    await send(abi.VIRTIO_MEM_REQ_PLUG, 0, 1)
    device.requested = 3 * BLOCK
    rig.driver.start([], 64)
    expect(device.plugged).toBe(BLOCK)
    await device.systemReset()
    expect([device.plugged, device.requested, account.plugged.size]).toEqual([0, BLOCK, 0])
  })

  it('answers nobody after a reset while memory goes back', async () => {
    const { rig, account, send, offer } = rigOf({ requestedSize: BLOCK })
    await send(abi.VIRTIO_MEM_REQ_PLUG, 0, 1)
    account.holds = true
    offer(abi.VIRTIO_MEM_REQ_UNPLUG_ALL)
    await turns()
    rig.driver.start([], 64)
    account.holds = false
    account.release()
    await turns()
    expect(rig.driver.queues[0]!.deviceUsedIdx).toBe(0)
    expect(await send(abi.VIRTIO_MEM_REQ_PLUG, 0, 1)).toMatchObject({ type: ACK })
  })

  it.each([-BLOCK, 1, BLOCK + 1, 17 * BLOCK, Number.NaN, 0.5])('refuses a size of %d', (size) => {
    const { device } = rigOf()
    expect(() => {
      device.requested = size
    }).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'size' }))
  })

  it('has exactly what a model has, after any requests', async () => {
    const request = fc.record({
      type: fc.nat(5),
      block: fc.nat(BLOCKS + 1),
      count: fc.nat(BLOCKS + 1),
      requested: fc.option(fc.nat(BLOCKS)),
    })
    const check = async (requests: readonly Parameters<typeof play>[1][]) => {
      const rig = rigOf({ requestedSize: 8 * BLOCK })
      const model = new Set<number>()
      for (const one of requests) await play(rig, one, model)
    }
    await fc.assert(fc.asyncProperty(fc.array(request, { maxLength: 30 }), check), { numRuns: 50 })
  })
})

/** Sends one request; what is acknowledged must be what a model would do. */
async function play(
  { device, account, send }: ReturnType<typeof rigOf>,
  given: { type: number; block: number; count: number; requested: number | null },
  model: Set<number>,
): Promise<void> {
  const { type, block, count, requested } = given
  if (requested !== null) device.requested = requested * BLOCK
  const answer = await send(type, block, count)
  const blocks = Array.from({ length: count }, (_, i) => (block + i) * BLOCK)
  const inside = count > 0 && block + count <= BLOCKS
  if (type === abi.VIRTIO_MEM_REQ_UNPLUG_ALL) {
    model.clear()
  } else if (type === abi.VIRTIO_MEM_REQ_PLUG && answer.type === ACK) {
    expect(inside && blocks.every((at) => !model.has(at))).toBe(true)
    for (const at of blocks) model.add(at)
    expect(model.size * BLOCK).toBeLessThanOrEqual(device.requested)
  } else if (type === abi.VIRTIO_MEM_REQ_UNPLUG && answer.type === ACK) {
    expect(inside && blocks.every((at) => model.delete(at))).toBe(true)
  }
  expect(device.plugged).toBe(model.size * BLOCK)
  expect(new Set(account.plugged)).toEqual(model)
}

describe('BlockMap', () => {
  it('gives runs in order', () => {
    const map = new BlockMap(10)
    expect(map.runs()).toEqual([])
    map.set(0, 2, true)
    map.set(4, 6, true)
    map.set(6, 1, false)
    expect(map.runs()).toEqual([
      { first: 0, count: 2 },
      { first: 4, count: 2 },
      { first: 7, count: 3 },
    ])
  })
})
