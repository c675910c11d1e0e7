import { execFileSync } from 'node:child_process'
import {
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ImageFile } from '../../lib/boot/image-file.js'
import { boot, failureOf } from '../helpers/boot.js'
import { bzImage } from '../helpers/kernel-images.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'node-kvm-image-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const open = (source: string | Uint8Array) => new ImageFile(source, 'kernel', 'ERR_KERNEL_IMAGE')
const openFiles = () => readdirSync('/proc/self/fd').length

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

describe('an image', () => {
  const content = Uint8Array.from({ length: 10_000 }, (_, i) => i % 251)

  it.each(['a file', 'bytes'])('of %s is read where asked', (kind) => {
    const image = open(kind === 'bytes' ? content : file('content', content))
    const into = new Uint8Array(100)
    image.readInto(into, 5000)
    expect(into).toEqual(content.subarray(5000, 5100))
    expect(image.read(9990, 100)).toEqual(content.subarray(9990))
    expect(image.read(20_000, 100)).toHaveLength(0)
    expect(image.size).toBe(10_000)
    image.close()
    image.close()
  })

  it.each(['a file', 'bytes'])('of %s says where it ends', (kind) => {
    const image = open(kind === 'bytes' ? content : file('content', content))
    const error = failureOf(() => image.readInto(new Uint8Array(2), 9999))
    expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', option: 'kernel', value: 10_000 })
    expect(() => image.readInto(new Uint8Array(1), 9999)).not.toThrow()
    image.close()
  })

  it('may be behind a symbolic link', () => {
    symlinkSync(file('content', content), join(folder, 'link'))
    const image = open(join(folder, 'link'))
    expect(image.size).toBe(10_000)
    image.close()
  })

  it('cannot be read after it is closed', () => {
    const image = open(file('content', content))
    image.close()
    expect(() => image.read(0, 1)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
  })

  it.each([
    ['a directory', () => folder],
    [
      'a FIFO without a writer',
      () => {
        const path = join(folder, 'fifo')
        execFileSync('mkfifo', [path])
        return path
      },
    ],
    ['/dev/zero', () => '/dev/zero'],
    ['/dev/tty', () => '/dev/tty'],
    ['a socket', () => '/proc/self/fd/0'],
    ['nothing', () => join(folder, 'missing')],
    ['a path through a file', () => join(file('content', content), 'below')],
    ['a path with NUL', () => 'vmlinuz\0'],
    ['a path that is too long', () => 'x'.repeat(2 ** 20)],
    [
      'a loop of links',
      () => {
        symlinkSync('loop', join(folder, 'loop'))
        return join(folder, 'loop')
      },
    ],
  ])('is not %s', (_, path) => {
    const source = path()
    const before = openFiles()
    const error = failureOf(() => open(source))
    expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', option: 'kernel', value: source })
    expect(error.message.length).toBeLessThan(400)
    expect(openFiles()).toBe(before)
  })

  it('is not larger than 4 GiB', () => {
    const path = file('sparse', new Uint8Array(0))
    truncateSync(path, 2 ** 32 + 1)
    const before = openFiles()
    expect(failureOf(() => open(path))).toMatchObject({ value: 2 ** 32 + 1 })
    expect(openFiles()).toBe(before)
    // A hole of 4 GiB is no kernel either, and is not read to find that out.
    truncateSync(path, 2 ** 32)
    expect(failureOf(() => boot(path))).toMatchObject({ code: 'ERR_KERNEL_IMAGE', value: 2 ** 32 })
  })

  it.each(['/proc/self/mem', '/proc/self/maps', '/sys/kernel/notes', '/dev/null'])(
    'in the place of %s is refused',
    (path) => {
      const before = openFiles()
      expect(failureOf(() => boot(path))).toMatchObject({ code: 'ERR_KERNEL_IMAGE' })
      expect(openFiles()).toBe(before)
    },
  )

  it('may shrink while it is read', () => {
    const path = file('shrinking', bzImage({ kernelSize: 0x10_0000 }))
    const image = open(path)
    ftruncateSync(openSync(path, 'r+'), 0x8_0000)
    const into = new Uint8Array(image.size)
    expect(failureOf(() => image.readInto(into, 0))).toMatchObject({ code: 'ERR_KERNEL_IMAGE' })
    image.close()
  })

  it('may be bytes whose buffer is taken away or shrinks', () => {
    const bytes = bzImage()
    const image = open(bytes)
    structuredClone(bytes.buffer, { transfer: [bytes.buffer as ArrayBuffer] })
    expect(failureOf(() => image.readInto(new Uint8Array(16), 0))).toMatchObject({
      code: 'ERR_KERNEL_IMAGE',
    })
    const resizable = new (ArrayBuffer as unknown as ResizableArrayBuffer)(4096, {
      maxByteLength: 4096,
    })
    const shrinking = open(new Uint8Array(resizable))
    resizable.resize(100)
    expect(failureOf(() => shrinking.readInto(new Uint8Array(200), 0))).toMatchObject({
      value: 4096,
    })
  })

  it('may be a part of a buffer', () => {
    const bytes = bzImage()
    const within = new Uint8Array(bytes.length + 20)
    within.set(bytes, 7)
    expect(boot(within.subarray(7, 7 + bytes.length)).entry.rip).toBe(0x100_0200n)
  })
})

/** ES2024, which the compiler's library for our target does not have. */
interface ResizableArrayBuffer {
  new (
    size: number,
    options: { maxByteLength: number },
  ): ArrayBuffer & { resize(size: number): void }
}
