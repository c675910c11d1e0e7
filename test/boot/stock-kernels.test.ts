import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HIGH_MEMORY_START, ZERO_PAGE_START } from '../../lib/arch/x86-64/layout.js'
import { cacheDirectory } from '../../lib/assets/cache.js'
import * as setup from '../../lib/boot/linux-setup.js'
import { VmmError } from '../../lib/errors.js'
import { boot, failureOf, MIB } from '../helpers/boot.js'
import { guestRam } from '../helpers/guest-ram.js'

// Kernels that other tests or `npm start` have fetched. None is fetched here: this needs neither apt nor a network.
const kernels = existsSync(cacheDirectory())
  ? readdirSync(cacheDirectory())
      .filter((name) => name.startsWith('linux-'))
      .map((name) => [name, join(cacheDirectory(), name, 'vmlinuz')] as const)
      .filter(([, path]) => existsSync(path))
  : []
// One memory for all: the loader writes over what was there.
const memory = guestRam(256 * MIB)
const initrd = Uint8Array.from({ length: 5000 }, (_, i) => i % 253)

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'node-kvm-stock-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Where the protected-mode kernel begins in its file. */
const kernelOffset = (image: Uint8Array) => (image[setup.SETUP_SECTS]! + 1) * 512

describe.each(kernels)('the stock kernel %s', (_, path) => {
  const image = new Uint8Array(readFileSync(path))

  it('is put into memory as it is in its file', () => {
    const { entry } = boot(path, { memory, initrd, commandLine: ['quiet'], rsdp: 0xe_0000 })
    const start = Number(entry.rip) - setup.ENTRY_64
    expect(start).toBeGreaterThanOrEqual(HIGH_MEMORY_START)
    const body = image.subarray(kernelOffset(image))
    expect(Buffer.compare(memory.view(start, body.length), body)).toBe(0)
    const page = memory.dataView(ZERO_PAGE_START, 4096)
    const file = new DataView(image.buffer)
    for (const field of [setup.INIT_SIZE, setup.KERNEL_ALIGNMENT, setup.INITRD_ADDR_MAX]) {
      expect(page.getUint32(field, true)).toBe(file.getUint32(field, true))
    }
    expect(page.getUint16(setup.VERSION, true)).toBe(file.getUint16(setup.VERSION, true))
    const at = page.getUint32(setup.RAMDISK_IMAGE, true)
    expect(at).toBeGreaterThanOrEqual(start + page.getUint32(setup.INIT_SIZE, true))
    expect(memory.read(at, page.getUint32(setup.RAMDISK_SIZE, true))).toEqual(initrd)
  })

  it('is refused where it does not fit', () => {
    const needed = new DataView(image.buffer).getUint32(setup.INIT_SIZE, true)
    expect(failureOf(() => boot(path, { memory: 16 * MIB }))).toMatchObject({
      code: 'ERR_KERNEL_IMAGE',
      value: needed,
      expected: 'at most 0, the memory that is there',
    })
    const all = new Uint8Array(256 * MIB)
    expect(failureOf(() => boot(path, { memory, initrd: all }))).toMatchObject({
      code: 'ERR_INITRD',
      value: 256 * MIB,
    })
  })

  it('is refused if it is cut off', () => {
    const offset = kernelOffset(image)
    const half = Math.floor(image.length / 2)
    for (const length of [0x206, 0x264, offset - 1, offset, offset + 0x200, half]) {
      const cut = join(folder, 'cut')
      writeFileSync(cut, image.subarray(0, length))
      expect(failureOf(() => boot(cut, { memory }))).toMatchObject({
        code: 'ERR_KERNEL_IMAGE',
        value: length,
      })
    }
  })

  it('with random bytes of its header changed loads or is refused', () => {
    // Few runs, as each that loads copies the whole kernel; hostile-images.test.ts has many on small ones.
    const seen = { loaded: 0, refused: 0 }
    const change = fc.tuple(fc.integer({ min: setup.SETUP_SECTS, max: 0x268 }), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = image.slice()
        for (const [at, byte] of changes) changed[at] = byte
        try {
          const { entry } = boot(changed, { memory, initrd })
          expect(memory.findRegion(Number(entry.rip), 1)).toBeDefined()
          seen.loaded++
        } catch (error) {
          if (!(error instanceof VmmError)) throw error
          expect(['ERR_KERNEL_IMAGE', 'ERR_INITRD', 'ERR_COMMAND_LINE']).toContain(error.code)
          seen.refused++
        }
      }),
      { numRuns: 60 },
    )
    expect(seen.loaded).toBeGreaterThan(0)
    expect(seen.refused).toBeGreaterThan(0)
  })
})

if (kernels.length === 0) {
  const reason = `no stock kernel in ${cacheDirectory()}`
  console.log(`not tested: stock kernels as they are loaded: ${reason}`)
  // A file without tests would be an error.
  it.skip(reason)
}
