import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { hotMemoryRanges } from '../../lib/arch/x86-64/layout.js'
import { Kvm } from '../../lib/kvm/kvm.js'
import { HotMemory } from '../../lib/machine/hot-memory.js'
import { createGuestMemory } from '../../lib/memory/mapping.js'
import { tinyMachines } from './machines.js'
import * as guest from './tiny-guest.js'

const MIB = 2 ** 20
const create = tinyMachines()

describe('vm.virtioMem', () => {
  it('waits for the guest, within limits', async () => {
    const vm = await create([guest.halt], { virtioMem: { maxSize: '1G', size: '8M' } })
    const mem = vm.virtioMem!
    expect(mem).toMatchObject({
      maxSize: 2 ** 30,
      blockSize: 2 * MIB,
      requested: 8 * MIB,
      plugged: 0,
    })
    await vm.start()
    const late = { code: 'ERR_TIMEOUT', option: 'timeout' }
    await expect(mem.resize('64M', { timeout: 5 })).rejects.toMatchObject(late)
    expect(mem.requested).toBe(64 * MIB)
    const first = mem.resize('32M')
    await mem.resize(0)
    await expect(first).rejects.toMatchObject({ code: 'ERR_STATE' })
    const waiting = mem.resize('2M')
    await vm.stop()
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_STATE' })
  })

  it.each([1, '3M', '2G', 'much', -2, null] as never[])('refuses a size of %j', async (size) => {
    const vm = await create([guest.halt], { virtioMem: { maxSize: '1G' } })
    const invalid = { code: 'ERR_INVALID_OPTION', option: 'size' }
    await expect(vm.virtioMem!.resize(size)).rejects.toMatchObject(invalid)
  })

  it('is not what the guest has at its start, and no memory of the host', async () => {
    const vm = await create([guest.powerOff], { virtioMem: { maxSize: '16G' } })
    const { guestAddress } = hotMemoryRanges(32 * MIB, 2 ** 34)[0]!
    expect(vm.memory.ram.map(({ size }) => size)).toEqual([32 * MIB])
    expect(vm.memory.findRegion(guestAddress, 4096)?.hotPluggable).toBe(true)
    const before = process.memoryUsage.rss()
    await vm.reset()
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * MIB)
  })

  it('is a device of its own among the counters', async () => {
    const vm = await create([guest.powerOff], { virtioMem: { maxSize: '1G' } })
    expect(vm.stats().devices.map(({ name }) => name)).toEqual(['console', 'mem'])
  })
})

describe('numa', () => {
  it('takes memory from the nodes of the host, or names those that are not there', async () => {
    const host = { nodes: [0] }
    const vm = await create([guest.powerOff], {
      memory: '32M',
      numa: [
        { cpus: [0], memory: '16M', host },
        { memory: '16M', host: { nodes: [0], policy: 'interleave' } },
      ],
    })
    // numa(7): a line for each range with a policy of its own.
    const policies = readFileSync('/proc/self/numa_maps', 'utf8').matchAll(/(bind|interleave):0/g)
    expect([...policies].map(([, policy]) => policy)).toEqual(['bind', 'interleave'])
    await vm.start()
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    const numa = [{ cpus: [0], memory: '32M', host: { nodes: [1000] } }]
    await expect(create([guest.powerOff], { numa })).rejects.toMatchObject({
      ...{ code: 'ERR_INVALID_OPTION', option: 'numa[0].host.nodes' },
    })
  })
})

describe('HotMemory', () => {
  it('has a slot for each part in which anything is plugged', async () => {
    using kvm = Kvm.open()
    using vm = kvm.createVm()
    const start = 2 ** 32
    const size = 512 * MIB
    const memory = createGuestMemory([{ guestAddress: start, size, hotPluggable: true }])
    const hot = new HotMemory(vm, memory, { start, size })
    // A slot with a part that is there already is refused.
    const isThere = (offset: number) => {
      const slot = 7
      try {
        const { mapping } = memory.regions[0]!
        vm.setUserMemoryRegion({ slot, guestAddress: start + offset, size: 4096, mapping })
        vm.setUserMemoryRegion({ slot, guestAddress: start + offset, size: 0 })
        return false
      } catch {
        return true
      }
    }
    const parts = () => [0, 128, 256, 384].map((at) => isThere(at * MIB))
    expect(parts()).toEqual([false, false, false, false])
    hot.plug(126 * MIB, 4 * MIB)
    expect(parts()).toEqual([true, true, false, false])
    memory.fill(start + 126 * MIB, 4 * MIB, 1)
    await hot.unplug(126 * MIB, 2 * MIB)
    expect(parts()).toEqual([false, true, false, false])
    expect([126, 128].map((at) => memory.view(start + at * MIB, 1)[0])).toEqual([0, 1])
    hot.plug(300 * MIB, 100 * MIB)
    await hot.unplug(128 * MIB, 2 * MIB)
    expect(parts()).toEqual([false, false, true, true])
    memory.close()
    await hot.unplug(300 * MIB, 100 * MIB)
  })
})
