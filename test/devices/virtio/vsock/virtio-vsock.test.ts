import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as abi from '../../../../lib/devices/virtio/vsock/abi.js'
import type { Packet } from '../../../../lib/devices/virtio/vsock/packet.js'
import { UnixVsockBridge } from '../../../../lib/devices/virtio/vsock/unix-vsock-bridge.js'
import { VirtioVsock } from '../../../../lib/devices/virtio/vsock/virtio-vsock.js'
import {
  BUFFER_ALLOCATION,
  type VsockStream,
} from '../../../../lib/devices/virtio/vsock/vsock-stream.js'
import { DeviceRig } from '../../../helpers/device-rig.js'
import { turns, until } from '../../../helpers/virtio-driver.js'
import { formatPacket, parsePacket, type ReceivedPacket } from '../../../helpers/vsock-packets.js'

const CID = 7

/** The guest's end: packets out, packets in. */
class Guest {
  readonly rig = new DeviceRig(new VirtioVsock({ cid: CID }))
  readonly inbox: { packet: ReceivedPacket; data: Buffer }[] = []
  #posted = 0

  constructor(buffers = 32) {
    this.rig.driver.start([], 128)
    this.post(buffers)
  }

  post(count: number): void {
    this.rig.offer(abi.RECEIVE_QUEUE, count, 4096, 0x120000 + (this.#posted % 32) * 4096)
    this.#posted += count
  }

  async send(
    fields: Partial<Packet> & { op: number },
    data: Uint8Array = new Uint8Array(0),
    cids: [number, number] = [CID, 2],
  ): Promise<void> {
    const packet: Packet = {
      sourcePort: 5000,
      destinationPort: 80,
      type: abi.VIRTIO_VSOCK_TYPE_STREAM,
      flags: 0,
      bufferAllocation: 65536,
      forwardCount: 0,
      ...fields,
    }
    await this.rig.send(
      abi.TRANSMIT_QUEUE,
      formatPacket(packet, BigInt(cids[0]), BigInt(cids[1]), data),
    )
  }

  async next(): Promise<{ packet: ReceivedPacket; data: Buffer }> {
    while (this.inbox.length === 0) {
      const filled = await this.rig.filled(abi.RECEIVE_QUEUE)
      for (const bytes of filled) {
        this.inbox.push({
          packet: parsePacket(bytes),
          data: Buffer.from(bytes.subarray(abi.HEADER_SIZE)),
        })
      }
      this.post(filled.length)
    }
    return this.inbox.shift()!
  }

  async nextOf(op: number): Promise<{ packet: ReceivedPacket; data: Buffer }> {
    for (;;) {
      const message = await this.next()
      if (message.packet.op === op) return message
    }
  }
}

async function accepted(guest: Guest, port = 80): Promise<VsockStream> {
  const stream = new Promise<VsockStream>((resolve) => {
    const stop = guest.rig.device.listen(port, (s) => {
      stop()
      resolve(s)
    })
  })
  await guest.send({ op: abi.VIRTIO_VSOCK_OP_REQUEST, destinationPort: port })
  const { packet } = await guest.nextOf(abi.VIRTIO_VSOCK_OP_RESPONSE)
  expect(packet).toMatchObject({
    sourceCid: 2n,
    destinationCid: BigInt(CID),
    sourcePort: port,
    destinationPort: 5000,
  })
  return stream
}

describe('virtio-vsock', () => {
  it('tells the guest its context ID', () => {
    const { rig } = new Guest()
    expect(rig.driver.read(0x100)).toBe(CID)
  })

  it('takes a connection from the guest, and carries data both ways', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_RW }, Buffer.from('from the guest'))
    expect(String(stream.read())).toBe('from the guest')
    stream.write('from the host')
    expect(String((await guest.nextOf(abi.VIRTIO_VSOCK_OP_RW)).data)).toBe('from the host')
    expect(guest.rig.errors).toEqual([])
  })

