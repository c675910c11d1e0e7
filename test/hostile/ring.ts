import { Script } from './script.js'
import { HEAP } from './script-guest.js'

/** Where a queue's parts and a case's buffers lie. */
export const RINGS = HEAP
export const TABLE = HEAP + 0x8_0000
export const HEADERS = HEAP + 0x9_0000
export const STATUSES = HEAP + 0xa_0000
export const DATA = HEAP + 0x10_0000

/** The place of one queue, and what a driver writes to it. */
export class Ring {
  offered = 0
  constructor(
    readonly index: number,
    readonly size: number,
    readonly descriptorArea: number | bigint = RINGS + 0x1_0000 * index,
    readonly driverArea: number | bigint = RINGS + 0x1_0000 * index + 0x4000,
    readonly deviceArea: number | bigint = RINGS + 0x1_0000 * index + 0x8000,
  ) {}

  descriptor(index: number, address: number | bigint, length: number, flags = 0, next = 0): Script {
    return descriptorAt(Number(this.descriptorArea) + 16 * index, address, length, flags, next)
  }

  /** Puts a head into the available ring and shows it to the device. */
  offer(head: number): Script {
    const at = Number(this.driverArea)
    const slot = this.offered % this.size
    this.offered = (this.offered + 1) & 0xffff
    return new Script().store(at + 4 + 2 * slot, 2, head).store(at + 2, 2, this.offered)
  }
}

export function descriptorAt(
  at: number,
  address: number | bigint,
  length: number,
  flags = 0,
  next = 0,
): Script {
  const rest = BigInt(length >>> 0) | (BigInt(flags) << 32n) | (BigInt(next) << 48n)
  return new Script().store(at, 8, BigInt(address)).store(at + 8, 8, rest)
}

/** Scripts one after another. */
export function script(...parts: readonly Script[]): Script {
  const all = new Script()
  for (const part of parts) all.steps.push(...part.steps)
  return all
}
