import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VmmError } from '../../lib/errors.js'
import { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainRegion } from '../../lib/memory/guest-region.js'
import { boot, MIB } from '../helpers/boot.js'
import {
  bzImage,
  elfImage,
  HLT,
  multibootElf,
  multibootImage,
  PT_NOTE,
  pvhImage,
  pvhNote,
} from '../helpers/kernel-images.js'

// One memory for all runs: allocating it anew would take most of the time.
const memory = new GuestMemory([plainRegion(0, 20 * MIB)])
const initrd = new Uint8Array(3000)

const KERNEL_ERRORS = ['ERR_KERNEL_IMAGE', 'ERR_INITRD', 'ERR_COMMAND_LINE']

/** Whether it loads; anything but an error of the kinds that there are for it fails the test. */
function loads(image: Uint8Array): boolean {
  try {
    const { entry } = boot(image, { memory, initrd, commandLine: ['quiet'] })
    // Whatever the image says, the guest starts within its memory and outside the machine's own tables.
    expect(memory.findRegion(Number(entry.rip), 1)).toBeDefined()
    expect(Number(entry.rip)).toBeGreaterThanOrEqual(MIB)
    return true
  } catch (error) {
    if (!(error instanceof VmmError)) throw error
    expect(KERNEL_ERRORS).toContain(error.code)
    expect(error.option).toBeDefined()
    expect(error.expected).toBeDefined()
    expect(error.message.length).toBeLessThan(400)
    return false
  }
}

const images: Record<string, Uint8Array> = {
  bzImage: bzImage({ setupSects: 2 }),
  ELF64: elfImage({ segments: [{ bytes: HLT }, { bytes: HLT, paddr: 17 * MIB, memsz: 4096 }] }),
  'Multiboot by addresses': multibootImage({ before: 8, code: new Uint8Array(64).fill(0xf4) }),
  'Multiboot in ELF32': multibootElf(new Uint8Array(64).fill(0xf4)),
  'PVH in ELF64': pvhImage(),
  'PVH in ELF32': pvhImage({ bits: 32 }),
  'ELF64 with notes twice': elfImage({
    segments: [
      { bytes: HLT },
      { type: PT_NOTE, bytes: pvhNote(0), align: 8 },
      { type: PT_NOTE, bytes: pvhNote() },
    ],
  }),
}
// Loads or is refused: either is a result to start from.
const runs = { numRuns: 2000 }

describe.each(Object.keys(images))('%s', (name) => {
  const image = images[name]!

  it('with random bytes changed loads or is refused', () => {
    const interesting = fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)
    const change = fc.tuple(
      fc.nat(Math.min(image.length, 0x300) - 1),
      fc.oneof(interesting, fc.nat(255)),
    )
    let loaded = 0
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
        const flipped = image.slice()
        for (const [at, byte] of changes) flipped[at] = byte
        if (loads(flipped)) loaded++
      }),
      runs,
    )
    // Else it would be the same early refusal all the time.
    expect(loaded).toBeGreaterThan(0)
    expect(loaded).toBeLessThan(runs.numRuns)
  })

  it('with a random field changed loads or is refused', () => {
    const extreme = [
      0n,
      1n,
      2n ** 31n - 1n,
      2n ** 31n,
      2n ** 32n - 1n,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 1n,
    ]
    const value = fc.oneof(fc.constantFrom(...extreme), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))
    const field = fc.tuple(
      fc.nat(Math.floor(Math.min(image.length, 0x300) / 4) - 3),
      fc.constantFrom(4, 8),
      value,
    )
    fc.assert(
      fc.property(fc.array(field, { minLength: 1, maxLength: 3 }), (fields) => {
        const changed = image.slice()
        const view = new DataView(changed.buffer)
        for (const [index, width, word] of fields) {
          if (width === 8) view.setBigUint64(index * 4, word, true)
          else view.setUint32(index * 4, Number(BigInt.asUintN(32, word)), true)
        }
        loads(changed)
      }),
      runs,
    )
  })

  it('cut anywhere loads or is refused', () => {
    for (let length = 0; length <= image.length; length++) loads(image.slice(0, length))
  })
})

it('random bytes behind a magic number load or are refused', () => {
  const magics = [
    [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1],
    [0x7f, 0x45, 0x4c, 0x46, 1, 1, 1],
  ]
  fc.assert(
    fc.property(fc.constantFrom(...magics), fc.uint8Array({ maxLength: 600 }), (magic, bytes) => {
      const image = Uint8Array.from([...magic, ...bytes])
      loads(image)
      const setup = new Uint8Array(0x202 + 600)
      setup.set(bytes.subarray(0, 600), 0x1f1)
      setup.set([0x48, 0x64, 0x72, 0x53], 0x202)
      loads(setup)
    }),
    runs,
  )
})
