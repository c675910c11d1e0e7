import { execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as abi from '../../../lib/backends/share/fuse-abi.js'
import { SharedFolder } from '../../../lib/backends/share/shared-folder.js'
import { FuseClient, message, names, u32, u64 } from './fuse-client.js'

let base: string
let folder: string
let share: SharedFolder
let client: FuseClient
beforeEach(async () => {
  base = fs.mkdtempSync(join(tmpdir(), 'node-kvm-share-'))
  folder = join(base, 'shared')
  fs.mkdirSync(join(folder, 'sub/deep'), { recursive: true })
  fs.writeFileSync(join(folder, 'file'), 'content')
  fs.writeFileSync(join(folder, 'sub/deep/inner'), 'inner')
  fs.writeFileSync(join(base, 'secret'), 'secret')
  await use()
})
afterEach(async () => {
  await share.close()
  fs.rmSync(base, { recursive: true, force: true })
})

async function use(options = {}) {
  await share?.close()
  share = new SharedFolder(folder, options)
  await share.open()
  client = new FuseClient(share)
}

const descriptors = () => fs.readdirSync('/proc/self/fd').length
const at = (name: string) => join(folder, name)

describe('a shared folder', () => {
  it('agrees on the protocol', async () => {
    const wanted = 0xffffffff
    const body = await client.call(
      abi.FUSE_INIT,
      0,
      u32(7, 41, 131072, wanted, 0),
      Buffer.alloc(44),
    )
    expect([body.readUInt32LE(0), body.readUInt32LE(4)]).toEqual([7, 31])
    expect(body.readUInt32LE(20)).toBe(2 ** 20)
    await expect(client.call(abi.FUSE_INIT, 0, u32(6, 0, 0, 0))).rejects.toThrow('EPROTO')
  })

  it('is read', async () => {
    expect(await client.list(1)).toEqual(['file', 'sub'])
    const { id, size, mode } = await client.lookup('file')
    expect([size, mode]).toEqual([7, 0o100644])
    const handle = await client.open(id)
    expect(String(await client.read(id, handle))).toBe('content')
    expect(String(await client.read(id, handle, 3, 2))).toBe('te')
    await client.release(id, handle)
    await expect(client.read(id, handle)).rejects.toThrow('EBADF')
    expect(await client.walk('sub/deep/inner')).toBeGreaterThan(id)
    await expect(client.lookup('none')).rejects.toThrow('ENOENT')
  })

  it('is written', async () => {
    const { id, handle } = await client.create('new', 1, 0o6777)
    expect(await client.write(id, handle, 'hello', 2)).toBe(5)
    await client.call(abi.FUSE_FSYNC, id, u64(handle), u32(0, 0))
    await client.release(id, handle)
    expect(fs.readFileSync(at('new'), 'latin1')).toBe('\0\0hello')
    // Neither set-user-ID nor what the umask takes away.
    expect(fs.statSync(at('new')).mode & 0o7777).toBe(0o755)
    await client.call(abi.FUSE_MKDIR, 1, u32(0o777, 0), names('made'))
    const made = await client.walk('made')
    await client.call(abi.FUSE_SYMLINK, made, names('link', '../../secret'))
    expect(fs.readlinkSync(at('made/link'))).toBe('../../secret')
    const link = await client.walk('made/link')
    expect(String(await client.call(abi.FUSE_READLINK, link))).toBe('../../secret')
    await client.call(abi.FUSE_LINK, made, u64(id), names('second'))
    expect(fs.statSync(at('new')).nlink).toBe(2)
    await client.call(abi.FUSE_RENAME, 1, u64(made), names('new', 'moved'))
    expect(fs.existsSync(at('made/moved'))).toBe(true)
    // It is still the same file to the guest.
    await client.call(abi.FUSE_SETATTR, id, u32(8, 0), u64(0, 3), Buffer.alloc(64))
    expect(fs.statSync(at('made/moved')).size).toBe(3)
    for (const name of ['moved', 'second', 'link'])
      await client.call(abi.FUSE_UNLINK, made, names(name))
    await client.call(abi.FUSE_RMDIR, 1, names('made'))
    expect(fs.readdirSync(folder).sort()).toEqual(['file', 'sub'])
  })

  it('has its files while they are open and have no name', async () => {
    const { id, handle } = await client.create('temporary')
    await client.call(abi.FUSE_UNLINK, 1, names('temporary'))
    await client.write(id, handle, 'kept')
    const body = await client.call(abi.FUSE_GETATTR, id, u32(0, 0), u64(0))
    expect(Number(body.readBigUInt64LE(16 + 8))).toBe(4)
    expect(String(await client.read(id, handle))).toBe('kept')
    const again = await client.create('temporary')
    expect(again.id).not.toBe(id)
  })

  it('takes times and modes, and gives nothing away', async () => {
    const { id } = await client.lookup('file')
    const set = (valid: number, { mode = 0, uid = 0, gid = 0, mtime = 0 } = {}) =>
      client.call(
        abi.FUSE_SETATTR,
        id,
        u32(valid, 0),
        u64(0, 0, 0, 0, mtime, 0),
        u32(0, 0, 0, mode, 0, uid, gid, 0),
      )
    await set(abi.FATTR_MODE, { mode: 0o4711 })
    expect(fs.statSync(at('file')).mode & 0o7777).toBe(0o711)
    await set(abi.FATTR_MTIME, { mtime: 1_000_000 })
    expect(fs.statSync(at('file')).mtimeMs).toBe(1e9)
    const { uid, gid } = fs.statSync(at('file'))
    await set(abi.FATTR_UID | abi.FATTR_GID, { uid, gid })
    await expect(set(abi.FATTR_UID, { uid: uid + 1 })).rejects.toThrow('EPERM')
    await expect(set(abi.FATTR_GID, { gid: gid + 1 })).rejects.toThrow('EPERM')
    const device = client.call(abi.FUSE_MKNOD, 1, u32(0o020666, 0x103, 0, 0), names('null'))
    await expect(device).rejects.toThrow('EPERM')
  })

  it('that is read-only is', async () => {
    await use({ readOnly: true })
    const { id } = await client.lookup('file')
    await expect(client.open(id, 1)).rejects.toThrow('EROFS')
    await expect(client.open(id, 2)).rejects.toThrow('EROFS')
    await expect(client.create('new')).rejects.toThrow('EROFS')
    await expect(client.call(abi.FUSE_UNLINK, 1, names('file'))).rejects.toThrow('EROFS')
    await expect(client.call(abi.FUSE_SETATTR, id, Buffer.alloc(88))).rejects.toThrow('EROFS')
    const handle = await client.open(id)
    await expect(client.write(id, handle, 'x')).rejects.toThrow('EROFS')
    expect(String(await client.read(id, handle))).toBe('content')
  })

  it('has names of any bytes', async () => {
    const name = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe, 0x41])])
    fs.writeFileSync(name, 'bytes')
    const body = await client.call(abi.FUSE_LOOKUP, 1, Buffer.from([0xff, 0xfe, 0x41, 0]))
    const id = Number(body.readBigUInt64LE(0))
    expect(String(await client.read(id, await client.open(id)))).toBe('bytes')
  })

  it('needs few descriptors for many folders', async () => {
    for (let i = 0; i < 600; i++) fs.mkdirSync(at(`sub/${i}/x`), { recursive: true })
    const before = descriptors()
    const ids: number[] = []
    for (let i = 0; i < 600; i++) {
      ids.push(await client.walk(`sub/${i}`))
      await client.lookup('x', ids.at(-1)!)
    }
    expect(descriptors() - before).toBeLessThanOrEqual(257)
    for (const id of ids) expect(await client.list(id)).toEqual(['x'])
    for (const id of ids) share.handle(message(abi.FUSE_FORGET, id, u64(1)), 16)
    share.reset()
    expect(descriptors()).toBe(before)
  })

  it.each([[''], [5], ['a\0b']])('refuses %j as a path', (path) => {
    expect(() => new SharedFolder(path as string)).toThrow('path')
  })

  it.each(['/nowhere', '/etc/passwd'])('refuses %s, which is no folder', async (path) => {
    await expect(new SharedFolder(path).open()).rejects.toMatchObject({
      option: 'path',
      value: path,
    })
  })
})

