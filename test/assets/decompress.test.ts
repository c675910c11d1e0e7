import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decompressModule } from '../../lib/assets/decompress.js'

/** What `printf 'a kernel module\n' | xz --check=crc32` writes, as Debian's kernel packages do. */
const XZ = Buffer.from(
  '/Td6WFoAAAFpIt42AgAhARYAAAB0L+WjAQAPYSBrZXJuZWwgbW9kdWxlCgDinFAHAAEkEOlE2cyQQpkNAQAAAAABWVo=',
  'base64',
)
const TEXT = 'a kernel module\n'
const failure = expect.objectContaining({ code: 'ERR_ASSET', option: expect.any(String) })

describe('decompressModule', () => {
  it.each<[string, Uint8Array]>([
    ['plain.ko', Buffer.from(TEXT)],
    ['module.ko.xz', XZ],
    ['module.ko.gz', gzipSync(TEXT)],
  ])('reads %s', async (name, bytes) => {
    expect(Buffer.from(await decompressModule(name, bytes)).toString()).toBe(TEXT)
  })

  it('says which file it does not know how to read', async () => {
    await expect(decompressModule('module.ko.zst', XZ)).rejects.toEqual(failure)
  })

  it.each(['a.ko.xz', 'a.ko.gz'])('refuses any %s that is cut short', async (name) => {
    const whole = name.endsWith('xz') ? XZ : gzipSync(TEXT)
    for (let length = 0; length < whole.length; length++) {
      await expect(decompressModule(name, whole.subarray(0, length)), `${length}`).rejects.toEqual(
        failure,
      )
    }
  })

  it('never hangs, and never gives another text, for a damaged xz file', async () => {
    const damage = fc.record({ at: fc.nat(XZ.length - 1), byte: fc.nat(255) })
    await fc.assert(
      fc.asyncProperty(damage, async ({ at, byte }) => {
        const copy = Uint8Array.from(XZ)
        copy[at] = byte
        const text = await decompressModule('a.ko.xz', copy).then(String, () => undefined)
        if (text !== undefined) expect(Buffer.from(copy)).toEqual(XZ)
      }),
    )
  })
})
