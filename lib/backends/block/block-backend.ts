import type { GuestMemory } from '../../memory/guest-memory.js'

/**
 * Where a disk's sectors are kept. Knows nothing of the device in front of it: requests name guest-physical memory,
 * so data goes between disk and guest with no copy in between.
 *
 * A backend is opened by the machine that is given it, serves one device, and is closed with the machine.
 */
export interface BlockBackend {
  /** For errors and logs: a path or the like. */
  readonly name: string
  /** Takes what the backend needs. @throws VmmError `ERR_DISK` naming the option, the value and what was expected */
  open(): Promise<void>
  /** Bytes, a multiple of 512. Known once open; it may change while in use (see {@link BlockAttachment.resized}). */
  readonly capacity: number
  /** Whether writes are refused; the guest is told. */
  readonly readOnly: boolean
  /** What the guest reads as the disk's serial: at most 20 bytes of ASCII. */
  readonly id: string
  /** Known once open; 512 bytes each unless told. */
  readonly geometry?: BlockGeometry
  /** Whether ranges that the guest frees can be given back. `false` unless told. */
  readonly discards?: boolean
  /** Whether zeroes can be written without data. `false` unless told. */
  readonly writesZeroes?: boolean
  /** Starts to serve one device. @throws VmmError `ERR_STATE` if the backend is not open or serves another one */
  attach(attachment: BlockAttachment): BlockChannel
  /** Ends everything: after the last request has come back. May be called again. */
  close(): Promise<void>
}

/** Bytes, powers of two from 512: what the backend reads and writes best. */
export interface BlockGeometry {
  /** The least that can be read or written. */
  readonly logicalBlockSize: number
  /** What is written without reading something first. */
  readonly physicalBlockSize: number
}

/** The device's end of a channel. */
export interface BlockAttachment {
  /** The guest's. */
  readonly memory: GuestMemory
  /** Requests are told apart by tags from 0 to one less than this; at most one of each is in flight. */
  readonly tags: number
  /** The most segments that one request has. */
  readonly segments: number
  /** A request is done: `error` is 0 or a positive errno. Called from within `submit` or from the event loop. */
  complete(tag: number, error: number): void
  /** After the last `complete` of a batch. */
  completed(): void
  /** The backend's capacity has changed. */
  resized(): void
  /** The backend itself failed, in a way that no request can report. */
  failed(error: Error): void
}

/**
 * A stream of requests. `read`, `write` and the others put one into the batch, with the segments of guest memory that
 * follow; `submit` starts the batch. Ranges were checked against the capacity; guest memory is checked here: a segment
 * outside it ends that request with EFAULT.
 */
export interface BlockChannel {
  /** What does the work, for people: `'io_uring'`, `'threads'`, `'js'`. */
  readonly engine: string
  /** Requests that have been submitted and are not complete. */
  readonly inFlight: number
  /** Byte `offset` of the disk and on, into the segments that follow. */
  read(tag: number, offset: number): void
  /** The segments that follow, to byte `offset` of the disk and on. `durable`: done when it would survive a power cut. */
  write(tag: number, offset: number, durable: boolean): void
  /** The next piece of guest memory of the request begun last: a guest-physical address, and bytes. */
  segment(address: number, length: number): void
  /**
   * Makes every write that has completed survive a power cut. Once a flush has failed, so do all later ones:
   * the kernel may have dropped the data, and would not say so again.
   */
  flush(tag: number): void
  /** Gives `length` bytes from byte `offset` on up: they read as anything until written. */
  discard(tag: number, offset: number, length: number): void
  /** Zeroes `length` bytes from byte `offset` on; `unmap`: giving their space back is welcome. */
  writeZeroes(tag: number, offset: number, length: number, unmap: boolean): void
  /** Starts what has been put into the batch. */
  submit(): void
  /** Resolves when nothing is in flight; nothing may be submitted meanwhile. */
  drain(): Promise<void>
  /**
   * Drains, and lets go of the guest's memory. Within 5 seconds: requests that have not come back by then are given up,
   * which {@link BlockChannel.abandoned} tells, and the memory that they name stays mapped until they have.
   */
  close(): Promise<void>
  /** Whether `close` has given requests up that something still works on. Absent: it never does. */
  readonly abandoned?: boolean
}
