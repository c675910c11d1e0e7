import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VmmError } from '../../lib/errors.js'
import { buildRootfsImage } from '../../lib/rootfs/build-image.js'
import { type Entry, pax, tar, tarEntry } from './make-tar.js'
import { readErofs } from './read-erofs.js'

let base: string
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'node-kvm-rootfs-'))
})
afterEach(() => {
  rmSync(base, { recursive: true, force: true })
})

const path = (name: string) => join(base, name)
const MOUNT_POINTS = ['dev', 'proc', 'run', 'sys', 'tmp']

async function build(source: Buffer | string, { bytesMax = 2 ** 30 } = {}) {
  const name = typeof source === 'string' ? source : path('archive')
  if (typeof source !== 'string') writeFileSync(name, source)
  const kind = lstatSync(name).isDirectory() ? 'folder' : 'archive'
  rmSync(path('image'), { force: true })
  const process = await buildRootfsImage(name, kind, path('image'), bytesMax)
  const files = readErofs(path('image'))
  const names = [...files.keys()].filter((name) => name !== '' && !MOUNT_POINTS.includes(name))
  return { process, files, names: names.sort() }
}
const text = (files: ReturnType<typeof readErofs>, name: string) => files.get(name)?.data.toString()

/** The error that an archive raises. */
async function errorOf(source: Buffer | string, options = {}): Promise<VmmError> {
  const error = await build(source, options).catch((error: unknown) => error)
  if (!(error instanceof VmmError)) throw new Error('it was taken', { cause: error })
  return error
}