  it('connects to the guest', async () => {
    const guest = new Guest()
    const stream = guest.rig.device.connect(22)
    stream.write('early')
    const { packet } = await guest.nextOf(abi.VIRTIO_VSOCK_OP_REQUEST)
    expect(packet.destinationPort).toBe(22)
    const connected = once(stream, 'connect')
    await guest.send({
      op: abi.VIRTIO_VSOCK_OP_RESPONSE,
      sourcePort: 22,
      destinationPort: packet.sourcePort,
    })
    await connected
    expect(String((await guest.nextOf(abi.VIRTIO_VSOCK_OP_RW)).data)).toBe('early')
  })

  it('is refused by the guest', async () => {
    const guest = new Guest()
    const stream = guest.rig.device.connect(23)
    const failed = once(stream, 'error')
    const { packet } = await guest.nextOf(abi.VIRTIO_VSOCK_OP_REQUEST)
    await guest.send({
      op: abi.VIRTIO_VSOCK_OP_RST,
      sourcePort: 23,
      destinationPort: packet.sourcePort,
    })
    expect((await failed)[0]).toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('refuses what nobody listens for', async () => {
    const guest = new Guest()
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_REQUEST, destinationPort: 81 })
    expect((await guest.next()).packet).toMatchObject({
      op: abi.VIRTIO_VSOCK_OP_RST,
      sourcePort: 81,
      destinationPort: 5000,
    })
  })

