import { violation } from '../../isolation/frames.js'
import * as check from '../option-checks.js'
import type { Snapshot } from './protocol.js'

// The machine's process may be the guest's by now: nothing that it says is taken for what it should be.

const TEXT_MAX = 1024
const LIST_MAX = 4096

const text = check.value<string>(
  'a text',
  (given) => typeof given === 'string' && given.length <= TEXT_MAX,
)
const number = check.value<number>('a number', (given) => typeof given === 'number')
const list = <T>(item: check.Check<T>): check.Check<readonly T[]> => {
  const items = check.list('a list', item)
  return (given, name) => {
    if (!Array.isArray(given) || given.length > LIST_MAX) throw violation(`${name} is no list`)
    return items(given, name)
  }
}

/** By names of any kind. */
function record<T>(item: check.Check<T>): check.Check<Readonly<Record<string, T>>> {
  return (given, name) => {
    const entries = typeof given === 'object' && given !== null ? Object.entries(given) : undefined
    if (entries === undefined || entries.length > LIST_MAX) throw violation(`${name} is no record`)
    return Object.fromEntries(entries.map(([key, value]) => [text(key, name), item(value, name)]))
  }
}

const counters = record(number)
const kvmStatistics = record<number | readonly number[]>((given, name) =>
  Array.isArray(given) ? list(number)(given, name) : number(given, name),
)
const tally = { count: number, synchronous: number, nanoseconds: number }
const access = check.object({
  ...tally,
  address: number,
  direction: check.oneOf('read', 'write'),
  device: check.optional(text),
})

const snapshot = check.object({
  stats: check.object({
    exits: list(check.object({ ...tally, reason: text })),
    ports: list(access),
    mmio: list(access),
    otherAccesses: check.object(tally),
    coalescedWrites: number,
    vcpus: list((given, name) => {
      const { kvm, ...others } = record((value: unknown) => value)(given, name)
      return { ...counters(others, name), kvm: kvmStatistics(kvm, name) }
    }),
    devices: list(check.object({ name: text, counters })),
    kvm: kvmStatistics,
  }),
  disks: list(check.object({ name: text, engine: text, counters })),
  nets: list(
    check.object({
      ...{ name: text, mac: text, link: check.boolean, queuePairs: number },
      ...{ vhost: check.boolean, announces: check.boolean, counters },
    }),
  ),
  vsock: check.optional(counters),
  virtioConsole: check.optional(
    check.object({
      counters,
      ports: list(check.object({ lost: number, guestOpen: check.boolean })),
    }),
  ),
  balloon: check.optional(check.object({ actual: number, target: number, counters })),
  virtioMem: check.optional(check.object({ requested: number, plugged: number, counters })),
})

/** @throws VmmError for what is no snapshot */
export function checkSnapshot(given: unknown): Snapshot {
  return snapshot(given, 'a snapshot') as unknown as Snapshot
}
