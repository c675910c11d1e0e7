/** Bytes that a packet has at least that is kept as it is: below, Node takes its Buffer out of one that it shares. */
const CHUNK_SIZE = 4096

/**
 * Bytes from the guest for which the reader is not there yet. Small packets are joined: at least every second chunk is
 * full, so that no more than twice the bytes are kept however small the guest's packets are.
 */
export class Inbound {
  /** Bytes held. */
  length = 0
  #chunks: Buffer[] = []
  /** The last of the chunks if it has room, and the bytes of it that are used. */
  #tail: Buffer | undefined
  #used = 0

  /** More, behind what there is. A large packet is kept without a copy. */
  add(data: Buffer): void {
    this.length += data.length
    if (data.length >= CHUNK_SIZE) {
      this.#closeTail()
      this.#chunks.push(data)
      return
    }
    for (let done = 0; done < data.length; ) {
      this.#tail ??= Buffer.allocUnsafeSlow(CHUNK_SIZE)
      const run = data.copy(this.#tail, this.#used, done)
      done += run
      this.#used += run
      if (this.#used === CHUNK_SIZE) this.#closeTail()
    }
  }

  /** Takes all off: chunks, in order. */
  takeAll(): Buffer[] {
    this.#closeTail()
    const chunks = this.#chunks
    this.#chunks = []
    this.length = 0
    return chunks
  }

  #closeTail(): void {
    if (this.#tail === undefined) return
    this.#chunks.push(this.#tail.subarray(0, this.#used))
    this.#tail = undefined
    this.#used = 0
  }
}
