import type { ShareBackend } from '../../../backends/share/share-backend.js'
import { invalidOption } from '../../../errors.js'
import { VIRTIO_ID_FS } from '../abi.js'
import { DescriptorChain } from '../queue/descriptor-chain.js'
import { GuestAccess } from '../queue/guest-access.js'
import { drainQueue, type Virtqueue } from '../queue/virtqueue.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import { CONFIG_SIZE, TAG_SIZE } from './abi.js'

export interface VirtioFsOptions {
  /** For logs and errors: `'fs'` unless told. */
  name?: string
  /** What the guest mounts it by (`mount -t virtiofs TAG …`): 1 to 36 bytes. */
  tag: string
}

/** Bytes of a message from the guest: a write of a mebibyte and its headers. */
const REQUEST_MAX = 2 ** 20 + 4096
/** Bytes of a header that every answer has. */
const REPLY_MIN = 16
/** Requests that wait for the host's disk at a time. */
const BUSY_MAX = 64

/** A virtio file system device (virtio 1.2, section 5.11): carries FUSE messages to a server of them. */
export class VirtioFs implements VirtioDevice {
  readonly name: string
  readonly tag: string
  readonly deviceId = VIRTIO_ID_FS
  readonly features = 0n
  readonly queueSizes = [128, 512]
  readonly config = new Uint8Array(CONFIG_SIZE)
  /** Requests answered; chains that held none, or had no room for its answer. */
  readonly counters = { requests: 0, dropped: 0 }
  readonly #backend: ShareBackend
  #context: DeviceContext | undefined
  #access: GuestAccess | undefined
  #busy = 0

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(backend: ShareBackend, { name = 'fs', tag }: VirtioFsOptions) {
    const bytes = typeof tag === 'string' ? Buffer.from(tag) : Buffer.alloc(0)
    if (bytes.length < 1 || bytes.length > TAG_SIZE || bytes.includes(0)) {
      throw invalidOption('tag', tag, `a name of 1 to ${TAG_SIZE} bytes without NUL`)
    }
    this.name = name
    this.tag = tag
    this.#backend = backend
    this.config.set(bytes)
    // num_request_queues
    new DataView(this.config.buffer).setUint32(TAG_SIZE, 1, true)
  }

  activate(context: DeviceContext): void {
    this.#context = context
    this.#access = new GuestAccess(context.memory)
  }

  notify(queueIndex: number): boolean {
    const queue = this.#context?.queues[queueIndex]
    if (queue === undefined) return false
    return drainQueue(queue, {
      admit: () => this.#busy < BUSY_MAX,
      handle: (chain) => this.#serve(queue, chain),
      submit() {},
    })
  }

  reset(): void {
    this.#context = undefined
    this.#access = undefined
    this.#busy = 0
    this.#backend.reset()
  }

  async close(): Promise<void> {}

  #serve(queue: Virtqueue, chain: DescriptorChain): void {
    const request = Buffer.allocUnsafe(Math.min(chain.readableLength, REQUEST_MAX))
    const room = chain.writableLength
    const whole = chain.readableLength <= REQUEST_MAX && chain.read(0, request)
    if (!whole || (room > 0 && room < REPLY_MIN)) {
      this.counters.dropped++
      queue.push(chain.id, 0)
      return
    }
    const answer = this.#backend.handle(request, Math.max(room, REPLY_MIN))
    if (answer instanceof Promise) this.#wait(queue, this.#keep(chain), answer)
    else this.#answer(queue, chain, answer)
  }

  #wait(queue: Virtqueue, chain: DescriptorChain, pending: Promise<Buffer>): void {
    const context = this.#context
    this.#busy++
    void pending.then((answer) => {
      if (context !== this.#context) return // it was for who has been reset since
      this.#busy--
      this.#answer(queue, chain, answer)
      queue.publish()
      // It may have stopped taking requests.
      this.#context?.schedule(queue.index)
    })
  }

  #answer(queue: Virtqueue, chain: DescriptorChain, answer: Buffer | undefined): void {
    const bytes = chain.writableLength === 0 ? undefined : answer
    const written = bytes === undefined || chain.write(0, bytes)
    if (written) this.counters.requests++
    else this.counters.dropped++
    queue.push(chain.id, written ? (bytes?.length ?? 0) : 0)
  }

  /** A copy, which outlasts the next chain. */
  #keep(chain: DescriptorChain): DescriptorChain {
    const copy = new DescriptorChain(this.#access!, chain.count)
    copy.clear(chain.id)
    for (let i = 0; i < chain.count; i++) {
      copy.append(chain.addresses[i]!, chain.lengths[i]!, i >= chain.readableCount)
    }
    return copy
  }
}
