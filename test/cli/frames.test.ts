import { once } from 'node:events'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  encodeFrame,
  FRAME_MAX,
  FrameDecoder,
  FrameEncoder,
  STDIN,
  STDIN_END,
} from '../../lib/cli/supervisor/frames.js'

function collector() {
  const frames: [type: number, payload: string][] = []
  const decoder = new FrameDecoder((type, payload) => {
    frames.push([type, payload.toString('latin1')])
  })
  return { frames, decoder }
}

it('frames come through whatever the pieces', async () => {
  const frame = fc.tuple(fc.integer({ min: 0, max: 255 }), fc.string({ unit: 'binary-ascii' }))
  await fc.assert(
    fc.asyncProperty(fc.array(frame), fc.integer({ min: 1, max: 9 }), async (sent, size) => {
      const { frames, decoder } = collector()
      const bytes = Buffer.concat(sent.map(([type, payload]) => encodeFrame(type, payload)))
      for (let at = 0; at < bytes.length; at += size) decoder.write(bytes.subarray(at, at + size))
      decoder.end()
      await once(decoder, 'finish')
      expect(frames).toEqual(sent)
    }),
  )
})

it('one that is too long ends it', async () => {
  const { frames, decoder } = collector()
  const header = encodeFrame(STDIN)
  header.writeUInt32BE(FRAME_MAX + 1, 1)
  decoder.write(header)
  const [error] = await once(decoder, 'error')
  expect(String(error)).toContain('too long')
  expect(frames).toEqual([])
})

it('a stream is put into frames, and its end into one of its own', async () => {
  const { frames, decoder } = collector()
  const encoder = new FrameEncoder(STDIN, STDIN_END)
  encoder.pipe(decoder)
  encoder.end('text')
  await once(decoder, 'finish')
  expect(frames).toEqual([
    [STDIN, 'text'],
    [STDIN_END, ''],
  ])
})
