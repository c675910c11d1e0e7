import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { extractVmlinux } from '../../lib/boot/extract-vmlinux.js'
import { ImageFile } from '../../lib/boot/image-file.js'
import * as setup from '../../lib/boot/linux-setup.js'
import { le32 } from '../../lib/util/bits.js'
import { boot, failureOf, MIB } from '../helpers/boot.js'
import { compressWith, lz4Literals, missingCompressor, words } from '../helpers/compressed.js'
import { bzImage, ELF_ADDRESS, elfImage, HLT } from '../helpers/kernel-images.js'

const PAYLOAD_OFFSET = 0x300

function sizeBytes(size: number): number[] {
  return le32(size)
}

/** A bzImage with a payload in it. */
function withPayload(payload: Uint8Array, fields: Record<number, number> = {}): Uint8Array {
  const kernelSize = Math.ceil((PAYLOAD_OFFSET + payload.length) / 16) * 16
  const image = bzImage({
    kernelSize,
    fields: {
      [setup.PAYLOAD_OFFSET]: PAYLOAD_OFFSET,
      [setup.PAYLOAD_LENGTH]: payload.length,
      ...fields,
    },
  })
  image.set(payload, 1024 + PAYLOAD_OFFSET)
  return image
}

const extract = (image: Uint8Array) =>
  extractVmlinux(new ImageFile(image, 'kernel', 'ERR_KERNEL_IMAGE'))
const vmlinux = elfImage({
  segments: [{ bytes: HLT }, { bytes: words(2000), paddr: ELF_ADDRESS + 4096 }],
})
const gzip = (bytes: Uint8Array) => Uint8Array.from(gzipSync(bytes))
const lz4 = (bytes: Uint8Array) =>
  Uint8Array.from([...lz4Literals(bytes), ...sizeBytes(bytes.length)])
const zstd = (bytes: Uint8Array) =>
  Uint8Array.from([...compressWith('zstd', ['-c', '-19'], bytes), ...sizeBytes(bytes.length)])

describe('the kernel in a bzImage', () => {
  it.each([
    ['gzip', gzip],
    ['LZ4', lz4],
  ])('is unpacked from %s, and boots', (_, compress) => {
    const extracted = extract(withPayload(compress(vmlinux)))!
    expect(Buffer.compare(extracted, vmlinux)).toBe(0)
    expect(boot(extracted).entry.rip).toBe(BigInt(ELF_ADDRESS))
  })

  it.skipIf(missingCompressor('zstd'))('is unpacked from Zstandard', () => {
    expect(Buffer.compare(extract(withPayload(zstd(vmlinux)))!, vmlinux)).toBe(0)
  })

  it.each([
    ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
    ['bzip2', [0x42, 0x5a, 0x68]],
    ['nothing known', [1, 2, 3]],
  ])('is left to the guest if it is compressed by %s', (_, magic) => {
    expect(
      extract(withPayload(Uint8Array.from([...magic, ...new Uint8Array(100)]))),
    ).toBeUndefined()
  })

  const refused = (payload: Uint8Array, fields?: Record<number, number>) => {
    const error = failureOf(() => extract(withPayload(payload, fields)))
    expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', option: 'kernel' })
    return error.message
  }

  it.each([
    ['is cut off', gzip(vmlinux).slice(0, 1000), 'at most'],
    [
      'is damaged',
      gzip(vmlinux).map((byte, i) => (i === 500 ? byte ^ 0xff : byte)),
      'cannot be unpacked',
    ],
    ['is damaged', lz4(vmlinux).fill(0xff, 4, 8), 'cannot be unpacked'],
    ['is no ELF', gzip(words(1000)), 'an ELF of'],
    [
      'is shorter than it says',
      Uint8Array.from([...lz4Literals(vmlinux), ...sizeBytes(vmlinux.length + 1)]),
      'an ELF of',
    ],
    [
      'is longer than it says',
      Uint8Array.from([...lz4Literals(vmlinux), ...sizeBytes(100)]),
      'cannot be unpacked',
    ],
    [
      'claims 4 GiB',
      Uint8Array.from([...lz4Literals(vmlinux), ...sizeBytes(0xffff_ffff)]),
      'unpacks to 4294967295 bytes',
    ],
  ])('is refused if it %s', (_, payload, message) => {
    expect(refused(payload)).toContain(message)
  })

  it('is no bomb: neither beyond init_size nor beyond what it says', () => {
    const bomb = gzip(new Uint8Array(64 * MIB))
    expect(bomb.length).toBeLessThan(MIB)
    expect(refused(bomb)).toContain('unpacks to 67108864 bytes; expected at most 1048576')
    bomb.set(sizeBytes(1000), bomb.length - 4)
    expect(refused(bomb)).toContain('cannot be unpacked')
    const large = { [setup.INIT_SIZE]: 0xffff_ffff }
    const claim = Uint8Array.from([...lz4Literals(vmlinux), ...sizeBytes(2 ** 30)])
    expect(refused(claim, large)).toContain('expected at most 536870912')
  })

  it('is where the header says, or refused', () => {
    const payload = gzip(vmlinux)
    for (const [offset, length] of [
      [PAYLOAD_OFFSET, 0],
      [PAYLOAD_OFFSET, 4],
      [PAYLOAD_OFFSET, payload.length + 16],
      [PAYLOAD_OFFSET + 16, payload.length],
      [0xffff_ffff, 100],
      [0xffff_ff00, 0xffff_ffff],
    ] as const) {
      const fields = { [setup.PAYLOAD_OFFSET]: offset, [setup.PAYLOAD_LENGTH]: length }
      expect(refused(payload, fields)).toContain('has payload_length')
    }
  })
})
