import { mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { VmmError } from '../../../lib/errors.js'
import { type CpioEntry, writeCpio } from '../../../lib/initramfs/cpio.js'
import { ErofsImage } from '../../../lib/rootfs/erofs-image.js'
import { FileTree } from '../../../lib/rootfs/file-tree.js'
import type { ImageSource } from '../../../lib/rootfs/image-source.js'
import { readImage } from '../../../lib/rootfs/oci-image.js'
import { addTarLayer } from '../../../lib/rootfs/tar-layer.js'
import { readTar } from '../../../lib/rootfs/tar-reader.js'
import { resolveUser } from '../../../lib/rootfs/users.js'
import { pax, tar } from '../../rootfs/make-tar.js'
import { readErofs } from '../../rootfs/read-erofs.js'
import { check, type FuzzTarget, Input } from './target.js'

const BLOCK = 512

async function orRefuses(action: () => Promise<unknown>): Promise<void> {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof VmmError && error.code === 'ERR_ROOTFS')) throw error
    check(error.message.length < 5000, 'a message of more than 5,000 characters')
  }
}

/** In pieces of many lengths. */
async function* pieces(data: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0, length = 1; at < data.length; at += length, length = 1 + ((length * 7) % 900))
    yield data.subarray(at, at + length)
}

/** Right sums in the headers, so that the rest of them matters. */
function mendSums(input: Uint8Array): Uint8Array {
  const archive = Buffer.from(input)
  for (let at = 0; at + BLOCK <= archive.length; at += BLOCK) {
    if (archive.toString('latin1', at + 257, at + 262) !== 'ustar') continue
    archive.fill(' ', at + 148, at + 156)
    const sum = archive.subarray(at, at + BLOCK).reduce((sum, byte) => sum + byte, 0)
    archive.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
  }
  return Uint8Array.from(archive)
}

const WORDS = [
  ...['0000001\0', '7777777\0', 'path=', 'linkpath=', 'size=', 'uid=', 'gid=', 'mtime=', '../'],
  ...['11 path=a\n', '.wh.', '.wh..wh..opq', 'ustar\x0000', 'ustar  \0', '/', '.', '..', 'a/b/c'],
]
const seeds = () => [
  tar(
    { name: 'etc/', type: '5' },
    { name: 'etc/passwd', data: 'root:x:0:0:root:/:/bin/sh\nu:x:5:6::/:\n' },
    { name: 'bin', type: '2', linkName: 'usr/bin' },
    { name: 'etc/hard', type: '1', linkName: 'etc/passwd' },
  ),
  tar(pax({ path: 'long/name', size: '3', mtime: '1.5' }), { name: 'x', data: 'abc' }),
  tar({ name: 'n', type: 'L', data: 'gnu/name\0' }, { name: 'y' }, { name: '.wh.y' }),
  tar({ name: 'dev/null', type: '3', major: 1, minor: 3 }, { name: 'a/.wh..wh..opq' }),
  tar({ name: 'big', data: Buffer.alloc(5000, 1) }, { name: 'big', type: '6' }),
]

export const tarReader: FuzzTarget = {
  about: 'tar archives: ustar, pax, and GNU’s',
  words: WORDS,
  mend: mendSums,
  seeds,
  run: (data) =>
    orRefuses(async () => {
      for await (const entry of readTar('archive', pieces(data))) {
        let length = 0
        if (entry.mtime % 2 === 1) for await (const chunk of entry.content) length += chunk.length
        else length = entry.size
        check(length === entry.size, `${length} bytes of ${entry.size}`)
        check(entry.size <= data.length || entry.mtime % 2 === 0, 'more comes out than goes in')
        for (const number of [entry.uid, entry.gid, entry.mtime, entry.major, entry.minor])
          check(Number.isSafeInteger(number), `a number ${number}`)
      }
    }),
}

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-fuzz-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

export const rootfs: FuzzTarget = {
  about: 'layers of a root file system put together, and the EROFS image of them',
  words: WORDS,
  mend: mendSums,
  seeds,
  run: (data) =>
    orRefuses(async () => {
      const path = join(folder, 'image')
      rmSync(path, { force: true })
      const tree = new FileTree({ entriesMax: 1000 })
      await using file = await open(path, 'wx')
      const image = new ErofsImage(file, 2 ** 20)
      const half = Math.floor(data.length / BLOCK / 2) * BLOCK
      await addTarLayer(tree, image, 'first', pieces(data.subarray(0, half)), true)
      await addTarLayer(tree, image, 'second', pieces(data.subarray(half)), data.length % 2 === 0)
      await image.finish(tree)
      const files = readErofs(path)
      check(files.size <= 1001, 'more files than there may be')
      resolveUser(tree, 'u')
    }),
}

