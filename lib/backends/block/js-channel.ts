import { constants } from 'node:os'
import { asError, VmmError } from '../../errors.js'
import type { GuestMemory } from '../../memory/guest-memory.js'
import { holdMemory } from '../native-memory.js'
import type { BlockAttachment, BlockChannel } from './block-backend.js'
import { CLOSE_PATIENCE, DrainWait } from './drain-wait.js'
import { FlushGate, type FlushState } from './flush-gate.js'

/**
 * A disk as asynchronous functions: what a {@link JsChannel} calls. `buffers` are views of guest memory, used in place;
 * they must not be touched after the promise has settled. A rejection is an I/O error to the guest.
 */
export interface BlockFunctions {
  /**
   * Fills all of `buffers` from byte `offset` on, or gives a function that does so at once: one that is not called if
   * nobody waits for the data any more.
   */
  read(offset: number, buffers: readonly Uint8Array[]): Promise<(() => void) | undefined>
  write(offset: number, buffers: readonly Uint8Array[], durable: boolean): Promise<void>
  flush(): Promise<void>
  /** Absent: discarding does nothing, which the guest is told to expect. */
  discard?(offset: number, length: number): Promise<void>
  /** Absent: zeroes are written. */
  writeZeroes?(offset: number, length: number, unmap: boolean): Promise<void>
}

interface Pending {
  readonly tag: number
  readonly buffers: Uint8Array[]
  error: number
  run: (buffers: readonly Uint8Array[]) => Promise<unknown>
}

/** Requests by functions in TypeScript, over any guest memory. */
export class JsChannel implements BlockChannel {
  readonly engine: string
  inFlight = 0
  readonly #attachment: BlockAttachment
  readonly #memory: GuestMemory
  readonly #disk: BlockFunctions
  readonly #flushes: FlushGate
  #batch: Pending[] = []
  #done: { tag: number; error: number }[] = []
  #reporting = false
  readonly #drain = new DrainWait()
  readonly #giveUp: (() => void) | undefined
  abandoned = false
  #timer: NodeJS.Timeout | undefined
  #release: (() => void) | undefined
  /** Calls in progress. */
  #running = 0
  /** What each does when it ends, unless it was given up. */
  readonly #calls = new Set<(error: number) => void>()

  /**
   * @param giveUp for functions that keep no view of guest memory, which a reset need not wait for either: called when
   *   nobody waits any more for what they do
   */
  constructor(
    engine: string,
    disk: BlockFunctions,
    attachment: BlockAttachment,
    flushState: FlushState,
    giveUp?: () => void,
  ) {
    this.#giveUp = giveUp
    this.engine = engine
    this.#disk = disk
    this.#attachment = attachment
    this.#memory = attachment.memory
    this.#flushes = new FlushGate(flushState)
  }

  read(tag: number, offset: number): void {
    this.#begin(tag, (buffers) => this.#disk.read(offset, buffers))
  }

  write(tag: number, offset: number, durable: boolean): void {
    this.#begin(tag, (buffers) => this.#disk.write(offset, buffers, durable))
  }

  segment(address: number, length: number): void {
    const request = this.#batch.at(-1)
    if (request === undefined) throw new VmmError('ERR_STATE', 'a segment belongs to a request')
    if (this.#memory.findRegion(address, length))
      request.buffers.push(this.#memory.view(address, length))
    else request.error = constants.errno.EFAULT
  }

  flush(tag: number): void {
    this.inFlight++
    if (this.#flushes.ask(tag)) this.#startFlush()
    else if (this.#flushes.refused > 0) this.#reportSoon()
  }

  discard(tag: number, offset: number, length: number): void {
    this.#begin(tag, async () => this.#disk.discard?.(offset, length))
  }

  writeZeroes(tag: number, offset: number, length: number, unmap: boolean): void {
    const disk = this.#disk
    this.#begin(tag, () => disk.writeZeroes?.(offset, length, unmap) ?? zero(disk, offset, length))
  }

  submit(): void {
    const batch = this.#batch
    this.#batch = []
    for (const { tag, buffers, error, run } of batch) {
      if (error !== 0) this.#finish(tag, error)
      else this.#settle(run, (result) => this.#finish(tag, result), buffers)
    }
  }

  drain(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve()
    if (this.#giveUp) this.#limitDrain()
    return this.#drain.wait()
  }

  close(): Promise<void> {
    if (this.inFlight > 0) this.#limitDrain()
    return this.drain()
  }

  #limitDrain(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#giveUp?.()
      this.#abandon()
    }, CLOSE_PATIENCE)
  }

  #abandon(): void {
    if (!this.#giveUp && this.#running > 0) {
      this.abandoned = true
      this.#release = holdMemory(this.#memory)
    }
    for (const end of [...this.#calls]) end(constants.errno.ETIMEDOUT)
  }

  #begin(tag: number, run: Pending['run']): void {
    this.inFlight++
    this.#batch.push({ tag, buffers: [], error: 0, run })
  }

  #startFlush(): void {
    this.#settle(
      () => this.#disk.flush(),
      (error) => {
        const another = this.#flushes.settle(error, {
          complete: (tag, result) => this.#finish(tag, result),
        })
        if (another) this.#startFlush()
        this.#reportSoon()
      },
    )
  }

  /** A function that throws, or gives no promise, is as good as one that rejects. */
  #settle(
    action: Pending['run'] | (() => Promise<void>),
    done: (error: number) => void,
    buffers: readonly Uint8Array[] = [],
  ): void {
    const end = (error: number) => {
      if (this.#calls.delete(end)) done(error)
    }
    this.#calls.add(end)
    this.#running++
    const returned = (error: number) => {
      if (--this.#running === 0) this.#release?.()
      end(error)
    }
    Promise.resolve()
      .then(() => action(buffers))
      .then((copy) => {
        if (typeof copy === 'function' && this.#calls.has(end)) copy()
      })
      .then(
        () => returned(0),
        (error: unknown) => returned(errnoOf(error)),
      )
  }

  #finish(tag: number, error: number): void {
    this.#done.push({ tag, error })
    this.#reportSoon()
  }

  /** Everything that finishes in one turn is one batch. */
  #reportSoon(): void {
    if (this.#reporting) return
    this.#reporting = true
    setImmediate(() => this.#report())
  }

  #report(): void {
    this.#reporting = false
    this.#flushes.refuse({ complete: (tag, error) => this.#done.push({ tag, error }) })
    const done = this.#done
    this.#done = []
    this.inFlight -= done.length
    try {
      for (const { tag, error } of done) this.#attachment.complete(tag, error)
      this.#attachment.completed()
    } catch (error) {
      this.#attachment.failed(asError(error))
    }
    if (this.inFlight > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#drain.done()
  }
}

/** Zeroes by writing them, for a disk that knows no better way. */
async function zero(disk: BlockFunctions, offset: number, length: number): Promise<void> {
  for (let at = 0; at < length; at += ZEROES.length) {
    await disk.write(offset + at, [ZEROES.subarray(0, Math.min(ZEROES.length, length - at))], false)
  }
}

const ZEROES = new Uint8Array(256 * 1024)

function errnoOf(error: unknown): number {
  const errno =
    typeof error === 'object' && error !== null && 'errno' in error ? error.errno : undefined
  return typeof errno === 'number' && errno !== 0 ? Math.abs(errno) : constants.errno.EIO
}
