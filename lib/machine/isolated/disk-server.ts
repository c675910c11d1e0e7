import { constants } from 'node:os'
import type { BlockBackend, BlockChannel } from '../../backends/block/block-backend.js'
import type { Answer } from '../../isolation/channel.js'
import type { Content } from '../../isolation/frames.js'
import { violation } from '../../isolation/frames.js'
import * as check from '../option-checks.js'
import { BounceMemory } from './bounce-memory.js'
import { DISK_PIECE } from './protocol.js'

/** Requests that the backend has at a time; more wait. */
const TAGS = 32

const checkRequest = check.object({
  disk: check.integer(0),
  offset: check.withDefault(check.integer(0), 0),
  length: check.withDefault(check.integer(0), 0),
  durable: check.withDefault(check.boolean, false),
  unmap: check.withDefault(check.boolean, false),
})
type DiskRequest = ReturnType<typeof checkRequest>

const ERRORS = new Map(Object.entries(constants.errno).map(([name, errno]) => [errno, name]))

/** A disk of the program's, for a machine's process: data goes through memory of this process. */
export class DiskServer {
  readonly #backend: BlockBackend
  readonly #bounce = new BounceMemory(TAGS, DISK_PIECE)
  readonly #channel: BlockChannel
  readonly #free = Array.from({ length: TAGS }, (_, tag) => tag)
  readonly #waiting: ((tag: number) => void)[] = []
  readonly #done: ((error: number) => void)[] = []

  constructor(backend: BlockBackend, resized: () => void) {
    this.#backend = backend
    this.#channel = backend.attach({
      memory: this.#bounce.memory,
      tags: TAGS,
      segments: 1,
      complete: (tag, error) => this.#done[tag]?.(error),
      completed() {},
      resized,
      // No request can tell of it; those that come are told what they meet.
      failed() {},
    })
  }

  /** @throws VmmError `ERR_ISOLATION` for a request that no device would make */
  async request(name: string, { value, bytes }: Content): Promise<Answer> {
    const request = checkRequest(value, 'a request')
    const length = name === 'disk.write' ? bytes.length : request.length
    this.#checkRange(name, request.offset, length)
    const tag = this.#free.pop() ?? (await this.#turn())
    try {
      const error = await this.#perform(tag, name, { ...request, length }, bytes)
      if (error !== 0) throw ioError(error)
      return name === 'disk.read' ? { bytes: this.#bounce.read(tag, length) } : {}
    } finally {
      const next = this.#waiting.shift()
      if (next) next(tag)
      else this.#free.push(tag)
    }
  }

  async close(): Promise<void> {
    await this.#channel.close()
    this.#bounce.close()
  }

  #turn(): Promise<number> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #checkRange(name: string, offset: number, length: number): void {
    const { capacity, readOnly } = this.#backend
    if (offset % 512 !== 0 || length % 512 !== 0 || offset > capacity - length) {
      throw violation('a disk request outside of the disk')
    }
    const moves = name === 'disk.read' || name === 'disk.write'
    if (moves && (length === 0 || length > DISK_PIECE)) throw violation('a disk request too long')
    if (readOnly && name !== 'disk.read' && name !== 'disk.flush')
      throw violation('a write to a disk that is read-only')
  }

  #perform(
    tag: number,
    name: string,
    { offset, length, durable, unmap }: DiskRequest,
    bytes: Uint8Array,
  ): Promise<number> {
    const channel = this.#channel
    switch (name) {
      case 'disk.read':
        channel.read(tag, offset)
        channel.segment(this.#bounce.address(tag), length)
        break
      case 'disk.write':
        this.#bounce.write(tag, bytes)
        channel.write(tag, offset, durable)
        channel.segment(this.#bounce.address(tag), length)
        break
      case 'disk.flush':
        channel.flush(tag)
        break
      case 'disk.discard':
        channel.discard(tag, offset, length)
        break
      case 'disk.writeZeroes':
        channel.writeZeroes(tag, offset, length, unmap)
        break
      default:
        throw violation(`a request called ${name}`)
    }
    return new Promise((resolve) => {
      this.#done[tag] = resolve
      channel.submit()
    })
  }
}

function ioError(errno: number): Error {
  const code = ERRORS.get(errno) ?? 'EIO'
  return Object.assign(new Error(`${code}: a disk request failed`), { code, errno })
}
