import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { cacheDirectory, cachedFolder } from '../../lib/assets/cache.js'
import { type Manifest, readManifest, readVerified } from '../../lib/assets/manifest.js'

let base: string
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'node-kvm-cache-'))
  vi.stubEnv('XDG_CACHE_HOME', base)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(base, { recursive: true, force: true })
})

/** A build that writes its argument, and counts. */
function builder(text: string) {
  const build = async (directory: string) => {
    build.count++
    mkdirSync(join(directory, 'sub'))
    writeFileSync(join(directory, 'sub/data'), text)
    return { text }
  }
  build.count = 0
  return build
}
const verify = () => ['sub/data']

/** Mounts an overlay over `lower` at `path`, with what it takes beside; whether that goes here: it takes root. */
function mountOverlay(lower: string, path: string): boolean {
  const [upper, work] = [`${path}-upper`, `${path}-work`]
  for (const folder of [upper, work, path]) mkdirSync(folder, { recursive: true })
  const layers = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
  return spawnSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, path]).status === 0
}
const unmount = (path: string) => spawnSync('umount', [path])

describe('cacheDirectory', () => {
  it('follows XDG_CACHE_HOME where that is absolute', () => {
    expect(cacheDirectory()).toBe(join(base, 'node-kvm'))
    for (const ignored of ['', 'relative']) {
      vi.stubEnv('XDG_CACHE_HOME', ignored)
      expect(cacheDirectory()).toBe(join(homedir(), '.cache/node-kvm'))
    }
  })
})

