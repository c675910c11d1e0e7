import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { VmmError } from '../../lib/errors.js'
import { Channel, type ChannelEvents } from '../../lib/isolation/channel.js'
import { type ChannelStream, STREAM_WINDOW } from '../../lib/isolation/channel-stream.js'
import { encodeContent, encodeFrame, frameKinds } from '../../lib/isolation/frames.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})

/** Two ends of a connection between processes. */
async function socketPair(): Promise<[Socket, Socket]> {
  using folder = temporaryFolder('channel')
  const path = folder.path('socket')
  const server = createServer({ allowHalfOpen: false }).listen(path)
  await once(server, 'listening')
  const one = connect(path)
  const [[other]] = await Promise.all([once(server, 'connection'), once(one, 'connect')])
  server.close()
  sockets.push(one, other as Socket)
  return [one, other as Socket]
}

const nothing: ChannelEvents = {
  message() {},
  request: async () => ({}),
  opened() {},
  closed() {},
}

async function channelPair(events: Partial<ChannelEvents> = {}) {
  const [one, other] = await socketPair()
  const ours = new Channel(one, nothing)
  return { ours, theirs: new Channel(other, { ...nothing, ...events }) }
}

/** A channel whose peer sends what it likes. */
async function withHostilePeer(events: Partial<ChannelEvents> = {}) {
  const [one, peer] = await socketPair()
  peer.on('error', () => {})
  const closed = new Promise<Error | undefined>((resolve) => {
    new Channel(one, { ...nothing, ...events, closed: resolve })
  })
  return { peer, closed }
}

const violation = expect.objectContaining({ code: 'ERR_ISOLATION' })

describe('a channel', () => {
  it('carries messages, in their order, with bytes', async () => {
    const taken: unknown[] = []
    const { ours } = await channelPair({
      message: (name, { value, bytes }) => taken.push([name, value, [...bytes]]),
    })
    ours.send('a', { x: 1 }, Uint8Array.of(1, 2))
    ours.send('b')
    await expect
      .poll(() => taken)
      .toEqual([
        ['a', { x: 1 }, [1, 2]],
        ['b', undefined, []],
      ])
  })

  it('answers requests, and fails them with what they failed by', async () => {
    const { ours } = await channelPair({
      request: async (name, { value, bytes }) => {
        if (name === 'fail') throw new VmmError('ERR_DISK', 'no', { option: 'disks[0]' })
        return { value, bytes }
      },
    })
    const { value, bytes } = await ours.request('echo', [1], Uint8Array.of(7))
    expect([value, [...bytes]]).toEqual([[1], [7]])
    await expect(ours.request('fail')).rejects.toMatchObject({
      ...{ code: 'ERR_DISK', message: 'no', option: 'disks[0]' },
    })
  })

  it('fails what waits when the other end goes, and what comes after', async () => {
    const { ours, theirs } = await channelPair({ request: () => new Promise(() => {}) })
    const request = ours.request('never')
    const stream = ours.open('any')
    stream.resume()
    theirs.close()
    await expect(request).rejects.toEqual(violation)
    if (!stream.closed) await once(stream, 'close')
    await expect(ours.request('later')).rejects.toEqual(violation)
    expect(ours.open('later').on('error', () => {})).toBeDefined()
  })
})

