import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PatchedMemory } from '../../lib/debug/patched-memory.js'
import { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainRegion } from '../../lib/memory/guest-region.js'

const SIZE = 4096

function rig() {
  const memory = new GuestMemory([plainRegion(0, SIZE)])
  return { memory, patched: new PatchedMemory(memory) }
}

describe('patched memory', () => {
  it('shows what would be there without patches, whatever is done', () => {
    const address = fc.nat(40)
    const action = fc.oneof(
      fc.record({ do: fc.constant('patch' as const), address }),
      fc.record({ do: fc.constant('restore' as const), address }),
      fc.record({
        do: fc.constant('write' as const),
        address,
        bytes: fc.uint8Array({ maxLength: 9 }),
      }),
    )
    fc.assert(
      fc.property(fc.array(action), (actions) => {
        const { memory, patched } = rig()
        const expected = new Uint8Array(64)
        const places = new Set<number>()
        for (const each of actions) {
          if (each.do === 'patch') {
            expect(patched.patch(each.address, 0xcc)).toBe(!places.has(each.address))
            places.add(each.address)
          } else if (each.do === 'restore') {
            patched.restore(each.address)
            places.delete(each.address)
          } else {
            expect(patched.write(each.address, each.bytes)).toBe(true)
            expected.set(each.bytes, each.address)
          }
          expect(patched.read(0, 64)).toEqual(expected)
          for (const place of places) expect(memory.read(place, 1)[0]).toBe(0xcc)
        }
        for (const place of places) patched.restore(place)
        expect(memory.read(0, 64)).toEqual(expected)
      }),
    )
  })

  it('leaves alone what the guest has written over a patch', () => {
    const { memory, patched } = rig()
    patched.patch(16, 0xcc)
    memory.write(16, Uint8Array.of(7))
    expect(patched.read(16, 1)).toEqual(Uint8Array.of(7))
    patched.restore(16)
    expect(memory.read(16, 1)).toEqual(Uint8Array.of(7))
  })

  it('is nowhere but in memory', () => {
    const { patched } = rig()
    expect(patched.read(SIZE - 1, 2)).toBeUndefined()
    expect(patched.write(SIZE - 1, Uint8Array.of(1, 2))).toBe(false)
    expect(patched.read(SIZE - 1, 1)).toEqual(Uint8Array.of(0))
    expect(patched.patch(SIZE, 0xcc)).toBe(false)
    expect(patched.isPatched(SIZE)).toBe(false)
  })
})
