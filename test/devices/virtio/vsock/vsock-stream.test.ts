import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import * as abi from '../../../../lib/devices/virtio/vsock/abi.js'
import type { Packet } from '../../../../lib/devices/virtio/vsock/packet.js'
import { VirtioVsock } from '../../../../lib/devices/virtio/vsock/virtio-vsock.js'
import {
  BUFFER_ALLOCATION,
  VsockStream,
} from '../../../../lib/devices/virtio/vsock/vsock-stream.js'
import { DeviceRig } from '../../../helpers/device-rig.js'
import { turns, until } from '../../../helpers/virtio-driver.js'
import { formatPacket } from '../../../helpers/vsock-packets.js'

/** A connection from the guest, without its device. */
class Connection {
  readonly sent: Packet[] = []
  readonly stream = new VsockStream(80, 5000, false, {
    send: (packet) => this.sent.push(packet),
    ready() {},
    closed() {},
  })
  /** All that the guest has sent. */
  readonly data: Buffer[] = []

  /** Packets of these lengths from the guest. */
  give(...lengths: number[]): void {
    for (const length of lengths) {
      const data = Buffer.allocUnsafe(length).fill(this.data.length)
      this.data.push(data)
      this.packet(abi.VIRTIO_VSOCK_OP_RW, 0, Buffer.from(data))
    }
  }

  packet(op: number, flags = 0, data?: Buffer): void {
    const fields = { sourcePort: 5000, destinationPort: 80, type: abi.VIRTIO_VSOCK_TYPE_STREAM }
    this.stream.receive({ ...fields, op, flags, bufferAllocation: 65536, forwardCount: 0 }, data)
  }

  /** What the stream has kept: chunks, in order. */
  async drain(): Promise<Buffer[]> {
    const chunks: Buffer[] = []
    this.stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    this.stream.resume()
    await turns(3)
    return chunks
  }
}

const held = (chunks: Buffer[]) =>
  [...new Set(chunks.map(({ buffer }) => buffer))].reduce((sum, b) => sum + b.byteLength, 0)

const ALTERNATING = Array.from({ length: 62 }, () => [1, 4096, 4095]).flat()

describe('a stream that nobody reads', () => {
  it.each<[string, number[]]>([
    ['1 byte', Array(BUFFER_ALLOCATION).fill(1)],
    ['7 bytes', Array(Math.floor(BUFFER_ALLOCATION / 7)).fill(7)],
    ['2049 bytes', Array(Math.floor(BUFFER_ALLOCATION / 2049)).fill(2049)],
    ['4095 bytes', Array(Math.floor(BUFFER_ALLOCATION / 4095)).fill(4095)],
    ['few and many bytes by turns', ALTERNATING.slice(0, 90)],
    ['0 bytes', [...Array(10_000).fill(0), 1]],
  ])('keeps no more than twice its window of packets of %s', async (_name, lengths) => {
    const connection = new Connection()
    connection.stream.pause()
    for (const length of lengths) connection.give(length)
    await turns(3)
    expect(connection.stream.destroyed).toBe(false)
    const chunks = await connection.drain()
    expect(Buffer.concat(chunks).equals(Buffer.concat(connection.data))).toBe(true)
    expect(chunks.length).toBeLessThanOrEqual(130)
    expect(held(chunks)).toBeLessThanOrEqual(2 * BUFFER_ALLOCATION + Buffer.poolSize)
  })

  it('is destroyed for one byte more than its window', () => {
    const connection = new Connection()
    connection.give(...Array(BUFFER_ALLOCATION / 64).fill(64))
    expect(connection.stream.destroyed).toBe(false)
    expect(connection.stream.readableLength).toBe(BUFFER_ALLOCATION)
    connection.give(1)
    expect(connection.stream.destroyed).toBe(true)
  })

  it('keeps few chunks of a guest that sends a byte each time that one chunk is read', async () => {
    const connection = new Connection()
    const got: Buffer[] = []
    connection.give(...Array(100).fill(2000))
    const readOne = (chunk: Buffer) => {
      got.push(chunk)
      connection.stream.pause()
    }
    connection.stream.on('data', readOne)
    for (let i = 0; i < 200; i++) {
      connection.stream.resume()
      await turns(1)
      connection.give(1, 1)
    }
    connection.stream.off('data', readOne)
    const rest = await connection.drain()
    expect(rest.length).toBeLessThanOrEqual(60)
    expect(Buffer.concat([...got, ...rest]).equals(Buffer.concat(connection.data))).toBe(true)
  })

  it('keeps few chunks for a reader that waits for more than there is', async () => {
    const connection = new Connection()
    let events = 0
    let message: Buffer | null = null
    connection.stream.on('readable', () => {
      events++
      message ??= connection.stream.read(5000) as Buffer | null
    })
    for (let i = 0; i < 4999; i++) {
      connection.give(1)
      if (i % 50 === 0) await turns(1)
    }
    await turns(2)
    expect(message).toBeNull()
    expect(events).toBeGreaterThan(10)
    connection.give(1, 1)
    await turns(2)
    expect(message!.length).toBe(5000)
    expect(connection.stream.readableLength).toBe(1)
  })
})

