import { describe, expect, it } from 'vitest'
import { COMMAND_LINE_START } from '../../lib/arch/x86-64/layout.js'
import { type FlatOptions, flatBinary } from '../../lib/boot/flat.js'
import { boot, failureOf, MIB } from '../helpers/boot.js'

const code = Uint8Array.of(0xb0, 1, 0xf4)
const flat = (options: FlatOptions, image: Uint8Array = code, commandLine: string[] = []) =>
  boot(image, { protocol: flatBinary(options), commandLine })

describe('a flat binary', () => {
  it('in real mode starts where boot sectors do', () => {
    const { memory, entry } = flat({ mode: 'real' })
    expect(memory.read(0x7c00, 3)).toEqual(code)
    expect(entry).toMatchObject({ rip: 0x7c00n, cr0: 0x10n, efer: 0n })
    expect(entry.cs).toMatchObject({ base: 0n, selector: 0, limit: 0xffff, db: 0, l: 0 })
    expect(entry.idt).toEqual({ base: 0n, limit: 0x3ff })
  })

  it.each([
    [0, 0, 0n],
    [0xffff, 0, 0xffffn],
    [0x1_0000, 0x1000, 0n],
    [0x1_2345, 0x1000, 0x2345n],
    [0xf_fff0, 0xf000, 0xfff0n],
  ])('in real mode at 0x%i has a segment to match', (address, selector, rip) => {
    const { memory, entry } = flat({ mode: 'real', address })
    expect(entry).toMatchObject({ rip, cs: { selector, base: BigInt(selector * 16) } })
    expect(memory.read(address, 3)).toEqual(code)
  })

  it('in protected and long mode starts at 1 MiB', () => {
    const guarded = flat({ mode: 'protected' })
    expect(guarded.entry).toMatchObject({ rip: 0x10_0000n, rbx: 0n, efer: 0n, cr0: 0x11n })
    expect(guarded.memory.read(MIB, 3)).toEqual(code)
    const long = flat({ mode: 'long' })
    expect(long.entry).toMatchObject({ rip: 0x10_0000n, efer: 0x500n, cs: { l: 1 } })
    expect(long.memory.read(MIB, 3)).toEqual(code)
  })

  it('starts at its entry, and finds its command line', () => {
    const { memory, entry } = flat({ mode: 'long', address: 2 * MIB, entry: 2 * MIB + 2 }, code, [
      'x',
    ])
    expect(entry).toMatchObject({ rip: BigInt(2 * MIB + 2), rsi: BigInt(COMMAND_LINE_START) })
    expect(memory.read(COMMAND_LINE_START, 2)).toEqual(Uint8Array.of(0x78, 0))
  })

  it.each<[FlatOptions, string]>([
    [{ mode: 'real', address: 0x10_0000 }, 'address'],
    [{ mode: 'real', entry: 0x10_0000 }, 'entry'],
    [{ mode: 'long', address: -1 }, 'address'],
    [{ mode: 'long', address: 1.5 }, 'address'],
    [{ mode: 'long', address: Number.NaN }, 'address'],
    [{ mode: 'protected', address: 0xc000_0000 }, 'address'],
    [{ mode: 'protected', entry: 2 ** 53 }, 'entry'],
  ])('cannot be at %j', (options, option) => {
    expect(failureOf(() => flatBinary(options))).toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option,
    })
  })

  it.each<[string, FlatOptions, Uint8Array]>([
    ['is empty', { mode: 'real' }, new Uint8Array(0)],
    ['does not fit', { mode: 'long', address: 32 * MIB - 2 }, code],
    ['is beyond the memory', { mode: 'long', address: 33 * MIB }, code],
    ['has its entry behind it', { mode: 'long', entry: MIB + 3 }, code],
    ['has its entry before it', { mode: 'long', entry: MIB - 1 }, code],
    ['would lie over the GDT', { mode: 'protected', address: 0x4fe }, code],
    ['would lie over the page tables', { mode: 'long', address: 0xefff }, code],
    ['would lie over the page tables', { mode: 'long', address: 0x7c00 }, new Uint8Array(0x2000)],
    ['would lie over the command line', { mode: 'real', address: 0x1_ffff }, code],
  ])('that %s is refused', (_, options, image) => {
    expect(failureOf(() => flat(options, image))).toMatchObject({
      code: 'ERR_KERNEL_IMAGE',
      option: 'kernel',
    })
  })

  it('has no initrd', () => {
    const options = { protocol: flatBinary({ mode: 'real' }), initrd: code }
    expect(failureOf(() => boot(code, options))).toMatchObject({ code: 'ERR_INITRD' })
  })

  it('is never taken for one by how it begins', () => {
    expect(flatBinary({ mode: 'real' }).recognizes(code, undefined as never)).toBe(false)
  })
})
