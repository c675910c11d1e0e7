import { binding, type NativeAddressSpace, type NativeBlockEngine } from '../../binding.js'
import { asError } from '../../errors.js'
import type { BlockAttachment, BlockChannel } from './block-backend.js'
import { CLOSE_PATIENCE, DrainWait } from './drain-wait.js'
import type { FlushGate } from './flush-gate.js'

// native/block_request.h
const OP_READ = 0
const OP_WRITE = 1
const OP_FLUSH = 2
const OP_DISCARD = 3
const OP_WRITE_ZEROES = 4
const OP_FLAG = 0x100

const HEADER_WORDS = 5
const BATCH_WORDS = 8192

/** Channels that were given up: an engine that is collected with requests in flight waits for them. */
const abandoned = new Set<NativeChannel>()

/** Not before its I/O, which writes to memory that it holds, is done. */
function closeOrphan(native: NativeBlockEngine): void {
  if (native.inFlight > 0) setTimeout(closeOrphan, 100, native).unref()
  else native.close()
}

/** Engines whose channel was collected before anything closed it. */
const orphans = new FinalizationRegistry<NativeBlockEngine>((native) => closeOrphan(native))

/** Requests of one file by one of the native engines: data never passes through JavaScript. */
export class NativeChannel implements BlockChannel {
  readonly engine: 'io_uring' | 'threads'
  readonly #attachment: BlockAttachment
  readonly #native: NativeBlockEngine
  readonly #flushes: FlushGate
  readonly #flushTag: number
  readonly #requests: Float64Array
  readonly #completions: Int32Array
  #words = 0
  /** Where the request begun last has its length and its segment count. */
  #request = 0
  readonly #drain = new DrainWait()
  #closed = false
  abandoned = false

  /** @throws KvmError if the kernel refuses the engine */
  constructor(
    kind: 'io_uring' | 'threads',
    fd: number,
    memory: NativeAddressSpace,
    attachment: BlockAttachment,
    flushes: FlushGate,
  ) {
    this.engine = kind
    this.#attachment = attachment
    this.#flushes = flushes
    this.#flushTag = attachment.tags
    this.#requests = new Float64Array(BATCH_WORDS + HEADER_WORDS + 2 * attachment.segments)
    this.#completions = new Int32Array(2 * (attachment.tags + 1))
    // Weakly: a machine that nobody holds any more is collected, though the engine's completions are watched.
    const channel = new WeakRef(this)
    this.#native = new (binding().BlockEngine)(
      kind,
      fd,
      memory,
      attachment.tags + 1,
      this.#requests,
      this.#completions,
      (count) => NativeChannel.#completed(channel, count),
    )
    orphans.register(this, this.#native)
  }

  static #completed(channel: WeakRef<NativeChannel>, count: number): void {
    const living = channel.deref()
    if (living !== undefined) living.#take(count)
  }

  get inFlight(): number {
    return this.#closed ? 0 : this.#native.inFlight + this.#flushes.waiting
  }

  read(tag: number, offset: number): void {
    this.#begin(OP_READ, tag, offset, 0)
  }

  write(tag: number, offset: number, durable: boolean): void {
    this.#begin(durable ? OP_WRITE | OP_FLAG : OP_WRITE, tag, offset, 0)
  }

  segment(address: number, length: number): void {
    const requests = this.#requests
    const at = this.#words
    requests[at] = address
    requests[at + 1] = length
    requests[this.#request + 3]! += length
    requests[this.#request + 4]!++
    this.#words = at + 2
  }

  flush(tag: number): void {
    if (this.#flushes.ask(tag)) this.#begin(OP_FLUSH, this.#flushTag, 0, 0)
  }

  discard(tag: number, offset: number, length: number): void {
    this.#begin(OP_DISCARD, tag, offset, length)
  }

  writeZeroes(tag: number, offset: number, length: number, unmap: boolean): void {
    this.#begin(unmap ? OP_WRITE_ZEROES | OP_FLAG : OP_WRITE_ZEROES, tag, offset, length)
  }

  submit(): void {
    const words = this.#words
    if (words === 0 && this.#flushes.refused === 0) return
    this.#words = 0
    this.#take(words === 0 ? 0 : this.#native.submit(words))
  }

  drain(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve()
    this.#native.ref() // a program that only waits for this must not end first
    return this.#drain.wait()
  }

  async close(): Promise<void> {
    if (this.inFlight > 0) {
      const timer = setTimeout(() => this.#abandon(), CLOSE_PATIENCE)
      await this.drain()
      clearTimeout(timer)
    }
    if (this.#closed) return
    this.#closed = true
    this.#native.close()
  }

  /** The engine itself keeps what its requests need, and goes with the last of them. */
  #abandon(): void {
    this.#closed = true
    this.abandoned = true
    abandoned.add(this)
    this.#drained()
  }

  #begin(op: number, tag: number, offset: number, length: number): void {
    if (this.#words >= BATCH_WORDS) this.submit()
    const requests = this.#requests
    const at = this.#words
    requests[at] = op
    requests[at + 1] = tag
    requests[at + 2] = offset
    requests[at + 3] = length
    requests[at + 4] = 0
    this.#request = at
    this.#words = at + HEADER_WORDS
  }

  #drained(): void {
    this.#native.unref()
    this.#drain.done()
  }

  #take(count: number): void {
    if (this.abandoned) {
      if (this.#native.inFlight > 0) return
      this.#native.close()
      abandoned.delete(this)
      return
    }
    const completions = this.#completions
    const attachment = this.#attachment
    let flushed = false
    try {
      for (let i = 0; i < count; i++) {
        const tag = completions[2 * i]!
        const error = completions[2 * i + 1]!
        if (tag !== this.#flushTag) attachment.complete(tag, error)
        else flushed = this.#flushes.settle(error, attachment) || flushed
      }
      this.#flushes.refuse(attachment)
      attachment.completed()
    } catch (error) {
      attachment.failed(asError(error))
    }
    if (flushed) {
      this.#begin(OP_FLUSH, this.#flushTag, 0, 0)
      this.submit()
    }
    if (this.#drain.waiting && this.inFlight === 0) this.#drained()
  }
}
