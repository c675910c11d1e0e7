import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeContent,
  encodeContent,
  encodeFrame,
  FRAME_HEADER,
  FrameDecoder,
  type FrameKind,
  frameKinds,
  ID_MAX,
  PAYLOAD_MAX,
} from '../../lib/isolation/frames.js'

const kinds = fc.constantFrom(...Object.values(frameKinds))
const frames = fc.array(
  fc.record({
    kind: kinds,
    id: fc.integer({ min: 0, max: ID_MAX }),
    payload: fc.uint8Array({ maxLength: 300 }),
  }),
  { maxLength: 8 },
)

/** Cuts bytes at the places given. */
function* cut(bytes: Buffer, places: readonly number[]) {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length]
  let at = 0
  for (const end of ends.sort((a, b) => a - b)) {
    yield Buffer.from(bytes.subarray(at, end))
    at = end
  }
}

const refusal = expect.objectContaining({ code: 'ERR_ISOLATION' })

describe('frames', () => {
  it('come out as they went in, however they are cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 12 }), (list, places) => {
        const bytes = Buffer.concat(
          list.map(({ kind, id, payload }) => encodeFrame(kind, id, payload)),
        )
        const decoder = new FrameDecoder()
        const out = [...cut(bytes, places)].flatMap((piece) => [...decoder.push(piece)])
        expect(out.map(({ payload, ...rest }) => ({ ...rest, payload: [...payload] }))).toEqual(
          list.map(({ payload, ...rest }) => ({ ...rest, payload: [...payload] })),
        )
      }),
    )
  })

  it('are refused or taken, and nothing else, if they are any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.array(fc.nat()), (bytes, places) => {
        const decoder = new FrameDecoder()
        try {
          for (const piece of cut(Buffer.from(bytes), places))
            for (const { payload } of decoder.push(piece)) {
              expect(payload.length).toBeLessThanOrEqual(bytes.length)
            }
        } catch (error) {
          expect(error).toEqual(refusal)
        }
      }),
    )
  })

  it.each([
    ['more than there may be', PAYLOAD_MAX + 1, frameKinds.message],
    ['4 GiB', 0xffff_ffff, frameKinds.data],
    ['of no kind', 0, 0],
    ['of another kind', 0, 99],
  ])('are refused if they are %s', (_name, length, kind) => {
    const header = Buffer.alloc(FRAME_HEADER)
    header.writeUInt32LE(length)
    header[7] = kind
    expect(() => [...new FrameDecoder().push(header)]).toThrow(refusal)
  })

  it('are not made if they are too long', () => {
    const bytes = new Uint8Array(PAYLOAD_MAX + 1)
    expect(() => encodeFrame(frameKinds.data, 0, bytes)).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
    )
  })
})

describe('a content', () => {
  it('comes out as it went in', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.uint8Array({ maxLength: 100 }), (value, bytes) => {
        const frame = encodeContent(frameKinds.message as FrameKind, 0, value, bytes)
        const content = decodeContent(frame.subarray(FRAME_HEADER))
        expect(content.value).toEqual(JSON.parse(JSON.stringify(value)))
        expect([...content.bytes]).toEqual([...bytes])
      }),
    )
  })

  it('is refused or taken if it is any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          decodeContent(Buffer.from(bytes))
        } catch (error) {
          expect(error).toEqual(refusal)
        }
      }),
    )
  })
})
