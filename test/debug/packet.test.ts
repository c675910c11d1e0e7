import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodePacket, type GdbInput, PacketDecoder } from '../../lib/debug/packet.js'

/** A decoder's inputs for `bytes`, handed over in pieces that end at `cuts`. */
function decode(bytes: Uint8Array, limit = 1024, cuts: readonly number[] = []): GdbInput[] {
  const decoder = new PacketDecoder(limit)
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  return ends.flatMap((end, index) => decoder.push(bytes.subarray(ends[index - 1] ?? 0, end)))
}

const bytesOf = (text: string) => Buffer.from(text, 'latin1')

describe('packets', () => {
  it('come back as they went, in whatever pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }),
        fc.array(fc.nat()),
        (payloads, cuts) => {
          const inputs = decode(Buffer.concat(payloads.map(encodePacket)), 1024, cuts)
          const packets = payloads.map((payload) => ({
            kind: 'packet',
            payload: Buffer.from(payload),
          }))
          expect(inputs).toEqual(packets)
        },
      ),
    )
  })

  it('are found behind whatever garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), (garbage) => {
        const inputs = decode(Buffer.concat([garbage, bytesOf('#00$g#67')]), 64)
        expect(inputs.at(-1)).toEqual({ kind: 'packet', payload: bytesOf('g') })
        for (const input of inputs) {
          if (input.kind === 'packet') expect(input.payload.length).toBeLessThanOrEqual(64)
        }
      }),
    )
  })

  it('have the frame of the manual', () => {
    expect(encodePacket('OK').toString()).toBe('$OK#9a')
    expect(encodePacket('').toString()).toBe('$#00')
    expect([...encodePacket(Uint8Array.of(0x7d))]).toEqual([...bytesOf('$}]#da')])
  })

  it.each([
    ['a wrong checksum', '$g#68'],
    ['a checksum that is none', '$g#+7'],
    ['more than the limit', `$${'a'.repeat(65)}#a1`],
  ])('with %s are bad', (_, text) => {
    expect(decode(bytesOf(text), 64)).toEqual([{ kind: 'bad-packet' }])
  })

  it('may be as long as the limit', () => {
    expect(decode(encodePacket('a'.repeat(64)), 64)).toMatchObject([{ kind: 'packet' }])
  })

  it('begin anew at a dollar sign', () => {
    expect(decode(bytesOf('$garb$g#67'))).toMatchObject([{ payload: bytesOf('g') }])
  })

  it('that end in an escape are no more than that', () => {
    expect(decode(bytesOf('$}#7d'))).toEqual([{ kind: 'packet', payload: Buffer.from([0x20]) }])
  })
})

describe('between packets', () => {
  it('are acknowledgements and control-C', () => {
    const kinds = decode(bytesOf('+-\x03x')).map(({ kind }) => kind)
    expect(kinds).toEqual(['ack', 'nak', 'interrupt'])
  })

  it('control-C within a packet is data', () => {
    expect(decode(bytesOf('$\x03#03'))).toEqual([{ kind: 'packet', payload: bytesOf('\x03') }])
  })
})
