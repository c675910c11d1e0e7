import { invalidOption } from '../../../errors.js'
import { type FeatureBits, featureBits, VIRTIO_ID_MEM } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { drainQueue, type Virtqueue } from '../queue/virtqueue.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import * as abi from './abi.js'
import { BlockMap } from './block-map.js'

/** The memory behind a {@link VirtioMem}: its host's side. Offsets and sizes are bytes, multiples of the block size. */
export interface MemoryBlocks {
  /** Gives the guest this memory. What it throws, the guest sees as VIRTIO_MEM_RESP_BUSY. */
  plug(offset: number, size: number): void
  /** Takes this memory from the guest and gives it back to the host; it reads as zeroes when it is plugged again. */
  unplug(offset: number, size: number): Promise<void>
}

/** What {@link VirtioMem} takes. */
export interface VirtioMemOptions {
  /** For logs and errors: `'mem'` unless told. */
  name?: string
  /** Guest-physical address of the region: a multiple of the block size. */
  address: number
  /** Bytes of the region: a multiple of the block size. */
  regionSize: number
  /** Bytes that come and go together: a power of two of at least 4096. */
  blockSize: number
  /** The ACPI proximity domain of the region, if the guest is told of such. */
  node?: number | undefined
  /** Bytes that the guest is asked to have plugged at first: a multiple of the block size. 0 unless told. */
  requestedSize?: number
}

/** Requests handled in one turn of the event loop: each may be of 65,535 blocks. */
const TURN_REQUESTS = 16

/**
 * A virtio memory device (virtio 1.2, section 5.15): memory that the guest plugs and unplugs, block by block, as the
 * host asks for. What is plugged outlasts a reset by the driver (5.15.6.2), and not one of the machine
 * ({@link VirtioMem.systemReset}).
 */
export class VirtioMem implements VirtioDevice {
  readonly name: string
  readonly deviceId = VIRTIO_ID_MEM
  readonly features: FeatureBits
  readonly queueSizes = [128]
  readonly config = new Uint8Array(abi.CONFIG_SIZE)
  readonly address: number
  readonly regionSize: number
  readonly blockSize: number
  /** Requests by answer, and chains that are no request. */
  readonly counters = { acknowledged: 0, refused: 0, busy: 0, errors: 0, dropped: 0 }
  /** Told when {@link plugged} has changed. */
  onPlugged: () => void = () => {}

  readonly #memory: MemoryBlocks
  readonly #blocks: BlockMap
  readonly #config = new DataView(this.config.buffer)
  readonly #initialSize: number
  readonly #request = new Uint8Array(abi.REQUEST_SIZE)
  #context: DeviceContext | undefined
  /** Memory on its way back to the host; no request is taken up meanwhile. */
  #unplugging: Promise<void> | undefined
  #turnRequests = 0

  constructor(memory: MemoryBlocks, options: VirtioMemOptions) {
    const { address, regionSize, blockSize, node, requestedSize = 0 } = options
    this.name = options.name ?? 'mem'
    this.address = address
    this.regionSize = regionSize
    this.blockSize = blockSize
    this.#memory = memory
    this.#blocks = new BlockMap(regionSize / blockSize)
    this.#initialSize = requestedSize
    this.features = featureBits(
      abi.VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE,
      ...(node === undefined ? [] : [abi.VIRTIO_MEM_F_ACPI_PXM]),
    )
    this.#config.setUint16(abi.CONFIG_NODE_ID, node ?? 0, true)
    this.#set(abi.CONFIG_BLOCK_SIZE, blockSize)
    this.#set(abi.CONFIG_ADDR, address)
    this.#set(abi.CONFIG_REGION_SIZE, regionSize)
    this.#set(abi.CONFIG_USABLE_REGION_SIZE, regionSize)
    this.requested = requestedSize
  }

