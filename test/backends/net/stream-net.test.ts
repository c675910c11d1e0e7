import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FrameStream } from '../../../lib/backends/net/frame-stream.js'
import { StreamNet, type StreamSource } from '../../../lib/backends/net/stream-net.js'
import * as net from '../../../lib/devices/virtio/net/abi.js'
import { plainMemory } from '../../helpers/guest-memories.js'
import { NetRig } from '../../helpers/net-driver.js'
import { turns, until } from '../../helpers/virtio-driver.js'

function packed(...frames: Uint8Array[]): Buffer {
  return Buffer.concat(
    frames.flatMap((frame) => {
      const prefix = Buffer.alloc(4)
      prefix.writeUInt32BE(frame.length)
      return [prefix, frame]
    }),
  )
}

const frameOf = (length: number, fill: number) => {
  const frame = new Uint8Array(length).fill(fill)
  frame.set([0x52, 0x54, 0, 0, 0, 1], 0)
  return frame
}

describe('StreamNet over a Unix socket', () => {
  let directory: string
  let server: Server
  let peer: Socket
  let rig: NetRig | undefined
  let backend: StreamNet
  const path = () => join(directory, 'net.sock')

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'node-kvm-stream-'))
    server = createServer().listen(path())
    await once(server, 'listening')
  })

  async function start(source: StreamSource = path()): Promise<NetRig> {
    backend = new StreamNet(source, { mac: '52:54:00:00:00:01' })
    const accepted = once(server, 'connection')
    await backend.open()
    peer = (await accepted)[0] as Socket
    peer.on('error', () => {})
    rig = new NetRig(backend, plainMemory([0, 0x200000]))
    rig.driver.start([net.VIRTIO_NET_F_STATUS, net.VIRTIO_NET_F_MRG_RXBUF], 64)
    return rig
  }

  afterEach(async () => {
    if (rig) {
      expect(rig.errors).toEqual([])
      expect(rig.reasons).toEqual([])
      await rig.close()
    }
    rig = undefined
    server.close()
    rmSync(directory, { recursive: true })
  })

  it('carries frames both ways, each behind its length', async () => {
    const { rig: it } = { rig: await start() }
    it.buffers(8)
    const data = once(peer, 'data')
    it.send(frameOf(60, 7))
    expect((await data)[0]).toEqual(packed(frameOf(60, 7)))
    peer.write(packed(frameOf(60, 1), frameOf(1514, 2), frameOf(14, 3)))
    for (const [length, fill] of [
      [60, 1],
      [1514, 2],
      [14, 3],
    ] as const)
      expect((await it.receive(() => true)).frame).toEqual(frameOf(length, fill))
  })

  it('takes frames in single bytes, and the longest there is', async () => {
    const guest = await start()
    guest.buffers(60)
    for (const byte of packed(frameOf(100, 9))) {
      peer.write(Uint8Array.of(byte))
      await turns()
    }
    expect((await guest.receive(() => true)).frame).toEqual(frameOf(100, 9))
    peer.write(packed(frameOf(65549, 5)))
    await until(() => guest.device.counters.rxBytes === 12 + 100 + 12 + 65549, 'a long frame')
    await turns(2)
  })

  it('makes the peer wait for a guest that has no buffers, and loses nothing', async () => {
    const guest = await start()
    const count = 3000
    for (let i = 0; i < count; i++) {
      const frame = frameOf(1000, 0)
      frame[14] = i & 0xff
      frame[15] = i >> 8
      peer.write(packed(frame))
    }
    await turns(50)
    expect(peer.writableLength).toBeGreaterThan(0)
    guest.buffers(32)
    for (let i = 0; i < count; i++) {
      const { frame } = await guest.receive(() => true)
      expect(frame[14]! | (frame[15]! << 8)).toBe(i)
    }
    expect(backend.overruns).toBe(0)
  })

  it('drops what a peer that has stopped reading does not take', async () => {
    const guest = await start()
    peer.pause()
    for (let i = 0; i < 4000; i++) {
      guest.send(frameOf(1500, 1))
      guest.tx.used()
      if (i % 50 === 0) await turns()
    }
    expect(backend.dropped).toBeGreaterThan(0)
    expect(guest.device.counters.txFrames).toBe(4000)
  })

  it.each<[string, () => void, RegExp | undefined]>([
    ['goes', () => peer.end(), undefined],
    ['is killed', () => peer.destroy(), undefined],
    ['sends a frame of no bytes', () => peer.write(Buffer.alloc(4)), /frames of 1 to/],
    ['sends a frame of 4 GiB', () => peer.write(Buffer.alloc(4, 0xff)), /4294967295/],
    ['sends garbage', () => peer.write(Buffer.alloc(100_000, 0x5a)), /frames of 1 to/],
    [
      'goes in the middle of a frame',
      () => peer.end(packed(frameOf(60, 1)).subarray(0, 30)),
      /middle/,
    ],
    ['goes in the middle of a length', () => peer.end(Buffer.alloc(2)), /middle/],
  ])('takes the link down when the peer %s', async (_name, act, message) => {
    const guest = await start()
    guest.buffers(8)
    const gone = once(backend, 'disconnect')
    act()
    const [error] = (await gone) as [Error | undefined]
    if (message) expect(error?.message).toMatch(message)
    else expect(error).toBeUndefined()
    expect(backend.connected).toBe(false)
    expect(guest.device.link).toBe(false)
    expect(guest.device.config[net.CONFIG_STATUS]).toBe(0)
    guest.send(frameOf(60, 1))
    expect(guest.tx.used()).toHaveLength(1)
  })

  it('takes a stream, or what makes one', async () => {
    const { connect } = await import('node:net')
    const guest = await start(async () => connect(path()))
    guest.buffers(4)
    peer.write(packed(frameOf(60, 8)))
    expect((await guest.receive(() => true)).frame).toEqual(frameOf(60, 8))
  })

  it('finds nobody', async () => {
    const absent = new StreamNet(join(directory, 'absent.sock'))
    expect(await absent.open().catch((e) => e)).toMatchObject({ code: 'ERR_NET', option: 'source' })
    expect(() => absent.attach({} as never)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }))
    await absent.close()
  })

  it.each(['', 'a\0b', 7, null, {}, []])('has no source %j', (source) => {
    expect(() => new StreamNet(source as string)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'source' }),
    )
  })
})

describe('FrameStream', () => {
  it('finds the same frames however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 10 }),
        fc.integer({ min: 1, max: 5 }),
        async (frames, cuts, pauseEach) => {
          const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
          const seen: Uint8Array[] = []
          const parser = new FrameStream(stream, {
            frame: (frame) => {
              seen.push(Uint8Array.from(frame))
              if (seen.length % pauseEach !== 0) return true
              setImmediate(() => parser.resume())
              return false
            },
            ended: () => {},
          })
          const bytes = packed(...frames)
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const cut = cuts[i % cuts.length]!
            stream.push(bytes.subarray(at, at + cut))
            at += cut
          }
          for (let i = 0; i < 200 && seen.length < frames.length; i++) await turns()
          expect(seen).toEqual(frames)
          parser.close()
        },
      ),
      { numRuns: 50 },
    )
  })

  it('survives any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 64 })), async (chunks) => {
        const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
        let ends = 0
        const parser = new FrameStream(stream, { frame: () => true, ended: () => ends++ })
        for (const chunk of chunks) if (!stream.destroyed) stream.push(chunk)
        await turns(2)
        parser.close()
        expect(ends).toBeLessThanOrEqual(1)
      }),
    )
  })
})