describe('a guest does not get out of a shared folder', () => {
  it.each(['..', '.', '', '../secret', 'sub/../../secret', '/etc/passwd', 'sub/deep'])(
    'by the name %j',
    async (name) => {
      const sub = await client.walk('sub')
      await expect(client.lookup(name, sub)).rejects.toThrow('EINVAL')
      await expect(client.create(name, sub)).rejects.toThrow('EINVAL')
      await expect(client.call(abi.FUSE_RENAME, 1, u64(sub), names('file', name))).rejects.toThrow(
        'EINVAL',
      )
      await expect(client.call(abi.FUSE_RENAME, sub, u64(1), names(name, 'x'))).rejects.toThrow(
        'EINVAL',
      )
      await expect(client.call(abi.FUSE_UNLINK, sub, names(name))).rejects.toThrow('EINVAL')
    },
  )

  it('by a link that it makes or finds', async () => {
    fs.symlinkSync(base, at('out'))
    fs.symlinkSync(join(base, 'secret'), at('to-file'))
    const out = await client.walk('out')
    await expect(client.lookup('secret', out)).rejects.toThrow(/ENOTDIR|ELOOP/)
    await expect(client.list(out)).rejects.toThrow(/ENOTDIR|ELOOP/)
    const link = await client.walk('to-file')
    await expect(client.open(link)).rejects.toThrow('ELOOP')
    await expect(client.create('to-file')).rejects.toThrow('ELOOP')
    const truncate = client.call(abi.FUSE_SETATTR, link, u32(8, 0), u64(0, 0), Buffer.alloc(64))
    await truncate.catch(() => {})
    expect(fs.readFileSync(join(base, 'secret'), 'utf8')).toBe('secret')
  })

  it('by a folder that turns into a link behind its back', async () => {
    const deep = await client.walk('sub/deep')
    const inner = await client.walk('sub/deep/inner')
    share.reset()
    const again = new FuseClient(share)
    const sub = await again.walk('sub')
    const deepAgain = await again.walk('sub/deep')
    fs.mkdirSync(join(base, 'outside/deep'), { recursive: true })
    fs.writeFileSync(join(base, 'outside/deep/inner'), 'outside')
    fs.renameSync(at('sub'), at('moved'))
    fs.symlinkSync(join(base, 'outside'), at('sub'))
    // Held open: still what it was.
    expect(await again.list(sub)).toEqual(['deep'])
    // Not held open: not found again, or the same.
    const listed = await again.list(deepAgain).catch((error: Error) => error.message)
    expect([['inner'], 'ESTALE', 'ELOOP', 'ENOTDIR', 'ENOENT']).toContainEqual(listed)
    await expect(again.list(deep === deepAgain ? inner : deep)).rejects.toThrow('ESTALE')
  })

  it('by a race with another who exchanges a folder and a link', async () => {
    fs.mkdirSync(join(base, 'outside'))
    fs.writeFileSync(join(base, 'outside/inner'), 'outside')
    const script = `const { renameSync, symlinkSync } = require('fs')
      process.chdir(${JSON.stringify(at('sub'))})
      symlinkSync(${JSON.stringify(join(base, 'outside'))}, 'link')
      for (let i = 0; i < 20000; i++) {
        renameSync('deep', 'was'); renameSync('link', 'deep')
        renameSync('deep', 'link'); renameSync('was', 'deep')
      }`
    const racer = spawn(process.execPath, ['-e', script])
    let running = true
    const ended = new Promise<void>((resolve) => racer.once('exit', () => resolve()))
    void ended.then(() => {
      running = false
    })
    let reads = 0
    while (running) {
      share.reset()
      const id = await client.walk('sub/deep/inner').catch(() => 0)
      const handle = id && (await client.open(id).catch(() => 0))
      if (handle) {
        reads++
        expect(String(await client.read(id, handle))).toBe('inner')
        await client.release(id, handle)
      }
      await new Promise(setImmediate)
    }
    expect(reads).toBeGreaterThan(0)
  })

  it('by opening what is no file', async () => {
    execFileSync('mkfifo', [at('pipe')])
    const pipe = await client.walk('pipe')
    await expect(client.open(pipe)).rejects.toThrow('EACCES')
    await expect(client.open(pipe, 1)).rejects.toThrow(/EACCES|ENXIO/)
    await expect(client.create('pipe')).rejects.toThrow('EACCES')
    await expect(client.open(await client.walk('sub'))).rejects.toThrow('EACCES')
  })
})

