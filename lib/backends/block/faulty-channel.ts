import type { BlockAttachment, BlockBackend, BlockChannel } from './block-backend.js'
import type { CheckedFault, DiskOperation } from './disk-fault.js'
import { DrainWait } from './drain-wait.js'
import type { FlushState } from './flush-gate.js'

/** A request that is put off. */
interface Held {
  readonly tag: number
  readonly fault: CheckedFault
  readonly flush: boolean
  readonly segments: (readonly [address: number, length: number])[]
  /** Gives it to the disk. */
  readonly begin: () => void
}

/** Requests to a disk, some of which fail, come late, or never come. */
export class FaultyChannel implements BlockChannel {
  readonly #channel: BlockChannel
  readonly #attachment: BlockAttachment
  readonly #flushState: FlushState
  readonly #next: (operation: DiskOperation) => CheckedFault | undefined
  /** By tag: what a request ends with that the disk is doing. */
  readonly #errors = new Map<number, number>()
  readonly #held = new Map<Held, NodeJS.Timeout | NodeJS.Immediate | undefined>()
  #batch: Held[] = []
  /** What takes the segments that follow. */
  #target: Held | BlockChannel
  readonly #drain = new DrainWait()

  constructor(
    disk: BlockBackend,
    attachment: BlockAttachment,
    flushState: FlushState,
    next: (operation: DiskOperation) => CheckedFault | undefined,
  ) {
    this.#attachment = attachment
    this.#flushState = flushState
    this.#next = next
    this.#channel = disk.attach({
      ...attachment,
      complete: (tag, error) => this.#complete(tag, error),
      completed: () => attachment.completed(),
      resized: () => attachment.resized(),
      failed: (error) => attachment.failed(error),
    })
    this.#target = this.#channel
  }

  get engine(): string {
    return this.#channel.engine
  }

  get inFlight(): number {
    return this.#channel.inFlight + this.#held.size + this.#batch.length
  }

  get abandoned(): boolean {
    return this.#channel.abandoned ?? false
  }

  read(tag: number, offset: number): void {
    this.#begin('read', tag, () => this.#channel.read(tag, offset))
  }

  write(tag: number, offset: number, durable: boolean): void {
    this.#begin('write', tag, () => this.#channel.write(tag, offset, durable))
  }

  segment(address: number, length: number): void {
    if (this.#target === this.#channel) this.#channel.segment(address, length)
    else (this.#target as Held).segments.push([address, length])
  }

  flush(tag: number): void {
    this.#begin('flush', tag, () => this.#channel.flush(tag))
  }

  discard(tag: number, offset: number, length: number): void {
    this.#begin('discard', tag, () => this.#channel.discard(tag, offset, length))
  }

  writeZeroes(tag: number, offset: number, length: number, unmap: boolean): void {
    this.#begin('write-zeroes', tag, () => this.#channel.writeZeroes(tag, offset, length, unmap))
  }

  submit(): void {
    const batch = this.#batch
    this.#batch = []
    for (const held of batch) {
      const { delay } = held.fault
      const start = () => this.#start(held)
      if (delay === 0) this.#held.set(held, setImmediate(start))
      else this.#held.set(held, Number.isFinite(delay) ? setTimeout(start, delay) : undefined)
    }
    this.#channel.submit()
  }

  async drain(): Promise<void> {
    if (this.#held.size > 0) await this.#drain.wait()
    await this.#channel.drain()
  }

  /** What is put off is not done any more: it ends as by EIO, or by its own error. */
  async close(): Promise<void> {
    for (const [held, timer] of [...this.#held]) {
      clearTimeout(timer as NodeJS.Timeout | undefined)
      clearImmediate(timer as NodeJS.Immediate | undefined)
      this.#fail(held)
    }
    await this.#channel.close()
  }

  #begin(operation: DiskOperation, tag: number, begin: () => void): void {
    const flush = operation === 'flush'
    const lost = flush && this.#flushState.error !== 0
    const fault = this.#next(operation) ?? (lost ? UNDELAYED : undefined)
    if (fault === undefined) {
      this.#target = this.#channel
      begin()
      return
    }
    const held = { tag, fault, flush, segments: [], begin }
    this.#batch.push(held)
    this.#target = held
  }

  #start(held: Held): void {
    const { tag, fault, flush, segments, begin } = held
    const lost = flush && this.#flushState.error !== 0
    const fails = fault.errno !== 0 || lost
    if (fails && (fault.bytes === 0 || segments.length === 0)) {
      this.#fail(held)
      return
    }
    this.#held.delete(held)
    if (fails) this.#errors.set(tag, fault.errno)
    begin()
    let left = fails ? fault.bytes : Number.POSITIVE_INFINITY
    for (const [address, length] of segments) {
      if (left > 0) this.#channel.segment(address, Math.min(length, left))
      left -= length
    }
    this.#channel.submit()
    this.#lookDrained()
  }

  #fail(held: Held): void {
    const { tag, fault, flush } = held
    this.#held.delete(held)
    const error = fault.errno || this.#flushState.error || EIO
    if (flush && this.#flushState.error === 0) this.#flushState.error = error
    this.#attachment.complete(tag, error)
    this.#attachment.completed()
    this.#lookDrained()
  }

  #complete(tag: number, error: number): void {
    const injected = this.#errors.get(tag) ?? 0
    this.#errors.delete(tag)
    this.#attachment.complete(tag, injected || error)
  }

  #lookDrained(): void {
    if (this.#held.size === 0) this.#drain.done()
  }
}

const EIO = 5
const UNDELAYED: CheckedFault = {
  on: undefined,
  nth: 1,
  count: 1,
  delay: 0,
  errno: 0,
  bytes: 0,
}
