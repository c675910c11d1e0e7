import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AgentLink } from '../../lib/agent/agent-link.js'
import { staysInside } from '../../lib/agent/copy-tree.js'
import { DirectoryEntryDecoder } from '../../lib/agent/directory-entries.js'
import { GuestAgent } from '../../lib/agent/guest-agent.js'
import * as protocol from '../../lib/agent/protocol.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import { AgentRig, codeOf, duplexPair } from './agent-rig.js'

let rig: AgentRig
beforeAll(async () => {
  rig = await AgentRig.start()
})
afterAll(() => rig[Symbol.asyncDispose]())

let folder: ReturnType<typeof temporaryFolder>
const path = (name: string) => folder.path(name)
beforeEach(() => {
  folder = temporaryFolder('copy')
})
afterEach(() => folder[Symbol.dispose]())

/** What is below a folder: modes, contents and the targets of links, by name. */
function tree(root: string): Record<string, string> {
  const found: Record<string, string> = {}
  const walk = (at: string) => {
    const status = lstatSync(root + at)
    const mode = (status.mode & 0o7777).toString(8)
    if (status.isSymbolicLink()) found[at] = `-> ${readlinkSync(root + at)}`
    else if (status.isFile()) found[at] = `${mode} ${readFileSync(root + at, 'utf8')}`
    else if (status.isDirectory()) {
      found[`${at}/`] = mode
      for (const name of readdirSync(root + at)) walk(`${at}/${name}`)
    } else found[at] = 'other'
  }
  walk('')
  return found
}

function makeTree(root: string): void {
  mkdirSync(`${root}/a/b/c`, { recursive: true })
  mkdirSync(`${root}/empty`)
  writeFileSync(`${root}/a/text`, 'content', { mode: 0o640 })
  writeFileSync(`${root}/a/b/program`, '#!/bin/sh\n')
  chmodSync(`${root}/a/b/program`, 0o755)
  writeFileSync(`${root}/a/b/c/ÿ name\nwith all`, '')
  symlinkSync('../text', `${root}/a/b/up`)
  symlinkSync('nowhere', `${root}/a/dangling`)
  symlinkSync('a', `${root}/folder`)
  chmodSync(`${root}/a/b/c`, 0o500)
}

