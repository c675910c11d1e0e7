import { readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { hotMemoryRanges, ramRanges } from '../arch/x86-64/layout.js'
import { invalidOption, KvmError } from '../errors.js'
import {
  createGuestMemory,
  type GuestRegionOptions,
  type MappedGuestMemory,
  type MappedRegion,
} from '../memory/mapping.js'
import type { MachineConfig } from './machine-config.js'
import type { HostNodes, MemoryBacking } from './memory-options.js'
import { nodeRanges } from './numa-options.js'

const HUGE_PAGE_SIZE: Readonly<Record<MemoryBacking['kind'], number>> = {
  anonymous: 0,
  memfd: 0,
  'hugetlb-2M': 2 ** 21,
  'hugetlb-1G': 2 ** 30,
}

/**
 * A guest's memory, and what it may plug in besides, with what the options say is behind it.
 * @throws VmmError `ERR_INVALID_OPTION` naming what the host has not: huge pages, KSM, a NUMA node, the right to lock so much
 */
export function createGuestRam({
  memory: size,
  memoryBacking: backing,
  virtioMem,
  numa,
}: Pick<MachineConfig, 'memory' | 'memoryBacking' | 'virtioMem' | 'numa'>): MappedGuestMemory {
  const hot = virtioMem ? hotMemoryRanges(size, virtioMem.maxSize) : []
  const ranges = [...ramRanges(size), ...hot.map((range) => ({ ...range, hotPluggable: true }))]
  const memory = mapRam(ranges, backing)
  try {
    for (const { mapping } of memory.regions) applyPolicy(mapping, backing)
    for (const { node, guestAddress, size: length } of nodeRanges(memory.ram, numa ?? [])) {
      const host = numa?.[node]?.host
      const region = memory.regions.find((each) => each === memory.findRegion(guestAddress, length))
      if (host === undefined || region === undefined) continue
      const offset = guestAddress - region.guestAddress
      bind(`numa[${node}].host.nodes`, region.mapping, host, offset, length)
    }
    return memory
  } catch (error) {
    memory.close()
    throw error
  }
}

function mapRam(
  ranges: readonly GuestRegionOptions[],
  { kind, locked, fds }: MemoryBacking,
): MappedGuestMemory {
  const hugePageSize = HUGE_PAGE_SIZE[kind]
  try {
    return createGuestMemory(ranges, {
      // Anonymous, as the kernel gives huge pages to that more readily: fewer faults of the guest, and fewer misses of its TLB.
      kind: kind === 'memfd' ? 'memfd' : 'anonymous',
      ...{ hugePageSize, locked, ...(fds && { fds }) },
      name: 'guest-ram',
    })
  } catch (error) {
    if (!(error instanceof KvmError)) throw error
    if (error.syscall === 'mlock2') {
      throw invalidOption('memory.locked', true, `false, or a limit of that much: ${lockLimit()}`)
    }
    if (hugePageSize === 0) throw error
    const needed = ranges.reduce((sum, range) => sum + Math.ceil(range.size / hugePageSize), 0)
    const directory = `/sys/kernel/mm/hugepages/hugepages-${hugePageSize / 1024}kB`
    const free = readText(`${directory}/free_hugepages`)?.trim() ?? 'none'
    const expected = `a kind that the host has enough of: ${needed} huge pages are needed, ${free} free (${directory}/nr_hugepages)`
    throw invalidOption('memory.kind', kind, expected)
  }
}

/** RLIMIT_MEMLOCK, as getrlimit(2) would tell. */
function lockLimit(): string {
  const line = readText('/proc/self/limits')?.match(/^Max locked memory\s+(\S+)/m)
  return `RLIMIT_MEMLOCK is ${line?.[1] ?? 'unknown'}`
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

type Mapping = MappedRegion['mapping']

function applyPolicy(mapping: Mapping, { numa, mergeable }: MemoryBacking): void {
  if (numa) bind('memory.numa.nodes', mapping, numa)
  if (mergeable) {
    attempt('memory.mergeable', true, 'false, as the kernel has no KSM', () =>
      mapping.setMergeable(),
    )
  }
}

/** @param part offset and length; all of the mapping unless told */
function bind(
  option: string,
  mapping: Mapping,
  { nodes, policy }: HostNodes,
  ...part: [] | [number, number]
): void {
  attempt(option, nodes, 'NUMA nodes of this host that have memory', () =>
    mapping.bind(policy, Uint32Array.from(nodes), ...part),
  )
}

function attempt(option: string, value: unknown, expected: string, call: () => void): void {
  try {
    call()
  } catch (error) {
    throw error instanceof KvmError ? invalidOption(option, value, expected) : error
  }
}

/** Bytes taken from the host in one turn of the event loop: some ten milliseconds' worth. */
const STEP = 2 ** 26

/**
 * Takes all of the memory from the host.
 * @throws VmmError `ERR_INVALID_OPTION` if the host has not as much
 */
export async function prefault(memory: MappedGuestMemory): Promise<void> {
  for (const { mapping, size } of memory.ram) {
    for (let offset = 0; offset < size; offset += STEP) {
      const length = Math.min(STEP, size - offset)
      attempt('memory.prefault', true, 'false, as the host has not so much memory left', () =>
        mapping.populate(offset, length),
      )
      await nextTurn()
    }
  }
}