const NAMES = [
  'oci-layout',
  'index.json',
  'manifest.json',
  'c.json',
  `blobs/sha256/${'0'.repeat(64)}`,
]

export const oci: FuzzTarget = {
  about: 'the indices, manifests and configurations of OCI images',
  words: [
    ...['manifests', 'digest', 'mediaType', 'platform', 'config', 'layers', 'Config', 'Layers'],
    ...['Env', 'Cmd', 'Entrypoint', 'WorkingDir', 'User', `sha256:${'0'.repeat(64)}`, '[', '{}'],
    'application/vnd.oci.image.index.v1+json',
  ].map((word) => `"${word}"`),
  seeds: () =>
    [
      ['{}', '{"manifests":[{"digest":"sha256:0"}]}'],
      ['{}', `{"manifests":[{"digest":"sha256:${'0'.repeat(64)}","platform":{"os":"linux"}}]}`],
      ['', '', '[{"Config":"c.json","Layers":["l"]}]', '{"config":{"Env":["A=b"],"Cmd":["sh"]}}'],
    ].map((texts) => Buffer.from(texts.join('\0'))),
  run: (data) =>
    orRefuses(async () => {
      const texts = Buffer.from(data).toString('latin1').split('\0')
      const files = new Map(NAMES.map((name, i) => [name, texts[i] ?? '']))
      const source: ImageSource = {
        has: (path) => (files.get(path) ?? '') !== '',
        read: (path) => pieces(Buffer.from(files.get(path) ?? '')),
      }
      const image = await readImage('image', source)
      if (!image) return
      check(image.layers.length <= 1000, 'more layers than there may be')
      for (const text of [...image.config.argv, image.config.cwd, image.config.user])
        check(typeof text === 'string', 'no text')
      for (const layer of image.layers.slice(0, 3)) for await (const _ of layer.read());
    }),
}

/** What an archive holds, by a reader of the format that is nobody's but this test's. */
function readCpio(archive: Uint8Array): { name: string; mode: number; data: Buffer }[] {
  const bytes = Buffer.from(archive)
  const entries: { name: string; mode: number; data: Buffer }[] = []
  const padded = (length: number) => (length + 3) & ~3
  for (let at = 0; ; ) {
    check(bytes.toString('latin1', at, at + 6) === '070701', 'no header')
    const field = (index: number) =>
      Number.parseInt(bytes.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16)
    const [size, nameSize] = [field(6), field(11)]
    const name = bytes.toString('utf8', at + 110, at + 109 + nameSize)
    if (name === 'TRAILER!!!') return entries
    const start = at + padded(110 + nameSize)
    entries.push({ name, mode: field(1), data: bytes.subarray(start, start + size) })
    at = start + padded(size)
  }
}

const KINDS = ['file', 'directory', 'symlink', 'character'] as const

export const cpio: FuzzTarget = {
  about: 'what goes into an initramfs comes out of it',
  words: ['../', './', '//', 'TRAILER!!!', '\0', '/'],
  seeds: () => [Uint8Array.from([0, 3, 97, 47, 98, 2, 1, 2, 1, 1, 97, 0, 2, 1, 108, 2, 47, 120])],
  run: (data) => {
    const input = new Input(data)
    const text = () => Buffer.from(input.bytes(input.u8())).toString('utf8')
    const entries: CpioEntry[] = []
    while (!input.done && entries.length < 40) {
      const type = input.choose(KINDS)
      const path = text()
      if (type === 'file') entries.push({ type, path, data: input.bytes(input.u8()).slice() })
      else if (type === 'symlink') entries.push({ type, path, target: text() })
      else if (type === 'directory') entries.push({ type, path, mode: input.u16() })
      else entries.push({ type, path, major: input.u32(), minor: input.u8() })
    }
    let archive: Uint8Array
    try {
      archive = writeCpio(entries, input.u8())
    } catch (error) {
      if (!(error instanceof VmmError)) throw error
      return
    }
    const read = readCpio(archive)
    check(read.length === entries.length, `${read.length} of ${entries.length} entries`)
    for (const [i, entry] of entries.entries()) {
      check(read[i]!.name === entry.path.replace(/^\/+/, ''), `another name: ${read[i]!.name}`)
      if (entry.type === 'file')
        check(Buffer.compare(read[i]!.data, Buffer.from(entry.data)) === 0, 'other contents')
    }
  },
}