describe('cachedFolder', () => {
  it('builds once, and leaves nothing else behind', async () => {
    const build = builder('hello')
    const first = await cachedFolder('thing/one', build, { verify })
    const second = await cachedFolder('thing/one', build, { verify })
    expect(build.count).toBe(1)
    expect(second).toEqual(first)
    expect(first.manifest.notes).toEqual({ text: 'hello' })
    expect(Object.keys(first.manifest.files)).toEqual(['sub/data'])
    expect(readFileSync(join(first.path, 'sub/data'), 'utf8')).toBe('hello')
    expect(readdirSync(join(base, 'node-kvm/tmp'))).toEqual([])
  })

  it('builds once for many that ask at the same time', async () => {
    const build = builder('hello')
    const slow = async (directory: string) => {
      await sleep(200)
      return build(directory)
    }
    const waits: string[] = []
    const report = (text: string) => waits.push(text)
    const ask = () => cachedFolder('thing', slow, { verify, report })
    const folders = await Promise.all([ask(), ask(), ask()])
    expect(build.count).toBe(1)
    expect(new Set(folders.map(({ path }) => path)).size).toBe(1)
    expect(waits.filter((text) => text.includes('waiting'))).toHaveLength(2)
  })

  it('leaves nothing of a build that fails, and the next one starts anew', async () => {
    const fail = async (directory: string) => {
      writeFileSync(join(directory, 'half'), '')
      throw new Error('no more disk')
    }
    await expect(cachedFolder('thing', fail)).rejects.toThrow('no more disk')
    expect(existsSync(join(base, 'node-kvm/thing'))).toBe(false)
    expect(readdirSync(join(base, 'node-kvm/tmp'))).toEqual([])
    const build = builder('hello')
    await cachedFolder('thing', build)
    expect(build.count).toBe(1)
  })

  it.each<[string, (path: string) => void]>([
    ['changed', (path) => writeFileSync(join(path, 'sub/data'), 'hellO')],
    ['removed', (path) => rmSync(join(path, 'sub/data'))],
    ['without its manifest', (path) => rmSync(join(path, 'manifest.json'))],
    ['with half a manifest', (path) => writeFileSync(join(path, 'manifest.json'), '{"format":1,')],
    ['of another format', (path) => writeFileSync(join(path, 'manifest.json'), '{"format":0}')],
    [
      'with an empty manifest',
      (path) => writeFileSync(join(path, 'manifest.json'), '{"format":1}'),
    ],
    ['with a manifest that is null', (path) => writeFileSync(join(path, 'manifest.json'), 'null')],
  ])('makes anew what was %s', async (_what, damage) => {
    const build = builder('hello')
    const { path } = await cachedFolder('thing', build, { verify })
    damage(path)
    const mended = await cachedFolder('thing', build, { verify })
    expect(build.count).toBe(2)
    expect(readFileSync(join(mended.path, 'sub/data'), 'utf8')).toBe('hello')
    expect(readdirSync(join(base, 'node-kvm/tmp'))).toEqual([])
  })

  it('makes a folder anew when it is no longer current', async () => {
    await cachedFolder('thing', builder('old'))
    const isCurrent = vi.fn(({ notes }: Manifest) => notes.text === 'new')
    for (let i = 0; i < 2; i++) {
      const { path, manifest } = await cachedFolder('thing', builder('new'), { isCurrent })
      expect(manifest.notes.text).toBe('new')
      expect(readFileSync(join(path, 'sub/data'), 'utf8')).toBe('new')
    }
    // Before the lock and behind it, and then once.
    expect(isCurrent).toHaveBeenCalledTimes(3)
  })

  it('makes one anew that comes from the lower layer of an overlay', async (test) => {
    await cachedFolder('thing', builder('old'))
    const merged = join(base, 'merged')
    if (!mountOverlay(join(base, 'node-kvm'), join(merged, 'node-kvm'))) {
      test.skip('an overlay cannot be mounted here')
    }
    try {
      vi.stubEnv('XDG_CACHE_HOME', merged)
      const { path } = await cachedFolder('thing', builder('new'), { isCurrent: () => false })
      expect(readFileSync(join(path, 'sub/data'), 'utf8')).toBe('new')
    } finally {
      unmount(join(merged, 'node-kvm'))
    }
  })

  it('says so where the cache cannot be written', async () => {
    const file = join(base, 'file')
    writeFileSync(file, '')
    vi.stubEnv('XDG_CACHE_HOME', file)
    await expect(cachedFolder('thing', builder(''))).rejects.toMatchObject({
      code: 'ERR_ASSET',
      message: expect.stringContaining(file),
    })
  })

  it('takes over what a process that was killed left', async () => {
    const temporary = join(base, 'node-kvm/tmp')
    mkdirSync(join(temporary, 'build-old'), { recursive: true })
    const longAgo = new Date(Date.now() - 24 * 3600 * 1000)
    utimesSync(join(temporary, 'build-old'), longAgo, longAgo)
    writeFileSync(join(temporary, 'thing.lock'), '')
    utimesSync(join(temporary, 'thing.lock'), longAgo, longAgo)
    const build = builder('hello')
    await cachedFolder('thing', build)
    expect(build.count).toBe(1)
    expect(readdirSync(temporary)).toEqual([])
  })

  it("takes over a lock of the future, left before the host's clock was put back", async () => {
    const lock = join(base, 'node-kvm/tmp/thing.lock')
    mkdirSync(dirname(lock), { recursive: true })
    writeFileSync(lock, '')
    const tomorrow = new Date(Date.now() + 24 * 3600 * 1000)
    utimesSync(lock, tomorrow, tomorrow)
    const build = builder('hello')
    await cachedFolder('thing', build)
    expect(build.count).toBe(1)
    expect(existsSync(lock)).toBe(false)
  })
})

describe('readManifest', () => {
  it.each(['', '[]', '1', 'null', '{"format":1}', '{"format":1,"notes":{},"files":null}'])(
    'takes %j for none',
    async (text) => {
      writeFileSync(join(base, 'manifest.json'), text)
      expect(await readManifest(base)).toBeUndefined()
    },
  )
})

describe('readVerified', () => {
  it('tells a file that is not as it was, or not there', async () => {
    const folder = await cachedFolder('thing', builder('hello'))
    expect(Buffer.from(await readVerified(folder, 'sub/data')).toString()).toBe('hello')
    writeFileSync(join(folder.path, 'sub/data'), 'other')
    writeFileSync(join(folder.path, 'stray'), 'other')
    for (const name of ['sub/data', 'stray', 'gone']) {
      await expect(readVerified(folder, name)).rejects.toMatchObject({
        code: 'ERR_ASSET',
        option: join(folder.path, name),
      })
    }
  })
})
