import { createWriteStream, openSync, statSync } from 'node:fs'
import { finished, Writable } from 'node:stream'
import { asError, invalidOption, VmmError } from '../../errors.js'
import type { Capture, CaptureOptions, CaptureTarget } from './net-backend.js'

/** Nanoseconds, in the byte order of the writer, which is that of x86. */
const PCAP_MAGIC = 0xa1b23c4d
const LINKTYPE_ETHERNET = 1
const RECORD_HEADER = 16
/** The most that tcpdump and Wireshark take. */
const SNAP_LENGTH_MAX = 262144

const START = process.hrtime.bigint()
const START_WALL = BigInt(Date.now()) * 1_000_000n

/** One capture: records of a classic pcap file, bounded while they wait for the target. */
export class PcapCapture implements Capture {
  frames = 0
  dropped = 0
  error: Error | undefined
  readonly snapLength: number
  readonly bufferSize: number
  readonly #stream: Writable
  readonly #owned: boolean
  readonly #onStop: () => void
  #stopped: Promise<void> | undefined
  readonly #fail = (error: Error) => {
    this.error ??= error
    void this.stop().catch(() => {})
  }

  constructor(target: CaptureTarget, options: CaptureOptions, onStop: () => void) {
    const { snapLength = SNAP_LENGTH_MAX, bufferSize = 4 * 2 ** 20 } = options
    this.snapLength = whole('snapLength', snapLength, 1, SNAP_LENGTH_MAX)
    this.bufferSize = whole('bufferSize', bufferSize, 2 ** 16, 2 ** 30)
    this.#owned = typeof target === 'string'
    this.#stream = openTarget(target)
    this.#onStop = onStop
    this.#stream.on('error', this.#fail)
    if (!this.#owned) this.#stream.on('close', this.#closed)
    const header = new DataView(new ArrayBuffer(24))
    header.setUint32(0, PCAP_MAGIC, true)
    header.setUint16(4, 2, true)
    header.setUint16(6, 4, true)
    header.setUint32(16, this.snapLength, true)
    header.setUint32(20, LINKTYPE_ETHERNET, true)
    this.#stream.write(new Uint8Array(header.buffer))
  }

  /** Takes one frame. */
  frame(frame: Uint8Array): void {
    const length = Math.min(frame.length, this.snapLength)
    if (!this.#fits(RECORD_HEADER + length)) {
      this.dropped++
      return
    }
    const record = new Uint8Array(RECORD_HEADER + length)
    const view = new DataView(record.buffer)
    const now = START_WALL + process.hrtime.bigint() - START
    view.setUint32(0, Number(now / 1_000_000_000n), true)
    view.setUint32(4, Number(now % 1_000_000_000n), true)
    view.setUint32(8, length, true)
    view.setUint32(12, frame.length, true)
    record.set(frame.subarray(0, length), RECORD_HEADER)
    this.frames++
    this.#stream.write(record)
  }

  /** Takes records that are made already. */
  records(bytes: Uint8Array): void {
    let count = 0
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at < bytes.length; at += RECORD_HEADER + view.getUint32(at + 8, true)) count++
    if (!this.#fits(bytes.length)) {
      this.dropped += count
      return
    }
    this.frames += count
    this.#stream.write(bytes)
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#end()
    return this.#stopped
  }

  readonly #closed = () => {
    this.#fail(new VmmError('ERR_NET', 'capture: the stream was closed'))
  }

  #fits(bytes: number): boolean {
    return !this.#stopped && bytes <= this.bufferSize - this.#stream.writableLength
  }

  async #end(): Promise<void> {
    this.#onStop()
    const stream = this.#stream
    if (this.#owned) {
      if (!this.error) stream.end()
      await new Promise<void>((resolve) => finished(stream, () => resolve()))
    } else {
      stream.off('close', this.#closed)
      if (!this.error) await new Promise<void>((resolve) => stream.write('', () => resolve()))
      stream.off('error', this.#fail)
    }
    if (this.error) {
      throw new VmmError('ERR_NET', `capture: ${this.error.message}`, { cause: this.error })
    }
  }
}

/** Where a backend's frames pass by on their way: holds the capture, while there is one. */
export class CapturePoint {
  #capture: PcapCapture | undefined

  get active(): PcapCapture | undefined {
    return this.#capture
  }

  start(name: string, target: CaptureTarget, options: CaptureOptions = {}, onStop = () => {}) {
    if (this.#capture) throw new VmmError('ERR_STATE', `${name} is being captured already`)
    const capture = new PcapCapture(target, options, () => {
      onStop()
      this.#capture = undefined
    })
    this.#capture = capture
    return capture
  }

  /** With the backend: an error of the target is the capture's to tell. */
  async close(): Promise<void> {
    await this.#capture?.stop().catch(() => {})
  }
}

function openTarget(target: CaptureTarget): Writable {
  if (target instanceof Writable || isWritable(target)) {
    if (!target.writable) throw invalidOption('target', target, 'a stream that is open')
    return target
  }
  if (typeof target !== 'string' || target === '' || target.includes('\0'))
    throw invalidOption('target', target, 'the path of a file, or a writable stream')
  try {
    // Opening a FIFO waits for its reader: not on this thread.
    if (statSync(target, { throwIfNoEntry: false })?.isFIFO()) return createWriteStream(target)
    return createWriteStream('', { fd: openSync(target, 'w', 0o600) })
  } catch (cause) {
    const expected = 'the path of a file that can be written'
    const reason = asError(cause).message
    throw new VmmError('ERR_NET', `capture: ${reason}: expected ${expected}`, {
      option: 'target',
      value: target,
      expected,
      cause,
    })
  }
}

function isWritable(target: unknown): target is Writable {
  return typeof target === 'object' && target !== null && 'writableLength' in target
}

function whole(option: string, value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most)
    return value
  throw invalidOption(option, value, `a whole number from ${least} to ${most}`)
}
