import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type MemoryOptions, VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import * as guest from './tiny-guest.js'

const create = (memory: MemoryOptions, options: Partial<VirtualMachineOptions> = {}) =>
  VirtualMachine.create({ kernel: guest.kernel(guest.powerOff), memory, ...options })

/** What the kernel says of the guest's memory: /proc/self/smaps of the mapping that holds its size. */
function smaps(name: string): Map<string, string> {
  const all = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[\da-f]+-[\da-f]+ )/m)
  const own = all.find((text) => text.split('\n')[0]!.includes(name))
  const lines = own?.split('\n').slice(1) ?? []
  return new Map(lines.map((line) => line.split(/:\s+/) as [string, string]))
}

const free = (kilobytes: number) => {
  const path = `/sys/kernel/mm/hugepages/hugepages-${kilobytes}kB/free_hugepages`
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0
}

async function runs(vm: VirtualMachine) {
  await vm.start()
  expect(await vm.stopped).toEqual({ kind: 'shutdown' })
}

describe('memory', () => {
  it.each([
    { size: '32M' },
    { size: 2 ** 25, kind: 'memfd' },
    { size: '32M', kind: 'anonymous', prefault: true },
    { size: '32M', kind: 'memfd', prefault: true, numa: { nodes: [0] } },
    { size: '32M', numa: { nodes: [0], policy: 'interleave' } },
  ] as MemoryOptions[])('%j', async (memory) => {
    await using vm = await create(memory)
    expect(vm.memory.size).toBe(2 ** 25)
    await runs(vm)
  })

  it('is taken at once, if asked', async () => {
    await using vm = await create({ size: '64M', prefault: true, kind: 'memfd' })
    expect(smaps('guest-ram').get('Rss')).toBe('65536 kB')
    await using lazy = await create({ size: '48M', kind: 'memfd' })
    expect(lazy.memory.size).toBe(48 * 2 ** 20)
    await runs(vm)
  })

  it('may be merged', async () => {
    await using vm = await create({ size: '32M', mergeable: true })
    const mapping = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[\da-f]+-[\da-f]+ )/m)
    const merged = mapping.filter((text) => /^VmFlags:.* mg\b/m.test(text))
    expect(merged).toHaveLength(1)
    expect(merged[0]).toMatch(/^Size:\s+32768 kB/m)
    await runs(vm)
  })

  it('may be locked, and be reset nevertheless', async () => {
    await using vm = await create({ size: '32M', locked: true, prefault: true })
    expect(readFileSync('/proc/self/status', 'utf8')).toMatch(/^VmLck:\s+32768 kB/m)
    vm.memory.write(0x180_0000, Uint8Array.of(1))
    await vm.reset()
    expect(vm.memory.read(0x180_0000, 1)).toEqual(Uint8Array.of(0))
    await runs(vm)
  })

  it.runIf(free(2048) >= 16)('may be huge pages of 2 MiB', async () => {
    const before = free(2048)
    {
      await using vm = await create({ size: '31M', kind: 'hugetlb-2M', prefault: true })
      expect(free(2048)).toBe(before - 16)
      vm.memory.write(0x180_0000, Uint8Array.of(1))
      await vm.reset()
      expect(vm.memory.read(0x180_0000, 1)).toEqual(Uint8Array.of(0))
      await runs(vm)
    }
    expect(free(2048)).toBe(before)
  })

  it.skipIf(totalmem() < 7 * 2 ** 30)('goes on above the hole', async () => {
    const size = 6 * 2 ** 30
    // The last 8 bytes, by 64-bit addresses: those that the boot page tables map end at 4 GiB.
    await using vm = await create({ size })
    expect(vm.memory.regions.map((region) => [region.guestAddress, region.size])).toEqual([
      [0, 0xb000_0000],
      [2 ** 32, size - 0xb000_0000],
    ])
    const end = 2 ** 32 + size - 0xb000_0000
    vm.memory.write(end - 8, Uint8Array.of(1, 2, 3))
    expect(() => vm.memory.read(end - 7, 8)).toThrow()
    expect(() => vm.memory.read(0xb000_0000, 1)).toThrow()
    await runs(vm)
  })
})

describe('memory that cannot be had', () => {
  it.each([
    [{ size: '1M' }, 'memory.size'],
    [{}, 'memory.size'],
    [{ size: '32M', kind: 'huge' }, 'memory.kind'],
    [{ size: '32M', prefault: 1 }, 'memory.prefault'],
    [{ size: '32M', kind: 'memfd', mergeable: true }, 'memory.mergeable'],
    [{ size: '32M', numa: { nodes: [] } }, 'memory.numa.nodes'],
    [{ size: '32M', numa: { nodes: [1024] } }, 'memory.numa.nodes[0]'],
    [{ size: '32M', numa: { nodes: [1000] } }, 'memory.numa.nodes'],
    [{ size: '32M', numa: { nodes: [0], policy: 'none' } }, 'memory.numa.policy'],
    [{ size: '32M', swap: true }, 'memory.swap'],
  ])('%j is refused', async (memory, option) => {
    await expect(create(memory as MemoryOptions)).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option,
    })
  })

  it('tells how many huge pages are missing', async () => {
    const size = (free(2048) + 16) * 2 ** 21
    await expect(create({ size, kind: 'hugetlb-2M' })).rejects.toMatchObject({
      option: 'memory.kind',
      message: expect.stringMatching(
        new RegExp(`${free(2048) + 16} huge pages are needed, ${free(2048)} free .*nr_hugepages`),
      ),
    })
  })

  it.each([{ locked: true }, { kind: 'hugetlb-2M' }] as const)(
    'goes with no balloon: %j',
    async (backing) => {
      await expect(create({ size: '32M', ...backing }, { balloon: {} })).rejects.toMatchObject({
        option: 'balloon',
      })
    },
  )

  it('tells the limit of what may be locked', async () => {
    const program = `
      import { GuestMemory, VirtualMachine } from ${JSON.stringify(new URL('../../dist/bundle/index.js', import.meta.url))}
      const memory = { size: '32M', locked: true }
      const flatBinary = { mode: 'real' }
      await VirtualMachine.create({ kernel: Uint8Array.of(0xf4), flatBinary, memory }).catch((error) => {
        console.log(error.option, error.message)
      })`
    const { stdout } = await promisify(execFile)('setpriv', [
      ...['--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock', 'prlimit', '--memlock=65536'],
      ...[process.execPath, '--input-type=module', '-e', program],
    ])
    expect(stdout).toMatch(/^memory\.locked .*RLIMIT_MEMLOCK is 65536/)
  })
})