describe('a folder', () => {
  it('goes in and comes out as it was', async () => {
    makeTree(path('source'))
    const options = { recursive: true }
    const summary = { files: 3, folders: 5, links: 3, skipped: 0, bytes: 17 }
    expect(await rig.agent.copyIn(path('source'), path('inside'), options)).toEqual(summary)
    expect(tree(path('inside'))).toEqual(tree(path('source')))
    expect(await rig.agent.copyOut(path('inside'), path('outside'), options)).toEqual(summary)
    expect(tree(path('outside'))).toEqual(tree(path('source')))
    expect(readdirSync(folder.path())).toHaveLength(3)
  })

  it('of many files does, too', async () => {
    mkdirSync(path('many'))
    for (let i = 0; i < 1000; i++) writeFileSync(path(`many/${'x'.repeat(100)}${i}`), `${i}`)
    const before = tree(path('many'))
    await rig.agent.copyOut(path('many'), path('out'), { recursive: true })
    expect(tree(path('out'))).toEqual(before)
  })

  it('is merged into one that is there in the guest', async () => {
    mkdirSync(path('source/sub'), { recursive: true })
    writeFileSync(path('source/sub/new'), 'new')
    writeFileSync(path('source/both'), 'new')
    symlinkSync('new', path('source/link'))
    mkdirSync(path('there/sub'), { recursive: true })
    writeFileSync(path('there/sub/old'), 'old')
    writeFileSync(path('there/both'), 'old')
    symlinkSync('old', path('there/link'))
    chmodSync(path('there'), 0o711)
    await rig.agent.copyIn(path('source'), path('there'), { recursive: true })
    expect(tree(path('there'))).toMatchObject({
      '/': '711',
      '/both': expect.stringContaining('new'),
      '/sub/new': expect.stringContaining('new'),
      '/sub/old': expect.stringContaining('old'),
      '/link': '-> new',
    })
  })

  it('does not take the place of what is there on this machine', async () => {
    mkdirSync(path('source'))
    mkdirSync(path('full/x'), { recursive: true })
    mkdirSync(path('empty'))
    const recursive = { recursive: true }
    expect(await codeOf(rig.agent.copyOut(path('source'), path('full'), recursive))).toBe(
      'ENOTEMPTY',
    )
    await rig.agent.copyOut(path('source'), path('empty'), recursive)
    expect(readdirSync(folder.path()).sort()).toEqual(['empty', 'full', 'source'])
  })

  it('is one only if that is asked for', async () => {
    mkdirSync(path('source'))
    writeFileSync(path('plain'), '')
    symlinkSync('source', path('to-it'))
    const names = ['source', 'plain', 'to-it', 'none']
    const are = await Promise.all(names.map((name) => rig.agent.isDirectory(path(name))))
    expect(are).toEqual([true, false, true, false])
    expect(await codeOf(rig.agent.copyIn(path('source'), path('x')))).toBe('EISDIR')
    expect(await codeOf(rig.agent.copyOut(path('source'), path('x')))).toBe('ERR_GUEST_FILE')
    writeFileSync(path('file'), 'a file')
    await rig.agent.copyOut(path('file'), path('out'), { recursive: true })
    await rig.agent.copyIn(path('file'), path('in'), { recursive: true })
    expect([readFileSync(path('out'), 'utf8'), readFileSync(path('in'), 'utf8')]).toEqual([
      'a file',
      'a file',
    ])
  })

  it('is followed to by a link, but no link in it is', async () => {
    makeTree(path('source'))
    symlinkSync('source', path('link'))
    await rig.agent.copyOut(path('link'), path('out'), { recursive: true })
    await rig.agent.copyIn(path('link'), path('in'), { recursive: true })
    expect(tree(path('out'))).toEqual(tree(path('source')))
    expect(tree(path('in'))).toEqual(tree(path('source')))
  })

  it('has what is neither file nor folder nor link left out, and counted', async () => {
    mkdirSync(path('source'))
    await rig.agent.exec(['mkfifo', path('source/fifo')])
    const summary = { files: 0, folders: 1, links: 0, skipped: 1, bytes: 0 }
    expect(await rig.agent.copyOut(path('source'), path('out'), { recursive: true })).toEqual(
      summary,
    )
    expect(await rig.agent.copyIn(path('source'), path('in'), { recursive: true })).toEqual(summary)
  })

  it.each(['/etc', '..', '../..', 'sub/../..', './../sub', 'a/../b'])(
    'that has a link to %s does not come out unless that is wanted',
    async (target) => {
      mkdirSync(path('source'))
      symlinkSync(target, path('source/link'))
      const out = (links: 'inside' | 'all' | 'skip') =>
        rig.agent.copyOut(path('source'), path(links), { recursive: true, links })
      await expect(out('inside')).rejects.toMatchObject({ code: 'ERR_GUEST_FILE', value: target })
      expect(existsSync(path('inside'))).toBe(false)
      await out('all')
      expect(readlinkSync(path('all/link'))).toBe(target)
      expect(await out('skip')).toMatchObject({ links: 0, skipped: 1 })
      expect(readdirSync(path('skip'))).toEqual([])
    },
  )

  it('is bounded in entries and bytes', async () => {
    mkdirSync(path('source'))
    for (let i = 0; i < 10; i++) writeFileSync(path(`source/${i}`), '0123456789')
    const { agent } = rig
    const limits = [{ maxEntries: 9 }, { maxBytes: 99 }]
    for (const limit of limits) {
      const options = { recursive: true, ...limit }
      expect(await codeOf(agent.copyOut(path('source'), path('x'), options))).toBe('ERR_MAX_BUFFER')
      expect(await codeOf(agent.copyIn(path('source'), path('in'), options))).toBe('ERR_MAX_BUFFER')
    }
    expect(readdirSync(folder.path()).sort()).toEqual(['in', 'source'])
    const enough = { recursive: true, maxEntries: 10, maxBytes: 100 }
    await agent.copyOut(path('source'), path('y'), enough)
    expect(await codeOf(agent.copyOut(path('source/1'), path('z'), { maxBytes: 9 }))).toBe(
      'ERR_MAX_BUFFER',
    )
  })

  it('tells how far it is, and ends when that throws, is aborted or takes too long', async () => {
    makeTree(path('source'))
    const told: string[] = []
    const onProgress = (progress: { path: string; files: number }) =>
      void told.push(`${progress.files} ${progress.path.slice(path('').length)}`)
    await rig.agent.copyOut(path('source'), path('out'), { recursive: true, onProgress })
    expect(told).toContain('3 /source')
    const abort = new AbortController()
    const stop = {
      recursive: true,
      signal: abort.signal,
      onProgress: () => abort.abort(new Error('enough')),
    }
    await expect(rig.agent.copyOut(path('source'), path('x'), stop)).rejects.toThrow('enough')
    const thrown = {
      recursive: true,
      onProgress: () => {
        throw new Error('no more')
      },
    }
    await expect(rig.agent.copyOut(path('source'), path('x'), thrown)).rejects.toThrow('no more')
    await expect(rig.agent.copyIn(path('source'), path('in'), thrown)).rejects.toThrow('no more')
    expect(readdirSync(folder.path()).filter((name) => name.startsWith('x'))).toEqual([])
  })

  it('is refused by name of what is wrong', async () => {
    const { agent } = rig
    const recursive = { recursive: true }
    await expect(agent.copyOut('/none', path('x'), recursive)).rejects.toMatchObject({
      code: 'ERR_GUEST_FILE',
      cause: { code: 'ENOENT' },
    })
    expect(await codeOf(agent.copyIn('/none', path('x'), recursive))).toBe('ENOENT')
    mkdirSync(path('source'))
    writeFileSync(path('file'), '')
    await expect(agent.copyIn(path('source'), path('file'), recursive)).rejects.toMatchObject({
      cause: { code: 'ENOTDIR' },
    })
    for (const wrong of [
      { links: 'none' },
      { maxEntries: -1 },
      { maxBytes: '1' },
      { recursive: 1 },
      { onProgress: 1 },
    ]) {
      expect(await codeOf(agent.copyOut('/', path('x'), wrong as object))).toBe(
        'ERR_INVALID_OPTION',
      )
    }
  })
})

