import { badRootfs } from './rootfs-error.js'

/** A stream of bytes, taken in the portions that its reader wants. */
export class ByteSource {
  readonly #name: string
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes taken so far. */
  position = 0

  /** @param name for errors */
  constructor(name: string, chunks: AsyncIterable<Uint8Array>) {
    this.#name = name
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** Exactly `length` bytes, or `undefined` if there are none left. */
  async read(length: number): Promise<Buffer | undefined> {
    const pieces: Buffer[] = []
    let missing = length
    while (missing > 0) {
      const piece = await this.#next(missing)
      if (!piece) {
        if (missing === length) return undefined
        throw badRootfs(this.#name, 'the archive is cut off')
      }
      pieces.push(piece)
      missing -= piece.length
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
  }

  /** `length` bytes as they come. */
  async *stream(length: number): AsyncGenerator<Buffer, void, undefined> {
    for (let missing = length; missing > 0; ) {
      const piece = await this.#next(missing)
      if (!piece) throw badRootfs(this.#name, 'the archive is cut off')
      missing -= piece.length
      yield piece
    }
  }

  async close(): Promise<void> {
    await this.#chunks.return?.()
  }

  async #next(most: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#chunks.next()
      if (done) return undefined
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    }
    const piece = this.#rest.subarray(0, most)
    this.#rest = this.#rest.subarray(piece.length)
    this.position += piece.length
    return piece
  }
}