  /** Bytes that the guest has plugged. */
  get plugged(): number {
    return Number(this.#config.getBigUint64(abi.CONFIG_PLUGGED_SIZE, true))
  }

  /** Bytes that the guest is asked to have plugged. */
  get requested(): number {
    return Number(this.#config.getBigUint64(abi.CONFIG_REQUESTED_SIZE, true))
  }

  /**
   * Asks the guest to plug or unplug until it has `bytes`: a multiple of the block size, at most the region's size.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  set requested(bytes: number) {
    const { blockSize, regionSize } = this
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > regionSize || bytes % blockSize !== 0) {
      const expected = `a multiple of ${blockSize} bytes up to ${regionSize}`
      throw invalidOption('size', bytes, expected)
    }
    this.#set(abi.CONFIG_REQUESTED_SIZE, bytes)
    this.#context?.configChanged()
  }

  activate(context: DeviceContext): void {
    this.#context = context
  }

  notify(queueIndex: number): boolean {
    const queue = this.#context?.queues[queueIndex]
    if (queue === undefined || this.#unplugging) return false
    this.#turnRequests = 0
    const spent = drainQueue(queue, {
      admit: () => this.#unplugging === undefined && this.#turnRequests < TURN_REQUESTS,
      handle: (chain) => this.#handle(queue, chain),
      submit() {},
    })
    // What ends the unplugging has the queue looked at again.
    return this.#unplugging === undefined && (spent || this.#turnRequests >= TURN_REQUESTS)
  }

  /** By the driver: what is plugged stays so. */
  reset(): void {
    this.#context = undefined
  }

  /** The machine is reset: nothing is plugged, and as much asked for as at first. Resolves when the host has it all back. */
  async systemReset(): Promise<void> {
    await this.#unplugging
    await this.#unplugRuns(this.#blocks.runs())
    this.#set(abi.CONFIG_REQUESTED_SIZE, this.#initialSize)
  }

  async close(): Promise<void> {
    await this.#unplugging
  }

  #handle(queue: Virtqueue, chain: DescriptorChain): void {
    this.#turnRequests++
    const request = this.#request
    if (chain.writableLength < abi.RESPONSE_SIZE || !chain.read(0, request)) {
      this.counters.dropped++
      queue.push(chain.id, 0)
      return
    }
    const view = new DataView(request.buffer)
    const type = view.getUint16(0, true)
    if (type === abi.VIRTIO_MEM_REQ_UNPLUG_ALL) {
      this.#unplug(queue, chain, this.#blocks.runs())
      return
    }
    const first = this.#blockAt(view.getBigUint64(abi.REQUEST_ADDR, true))
    const count = view.getUint16(abi.REQUEST_NB_BLOCKS, true)
    if (first === undefined || count === 0 || count > this.#blocks.length - first) {
      this.#respond(queue, chain, abi.VIRTIO_MEM_RESP_ERROR)
      return
    }
    const state = this.#blocks.state(first, count)
    if (type === abi.VIRTIO_MEM_REQ_STATE) {
      const states = {
        all: abi.VIRTIO_MEM_STATE_PLUGGED,
        none: abi.VIRTIO_MEM_STATE_UNPLUGGED,
        some: abi.VIRTIO_MEM_STATE_MIXED,
      }
      this.#respond(queue, chain, abi.VIRTIO_MEM_RESP_ACK, states[state])
    } else if (type === abi.VIRTIO_MEM_REQ_PLUG && state === 'none') {
      this.#respond(queue, chain, this.#plug(first, count))
    } else if (type === abi.VIRTIO_MEM_REQ_UNPLUG && state === 'all') {
      this.#unplug(queue, chain, [{ first, count }])
    } else {
      this.#respond(queue, chain, abi.VIRTIO_MEM_RESP_ERROR)
    }
  }

  #blockAt(guestAddress: bigint): number | undefined {
    const offset = guestAddress - BigInt(this.address)
    if (offset < 0n || offset >= BigInt(this.regionSize)) return undefined
    const block = Number(offset) / this.blockSize
    return Number.isInteger(block) ? block : undefined
  }

  #plug(first: number, count: number): number {
    const { blockSize } = this
    const size = count * blockSize
    // 5.15.6.2.1: not more than is asked for.
    if (size > this.requested - this.plugged) return abi.VIRTIO_MEM_RESP_NACK
    try {
      this.#memory.plug(first * blockSize, size)
    } catch {
      return abi.VIRTIO_MEM_RESP_BUSY
    }
    this.#mark(first, count, true)
    return abi.VIRTIO_MEM_RESP_ACK
  }

  #unplug(queue: Virtqueue, chain: DescriptorChain, runs: readonly Run[]): void {
    const context = this.#context
    // The chain stays as it is until it is answered: no other is taken.
    void this.#unplugRuns(runs).then(
      () => {
        if (context === undefined || context !== this.#context) return
        this.#respond(queue, chain, abi.VIRTIO_MEM_RESP_ACK)
        queue.publish()
        context.schedule(queue.index)
      },
      (error: Error) => context?.fail(error),
    )
  }

  async #unplugRuns(runs: readonly Run[]): Promise<void> {
    const { blockSize } = this
    const work = async () => {
      for (const { first, count } of runs) {
        this.#mark(first, count, false)
        await this.#memory.unplug(first * blockSize, count * blockSize)
      }
    }
    const done = work().finally(() => {
      this.#unplugging = undefined
    })
    this.#unplugging = done.catch(() => {})
    await done
  }

  #mark(first: number, count: number, plugged: boolean): void {
    this.#blocks.set(first, count, plugged)
    const size = count * this.blockSize
    this.#set(abi.CONFIG_PLUGGED_SIZE, this.plugged + (plugged ? size : -size))
    this.onPlugged()
  }

  #respond(queue: Virtqueue, chain: DescriptorChain, type: number, state = 0): void {
    const response = new Uint8Array(abi.RESPONSE_SIZE)
    response[0] = type
    response[abi.RESPONSE_STATE] = state
    const outcome = (['acknowledged', 'refused', 'busy', 'errors'] as const)[type]!
    this.counters[outcome]++
    queue.push(chain.id, chain.write(0, response) ? response.length : 0)
  }

  #set(offset: number, value: number): void {
    this.#config.setBigUint64(offset, BigInt(value), true)
  }
}

interface Run {
  readonly first: number
  readonly count: number
}