/** A record of getdents64(2). */
function record(name: string | Uint8Array, type: number, pad = 1): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(19), Buffer.from(name as string), Buffer.alloc(pad)])
  bytes.writeUInt16LE(bytes.length, 16)
  bytes[18] = type
  return bytes
}

it('a file system that does not say what its entries are is asked for each', async () => {
  makeTree(path('source'))
  const lists = new Set<number>()
  const [host, guest] = duplexPair()
  await using other = await AgentRig.start((socket) => {
    const [asked, told] = [new protocol.FrameDecoder(), new protocol.FrameDecoder()]
    guest.on('data', (chunk: Buffer) => {
      socket.write(chunk)
      for (const { type, session } of asked.push(chunk)) {
        if (type === protocol.LIST) lists.add(session)
        else if (type !== protocol.CREDIT) lists.delete(session)
      }
    })
    socket.on('data', (chunk) => {
      for (const { type, session, stream, payload } of told.push(chunk)) {
        const isList = type === protocol.DATA && lists.has(session)
        for (let at = 0; isList && at < payload.length; at += payload.readUInt16LE(at + 16)) {
          payload[at + 18] = 0 // DT_UNKNOWN
        }
        guest.write(protocol.encodeFrame(type, session, payload, stream))
      }
    })
  })
  other.link.attach(host)
  const summary = await other.agent.copyOut(path('source'), path('out'), { recursive: true })
  expect(summary).toMatchObject({ files: 3, folders: 5, links: 3 })
  expect(tree(path('out'))).toEqual(tree(path('source')))
  expect(lists.size).toBeGreaterThan(0)
})

describe('a hostile agent', () => {
  /** Answers each LIST with these bytes, for ever if told, and files with nothing in them. */
  function playing(listing: Buffer, endless = false): GuestAgent {
    const link = new AgentLink()
    const [host, guest] = duplexPair()
    guest.on('error', () => {})
    link.attach(host)
    const { encodeFrame, encodeWords } = protocol
    const hello = encodeWords(protocol.HELLO_MAGIC, protocol.PROTOCOL_VERSION)
    guest.write(encodeFrame(protocol.HELLO, 0, hello))
    let rest = Buffer.alloc(0)
    const credits = new Map<number, number>()
    guest.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 8 && rest.length >= 8 + rest.readUInt32LE(0)) {
        const [length, id, type] = [rest.readUInt32LE(0), rest.readUInt16LE(4), rest[6]!]
        const given = type === protocol.CREDIT ? rest.readUInt32LE(8) : 0
        rest = rest.subarray(8 + length)
        const send = (type: number, payload?: Uint8Array, stream = 0) =>
          guest.write(encodeFrame(type, id, payload, stream))
        const data = () => send(protocol.DATA, listing, protocol.STDOUT)
        const isStart = type === protocol.LIST || type === protocol.READ
        if (isStart) send(protocol.STARTED, encodeWords(0o7777, 0, 0, 0))
        if (type === protocol.LIST) data()
        if (endless) {
          if (type === protocol.LIST) credits.set(id, protocol.OUTPUT_WINDOW - listing.length)
          if (type === protocol.CREDIT) credits.set(id, credits.get(id)! + given)
          for (; credits.get(id)! >= listing.length; data()) {
            credits.set(id, credits.get(id)! - listing.length)
          }
        } else if (isStart) {
          send(protocol.EOF, undefined, protocol.STDOUT)
          send(protocol.EXIT, encodeWords(0, 0))
        }
      }
    })
    return new GuestAgent(link, 5000)
  }

  it.each([
    ['a path out', [record('../x', 8)]],
    ['an absolute path', [record('/tmp/x', 8)]],
    ['no name', [record('', 8)]],
    ['a name without an end', [record('abc', 8, 0)]],
    ['a name of another encoding', [record(Uint8Array.of(0xff, 0xfe), 8)]],
    ['the same name twice', [record('x', 8), record('x', 4)]],
    ['half an entry', [record('x', 8).subarray(0, 12)]],
    ['an entry of no length', [Buffer.alloc(24)]],
    ['a name that is too long', [record('x'.repeat(300), 8)]],
  ])('that tells of %s makes nothing here', async (_, records) => {
    const out = playing(Buffer.concat(records)).copyOut('/x', path('out'), { recursive: true })
    await expect(out).rejects.toMatchObject({ code: expect.stringMatching(/GUEST_FILE|EEXIST/) })
    expect(readdirSync(folder.path())).toEqual([])
  })

  it('gives no file a set-user-ID bit', async () => {
    await playing(record('x', 8)).copyOut('/x', path('out'), { recursive: true })
    expect(statSync(path('out/x')).mode & 0o7777).toBe(0o777)
    expect(statSync(path('out')).mode & 0o7777).toBe(0o777)
  })

  it('whose folders lie in one another without end is left alone', async () => {
    const deep = playing(record('x', 4)).copyOut('/x', path('out'), { recursive: true })
    await expect(deep).rejects.toMatchObject({
      code: expect.stringMatching(/ENAMETOOLONG|ERR_INVALID_OPTION/),
    })
    expect(readdirSync(folder.path())).toEqual([])
  })

  it('whose folder has no end is left alone', async () => {
    const many = Buffer.concat(Array.from({ length: 1000 }, (_, i) => record(`x${i}`, 8)))
    const wide = playing(many, true).copyOut('/x', path('out'), { recursive: true })
    expect(await codeOf(wide)).toBe('ERR_MAX_BUFFER')
    expect(readdirSync(folder.path())).toEqual([])
  })
})

