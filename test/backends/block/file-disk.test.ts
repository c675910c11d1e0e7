import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { FileDisk, type FileDiskOptions } from '../../../lib/backends/block/file-disk.js'
import { VmmError } from '../../../lib/errors.js'
import { blockBackendContract } from '../../contracts/block-backend.js'
import { idleAttachment } from '../../helpers/block-driver.js'
import { nativeMemory, plainMemory } from '../../helpers/guest-memories.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'node-kvm-disk-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let count = 0
function image(bytes = 512 * 256): string {
  const path = join(folder, `disk-${count++}.img`)
  writeFileSync(path, '')
  truncateSync(path, bytes)
  return path
}

const openFiles = () => readdirSync('/proc/self/fd').length

for (const engine of ['io_uring', 'threads', 'js'] as const) {
  blockBackendContract(`FileDisk by ${engine}`, {
    engine,
    memory: () => (engine === 'js' ? plainMemory([0, 0x200000]) : nativeMemory([0, 0x200000])),
    async create() {
      const disk = new FileDisk(image(), { engine })
      await disk.open()
      return disk
    },
  })
}

describe('FileDisk', () => {
  it('does no I/O before it is opened', () => {
    const disk = new FileDisk('/nowhere/at/all')
    expect(disk.capacity).toBe(0)
    expect(disk.path).toBe('/nowhere/at/all')
  })

  it('chooses its engine by the guest memory it is given', async () => {
    const attach = async (
      memory: ReturnType<typeof plainMemory>,
      options: FileDiskOptions = {},
    ) => {
      const disk = new FileDisk(image(), options)
      await disk.open()
      try {
        return disk.attach(idleAttachment(memory)).engine
      } finally {
        await disk.close()
        memory.close()
      }
    }
    expect(await attach(plainMemory([0, 4096]))).toBe('js')
    expect(await attach(nativeMemory([0, 4096]))).toBe('io_uring')
    expect(await attach(nativeMemory([0, 4096]), { engine: 'js' })).toBe('js')
    await expect(attach(plainMemory([0, 4096]), { engine: 'threads' })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
    })
  })

  it('may be opened again after it was closed', async () => {
    const disk = new FileDisk(image())
    await disk.open()
    await expect(disk.open()).rejects.toMatchObject({ code: 'ERR_STATE' })
    await disk.close()
    await disk.close()
    await disk.open()
    await disk.close()
  })

  it.each(['io_uring', 'threads'] as const)(
    'gives its lock back at once when it closes, by %s',
    async (engine) => {
      const path = image()
      const memory = nativeMemory([0, 4096])
      for (let round = 0; round < 30; round++) {
        const disk = new FileDisk(path, { engine })
        await disk.open()
        const channel = disk.attach(idleAttachment(memory))
        channel.read(0, 0)
        channel.segment(0, 4096)
        channel.submit()
        await disk.close()
      }
      memory.close()
    },
  )

  it('has a serial number of its own, or the one given', async () => {
    const disk = new FileDisk(image())
    await disk.open()
    expect(disk.id).toMatch(/^[\x20-\x7e]{1,20}$/)
    await disk.close()
    expect(new FileDisk('x', { id: 'abc' }).id).toBe('abc')
  })

  it('can be read-only', async () => {
    const path = image()
    chmodSync(path, 0o444)
    const disk = new FileDisk(path, { readOnly: true })
    await disk.open()
    expect(disk.readOnly).toBe(true)
    expect(disk.discards).toBe(false)
    await disk.close()
  })

  it('stays raw, whatever the guest writes to it', async () => {
    const path = image()
    writeFileSync(path, 'QFI\xfb\0\0\0\x03', { flag: 'r+' })
    const disk = new FileDisk(path)
    await disk.open()
    expect(disk.capacity).toBe(readFileSync(path).length)
    await disk.close()
  })
})

describe('a disk that cannot be used', () => {
  let before: number
  beforeEach(() => {
    before = openFiles()
  })
  afterEach(() => expect(openFiles()).toBe(before))

  async function refused(path: string, options?: FileDiskOptions): Promise<VmmError> {
    const error = await new FileDisk(path, options).open().catch((e) => e)
    expect(error).toBeInstanceOf(VmmError)
    expect(error).toMatchObject({ code: 'ERR_DISK', option: 'path' })
    expect(error.message).toContain(path)
    expect(error.expected).toBeTruthy()
    return error
  }

  it('is missing', async () => {
    expect((await refused(join(folder, 'absent.img'))).message).toContain('ENOENT')
  })

  it('is a directory', async () => {
    const path = join(folder, 'directory')
    mkdirSync(path)
    await refused(path)
    expect((await refused(path, { readOnly: true })).message).toContain('is a directory')
  })

  it('is a FIFO without a writer', async () => {
    const path = join(folder, 'fifo')
    execFileSync('mkfifo', [path])
    expect((await refused(path)).message).toContain('is a FIFO')
    expect((await refused(path, { readOnly: true })).message).toContain('is a FIFO')
  })

  it.each(['/dev/zero', '/dev/null'])('is %s', async (path) => {
    await refused(path)
  })

  it.each([0, 1, 511, 513, 1025])('has %i bytes', async (bytes) => {
    const error = await refused(image(bytes))
    expect(error).toMatchObject({
      value: bytes,
      expected: expect.stringContaining('multiple of 512'),
    })
  })

  it('is used by another disk of this process', async () => {
    const path = image()
    const first = new FileDisk(path)
    await first.open()
    expect((await refused(path)).message).toContain('is locked')
    expect((await refused(path, { readOnly: true })).message).toContain('is locked')
    const unlocked = new FileDisk(path, { lock: false })
    await unlocked.open()
    await unlocked.close()
    await first.close()
  })

  it('is shared by readers alone', async () => {
    const path = image()
    const readers = [new FileDisk(path, { readOnly: true }), new FileDisk(path, { readOnly: true })]
    for (const reader of readers) await reader.open()
    expect((await refused(path)).message).toContain('is locked')
    for (const reader of readers) await reader.close()
    const writer = new FileDisk(path)
    await writer.open()
    await writer.close()
  })

  it.each([
    [[''], 'path'],
    [[7], 'path'],
    [['a\0b'], 'path'],
    [['x', { engine: 'fast' }], 'engine'],
    [['x', { readOnly: 1 }], 'readOnly'],
    [['x', { direct: 'yes' }], 'direct'],
    [['x', { lock: null }], 'lock'],
    [['x', { id: 'a name longer than twenty' }], 'id'],
    [['x', { id: 'é' }], 'id'],
  ])('is described by %j', (args, option) => {
    const make = () => new FileDisk(...(args as [string, FileDiskOptions?]))
    expect(make).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }))
  })
})
