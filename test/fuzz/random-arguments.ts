import type { Binding, IoctlEntry } from '../../lib/binding.js'
import { type RandomNumbers, randomNumbers } from '../helpers/random-numbers.js'

export type Native = Record<string, unknown>

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

/**
 * Arguments for the addon's classes: `any()` gives anything at all, `fitting()` what a method might take, with values
 * of its own. `pool` holds the objects that are there; `file` is a descriptor that may be written to.
 */
export class RandomArguments {
  readonly random: RandomNumbers
  readonly #addon: Binding
  readonly #ioctls: readonly IoctlEntry[]
  readonly #pool: readonly Native[]
  readonly #file: number

  constructor(seed: number, addon: Binding, pool: readonly Native[], file: number) {
    this.random = randomNumbers(seed)
    this.#addon = addon
    this.#ioctls = addon.ioctls()
    this.#pool = pool
    this.#file = file
  }

  pick<T>(values: readonly T[]): T {
    return values[this.random(values.length)]!
  }

  chance(one: number): boolean {
    return this.random(one) === 0
  }

  odd(): number {
    return this.pick(ODD)
  }

  /** From 0 to 8 of anything. */
  list(): unknown[] {
    return Array.from({ length: this.random(9) }, () => this.any())
  }

  any(): unknown {
    switch (this.random(13)) {
      case 0:
      case 1:
      case 2:
        return this.pick(NUMBERS)
      case 3:
        return this.odd()
      case 4:
      case 5:
        return this.bytes()
      case 6:
      case 7:
        return this.pick(this.#pool)
      case 8:
        return BigInt(this.pick(NUMBERS)) * this.pick([1n, -1n, 2n ** 40n])
      case 9:
        return this.pick([null, undefined, 'text', Symbol('s'), true, {}, [], () => {}])
      case 10:
        return this.chance(2) ? new Uint32Array(this.random(8)) : this.#ranges()
      case 11:
        return this.#batch()
      default:
        return this.#mappingOptions()
    }
  }

  bytes(size = this.pick(SIZES)): Uint8Array {
    const { random } = this
    const array = new Uint8Array(
      this.chance(8) ? new SharedArrayBuffer(size) : new ArrayBuffer(size),
    )
    const style = random(4)
    if (style === 0) return array
    for (let i = 0; i < size; i++) array[i] = random(style === 1 ? 256 : 2)
    // Many structs begin with a count or a small number.
    if (style === 3 && size >= 8) new DataView(array.buffer).setUint32(0, random(130), true)
    if (this.chance(40) && array.buffer instanceof ArrayBuffer)
      structuredClone(array.buffer, { transfer: [array.buffer] })
    return array
  }

  /** Arguments for a constructor. */
  construction(name: keyof Binding): unknown[] {
    switch (name) {
      case 'Kvm':
        return ['/dev/kvm']
      case 'Mapping':
        return [(1 + this.random(64)) * 4096, this.chance(3) ? this.#mappingOptions() : undefined]
      case 'BlockEngine': {
        const tags = this.pick([1, 8, 64])
        const shared = [new Float64Array(256), new Int32Array(2 * tags)]
        const kind = this.pick(['io_uring', 'threads'])
        return [kind, this.#file, this.#object('AddressSpace'), tags, ...shared, () => {}]
      }
      case 'Tap':
        return [this.pick(['nkvmfuzz%d', 'nkvmfuzz', 'lo']), this.chance(2), this.chance(2)]
      default:
        return []
    }
  }

  /** Arguments for a method of a class or a function of none; undefined for one that wants none. */
  fitting(name: string, className = ''): unknown[] | undefined {
    const { random } = this
    const u32 = () => (this.chance(8) ? this.pick(NUMBERS) : random(8))
    const page = () => random(32) * 4096
    const mapping = () => this.#object('Mapping')
    const event = () => this.#object('EventFd')
    const region = () => [random(4), random(3), page(), page(), mapping(), page()]
    switch (name) {
      case 'ioctl':
        return this.#ioctl(className)
      case 'deviceAttr': {
        const { request } = this.pick(
          this.#ioctls.filter((entry) => entry.name.endsWith('_DEVICE_ATTR')),
        )
        return [request, random(3), random(3), 0, this.bytes()]
      }
      case 'createVm':
      case 'createVcpu':
        return [random(4)]
      case 'createDevice':
        return [random(12), random(2)]
      case 'setUserMemoryRegion':
        return region()
      case 'setUserMemoryRegion2':
        return [...region(), null, 0]
      case 'createGuestMemfd':
        return [page(), random(4)]
      case 'slotSize':
        return [random(5)]
      case 'getDirtyLog':
        return [random(4), this.bytes(64)]
      case 'clearDirtyLog':
        return [random(4), random(3) * 64, random(200), this.bytes(64)]
      case 'irqfd':
        return [event(), random(30), random(3), this.chance(2) ? null : event()]
      case 'ioeventfd': {
        const length = this.pick([0, 1, 2, 4, 8, 3])
        return [event(), random(0x1000), length, BigInt(random(4)), random(8)]
      }
      case 'setMsrFilter':
        return [random(2), this.#ranges()]
      case 'hypervEventfd':
        return [this.chance(3) ? null : event(), random(4), random(2)]
      case 'xenHvmConfig':
        return [random(8), 0x4000_0000, null, this.chance(2) ? null : this.bytes(4096)]
      case 'xenSharedInfoHva':
      case 'xenVcpuInfoHva':
        return [mapping(), page()]
      case 'memoryEncryptOp':
        return [this.bytes(24), this.bytes(), this.chance(2) ? null : [[random(20), this.bytes()]]]
      case 'memoryEncryptRegion':
        return [this.chance(2), mapping(), page(), page()]
      case 'setSignalMask':
        return [this.pick([null, 0n, 1n, 2n ** 64n - 1n])]
      case 'getOneReg':
      case 'setOneReg':
        return [0x2030_0002_0000_0000n + BigInt(random(0x400)), this.bytes(8)]
      case 'read':
        return [random(0x1000), this.bytes()]
      case 'signal':
        return [u32()]
      case 'watch':
        return [() => {}]
      case 'buffer':
        return [random(0x4000), random(0x4000)]
      case 'discard':
        return [page(), page()]
      case 'add':
        return [page() * random(4), page(), mapping(), page()]
      case 'addRoute': {
        const [base, size, written] = [random(0x200), 33 + random(32), random(33)]
        const posted = Uint32Array.of(written)
        const latched = Uint32Array.of(random(size), 1)
        const vm = this.#pool.find((other) => 'createVcpu' in other)
        const cause = { written, told: random(size), gsi: random(24), vm }
        const route = { space: this.pick(['pio', 'mmio']), base, size, posted, latched }
        return [this.chance(2) ? route : { ...route, settling: posted, cause }]
      }
      case 'setCause':
        return [random(8), random(256), random(256), random(32)]
      case 'causePending':
        return [random(8), this.pick([undefined, 0, 1])]
      case 'readCause':
        return [random(8)]
      case 'removeRoute':
        return [random(8)]
      case 'setLatch':
        return [random(8), random(64), random(300) - 1]
      case 'addVcpu':
        return [this.#pool.find((other) => Object.hasOwn(other, 'run')), random(21)]
      case 'hold':
      case 'counters':
        return [random(4)]
      case 'next':
        return [random(4) - 1]
      case 'setSpin':
        return [random(1200)]
      case 'setAffinity':
        return [random(3), Uint32Array.of(random(3))]
      case 'submit':
      case 'transmit':
      case 'post':
        return [random(64)]
      case 'wait':
      case 'receive':
        return [random(4)]
      case 'setOffload':
        return [random(32)]
      case 'attach':
        return [this.#object('AddressSpace'), this.#batch(), new Int32Array(256), () => {}]
      case 'features':
        return [this.chance(2), random(8), this.chance(2), this.chance(2), random(2) * 1500]
      case 'enable':
      case 'setCarrier':
        return [this.chance(2)]
      case 'filter':
        return [random(16), Float64Array.of(random(2 ** 31)), this.bytes(512)]
      case 'capture':
        return [random(2) * 0x10000, random(100)]
      case 'findMapping':
        return [this.chance(2) ? random(1000) : (mapping()?.id ?? 0)]
      case 'lockFile':
        return [this.#file, this.chance(2)]
      case 'fileSize':
        return [this.#file]
      case 'fallocateWorks':
        return [this.#file, 0x20000]
      default:
        return undefined
    }
  }

  #ioctl(className: string): unknown[] {
    const descriptor = { Kvm: 1, Vm: 2, Vcpu: 4, Device: 8 }[className] ?? 15
    const offered = this.#ioctls.filter(({ fds }) => fds & descriptor)
    const { request, size, entrySize, kind } = this.pick(offered)
    if (kind === 'none') return [request]
    if (kind === 'value') return [request, this.pick(NUMBERS)]
    const bytes = this.bytes(size + entrySize * this.random(4))
    if (kind === 'list' && bytes.length >= 4) bytes.fill(0, 0, 4)[0] = this.random(4)
    if (kind === 'sized' && bytes.length >= 8) {
      new DataView(bytes.buffer).setUint32(4, bytes.length, true)
    }
    return [request, bytes]
  }

  /** Run-length batches of disks and network interfaces: small numbers. */
  #batch(): Float64Array {
    const array = new Float64Array(this.pick([0, 2, 16, 64, 256]))
    for (let i = 0; i < array.length; i++) {
      array[i] = this.chance(10)
        ? this.pick([...NUMBERS, ...ODD])
        : this.random(this.chance(3) ? 0x20000 : 5)
    }
    return array
  }

  #ranges(): unknown[] {
    return [[this.random(4), this.random(100), this.random(64), this.bytes()]]
  }

  #mappingOptions() {
    return {
      kind: this.pick(['memfd', 'anonymous', 'x', undefined]),
      hugePageSize: this.pick([0, 0, 0, 2 ** 21, 7]),
      canaries: this.pick([true, false, 1]),
      name: this.pick(['fuzz', 'a\0b', '', undefined]),
    }
  }

  #object(name: 'AddressSpace' | 'EventFd' | 'Mapping'): Native | undefined {
    const Class = this.#addon[name]
    return this.pick(this.#pool.filter((object) => object instanceof Class))
  }
}