  it('sends no more than the guest has room for', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    const payload = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i * 7))
    stream.end(payload)
    const got: Buffer[] = []
    let count = 0
    while (count < payload.length) {
      const { data } = await guest.nextOf(abi.VIRTIO_VSOCK_OP_RW)
      got.push(data)
      count += data.length
      expect(count % 65536 === 0 || count <= payload.length).toBe(true)
      if (count % 65536 === 0)
        await guest.send({ op: abi.VIRTIO_VSOCK_OP_CREDIT_UPDATE, forwardCount: count })
    }
    expect(Buffer.concat(got).equals(payload)).toBe(true)
    expect((await guest.nextOf(abi.VIRTIO_VSOCK_OP_SHUTDOWN)).packet.flags).toBe(
      abi.VIRTIO_VSOCK_SHUTDOWN_SEND,
    )
  })

  it('sends what several writes left in one turn, with one interrupt', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    const pieces = [1, 5000, 0, 7, 9001].map((length, i) => Buffer.alloc(length, 65 + i))
    const before = guest.rig.irq.pulses
    for (const piece of pieces) expect(stream.write(piece)).toBe(true)
    const sent = Buffer.concat(pieces)
    const got: Buffer[] = []
    for (let count = 0; count < sent.length; ) {
      const { data } = await guest.nextOf(abi.VIRTIO_VSOCK_OP_RW)
      got.push(data)
      count += data.length
    }
    expect(Buffer.concat(got).equals(sent)).toBe(true)
    // The first write has a packet of its own: it had gone to the device before the others came.
    expect(got.map(({ length }) => length)).toEqual([1, 4052, 4052, 4052, 1852])
    expect(guest.rig.irq.pulses - before).toBe(1)
  })

  it('shows the guest the first of many packets before it fills the last', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    const ring = guest.rig.driver.queues[abi.RECEIVE_QUEUE]!
    const before = ring.deviceUsedIdx
    const shown: number[] = []
    guest.rig.irq.handler = () => shown.push(ring.deviceUsedIdx - before)
    stream.write(Buffer.alloc(18 * 4052))
    await turns(2)
    // 65,536 bytes of room: 16 packets and a part.
    expect(shown).toEqual([16, 17])
  })

  it('lets a program write as much as a connection buffers before it is to wait', async () => {
    const guest = new Guest(0)
    const stream = guest.rig.device.connect(22)
    expect(stream.write(Buffer.alloc(BUFFER_ALLOCATION - 1))).toBe(true)
    expect(stream.write(Buffer.alloc(1))).toBe(false)
    stream.destroy()
  })

  it('loses what was not sent with the connection', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    const failed = new Promise<unknown>((resolve) => {
      stream.write(Buffer.alloc(200_000), resolve)
    })
    await guest.nextOf(abi.VIRTIO_VSOCK_OP_RW)
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_RST })
    expect(await failed).toMatchObject({ code: 'ECONNRESET' })
    expect(guest.rig.errors).toEqual([])
  })

  it('asks a guest for room that does not tell of it', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    stream.write(Buffer.alloc(65537, 'r'))
    await guest.nextOf(abi.VIRTIO_VSOCK_OP_CREDIT_REQUEST)
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_CREDIT_UPDATE, forwardCount: 65536 })
    expect((await guest.nextOf(abi.VIRTIO_VSOCK_OP_RW)).data.length).toBe(1)
  })

  it('tells the guest of new room as the reader takes data, and not before', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    const chunk = Buffer.alloc(32768, 'd')
    for (let i = 0; i < 8; i++) await guest.send({ op: abi.VIRTIO_VSOCK_OP_RW }, chunk)
    await turns(3)
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_CREDIT_REQUEST })
    expect((await guest.nextOf(abi.VIRTIO_VSOCK_OP_CREDIT_UPDATE)).packet.forwardCount).toBe(0)
    let bytes = 0
    stream.on('data', (data: Buffer) => {
      bytes += data.length
    })
    await until(() => bytes === 8 * 32768, 'the data')
    const { packet } = await guest.nextOf(abi.VIRTIO_VSOCK_OP_CREDIT_UPDATE)
    expect(packet.forwardCount).toBeGreaterThanOrEqual(131072)
  })

  it('tells the guest of new room when all of a full buffer is read at once', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    for (let sent = 0; sent < BUFFER_ALLOCATION; sent += 65536) {
      await guest.send({ op: abi.VIRTIO_VSOCK_OP_RW }, Buffer.alloc(65536))
    }
    expect((stream.read() as Buffer).length).toBe(BUFFER_ALLOCATION)
    const { packet } = await guest.nextOf(abi.VIRTIO_VSOCK_OP_CREDIT_UPDATE)
    expect(packet.forwardCount).toBe(BUFFER_ALLOCATION)
  })

  it('ends a connection whose guest sends more than there is room for, and goes on', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    const chunk = Buffer.alloc(65536)
    for (let i = 0; i < 5; i++) await guest.send({ op: abi.VIRTIO_VSOCK_OP_RW }, chunk, [CID, 2])
    await guest.nextOf(abi.VIRTIO_VSOCK_OP_RST)
    expect(stream.destroyed).toBe(true)
    await accepted(guest, 90)
  })

  it('ends when both sides have', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    stream.resume()
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_SHUTDOWN, flags: 3 })
    await guest.nextOf(abi.VIRTIO_VSOCK_OP_RST)
    expect(stream.destroyed).toBe(true)
  })

  it('loses its connections with a reset of the device, and no program for it', async () => {
    const guest = new Guest()
    const stream = await accepted(guest)
    guest.rig.driver.status = 0
    await turns(2)
    expect(stream.destroyed).toBe(true)
  })

  it.each<[string, Partial<Packet>, [number, number]]>([
    ['from another context ID', {}, [8, 2]],
    ['to another context ID', {}, [CID, 3]],
    ['of another type', { type: 2 }, [CID, 2]],
    ['with an unknown operation', { op: 99 }, [CID, 2]],
    ['of operation 0', { op: 0 }, [CID, 2]],
  ])('takes a packet %s', async (_name, fields, cids) => {
    const guest = new Guest()
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_RW, ...fields }, Buffer.from('x'), cids)
    await accepted(guest)
    expect(guest.rig.errors).toEqual([])
  })

  it.each([0, 1, 43])('drops a packet of %i bytes', async (length) => {
    const guest = new Guest()
    if (length > 0) await guest.rig.send(abi.TRANSMIT_QUEUE, new Uint8Array(length))
    const header = formatPacket(
      {
        sourcePort: 1,
        destinationPort: 2,
        type: 1,
        op: 5,
        flags: 0,
        bufferAllocation: 0,
        forwardCount: 0,
      },
      BigInt(CID),
      2n,
      new Uint8Array(0),
    )
    new DataView(header.buffer).setUint32(24, 0xffff_ffff, true)
    await guest.rig.send(abi.TRANSMIT_QUEUE, header)
    expect(guest.rig.device.counters.dropped).toBeGreaterThan(0)
    await accepted(guest)
  })

  it('takes no more from a guest that takes no answers', async () => {
    const guest = new Guest(0)
    const { rig } = guest
    const ring = rig.driver.queues[abi.TRANSMIT_QUEUE]!
    const bytes = formatPacket(
      {
        sourcePort: 1,
        destinationPort: 2,
        type: 1,
        op: 1,
        flags: 0,
        bufferAllocation: 0,
        forwardCount: 0,
      },
      BigInt(CID),
      2n,
      new Uint8Array(0),
    )
    rig.memory.write(0x100000, bytes)
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 100 && ring.freeCount > 0; i++)
        ring.add([{ address: 0x100000, length: bytes.length }])
      rig.driver.kick(abi.TRANSMIT_QUEUE)
      await turns(3)
      ring.used()
    }
    expect(ring.deviceUsedIdx).toBe(256)
    guest.post(32)
    await until(() => ring.deviceUsedIdx > 256, 'more packets taken')
  })

  it('refuses connection 1,025 of a guest, until one of the others is over', async () => {
    const guest = new Guest()
    guest.rig.device.listen(80, () => {})
    const request = async (sourcePort: number) => {
      await guest.send({ op: abi.VIRTIO_VSOCK_OP_REQUEST, sourcePort })
      return (await guest.next()).packet.op
    }
    for (let i = 1; i <= 1024; i++) expect(await request(i)).toBe(abi.VIRTIO_VSOCK_OP_RESPONSE)
    expect(await request(1025)).toBe(abi.VIRTIO_VSOCK_OP_RST)
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_RST, sourcePort: 7 })
    expect(await request(1025)).toBe(abi.VIRTIO_VSOCK_OP_RESPONSE)
  })

  it('is reached by Unix sockets', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nk-vsock-'))
    const guest = new Guest()
    const bridge = new UnixVsockBridge(guest.rig.device, join(folder, 'v.sock'))
    await bridge.open()
    const socket = createConnection(bridge.path)
    socket.write('CONNECT 52\nhello')
    const { packet } = await guest.nextOf(abi.VIRTIO_VSOCK_OP_REQUEST)
    expect(packet.destinationPort).toBe(52)
    await guest.send({
      op: abi.VIRTIO_VSOCK_OP_RESPONSE,
      sourcePort: 52,
      destinationPort: packet.sourcePort,
    })
    expect(String((await guest.nextOf(abi.VIRTIO_VSOCK_OP_RW)).data)).toBe('hello')
    expect(String((await once(socket, 'data'))[0])).toBe(`OK ${packet.sourcePort}\n`)

    const server = createServer((peer) => peer.end('from the host'))
    await new Promise<void>((resolve) => {
      server.listen(`${bridge.path}_99`, resolve)
    })
    await guest.send({ op: abi.VIRTIO_VSOCK_OP_REQUEST, destinationPort: 99, sourcePort: 6000 })
    expect(String((await guest.nextOf(abi.VIRTIO_VSOCK_OP_RW)).data)).toBe('from the host')

    await guest.send({ op: abi.VIRTIO_VSOCK_OP_REQUEST, destinationPort: 98, sourcePort: 6001 })
    expect((await guest.nextOf(abi.VIRTIO_VSOCK_OP_RST)).packet.destinationPort).toBe(6001)

    const rude = createConnection(bridge.path)
    rude.on('error', () => {})
    rude.write('x'.repeat(100))
    await once(rude, 'close')
    server.close()
    await bridge.close()
    await guest.rig.close()
    rmSync(folder, { recursive: true })
  })

  it.each([2, 0, 2 ** 32, 1.5, '3'])('refuses the context ID %j', (cid) => {
    expect(() => new VirtioVsock({ cid: cid as number })).toThrow(
      expect.objectContaining({ option: 'cid' }),
    )
  })
})
