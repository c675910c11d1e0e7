import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as protocol from '../../lib/agent/protocol.js'

const { encodeFrame, FrameDecoder, PAYLOAD_MAX } = protocol

const frame = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  session: fc.integer({ min: 0, max: 65535 }),
  stream: fc.integer({ min: 0, max: 255 }),
  payload: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
})

/** Cuts bytes into pieces of these lengths, over and over. */
function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; at += lengths[i++ % lengths.length]!) {
    pieces.push(bytes.subarray(at, at + lengths[i % lengths.length]!))
  }
  return pieces
}

describe('FrameDecoder', () => {
  it('gives what was encoded, however the bytes come', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 8 }),
        (frames, lengths) => {
          const bytes = Buffer.concat(
            frames.map(({ type, session, payload, stream }) =>
              encodeFrame(type, session, payload, stream),
            ),
          )
          const decoder = new FrameDecoder()
          expect(cut(bytes, lengths).flatMap((piece) => decoder.push(piece))).toEqual(frames)
        },
      ),
    )
  })

  it('refuses a frame that is too long before it has come', () => {
    const header = encodeFrame(protocol.DATA, 1)
    header.writeUInt32LE(PAYLOAD_MAX + 1, 0)
    expect(() => new FrameDecoder().push(header)).toThrow(RangeError)
    header.writeUInt32LE(PAYLOAD_MAX, 0)
    expect(new FrameDecoder().push(header)).toEqual([])
  })
})

it('the agent has the same numbers', () => {
  const source = readFileSync(
    new URL('../../native/guest-agent/protocol.h', import.meta.url),
    'utf8',
  )
  const enums = [...source.matchAll(/enum(?: \w+)? \{([^}]*)\}/g)]
  const numbers = new Map<string, number>()
  for (const [, body = ''] of enums) {
    let next = 0
    for (const item of body.replace(/\/\/.*/g, '').split(',')) {
      const [, name, value] = /^\s*k(\w+)(?:\s*=\s*(\w+))?\s*$/.exec(item) ?? []
      if (!name) continue
      if (value) next = Number(value)
      numbers.set(name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase(), next++)
    }
  }
  const theirs = (name: string) =>
    numbers.get(
      { PROTOCOL_VERSION: 'VERSION', HELLO_MAGIC: 'MAGIC', AGENT_PORT: 'PORT' }[name] ?? name,
    )
  const ours = Object.entries(protocol).filter(([, value]) => typeof value === 'number')
  const shared = ours.filter(([name]) => name !== 'RESERVED_PORTS_END')
  expect(shared.length).toBeGreaterThan(20)
  expect(shared.map(([name]) => [name, theirs(name)])).toEqual(shared)
  const steps = [...numbers.keys()].filter((name) => name.startsWith('STEP_'))
  expect(steps).toHaveLength(protocol.STEPS.length)
})
