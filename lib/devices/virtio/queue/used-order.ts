const IN_FLIGHT = -1

/** How chains go back to the driver: each is freed, and the last of a batch gets a used entry that counts for all. */
export interface BatchSink {
  /** @returns the places in the ring by which the used entry of the batch moves on for this chain */
  free(id: number): number
  /** @param places of all chains of the batch */
  use(id: number, written: number, places: number): void
}

/**
 * The chains of a queue with VIRTIO_F_IN_ORDER, in the order in which they were made available: what is done early is
 * held back until all before it is done (virtio 1.2, 2.7.9 and 2.8.9).
 */
export class UsedOrder {
  readonly #ids: Uint16Array
  #first = 0
  #count = 0
  /** By chain: bytes of its device-writable part, and how many of them were written once it is done. */
  readonly #writable: Float64Array
  readonly #written: Float64Array

  /** @param size of the queue: at most so many chains are in flight, with ids below it */
  constructor(size: number) {
    this.#ids = new Uint16Array(size)
    this.#writable = new Float64Array(size)
    this.#written = new Float64Array(size).fill(IN_FLIGHT)
  }

  /** The driver has made chain `id` available, after all others. */
  taken(id: number, writableLength: number): void {
    this.#ids[(this.#first + this.#count++) % this.#ids.length] = id
    this.#writable[id] = writableLength
    this.#written[id] = IN_FLIGHT
  }

  /** Undoes the last `taken`. */
  untaken(): void {
    this.#count--
  }

  /** @returns `false` if chain `id` was done already */
  done(id: number, written: number): boolean {
    if (this.#written[id] !== IN_FLIGHT) return false
    this.#written[id] = written
    return true
  }

  /**
   * Gives back what may be, in as few entries as there can be: a driver takes it that the chains which an entry skips
   * were filled to their ends.
   */
  release(sink: BatchSink): void {
    let places = 0
    while (this.#count > 0) {
      const id = this.#ids[this.#first]!
      const written = this.#written[id]!
      if (written === IN_FLIGHT) return
      this.#first = (this.#first + 1) % this.#ids.length
      this.#count--
      places += sink.free(id)
      if (written === this.#writable[id] && this.#nextIsDone()) continue
      sink.use(id, written, places)
      places = 0
    }
  }

  #nextIsDone(): boolean {
    return this.#count > 0 && this.#written[this.#ids[this.#first]!] !== IN_FLIGHT
  }
}
