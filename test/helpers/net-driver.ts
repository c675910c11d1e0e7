import type { NetBackend } from '../../lib/backends/net/net-backend.js'
import { VirtioNet, type VirtioNetOptions } from '../../lib/devices/virtio/net/virtio-net.js'
import { VirtioMmioTransport } from '../../lib/devices/virtio/transport/virtio-mmio.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { CountingIrq, type DriverQueue, MmioDriver, until } from './virtio-driver.js'

const HEADER = 12

/** A guest's network driver and the device that it drives. Receive buffers lie at 0x80000 and on. */
export class NetRig {
  readonly device: VirtioNet
  readonly transport: VirtioMmioTransport
  readonly driver: MmioDriver
  readonly irq = new CountingIrq()
  readonly reasons: string[] = []
  readonly errors: Error[] = []
  readonly #buffers = new Map<number, { address: number; length: number }>()
  readonly #frames: { header: Uint8Array; frame: Uint8Array }[] = []

  constructor(
    readonly backend: NetBackend,
    readonly memory: GuestMemory,
    options: VirtioNetOptions = {},
  ) {
    this.device = new VirtioNet(backend, options)
    this.transport = new VirtioMmioTransport(this.device, {
      memory,
      irq: this.irq,
      onNeedsReset: (reason) => this.reasons.push(reason),
      onError: (error) => this.errors.push(error),
    })
    this.driver = new MmioDriver(this.transport, memory)
  }

  get rx(): DriverQueue {
    return this.driver.queues[0]!
  }

  get tx(): DriverQueue {
    return this.driver.queues[1]!
  }

  /** Offers a receive buffer of `length` bytes at `address`. */
  buffer(address: number, length: number): void {
    const id = this.rx.add([{ address, length, writable: true }])
    this.#buffers.set(id, { address, length })
  }

  buffers(count: number, length = 1526, base = 0x80000): void {
    for (let i = 0; i < count; i++) this.buffer(base + i * 2048, length)
    this.driver.kick(0)
  }

  /** Sends one frame behind a header of zeroes, or the one given. */
  send(frame: Uint8Array, header = new Uint8Array(HEADER), address = 0x60000): void {
    this.memory.write(address, header)
    this.memory.write(address + HEADER, frame)
    this.tx.add([{ address, length: HEADER + frame.length }])
    this.driver.kick(1)
  }

  /** The buffers filled since the last call. */
  received(): { header: Uint8Array; bytes: Uint8Array; length: number }[] {
    return this.rx.used().map(({ id, length }) => {
      const buffer = this.#buffers.get(id)!
      const all = this.memory.read(buffer.address, length)
      return { header: all.slice(0, HEADER), bytes: all.slice(HEADER), length }
    })
  }

  /** The next frame for which `wanted` holds; others are dropped. Each frame's buffer is offered again at once. */
  async receive(
    wanted: (frame: Uint8Array) => boolean,
  ): Promise<{ header: Uint8Array; frame: Uint8Array }> {
    for (;;) {
      for (let next = this.#frames.shift(); next; next = this.#frames.shift())
        if (wanted(next.frame)) return next
      await until(() => this.rx.deviceUsedIdx !== this.rx.usedIdx, 'a frame')
      const used = this.rx
        .used()
        .map(({ id, length }) => ({ length, buffer: this.#buffers.get(id)! }))
      for (const { length, buffer } of used) {
        const all = this.memory.read(buffer.address, length)
        this.#frames.push({ header: all.slice(0, HEADER), frame: all.slice(HEADER) })
        this.buffer(buffer.address, buffer.length)
      }
      this.driver.kick(0)
    }
  }

  async close(): Promise<void> {
    await this.transport.close()
    await this.backend.close()
    this.memory.close()
  }
}

/** An ARP request: who has `target`? tell `sender`. */
export function arpRequest(mac: string, sender: string, target: string): Uint8Array {
  const macBytes = mac.split(':').map((byte) => Number.parseInt(byte, 16))
  const address = (text: string) => text.split('.').map(Number)
  return Uint8Array.from([
    ...Array(6).fill(0xff),
    ...macBytes,
    ...[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1],
    ...macBytes,
    ...address(sender),
    ...Array(6).fill(0),
    ...address(target),
  ])
}

/** Whether a frame is an ARP reply about `address`. */
export function isArpReplyFrom(address: string): (frame: Uint8Array) => boolean {
  const bytes = address.split('.').map(Number)
  return (frame) =>
    frame[12] === 0x08 &&
    frame[13] === 0x06 &&
    frame[21] === 2 &&
    bytes.every((byte, i) => frame[28 + i] === byte)
}
