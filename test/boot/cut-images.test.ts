import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cacheDirectory } from '../../lib/assets/cache.js'
import { isElf, parseElf } from '../../lib/boot/elf.js'
import { extractVmlinux } from '../../lib/boot/extract-vmlinux.js'
import { ImageFile } from '../../lib/boot/image-file.js'
import * as setup from '../../lib/boot/linux-setup.js'
import { parseSetupHeader } from '../../lib/boot/setup-header.js'
import { boot, failureOf, MIB } from '../helpers/boot.js'
import { guestRam } from '../helpers/guest-ram.js'

// Images that other tests have fetched. None is fetched here: this needs neither apt nor a network.
const KERNEL = 'linux-6.12-cloud-amd64/vmlinuz'
const IMAGES = [KERNEL, 'package-memtest86+/boot/memtest86+x64.bin', 'xen/xen']
  .map((name) => [name, join(cacheDirectory(), name)] as const)
  .filter(([, path]) => existsSync(path))
const memory = guestRam(256 * MIB)

const imageFile = (bytes: Uint8Array) => new ImageFile(bytes, 'kernel', 'ERR_KERNEL_IMAGE')

/** Where something begins or ends, and the bytes on either side. */
const around = (offsets: readonly number[]) => offsets.flatMap((at) => [at - 1, at, at + 1])

/** The interesting offsets of an image, and how long it must be at least. */
function layoutOf(image: Uint8Array): { cuts: number[]; whole: number } {
  const file = imageFile(image)
  const head = Array.from({ length: 0x400 }, (_, i) => i)
  if (isElf(image)) {
    const { segments, notes } = parseElf(file)
    const ends = [...segments, ...notes].flatMap(({ offset, filesz }) => [offset, offset + filesz])
    return { cuts: [...head, ...around(ends)], whole: Math.max(...ends) }
  }
  const { kernelOffset, payloadOffset, payloadLength } = parseSetupHeader(file)
  const view = new DataView(image.buffer, image.byteOffset)
  const payload = kernelOffset + payloadOffset
  const whole = kernelOffset + (view.getUint32(setup.SYSSIZE, true) - 1) * 16 + 1
  const places = [kernelOffset, kernelOffset + setup.ENTRY_64, payload, payload + payloadLength]
  return { cuts: [...head, ...around([...places, whole])], whole }
}

describe.each(IMAGES)('%s', (_, path) => {
  const images = new Map<string, Uint8Array>([['as it is', new Uint8Array(readFileSync(path))]])
  if (path.endsWith(KERNEL)) {
    images.set('unpacked', extractVmlinux(imageFile(images.get('as it is')!))!)
  }

  it.each([...images])('%s is refused wherever it is cut', (_kind, image) => {
    const { cuts, whole } = layoutOf(image)
    boot(image, { memory })
    const lengths = [...new Set(cuts)].filter((length) => length >= 0 && length < whole)
    expect(lengths.length).toBeGreaterThan(0x400)
    for (const length of lengths) {
      const failure = failureOf(() => boot(image.subarray(0, length), { memory }))
      expect(failure.code).toBe('ERR_KERNEL_IMAGE')
    }
  })
})

if (IMAGES.length === 0) {
  const reason = `no image in ${cacheDirectory()}`
  console.log(`not tested: images that are cut: ${reason}`)
  // A file without tests would be an error.
  it.skip(reason)
}
