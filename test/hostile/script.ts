import type { GuestMemory } from '../../lib/memory/guest-memory.js'

/** What the guest of `script-guest.ts` knows to do; a step takes up one record of a script. */
export const OPS = [
  ...(['end', 'out8', 'out16', 'out32', 'in8', 'in16', 'in32'] as const),
  ...(['store8', 'store16', 'store32', 'store64'] as const),
  ...(['load8', 'load16', 'load32', 'load64'] as const),
  ...(['wait16', 'wait32', 'same16', 'add16', 'compare', 'loop'] as const),
] as const

export type Op = (typeof OPS)[number]

/** One step: what `address`, `value` and `extra` are depends on `op`. */
export interface Step {
  readonly op: Op
  /** A port, a guest-physical address, or, for `loop`, that of a 32-bit counter. */
  readonly address: number
  readonly value: bigint
  readonly extra: number
}

export const RECORD_SIZE = 32
export type Width = 1 | 2 | 4
export type MemoryWidth = Width | 8

/**
 * What a guest does, step by step: accesses of ports, of devices' registers and of its own memory. Played by the
 * processor of a machine, or without one by `memory-bench.ts`.
 */
export class Script {
  readonly steps: Step[] = []

  out(port: number, width: Width, value: number): this {
    return this.#step(`out${bits(width)}`, port, value)
  }

  in(port: number, width: Width): this {
    return this.#step(`in${bits(width)}`, port)
  }

  store(address: number, width: MemoryWidth, value: number | bigint): this {
    return this.#step(`store${bits(width)}`, address, value)
  }

  load(address: number, width: MemoryWidth): this {
    return this.#step(`load${bits(width)}`, address)
  }

  /** Waits until what is at `address` is `value`. */
  wait(address: number, width: 2 | 4, value: number): this {
    return this.#step(`wait${bits(width)}`, address, value)
  }

  /** Waits until the 16-bit words at the two addresses are the same. */
  same16(address: number, other: number): this {
    return this.#step('same16', address, other)
  }

  /** Adds to a 16-bit word of memory. */
  add16(address: number, value: number): this {
    return this.#step('add16', address, value)
  }

  /** Counts an error if `length` bytes at the two addresses differ. */
  compare(address: number, other: number, length: number): this {
    return this.#step('compare', address, other, length)
  }

  /** Goes back to the first step as often as the 32-bit counter at `counter` says. */
  loop(counter: number): this {
    return this.#step('loop', counter)
  }

  /** Bytes of memory, by the widest stores. */
  bytes(address: number, bytes: Uint8Array): this {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = 0
    for (; at + 8 <= bytes.length; at += 8) this.store(address + at, 8, view.getBigUint64(at, true))
    for (; at < bytes.length; at++) this.store(address + at, 1, bytes[at]!)
    return this
  }

  /** Puts the script into guest memory, to be played from there. */
  write(memory: GuestMemory, at: number): void {
    const view = memory.dataView(at, RECORD_SIZE * (this.steps.length + 1))
    const record = (index: number, { op, address, value, extra }: Step) => {
      const offset = RECORD_SIZE * index
      view.setUint32(offset, OPS.indexOf(op), true)
      view.setBigUint64(offset + 8, BigInt(address), true)
      view.setBigUint64(offset + 16, op === 'loop' ? BigInt(at) : BigInt.asUintN(64, value), true)
      view.setUint32(offset + 24, extra, true)
    }
    for (const [index, step] of this.steps.entries()) record(index, step)
    record(this.steps.length, { op: 'end', address: 0, value: 0n, extra: 0 })
  }

  #step(op: Op, address: number, value: number | bigint = 0, extra = 0): this {
    this.steps.push({ op, address, value: BigInt(value), extra })
    return this
  }
}

function bits<W extends MemoryWidth>(
  width: W,
): W extends 1 ? 8 : W extends 2 ? 16 : W extends 4 ? 32 : 64 {
  return (8 * width) as ReturnType<typeof bits<W>>
}
