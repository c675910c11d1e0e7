import { expect, it } from 'vitest'
import { type Binding, binding } from '../../lib/binding.js'
import { KvmError, VmmError } from '../../lib/errors.js'
import { holdAnchor } from '../helpers/payloads.js'
import { collect, openFds } from '../helpers/process-state.js'

/**
 * Random calls in random order on every class of the addon, with random arguments: none may do more than throw.
 * NODE_KVM_FUZZ_SECONDS and NODE_KVM_FUZZ_SEED choose how long and which; meant to be run under AddressSanitizer too.
 */
const seconds = Number(process.env.NODE_KVM_FUZZ_SECONDS ?? 2)
const seed = Number(process.env.NODE_KVM_FUZZ_SEED ?? Date.now() % 2 ** 31)

/** A small generator whose sequence a seed gives again: mulberry32. */
function generator(state: number) {
  return (below: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

const random = generator(seed)
const pick = <T>(values: readonly T[]): T => values[random(values.length)]!

type Native = Record<string, unknown>

const NUMBERS = [
  0,
  1,
  2,
  3,
  4,
  7,
  8,
  16,
  24,
  100,
  4095,
  4096,
  4097,
  0x10000,
  0x100000,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
]
const ODD = [-1, 0.5, Number.NaN, Infinity, 2 ** 40, 2 ** 53 - 1, 2 ** 53, -(2 ** 31)]
const SIZES = [
  0, 1, 4, 8, 16, 24, 64, 72, 104, 144, 312, 320, 392, 416, 520, 1024, 4096, 5128, 16384,
]

function bytes(): Uint8Array {
  const size = pick(SIZES)
  const array = new Uint8Array(
    random(8) === 0 ? new SharedArrayBuffer(size) : new ArrayBuffer(size),
  )
  const style = random(4)
  if (style === 0) return array
  for (let i = 0; i < size; i++) array[i] = random(style === 1 ? 256 : 2)
  // Many structs begin with a count or a small number.
  if (style === 3 && size >= 8) new DataView(array.buffer).setUint32(0, random(130), true)
  if (random(40) === 0 && array.buffer instanceof ArrayBuffer)
    structuredClone(array.buffer, { transfer: [array.buffer] })
  return array
}

const options = () => ({
  kind: pick(['memfd', 'anonymous', 'x', undefined]),
  hugePageSize: pick([0, 0, 0, 2 ** 21, 7]),
  canaries: pick([true, false, 1]),
  name: pick(['fuzz', 'a\0b', '', undefined]),
})

it(
  `survives random calls (seed ${seed}, ${seconds} s)`,
  async () => {
    holdAnchor()
    const addon = binding()
    const table = addon.ioctls()
    const pool: Native[] = []
    const before = openFds()
    let calls = 0
    let thrown = 0
    const strange: unknown[] = []

    const argument = (): unknown => {
      switch (random(12)) {
        case 0:
        case 1:
        case 2:
          return pick(NUMBERS)
        case 3:
          return pick(ODD)
        case 4:
        case 5:
          return bytes()
        case 6:
        case 7:
          return pick(pool)
        case 8:
          return BigInt(pick(NUMBERS)) * pick([1n, -1n, 2n ** 40n])
        case 9:
          return pick([null, undefined, 'text', Symbol('s'), true, {}, [], () => {}])
        case 10:
          return random(2)
            ? new Uint32Array(random(8))
            : [[random(4), random(100), random(64), bytes()]]
        default:
          return options()
      }
    }

    const keep = (value: unknown): void => {
      if (typeof value === 'object' && value !== null && 'close' in value)
        pool.push(value as Native)
    }

    const create = (): void => {
      const classes: (keyof Binding)[] = ['Kvm', 'Kvm', 'EventFd', 'Mapping', 'AddressSpace']
      const name = pick(classes)
      const Class = addon[name] as new (...args: unknown[]) => unknown
      if (name === 'Kvm') keep(new Class(random(10) ? '/dev/kvm' : argument()))
      else
        keep(
          random(3) ? new Class(random(64) * 4096, options()) : new Class(argument(), argument()),
        )
    }

    const call = (object: Native): void => {
      const names = Object.getOwnPropertyNames(Object.getPrototypeOf(object)).filter(
        (name) => name !== 'constructor',
      )
      const name = Object.hasOwn(object, 'run') && random(6) === 0 ? 'run' : pick(names)
      if (name === 'run' && random(50) > 0) {
        // Most random guests never exit: this one returns at once.
        new Uint8Array(object.runPage as ArrayBuffer)[1] = 1
      }
      const args = Array.from({ length: random(9) }, argument)
      if (name === 'ioctl' && random(10) > 0) args[0] = pick(table).request
      if (name === 'ioctl' && random(10) > 2) args[1] = bytes()
      if ((name === 'createVm' || name === 'createVcpu') && random(4) > 0) args[0] = random(3)
      const value = object[name]
      keep(
        typeof value === 'function'
          ? Reflect.apply(value, random(30) ? object : pick(pool), args)
          : value,
      )
    }

    const deadline = Date.now() + seconds * 1000
    while (Date.now() < deadline) {
      for (let i = 0; i < 200; i++) {
        calls++
        try {
          if (pool.length < 3 || random(20) === 0) create()
          else if (pool.length > 60) (pool.splice(random(pool.length), 1)[0]!.close as () => void)()
          else call(pick(pool))
        } catch (error) {
          thrown++
          const known =
            error instanceof KvmError || error instanceof VmmError || error instanceof TypeError
          if (!known) strange.push(error)
        }
      }
      // Lets finalizers, watches and closed handles have their turn.
      await new Promise((resolve) => setImmediate(resolve))
    }
    for (const object of pool.splice(0)) {
      try {
        Reflect.apply(object.close as () => void, object, [])
      } catch (error) {
        if (!(error instanceof VmmError || error instanceof TypeError)) strange.push(error)
      }
    }
    expect(strange).toEqual([])
    expect(calls).toBeGreaterThan(thrown)
    expect(await collect(() => openFds() <= before)).toBe(true)
  },
  seconds * 1000 + 120_000,
)