describe('staysInside', () => {
  it('is never true of a link that leads out, whatever other such links there are', () => {
    const name = fc.constantFrom('a', 'b', 'c')
    const target = fc
      .array(fc.constantFrom('a', 'b', 'c', '..', '.', ''), { minLength: 1, maxLength: 5 })
      .map((parts) => parts.join('/'))
      .filter((text) => text !== '')
    const link = fc.record({ folders: fc.array(name, { maxLength: 2 }), name, target })
    fc.assert(
      fc.property(fc.array(link, { maxLength: 6 }), (links) => {
        // Real links in a real folder, which the kernel follows.
        const root = path('tree')
        mkdirSync(`${root}/a/a`, { recursive: true })
        mkdirSync(`${root}/b/c`, { recursive: true })
        for (const { folders, name, target } of links) {
          if (!staysInside(target, folders.length)) continue
          const at = [root, ...folders].join('/')
          try {
            if (!lstatSync(at).isDirectory()) continue
            const isReal = folders.every((_, i) =>
              lstatSync([root, ...folders.slice(0, i + 1)].join('/')).isDirectory(),
            )
            if (isReal) symlinkSync(target, `${at}/${name}`)
          } catch {
            // There is something of that name, or nothing.
          }
        }
        const reached = leads(root)
        rmSync(root, { recursive: true })
        expect(reached.filter((to) => to !== root && !to.startsWith(`${root}/`))).toEqual([])
      }),
      { numRuns: 300 },
    )
  })

  it.each([
    ['x', 0, true],
    ['..', 0, false],
    ['..', 1, true],
    ['../..', 1, false],
    ['.././x', 1, true],
    ['x/..', 5, false],
    ['/x', 5, false],
    ['', 0, true],
  ])('%j at depth %i: %s', (link, depth, expected) => {
    expect(staysInside(link, depth)).toBe(expected)
  })
})

/** Where all the links below a folder lead. */
function leads(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isSymbolicLink())
    .flatMap((entry) => {
      try {
        return [realpathSync(`${entry.parentPath}/${entry.name}`)]
      } catch {
        return []
      }
    })
}

describe('DirectoryEntryDecoder', () => {
  it('gives the same, however the bytes are cut', () => {
    const names = fc.array(fc.stringMatching(/^[a-z€]{1,20}$/), { maxLength: 20 })
    fc.assert(
      fc.property(names, fc.array(fc.nat(600), { maxLength: 5 }), (names, cuts) => {
        const types = [0, 4, 8, 10, 1]
        const records = names.map((name, i) => record(name, types[i % 5]!, 1 + (i % 7)))
        const bytes = Buffer.concat([record('.', 4), record('..', 4), ...records])
        const decoder = new DirectoryEntryDecoder()
        const ends = [...cuts, bytes.length].sort((a, b) => a - b)
        const entries = ends.flatMap((end, i) =>
          decoder.push(bytes.subarray(ends[i - 1] ?? 0, end)),
        )
        decoder.end()
        const kinds = ['unknown', 'folder', 'file', 'link', 'other']
        expect(entries).toEqual(names.map((name, i) => ({ name, kind: kinds[i % 5] })))
      }),
    )
  })
})
