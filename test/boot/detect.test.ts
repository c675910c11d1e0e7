import { describe, expect, it } from 'vitest'
import { detectBootProtocol } from '../../lib/boot/detect.js'
import { ImageFile } from '../../lib/boot/image-file.js'
import { failureOf } from '../helpers/boot.js'
import { bzImage, elfImage } from '../helpers/kernel-images.js'

const detect = (bytes: Uint8Array) =>
  detectBootProtocol(new ImageFile(bytes, 'kernel', 'ERR_KERNEL_IMAGE'))

function padded(start: readonly number[] | string, size = 1024): Uint8Array {
  const bytes = new Uint8Array(size)
  bytes.set(typeof start === 'string' ? new TextEncoder().encode(start) : start)
  return bytes
}

describe('the boot protocol', () => {
  it('is known by the magic number', () => {
    expect(detect(bzImage()).name).toBe('a Linux bzImage')
    expect(detect(elfImage()).name).toBe('an ELF kernel (vmlinux)')
    expect(detect(elfImage({ bits: 32 })).name).toBe('an ELF kernel (vmlinux)')
  })

  it.each([
    ['empty', new Uint8Array(0)],
    ['no kernel, beginning with 00', new Uint8Array(1)],
    ['no kernel, beginning with 7f 45 4c', Uint8Array.of(0x7f, 0x45, 0x4c)],
    ['no kernel, beginning with 00 00 00 00 00 00 00 00', new Uint8Array(4096)],
    ['gzip-compressed', padded([0x1f, 0x8b, 8])],
    ['xz-compressed', padded([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])],
    ['zstd-compressed', padded([0x28, 0xb5, 0x2f, 0xfd])],
    ['an EFI program without a Linux kernel header', padded('MZ')],
    ['a cpio archive, such as an initrd', padded('070701')],
    ['a qcow2 disk image', padded('QFI\u00fb'.slice(0, 3), 4)],
    ['an archive, such as a Debian package', padded('!<arch>\n')],
    ['a script', padded('#!/bin/sh\n')],
  ])('of an image that is %s', (what, bytes) => {
    if (what.includes('qcow2')) bytes.set([0x51, 0x46, 0x49, 0xfb])
    const error = failureOf(() => detect(bytes))
    expect(error).toMatchObject({
      code: 'ERR_KERNEL_IMAGE',
      option: 'kernel',
      value: bytes.length,
      expected: 'a Linux bzImage, a Multiboot kernel or an ELF kernel (vmlinux)',
    })
    expect(error.message).toBe(`kernel is ${what}; expected ${error.expected}`)
  })

  it('tells a kernel for ARM64 and a disk with a boot sector', () => {
    const arm = padded('MZ')
    arm.set([0x41, 0x52, 0x4d, 0x64], 0x38)
    expect(failureOf(() => detect(arm)).message).toContain('is a kernel for ARM64')
    const disk = new Uint8Array(512)
    disk.set([0x55, 0xaa], 510)
    expect(failureOf(() => detect(disk)).message).toContain('is a disk with a boot sector')
  })

  it('of a bzImage cut before its magic number is none', () => {
    for (const length of [0, 1, 511, 0x205]) {
      expect(() => detect(bzImage().slice(0, length))).toThrow(
        expect.objectContaining({ code: 'ERR_KERNEL_IMAGE' }),
      )
    }
    expect(detect(bzImage().slice(0, 0x206)).name).toBe('a Linux bzImage')
  })
})
