import { invalidOption } from '../../../errors.js'
import { type FeatureBits, featureBits, hasFeature, VIRTIO_ID_CONSOLE } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { drainQueue, type Virtqueue } from '../queue/virtqueue.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import * as abi from './abi.js'
import { ConsolePort } from './console-port.js'

/** What {@link VirtioConsole} takes. */
export interface VirtioConsoleOptions {
  /** For logs and errors: `'console'` unless told. */
  name?: string
  /**
   * Ports for programs in the guest, besides the console: each is `/dev/virtio-ports/NAME` there. Up to 30 names of
   * 1 to 64 printable ASCII characters. None unless told.
   */
  ports?: readonly string[]
}

/** Bytes of one chain of output that are looked at, and of one chain of input that are filled. */
const CHAIN_MAX = 65536

/** A virtio console (virtio 1.2, section 5.3): the guest's `hvc0`, and named ports for its programs. */
export class VirtioConsole implements VirtioDevice {
  readonly name: string
  readonly inOrder = true
  readonly deviceId = VIRTIO_ID_CONSOLE
  readonly features: FeatureBits
  readonly queueSizes: readonly number[]
  readonly config = new Uint8Array(abi.CONFIG_SIZE)
  /** The console, then the ports in the order given. */
  readonly ports: readonly ConsolePort[]
  /** Bytes of both directions, and bytes from the guest that nobody took. */
  readonly counters = { outputBytes: 0, inputBytes: 0, dropped: 0 }

  readonly #control: Uint8Array[] = []
  #context: DeviceContext | undefined
  #multiport = false

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(options: VirtioConsoleOptions = {}) {
    const names = options.ports ?? []
    names.forEach((name, i) => {
      if (typeof name === 'string' && /^[\x21-\x7e]{1,64}$/.test(name)) return
      throw invalidOption(`ports[${i}]`, name, 'a name of 1 to 64 printable ASCII characters')
    })
    if (names.length > 30) throw invalidOption('ports', names, 'at most 30 names')
    this.name = options.name ?? 'console'
    this.ports = ['console', ...names].map(
      (name, index) =>
        new ConsolePort(name, index === 0, {
          drained: () => this.#context?.schedule(abi.receiveQueueOf(index) + 1),
          written: () => this.#context?.schedule(abi.receiveQueueOf(index)),
        }),
    )
    const multiport = names.length > 0
    this.features = featureBits(
      abi.VIRTIO_CONSOLE_F_SIZE,
      ...(multiport ? [abi.VIRTIO_CONSOLE_F_MULTIPORT] : []),
    )
    this.queueSizes = Array(multiport ? 4 + 2 * names.length : 2).fill(64)
    new DataView(this.config.buffer).setUint32(abi.CONFIG_MAX_NR_PORTS, this.ports.length, true)
  }

  /** Tells the guest the size of the terminal that its console is shown on: columns and rows, 0 to 65535. */
  resize(columns: number, rows: number): void {
    const view = new DataView(this.config.buffer)
    view.setUint16(abi.CONFIG_COLS, columns, true)
    view.setUint16(abi.CONFIG_ROWS, rows, true)
    this.#context?.configChanged()
    if (this.#multiport) this.#send(0, abi.VIRTIO_CONSOLE_RESIZE, 0, this.config.slice(0, 4))
  }

  activate(context: DeviceContext): void {
    this.#context = context
    this.#multiport = hasFeature(context.features, abi.VIRTIO_CONSOLE_F_MULTIPORT)
    this.ports[0]!.guestOpen = true
  }

  notify(queueIndex: number): boolean {
    const queue = this.#context?.queues[queueIndex]
    if (queue === undefined) return false
    if (queueIndex === abi.CONTROL_RECEIVE_QUEUE) return this.#flushControl(queue)
    if (queueIndex === abi.CONTROL_TRANSMIT_QUEUE)
      return this.#drain(queue, (chain) => this.#handleControl(chain))
    const index = abi.portOfQueue(queueIndex)!
    const port = this.ports[index]
    if (port === undefined) return false
    if (queueIndex === abi.receiveQueueOf(index)) return this.#feed(queue, port)
    return drainQueue(queue, {
      admit: () => !port.full,
      handle: (chain) => {
        this.#takeOutput(chain, port)
        queue.push(chain.id, 0)
      },
      submit() {},
    })
  }

  /** No chain outlasts `notify`. */
  resetQueue(): void {}

  reset(): void {
    this.#context = undefined
    this.#multiport = false
    this.#control.length = 0
    for (const port of this.ports) port.guestOpen = false
  }

  async close(): Promise<void> {
    for (const port of this.ports) port.end()
  }

  #drain(queue: Virtqueue, take: (chain: DescriptorChain) => void): boolean {
    return drainQueue(queue, {
      handle(chain) {
        take(chain)
        queue.push(chain.id, 0)
      },
      submit() {},
    })
  }

