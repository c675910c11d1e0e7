import type { DescriptorChain } from '../queue/descriptor-chain.js'

/** Bytes on their way to the guest, from writes of the program that are not done. */
export class Outbound {
  /** Bytes left. */
  length = 0
  #chunks: Uint8Array[] = []
  #first = 0
  /** Bytes of the first that have gone. */
  #gone = 0

  /** More, behind what there is. */
  add(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    // Not as a Buffer, whose subarrays cost more.
    this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
    this.length += chunk.length
  }

  /**
   * Takes `count` bytes off, of at most `length`, and copies them to `offset` of the writable part of a chain.
   * @returns `false` if that lies outside guest memory
   */
  moveTo(chain: DescriptorChain, offset: number, count: number): boolean {
    let written = true
    for (let done = 0; done < count; ) {
      const chunk = this.#chunks[this.#first]!
      const run = Math.min(chunk.length - this.#gone, count - done)
      const end = this.#gone + run
      written &&= chain.write(offset + done, chunk, this.#gone, end)
      done += run
      this.#gone = end
      if (end < chunk.length) continue
      this.#gone = 0
      this.#first++
    }
    this.length -= count
    if (this.length === 0) this.clear()
    return written
  }

  clear(): void {
    this.length = 0
    this.#chunks = []
    this.#first = 0
    this.#gone = 0
  }
}