describe('an archive of a root file system', () => {
  it('becomes an image of it', async () => {
    const big = Buffer.alloc(100_000, 'big')
    const { files, names, process } = await build(
      tar(
        { name: './', type: '5', mode: 0o700, uid: 5 },
        { name: './etc/', type: '5', mode: 0o755, mtime: 77 },
        { name: './etc/small', data: 'hello', mode: 0o4711, uid: 1000, gid: 2000, mtime: 123 },
        { name: 'big', data: big },
        { name: 'empty' },
        { name: 'soft', type: '2', linkName: '../../outside' },
        { name: 'hard', type: '1', linkName: './big' },
        { name: 'null', type: '3', major: 1, minor: 3, mode: 0o666 },
        { name: 'disk', type: '4', major: 259, minor: 300 },
        { name: 'pipe', type: '6' },
        { name: 'implied/parent/file', data: 'x' },
      ),
    )
    expect(names).toEqual(
      'big disk empty etc etc/small hard implied implied/parent implied/parent/file null pipe soft'.split(
        ' ',
      ),
    )
    expect(files.get('')).toMatchObject({ mode: 0o040700, uid: 5 })
    expect(files.get('etc')).toMatchObject({ mode: 0o040755, mtime: 77, links: 2 })
    expect(files.get('etc/small')).toMatchObject({
      mode: 0o104711,
      uid: 1000,
      gid: 2000,
      mtime: 123,
      links: 1,
    })
    expect(text(files, 'etc/small')).toBe('hello')
    expect(files.get('big')).toMatchObject({ links: 2, ino: files.get('hard')!.ino })
    expect(files.get('big')!.data.equals(big)).toBe(true)
    expect(text(files, 'empty')).toBe('')
    expect(text(files, 'soft')).toBe('../../outside')
    expect(files.get('soft')!.mode).toBe(0o120644)
    expect(files.get('null')).toMatchObject({ mode: 0o020666, device: 0x103 })
    expect(files.get('disk')!.device).toBe((300 & 0xff) | (259 << 8) | ((300 & ~0xff) << 12))
    expect(files.get('pipe')!.mode & 0o170000).toBe(0o010000)
    expect(files.get('implied')!.links).toBe(3)
    expect(process).toEqual({ argv: [], env: {}, cwd: '/', uid: 0, gid: 0 })
    expect(MOUNT_POINTS.every((name) => files.has(name))).toBe(true)
  })

  it('may be of any writer, compressed or not', async () => {
    const source = path('tree')
    const long = 'long-name-'.repeat(20)
    mkdirSync(join(source, long, long), { recursive: true })
    writeFileSync(join(source, long, long, 'ümlaut'), 'deep')
    symlinkSync('x'.repeat(300), join(source, 'link'))
    const expected = ['link', long, `${long}/${long}`, `${long}/${long}/ümlaut`].sort()
    for (const format of ['gnu', 'posix', 'oldgnu', 'pax']) {
      for (const compress of ['', '--gzip', '--zstd']) {
        const options = [compress, `--format=${format}`].filter((option) => option !== '')
        execFileSync('tar', [...options, '-C', source, '-cf', path('made'), '.'])
        const { files, names } = await build(path('made'))
        expect(names).toEqual(expected)
        expect(text(files, `${long}/${long}/ümlaut`)).toBe('deep')
        expect(text(files, 'link')).toBe('x'.repeat(300))
      }
    }
  })

  it('takes numbers of pax and of GNU', async () => {
    const binary = (at: number, length: number, value: number) => (header: Buffer) => {
      header.fill(0, at, at + length)
      header[at] = 0x80
      header.writeUInt32BE(value, at + length - 4)
    }
    const { files } = await build(
      tar(
        { ...pax({ uid: '3000000', mtime: '1700000000.25', path: 'named' }) },
        { name: 'other', data: 'a' },
        { name: 'gnu', data: 'b', raw: binary(108, 8, 4_000_000_000) },
      ),
    )
    expect(files.get('named')).toMatchObject({ uid: 3_000_000, mtime: 1_700_000_000 })
    expect(files.get('gnu')!.uid).toBe(4_000_000_000)
  })

  it('has folders of thousands', async () => {
    const many = Array.from({ length: 3000 }, (_, i) => ({
      name: `many/${(i * 7919) % 3000}`,
      data: `${i}`,
    }))
    const { files, names } = await build(tar(...many))
    expect(names).toHaveLength(3001)
    for (const { name, data } of many) expect(text(files, name)).toBe(data)
  })

  it.each<[string, Entry[] | Buffer]>([
    ['..', [{ name: '../outside' }]],
    ['.. within', [{ name: 'a/../../outside' }]],
    ['an absolute path', [{ name: '/etc/passwd' }]],
    ['an absolute link', [{ name: 'a', type: '1', linkName: '/etc/passwd' }]],
    ['a link out', [{ name: 'a', type: '1', linkName: '../passwd' }]],
    ['a link to nothing', [{ name: 'a', type: '1', linkName: 'b' }]],
    [
      'a link to a folder',
      [
        { name: 'b/', type: '5' },
        { name: 'a', type: '1', linkName: 'b' },
      ],
    ],
    [
      'a path through a symbolic link',
      [{ name: 'a', type: '2', linkName: '/etc' }, { name: 'a/b' }],
    ],
    ['a path through a file', [{ name: 'a' }, { name: 'a/b' }]],
    ['an empty symbolic link', [{ name: 'a', type: '2' }]],
    ['a long name', [pax({ path: 'a'.repeat(256) }), { name: 'a' }]],
    ['a long path', [pax({ path: 'a/'.repeat(3000) }), { name: 'a' }]],
    ['a NUL', [pax({ path: 'a\0b' }), { name: 'a' }]],
    ['the root as a file', [{ name: './.' }]],
    ['an unknown type', [{ name: 'a', type: 'Z' }]],
    ['a sparse file', [{ name: 'a', type: 'S' }]],
    ['a great owner', [pax({ uid: '4294967295' }), { name: 'a' }]],
    ['a negative owner', [pax({ uid: '-1' }), { name: 'a' }]],
    ['a number that is none', [pax({ size: 'many' }), { name: 'a' }]],
    ['a device number', [{ name: 'a', type: '3', major: 4096 }]],
    ['a damaged header', [{ name: 'a', raw: (header) => header.write('99', 100) }]],
    ['a damaged extended header', [{ name: 'x', type: 'x', data: '999 a=b\n' }, { name: 'a' }]],
    ['a negative extended header', [{ name: 'x', type: 'x', data: '-5 a=b\n' }, { name: 'a' }]],
    ['a huge extended header', [{ name: 'x', type: 'x', size: 2 ** 30 }]],
    ['a file that is cut off', tarEntry({ name: 'a', size: 1000 })],
    ['a header that is cut off', Buffer.concat([tarEntry({ name: 'a' }), Buffer.alloc(100, 1)])],
    ['no archive', Buffer.alloc(5000, 'text')],
    [
      'damaged gzip',
      Buffer.concat([
        gzipSync(tar({ name: 'a', data: Buffer.alloc(9999, 'b') })).subarray(0, 60),
        Buffer.alloc(50),
      ]),
    ],
    [
      'damaged Zstandard',
      Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), Buffer.alloc(100, 7)]),
    ],
  ])('with %s is refused', async (_, entries) => {
    const archive = Buffer.isBuffer(entries) ? entries : tar(...entries)
    expect(await errorOf(archive)).toMatchObject({ code: 'ERR_ROOTFS' })
  })

  it('of more bytes than it may have is refused before they are written', async () => {
    const bomb = gzipSync(tar({ name: 'bomb', data: Buffer.alloc(10_000_000) }))
    expect(await errorOf(bomb, { bytesMax: 1_000_000 })).toMatchObject({ code: 'ERR_ROOTFS' })
    const claims = tarEntry({ name: 'huge', size: 8 ** 11 - 1 })
    expect(await errorOf(claims)).toMatchObject({ code: 'ERR_ROOTFS' })
    expect(lstatSync(path('image')).size).toBeLessThan(1_000_000)
  })

  it('of any bytes gives an image or a typed error', async () => {
    const good = tar({ name: 'a/', type: '5' }, { name: 'a/b', data: 'text' }, pax({ path: 'c' }), {
      name: 'd',
      type: '2',
      linkName: 'e',
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.nat(good.length),
        async (changes, length) => {
          const bytes = Buffer.from(good.subarray(0, length))
          for (const [at, value] of changes) if (at < length) bytes[at] = value
          await build(bytes).catch((error: unknown) => expect(error).toBeInstanceOf(VmmError))
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('a folder', () => {
  it('becomes an image of it, and no link in it is followed', async () => {
    const tree = path('tree')
    mkdirSync(join(tree, 'bin'), { recursive: true })
    writeFileSync(join(tree, 'bin/tool'), Buffer.alloc(10_000, 'tool'))
    chmodSync(join(tree, 'bin/tool'), 0o4755)
    linkSync(join(tree, 'bin/tool'), join(tree, 'bin/same'))
    symlinkSync('/etc', join(tree, 'etc'))
    symlinkSync('loop', join(tree, 'loop'))
    execFileSync('mkfifo', [join(tree, 'pipe')])
    const { files, names } = await build(tree)
    expect(names).toEqual(['bin', 'bin/same', 'bin/tool', 'etc', 'loop', 'pipe'])
    expect(files.get('bin/tool')).toMatchObject({ mode: 0o104755, links: 2 })
    expect(files.get('bin/tool')!.ino).toBe(files.get('bin/same')!.ino)
    expect(text(files, 'etc')).toBe('/etc')
    expect(files.get('bin')!.uid).toBe(process.getuid?.())
  })
})

/** An image as a layout: its blobs by their digests. */
function layout(layers: readonly Buffer[], config: object): Map<string, Buffer> {
  const files = new Map<string, Buffer>([
    ['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')],
  ])
  const blob = (bytes: Buffer, mediaType: string) => {
    const hash = createHash('sha256').update(bytes).digest('hex')
    files.set(`blobs/sha256/${hash}`, bytes)
    return { mediaType, digest: `sha256:${hash}`, size: bytes.length }
  }
  const json = (value: object, mediaType: string) =>
    blob(Buffer.from(JSON.stringify(value)), mediaType)
  const oci = 'application/vnd.oci.image'
  const manifest = json(
    {
      config: json({ config }, `${oci}.config.v1+json`),
      layers: layers.map((layer) => blob(layer, `${oci}.layer.v1.tar`)),
    },
    `${oci}.manifest.v1+json`,
  )
  const other = json({ config: {}, layers: [] }, `${oci}.manifest.v1+json`)
  const index = json(
    {
      manifests: [
        { ...other, platform: { os: 'linux', architecture: 'arm64' } },
        { ...manifest, platform: { os: 'linux', architecture: 'amd64' } },
      ],
    },
    `${oci}.index.v1+json`,
  )
  files.set('index.json', Buffer.from(JSON.stringify({ manifests: [index] })))
  return files
}
const archiveOf = (files: Map<string, Buffer>) =>
  tar(...[...files].map(([name, data]) => ({ name, data })))

const LOWER = tar(
  { name: 'etc/', type: '5' },
  { name: 'etc/passwd', data: 'root:x:0:0::/root:/bin/sh\nuser:x:1000:100::/:/bin/sh\n' },
  { name: 'etc/group', data: 'root:x:0:\nstaff:x:50:\n' },
  { name: 'gone', data: 'gone' },
  { name: 'changed', data: 'old' },
  { name: 'opaque/lower/', type: '5' },
  { name: 'opaque/lower/file' },
  { name: 'kept/lower' },
  { name: 'folder/file' },
  { name: 'became', data: 'file' },
)
const UPPER = tar(
  { name: '.wh.gone' },
  { name: 'changed', data: 'new' },
  { name: 'opaque/new' },
  { name: 'opaque/.wh..wh..opq' },
  { name: 'opaque/later' },
  { name: 'kept/', type: '5', mode: 0o700 },
  { name: 'kept/upper' },
  { name: '.wh.folder' },
  { name: 'became/', type: '5' },
  { name: 'became/inside' },
  { name: '.wh.never-was' },
)
const MERGED =
  'became became/inside changed etc etc/group etc/passwd kept kept/lower kept/upper opaque opaque/later opaque/new'.split(
    ' ',
  )
const CONFIG = {
  Entrypoint: ['/bin/entry'],
  Cmd: ['arg'],
  Env: ['PATH=/bin', 'A=b=c', 'nonsense'],
  WorkingDir: '/work',
  User: 'user:staff',
}

describe('an image', () => {
  it.each(['archive', 'folder'])('as an %s has its layers over each other', async (kind) => {
    const zstd = execFileSync('zstd', ['-c'], { input: UPPER })
    for (const layers of [
      [LOWER, UPPER],
      [gzipSync(LOWER), zstd],
    ]) {
      const files = layout(layers, CONFIG)
      const name = path(`image-${kind}`)
      if (kind === 'archive') writeFileSync(name, archiveOf(files))
      else {
        for (const [file, bytes] of files) {
          mkdirSync(join(name, file, '..'), { recursive: true })
          writeFileSync(join(name, file), bytes)
        }
      }
      const { files: made, names, process } = await build(name)
      expect(names).toEqual(MERGED)
      expect(text(made, 'changed')).toBe('new')
      expect(made.get('kept')!.mode).toBe(0o040700)
      expect(process).toEqual({
        argv: ['/bin/entry', 'arg'],
        env: { PATH: '/bin', A: 'b=c' },
        cwd: '/work',
        uid: 1000,
        gid: 50,
      })
    }
  })

  it('as older versions of docker save it has its layers over each other', async () => {
    const { names, process } = await build(
      tar(
        { name: 'a/layer.tar', data: LOWER },
        { name: 'b/layer.tar', data: UPPER },
        { name: 'c/layer.tar', type: '2', linkName: '../a/layer.tar' },
        { name: 'config.json', data: JSON.stringify({ config: { ...CONFIG, User: '1234' } }) },
        {
          name: 'manifest.json',
          data: JSON.stringify([{ Config: 'config.json', Layers: ['c/layer.tar', 'b/layer.tar'] }]),
        },
      ),
    )
    expect(names).toEqual(MERGED)
    expect(process).toMatchObject({ uid: 1234, gid: 0 })
  })

  it.each<[string, (files: Map<string, Buffer>) => void]>([
    [
      'without a blob',
      (files) => files.delete([...files.keys()].find((name) => name.startsWith('blobs'))!),
    ],
    [
      'with a blob of another digest',
      (files) => {
        const name = [...files.keys()].find((name) => name.startsWith('blobs'))!
        files.set(name, Buffer.concat([files.get(name)!, Buffer.from(' ')]))
      },
    ],
    ['with a damaged index', (files) => files.set('index.json', Buffer.from('{'))],
    ['with an empty index', (files) => files.set('index.json', Buffer.from('[]'))],
    [
      'with a digest that is a path',
      (files) =>
        files.set(
          'index.json',
          Buffer.from('{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}'),
        ),
    ],
    [
      'with an index of gigabytes',
      (files) => files.set('index.json', Buffer.alloc(5_000_000, ' ')),
    ],
    [
      'with an unknown user',
      (files) => {
        for (const name of [...files.keys()]) files.delete(name)
        for (const [name, data] of layout([LOWER], { User: 'nobody-here' })) files.set(name, data)
      },
    ],
    [
      'with a hostile layer',
      (files) => {
        for (const name of [...files.keys()]) files.delete(name)
        for (const [name, data] of layout([tar({ name: '.wh...' })], {})) files.set(name, data)
      },
    ],
  ])('%s is refused', async (_, change) => {
    const files = layout([LOWER, UPPER], CONFIG)
    change(files)
    expect(await errorOf(archiveOf(files))).toMatchObject({ code: 'ERR_ROOTFS' })
  })

  it('leaves nothing but its image', async () => {
    await build(archiveOf(layout([LOWER, UPPER], CONFIG)))
    expect(readdirSync(base).sort()).toEqual(['archive', 'image'])
    expect(readFileSync(path('image')).length % 4096).toBe(0)
  })
})