describe('a hostile guest', () => {
  it('gets no more handles than there are', async () => {
    const { id } = await client.lookup('file')
    const before = descriptors()
    let opened = 0
    for (; ; opened++) {
      const error = await client.open(id).catch((error: Error) => error.message)
      if (typeof error === 'string') {
        expect(error).toBe('ENFILE')
        break
      }
    }
    expect(opened).toBe(4096)
    share.reset()
    expect(descriptors()).toBeLessThanOrEqual(before)
  })

  it('gets an answer that fits, or none, whatever it sends', async () => {
    const opcode = fc.oneof(fc.integer({ min: 0, max: 60 }), fc.nat(2 ** 32 - 1))
    const piece = fc.oneof(
      fc
        .array(fc.oneof(fc.nat(8), fc.nat(2 ** 32 - 1)), { maxLength: 12 })
        .map((words) => u32(...words)),
      fc
        .constantFrom('file', 'sub', 'sub\0file', '..', 'x'.repeat(300), '/')
        .map((name) => names(name)),
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    )
    const request = fc.record({ opcode, node: fc.nat(6), body: fc.array(piece, { maxLength: 4 }) })
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { maxLength: 30 }),
        fc.integer({ min: 16, max: 5000 }),
        async (requests, room) => {
          for (const { opcode, node, body } of requests) {
            const answer = await share.handle(message(opcode, node, ...body), room)
            if (!answer) continue
            expect(answer.length).toBeLessThanOrEqual(room)
            expect(answer.readUInt32LE(0)).toBe(answer.length)
            expect(answer.readInt32LE(4)).toBeLessThanOrEqual(0)
          }
        },
      ),
      { numRuns: 300 },
    )
    expect(fs.readFileSync(join(base, 'secret'), 'utf8')).toBe('secret')
    expect(fs.readdirSync(base).sort()).toEqual(['secret', 'shared'])
  })

  it('gets an error for a message without a whole header', async () => {
    for (const length of [0, 1, 39]) {
      const answer = await share.handle(Buffer.alloc(length), 16)
      expect(answer?.readInt32LE(4)).toBeLessThan(0)
    }
  })
})

it('closing waits for what is under way', async () => {
  const { id } = await client.lookup('file')
  const handle = await client.open(id)
  const reads = Array.from({ length: 20 }, () => client.read(id, handle))
  const closed = share.close()
  for (const read of reads) expect(String(await read)).toBe('content')
  await closed
  await expect(client.lookup('file')).rejects.toThrow('EIO')
})