describe('a stream that is read', () => {
  it('gives a flowing reader each packet at once, as it is', () => {
    const connection = new Connection()
    const lengths: number[] = []
    connection.stream.on('data', (chunk: Buffer) => lengths.push(chunk.length))
    return turns(2).then(() => {
      connection.give(1, 2, 60_000, 3)
      expect(lengths).toEqual([1, 2, 60_000, 3])
    })
  })

  it('does not copy a large packet that waits for its reader', async () => {
    const connection = new Connection()
    connection.give(1)
    const large = Buffer.alloc(5000, 'l')
    connection.packet(abi.VIRTIO_VSOCK_OP_RW, 0, large)
    expect((await connection.drain()).at(-1)!.buffer).toBe(large.buffer)
  })

  it.each([1, 3, 100, 5000])('gives what it holds in pieces of %i bytes', async (size) => {
    const connection = new Connection()
    connection.give(1, 2, 3, 5000, 4, 8000, 1)
    const total = connection.stream.readableLength
    expect(total).toBe(13_011)
    const got: Buffer[] = []
    for (let chunk: Buffer | null; ; ) {
      chunk = connection.stream.read(size) as Buffer | null
      if (chunk === null) break
      expect(chunk.length).toBe(size)
      got.push(chunk)
    }
    expect(connection.stream.readableLength).toBe(total % size)
    got.push((connection.stream.read() as Buffer | null) ?? Buffer.alloc(0))
    expect(Buffer.concat(got).equals(Buffer.concat(connection.data))).toBe(true)
  })

  it('reaches a slow iterator whole, and ends', async () => {
    const connection = new Connection()
    const got: Buffer[] = []
    const done = (async () => {
      for await (const chunk of connection.stream) {
        got.push(chunk)
        await turns(1)
      }
    })()
    for (let i = 0; i < 300; i++) {
      connection.give((i * 37) % 700)
      if (i % 7 === 0) await turns(1)
    }
    connection.packet(abi.VIRTIO_VSOCK_OP_SHUTDOWN, abi.VIRTIO_VSOCK_SHUTDOWN_SEND)
    await done
    expect(Buffer.concat(got).equals(Buffer.concat(connection.data))).toBe(true)
  })

  it('is not harmed by data and ends after its end', async () => {
    const connection = new Connection()
    connection.give(1, 1, 1)
    for (let i = 0; i < 2; i++) {
      connection.packet(abi.VIRTIO_VSOCK_OP_SHUTDOWN, abi.VIRTIO_VSOCK_SHUTDOWN_SEND)
      connection.packet(abi.VIRTIO_VSOCK_OP_RW, 0, Buffer.alloc(10))
    }
    const ended = once(connection.stream, 'end')
    expect(Buffer.concat(await connection.drain()).length).toBe(3)
    await ended
  })
})

describe("what a program's listener throws", () => {
  const others = process.listeners('uncaughtException')
  afterEach(() => {
    process.removeAllListeners('uncaughtException')
    for (const listener of others) process.on('uncaughtException', listener)
  })

  it('is an uncaught exception, and the stream goes on to its end', async () => {
    const errors: unknown[] = []
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => errors.push(error))
    const connection = new Connection()
    const got: number[] = []
    connection.stream.on('data', (chunk: Buffer) => {
      got.push(chunk.length)
      if (chunk.length === 2) throw new Error('of a data listener')
    })
    await turns(2)
    connection.give(1, 2, 3)
    connection.packet(abi.VIRTIO_VSOCK_OP_SHUTDOWN, abi.VIRTIO_VSOCK_SHUTDOWN_SEND)
    await once(connection.stream, 'end')
    expect(got).toEqual([1, 2, 3])
    expect(errors).toEqual([new Error('of a data listener')])
  })

  it('is an uncaught exception when a write is done', async () => {
    const errors: unknown[] = []
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => errors.push(error))
    const guest = new DeviceRig(new VirtioVsock())
    guest.driver.start([], 128)
    const stream = guest.device.connect(22)
    stream.write('x', () => {
      throw new Error('of a callback')
    })
    guest.offer(abi.RECEIVE_QUEUE, 8)
    const fields = { sourcePort: 22, destinationPort: stream.localPort, type: 1, flags: 0 }
    const answer = { ...fields, op: 2, bufferAllocation: 65536, forwardCount: 0 }
    await guest.send(abi.TRANSMIT_QUEUE, formatPacket(answer, 3n, 2n, new Uint8Array(0)))
    await until(() => errors.length > 0, 'the exception')
    expect(errors).toEqual([new Error('of a callback')])
    expect(guest.errors).toEqual([])
    await guest.close()
  })

  it('is an uncaught exception when the guest accepts a connection', async () => {
    const errors: unknown[] = []
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => errors.push(error))
    const connection = new Connection()
    connection.stream.connecting = true
    connection.stream.on('connect', () => {
      throw new Error('of a connect listener')
    })
    connection.packet(abi.VIRTIO_VSOCK_OP_RESPONSE)
    await turns(1)
    expect(errors).toEqual([new Error('of a connect listener')])
    expect(connection.stream.destroyed).toBe(false)
  })
})
