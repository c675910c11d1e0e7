import { describe, expect, it } from 'vitest'
import { GuestAccess } from '../../lib/devices/virtio/queue/guest-access.js'
import { SplitVirtqueue } from '../../lib/devices/virtio/queue/split-virtqueue.js'
import { plainMemory } from '../helpers/guest-memories.js'

const SIZE = 2
const [DESCRIPTORS, AVAIL, USED, TABLE] = [0x100, 0x200, 0x300, 0x400]
const [NEXT, WRITE, INDIRECT] = [1, 2, 4]

interface Descriptor {
  readonly address: number
  readonly length: number
  readonly flags: number
  readonly next: number
}
/** The segments of a chain, device-readable ones before device-writable ones; or nothing, of a ring that breaks a rule. */
type Expected =
  | readonly (readonly [address: number, length: number, writable: boolean])[]
  | 'broken'

/** What else of memory an indirect table is looked for in. */
const ZEROS = [0, 0].map((): Descriptor => ({ address: 0, length: 0, flags: 0, next: 0 }))

/** Virtio 1.2, section 2.7.5, said once more and in another way: as a list of descriptors that is judged when it is whole. */
function expected(
  ring: readonly Descriptor[],
  table: readonly Descriptor[],
  head: number,
  indirect: boolean,
): Expected {
  if (head >= ring.length) return 'broken'
  const follow = (from: readonly Descriptor[], first: number): Descriptor[] | 'broken' => {
    const path: number[] = []
    for (let at = first; ; at = from[at]!.next) {
      if (at >= from.length || path.includes(at)) return 'broken'
      path.push(at)
      if (from === ring && from[at]!.flags & INDIRECT) break
      if ((from[at]!.flags & NEXT) === 0) break
    }
    return path.map((at) => from[at]!)
  }
  const direct = follow(ring, head)
  if (direct === 'broken') return 'broken'
  let all = direct
  const last = direct.at(-1)!
  if (last.flags & INDIRECT) {
    const isTable = [16, 32].includes(last.length)
    if (!indirect || last.flags & NEXT || !isTable) return 'broken'
    const there = last.address === TABLE ? table : ZEROS
    const inner = follow(there.slice(0, last.length / 16), 0)
    if (inner === 'broken' || inner.some(({ flags }) => flags & INDIRECT)) return 'broken'
    all = [...direct.slice(0, -1), ...inner]
  }
  const segments = all
    .filter(({ length }) => length > 0)
    .map(({ address, length, flags }) => [address, length, (flags & WRITE) !== 0] as const)
  const firstWritable = segments.findIndex(([, , writable]) => writable)
  const ordered =
    firstWritable < 0 || segments.slice(firstWritable).every(([, , writable]) => writable)
  return ordered && segments.length <= SIZE ? segments : 'broken'
}

const memory = plainMemory([0, 0x1000])
const access = new GuestAccess(memory)
const words = new Uint32Array(memory.regions[0]!.buffer)

function write(at: number, { address, length, flags, next }: Descriptor): void {
  words[at / 4] = address
  words[at / 4 + 1] = 0
  words[at / 4 + 2] = length
  words[at / 4 + 3] = flags | (next << 16)
}

/** What the queue makes of it: the same, from a ring in which one chain is available. */
function walked(
  ring: readonly Descriptor[],
  table: readonly Descriptor[],
  head: number,
  indirect: boolean,
): Expected {
  for (const [i, descriptor] of ring.entries()) write(DESCRIPTORS + 16 * i, descriptor)
  for (const [i, descriptor] of table.entries()) write(TABLE + 16 * i, descriptor)
  words[AVAIL / 4] = 1 << 16
  words[AVAIL / 4 + 1] = head
  let broken = false
  const queue = new SplitVirtqueue(
    0,
    { size: SIZE, descriptorArea: DESCRIPTORS, driverArea: AVAIL, deviceArea: USED },
    access,
    { indirect, eventIdx: false, inOrder: false, chainCountMax: SIZE },
    { interrupt: () => {}, broken: () => (broken = true) },
  )
  const chain = queue.pop()
  if (chain === undefined || broken) {
    if (chain !== undefined || !broken || !queue.stopped)
      throw new Error('neither broken nor whole')
    return 'broken'
  }
  return Array.from({ length: chain.count }, (_, i) => [
    chain.addresses[i]!,
    chain.lengths[i]!,
    i >= chain.readableCount,
  ])
}

const descriptors = (addresses: number[], lengths: number[], nexts: number[]): Descriptor[] =>
  addresses.flatMap((address) =>
    lengths.flatMap((length) =>
      [0, 1, 2, 3, 4, 5, 6, 7].flatMap((flags) =>
        nexts.map((next) => ({ address, length, flags, next })),
      ),
    ),
  )

/** Compares all of them, and gives their number. */
function compareAll(
  firsts: readonly Descriptor[],
  seconds: readonly Descriptor[],
  tables: readonly (readonly Descriptor[])[],
  heads: readonly number[],
): number {
  let count = 0
  for (const first of firsts)
    for (const second of seconds)
      for (const table of tables)
        for (const head of heads)
          for (const indirect of [true, false]) {
            const ring = [first, second]
            const [is, should] = [
              walked(ring, table, head, indirect),
              expected(ring, table, head, indirect),
            ]
            count++
            const same =
              is === should ||
              (is !== 'broken' && should !== 'broken' && is.join(';') === should.join(';'))
            if (!same) expect({ ring, table, head, indirect, is }).toEqual({ is: should })
          }
  return count
}

describe('a split ring of two entries agrees with the specification', () => {
  const plain: readonly Descriptor[] = [
    { address: 0x800, length: 5, flags: NEXT, next: 1 },
    { address: 0x900, length: 6, flags: WRITE, next: 0 },
  ]

  it('for every pair of descriptors and every head', () => {
    const all = descriptors([0x800, TABLE], [0, 16, 32], [0, 1, 2])
    expect(compareAll(all, all, [plain], [0, 1, 2])).toBe(144 * 144 * 3 * 2)
  })

  it('for every indirect table of two', () => {
    const outer = [16, 32, 0, 24].flatMap((length) =>
      [4, 5, 6].map((flags) => ({ address: TABLE, length, flags, next: 1 })),
    )
    const before = [0, NEXT].map((flags) => ({ address: 0x800, length: 3, flags, next: 0 }))
    const inner = descriptors([0x800, TABLE], [0, 7], [0, 1, 2])
    const tables = inner.flatMap((one) => inner.map((other) => [one, other]))
    expect(compareAll(outer, before, tables, [0, 1])).toBe(12 * 2 * 96 * 96 * 2 * 2)
  })
})