describe('a stream', () => {
  it('carries what is written, both ways, whole', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 3 * STREAM_WINDOW }), { maxLength: 4 }),
        async (sizes) => {
          const { ours, theirs } = await channelPair({
            opened: (_name, _content, stream) => stream.pipe(stream),
          })
          const stream = ours.open('echo')
          const sent = sizes.map((size, i) => Buffer.alloc(size, i + 1))
          const back = buffer(stream)
          for (const bytes of sent) stream.write(bytes)
          stream.end()
          expect((await back).equals(Buffer.concat(sent))).toBe(true)
          ours.close()
          theirs.close()
        },
      ),
      { numRuns: 20 },
    )
  })

  it('keeps no more than its window for a reader that does not read', async () => {
    let theirs: ChannelStream | undefined
    const { ours } = await channelPair({
      opened: (_name, _content, stream) => {
        theirs = stream
      },
    })
    const stream = ours.open('slow')
    let written = 0
    const piece = Buffer.alloc(2 ** 16)
    const write = () => stream.write(piece, () => void written++)
    for (let i = 0; i < 64; i++) write()
    await expect.poll(() => theirs?.readableLength).toBeGreaterThan(2 ** 15)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(theirs!.readableLength).toBeLessThanOrEqual(STREAM_WINDOW + 2 ** 16)
    expect(written).toBeLessThan(16)
    theirs!.resume()
    await expect.poll(() => written).toBe(64)
  })

  it('fails by what the other end destroys it with', async () => {
    const { ours } = await channelPair({
      opened: (_name, _content, stream) => {
        stream.on('error', () => {})
        stream.destroy(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))
      },
    })
    const stream = ours.open('any')
    stream.passErrors = true
    const [error] = await once(stream, 'error')
    expect(error).toMatchObject({ message: 'refused', code: 'ECONNREFUSED' })
    const quiet = ours.open('any')
    await new Promise((resolve) => quiet.once('close', resolve))
    expect(quiet.errored).toBeNull()
  })
})

describe('a peer that breaks the protocol', () => {
  const open = encodeContent(frameKinds.open, 1, ['any'])
  const data = encodeFrame(frameKinds.data, 1, new Uint8Array(2 ** 20))
  const credit = Buffer.from([255, 255, 255, 255])
  it.each<[string, Buffer[]]>([
    ['sends no frames', [Buffer.alloc(64, 0xee)]],
    ['sends no JSON', [encodeFrame(frameKinds.message, 0, Buffer.from([1, 0, 0, 0, 0x7b]))]],
    ['sends a message without a name', [encodeContent(frameKinds.message, 0, { name: 1 })]],
    ['answers what nobody asked', [encodeContent(frameKinds.reply, 5, 1)]],
    ['begins a stream twice', [open, open]],
    ['sends more than a window', [open, data]],
    ['gives credit that there is none for', [open, encodeFrame(frameKinds.credit, 1, credit)]],
    ['gives credit that is no number', [open, encodeFrame(frameKinds.credit, 1)]],
    [
      'begins streams without end',
      Array.from({ length: 5000 }, (_, i) => encodeContent(frameKinds.open, i, ['any'])),
    ],
    [
      'asks without end',
      Array.from({ length: 5000 }, (_, i) => encodeContent(frameKinds.request, i, ['any'])),
    ],
  ])('and %s is given up', async (_name, frames) => {
    const { peer, closed } = await withHostilePeer({ request: () => new Promise(() => {}) })
    peer.write(Buffer.concat(frames))
    expect(await closed).toEqual(violation)
    await expect.poll(() => peer.closed).toBe(true)
  })

  it('and asks without listening is not listened to', async () => {
    let served = 0
    const { peer, closed } = await withHostilePeer({
      request: async () => {
        served++
        return { bytes: new Uint8Array(2 ** 18) }
      },
    })
    const asking = encodeContent(frameKinds.request, 1, ['read'])
    peer.pause()
    for (let i = 0; i < 20_000; i++) peer.write(asking)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(served).toBeLessThan(2000)
    peer.destroy()
    await closed
  })

  it('by whatever bytes does no more than end the channel', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(fc.constantFrom(...Object.values(frameKinds)), fc.nat(3), fc.jsonValue()),
        ),
        fc.uint8Array({ maxLength: 64 }),
        async (frames, rest) => {
          const { peer, closed } = await withHostilePeer()
          for (const [kind, id, value] of frames) peer.write(encodeContent(kind, id, value))
          peer.end(rest)
          const error = await closed
          if (error !== undefined) expect(error).toMatchObject({ message: expect.any(String) })
        },
      ),
      { numRuns: 60 },
    )
  })
})
