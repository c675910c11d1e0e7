import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildInitramfs } from '../../lib/initramfs/initramfs.js'
import { readModuleInfo } from '../../lib/initramfs/module-info.js'
import { type ModuleSource, moduleName, resolveModules } from '../../lib/initramfs/module-order.js'

/** The smallest ELF object with a `.modinfo` section. */
function moduleObject(...modinfo: string[]): Uint8Array {
  const info = Buffer.from(modinfo.map((line) => `${line}\0`).join(''))
  const names = Buffer.from('\0.modinfo\0.names\0')
  const object = Buffer.alloc(64 + info.length + names.length + 3 * 64)
  const sectionsAt = 64 + info.length + names.length
  object.write('\x7fELF\x02\x01', 'latin1')
  object.writeBigUInt64LE(BigInt(sectionsAt), 40)
  object.writeUInt16LE(3, 60)
  object.writeUInt16LE(2, 62)
  info.copy(object, 64)
  names.copy(object, 64 + info.length)
  const section = (index: number, name: number, offset: number, size: number) => {
    object.writeUInt32LE(name, sectionsAt + index * 64)
    object.writeBigUInt64LE(BigInt(offset), sectionsAt + index * 64 + 24)
    object.writeBigUInt64LE(BigInt(size), sectionsAt + index * 64 + 32)
  }
  section(1, 1, 64, info.length)
  section(2, 10, 64 + info.length, names.length)
  return object
}

/** A kernel with these modules: `{ 'kernel/a.ko': ['depends=b'] }`. */
function kernel(modules: Record<string, string[]>, builtin: string[] = []): ModuleSource {
  return {
    order: Object.keys(modules)
      .map((path) => `${path}\n`)
      .join(''),
    builtin: builtin.map((path) => `${path}\n`).join(''),
    read: async (path) => moduleObject(...modules[path]!),
  }
}

async function order(source: ModuleSource, names: string[], optional: string[] = []) {
  return (await resolveModules(source, names, optional)).map(({ name }) => name)
}

describe('readModuleInfo', () => {
  it('reads name, dependencies and soft dependencies', () => {
    const object = moduleObject(
      'license=GPL',
      'depends=jbd2,mbcache',
      'softdep=pre: crc32c post: x',
      'name=ext4',
    )
    const expected = { name: 'ext4', depends: ['jbd2', 'mbcache'], softDepends: ['crc32c'] }
    expect(readModuleInfo(object)).toEqual(expected)
    expect(readModuleInfo(moduleObject('depends=')).depends).toEqual([])
  })

  it('refuses any cut of an object, and any bytes that are none', () => {
    const object = moduleObject('depends=a', 'name=b')
    const refusal = expect.objectContaining({ code: 'ERR_INVALID_OPTION' })
    for (let length = 0; length < object.length; length++) {
      expect(() => readModuleInfo(object.subarray(0, length))).toThrow(refusal)
    }
    const damaged = fc.record({ at: fc.nat(object.length - 1), byte: fc.nat(255) })
    fc.assert(
      fc.property(fc.array(damaged, { minLength: 1, maxLength: 4 }), (damages) => {
        const copy = Uint8Array.from(object)
        for (const { at, byte } of damages) copy[at] = byte
        try {
          readModuleInfo(copy)
        } catch (error) {
          expect(error).toEqual(refusal)
        }
      }),
    )
  })
})

describe('resolveModules', () => {
  it('puts every module after what it depends on, once', async () => {
    const source = kernel({
      'kernel/fs/ext4/ext4.ko': ['depends=jbd2,mbcache', 'softdep=pre: crc32c'],
      'kernel/fs/jbd2/jbd2.ko': ['depends=mbcache'],
      'kernel/fs/mbcache.ko': ['depends='],
      'kernel/crypto/crc32c.ko': ['depends='],
    })
    expect(await order(source, ['ext4', 'jbd2'])).toEqual(['crc32c', 'mbcache', 'jbd2', 'ext4'])
  })

  it('takes dashes for underscores, and leaves out what is built in', async () => {
    const source = kernel({ 'kernel/a/virtio-blk.ko.xz': ['depends=virtio_ring,virtio'] }, [
      'kernel/a/virtio.ko',
      'kernel/a/virtio-ring.ko',
    ])
    expect(await order(source, ['virtio_blk'])).toEqual(['virtio_blk'])
    expect(await order(source, ['virtio-blk', 'virtio'])).toEqual(['virtio_blk'])
  })

  it('leaves out optional and soft ones that are not there, and names a needed one', async () => {
    const source = kernel({
      'kernel/a.ko': ['depends=', 'softdep=pre: gone'],
      'kernel/b.ko': ['depends=gone'],
    })
    expect(await order(source, ['a'], ['nothing'])).toEqual(['a'])
    await expect(order(source, ['nothing'])).rejects.toThrow(/nothing/)
    await expect(order(source, ['b'])).rejects.toThrow(/gone/)
  })

  it('finds the implementation of an algorithm that is asked for by its alias', async () => {
    const source = kernel({
      'kernel/ext4.ko': ['depends=', 'softdep=pre: crypto-crc32c'],
      'kernel/ubifs.ko': ['depends=', 'softdep=pre: crypto-deflate pre: crypto-gone'],
      'kernel/crc32c_generic.ko': ['depends='],
      'kernel/deflate.ko': ['depends='],
    })
    expect(await order(source, ['ext4'])).toEqual(['crc32c_generic', 'ext4'])
    expect(await order(source, ['ubifs'])).toEqual(['deflate', 'ubifs'])
  })

  it('ends where modules depend on each other', async () => {
    const source = kernel({ 'kernel/a.ko': ['depends=b'], 'kernel/b.ko': ['depends=a'] })
    expect(await order(source, ['a'])).toEqual(['b', 'a'])
  })
})

describe('moduleName', () => {
  it.each([
    ['kernel/net/9p/9pnet-virtio.ko.xz', '9pnet_virtio'],
    ['a/b.ko', 'b'],
    ['tun', 'tun'],
  ])('%s is %s', (path, name) => {
    expect(moduleName(path)).toBe(name)
  })
})

describe('buildInitramfs', () => {
  const paths = (archive: Uint8Array) =>
    [
      ...Buffer.from(archive)
        .toString('latin1')
        .matchAll(/070701.{104}([^\0]+)\0/gs),
    ].map(([, path]) => path)

  it('names every directory before what is in it, and every path once', () => {
    const archive = buildInitramfs({
      init: '#!/bin/sh\n',
      busybox: new Uint8Array(3),
      modules: [{ name: 'ext4', data: new Uint8Array(5) }],
      files: [
        { type: 'file', path: '/a/b/c', data: 'first' },
        { type: 'file', path: 'a/b/c', data: 'second' },
      ],
    })
    const all = paths(archive)
    expect(new Set(all).size).toBe(all.length)
    for (const path of all.filter((path) => path?.includes('/'))) {
      const parent = path!.slice(0, path!.lastIndexOf('/'))
      expect(all.indexOf(parent)).toBeLessThan(all.indexOf(path))
      expect(all).toContain(parent)
    }
    expect(all).toEqual(expect.arrayContaining(['dev/console', 'init', 'bin/sh', 'modules/order']))
    expect(Buffer.from(archive).includes('second')).toBe(true)
    expect(Buffer.from(archive).includes('first')).toBe(false)
  })
})