  #takeOutput(chain: DescriptorChain, port: ConsolePort): void {
    const bytes = new Uint8Array(Math.min(chain.readableLength, CHAIN_MAX))
    if (bytes.length === 0 || !chain.read(0, bytes)) {
      this.counters.dropped++
      return
    }
    port.lost += chain.readableLength - bytes.length
    this.counters.outputBytes += bytes.length
    port.put(bytes)
  }

  /** Fills the driver's buffers as far as there is input for them. */
  #feed(queue: Virtqueue, port: ConsolePort): boolean {
    if (!port.guestOpen) return false
    return drainQueue(queue, {
      admit: () => port.hasInput,
      handle: (chain) => {
        const memory = this.#context!.memory
        const length = Math.min(chain.lengths[chain.readableCount] ?? 0, CHAIN_MAX)
        const address = chain.addresses[chain.readableCount] ?? 0
        // One segment at a time, so that input is taken only when it has a place to go.
        const usable = length > 0 && memory.findRegion(address, length) !== undefined
        const count = usable ? port.take(memory.view(address, length)) : 0
        if (!usable) this.counters.dropped++
        this.counters.inputBytes += count
        queue.push(chain.id, count)
      },
      submit() {},
    })
  }

  #handleControl(chain: DescriptorChain): void {
    const bytes = new Uint8Array(abi.CONTROL_SIZE)
    if (!chain.read(0, bytes)) {
      this.counters.dropped++
      return
    }
    const view = new DataView(bytes.buffer)
    const id = view.getUint32(0, true)
    const event = view.getUint16(4, true)
    const value = view.getUint16(6, true)
    if (event === abi.VIRTIO_CONSOLE_DEVICE_READY) {
      if (value === 1)
        for (const index of this.ports.keys()) this.#send(index, abi.VIRTIO_CONSOLE_PORT_ADD, 1)
      return
    }
    const port = this.ports[id]
    if (port === undefined) this.counters.dropped++
    else if (event === abi.VIRTIO_CONSOLE_PORT_READY && value === 1) this.#introduce(id, port)
    else if (event === abi.VIRTIO_CONSOLE_PORT_OPEN) this.#setGuestOpen(id, port, value === 1)
  }

  #introduce(id: number, port: ConsolePort): void {
    if (port.isConsole) this.#send(id, abi.VIRTIO_CONSOLE_CONSOLE_PORT, 1)
    this.#send(id, abi.VIRTIO_CONSOLE_PORT_NAME, 1, new TextEncoder().encode(port.name))
    this.#send(id, abi.VIRTIO_CONSOLE_PORT_OPEN, 1)
  }

  #setGuestOpen(id: number, port: ConsolePort, open: boolean): void {
    port.guestOpen = open || port.isConsole
    if (open) this.#context?.schedule(abi.receiveQueueOf(id))
  }

  /** Queues a control message. A driver that asks for ever more of them without taking any gets no more. */
  #send(id: number, event: number, value: number, data = new Uint8Array(0)): void {
    if (this.#control.length >= 16 * this.ports.length) return
    const message = new Uint8Array(abi.CONTROL_SIZE + data.length)
    const view = new DataView(message.buffer)
    view.setUint32(0, id, true)
    view.setUint16(4, event, true)
    view.setUint16(6, value, true)
    message.set(data, abi.CONTROL_SIZE)
    this.#control.push(message)
    this.#context?.schedule(abi.CONTROL_RECEIVE_QUEUE)
  }

  #flushControl(queue: Virtqueue): boolean {
    return drainQueue(queue, {
      admit: () => this.#control.length > 0,
      handle: (chain) => {
        const message = this.#control.shift()!
        const written = chain.write(0, message)
        if (!written) this.counters.dropped++
        queue.push(chain.id, written ? message.length : 0)
      },
      submit() {},
    })
  }
}
