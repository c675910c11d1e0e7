import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import * as zlib from 'node:zlib'
import { cannotRun } from '../assets/program.js'
import { badRootfs } from './rootfs-error.js'

const MAGIC = { gzip: [0x1f, 0x8b], zstd: [0x28, 0xb5, 0x2f, 0xfd] }

/**
 * What an archive holds, by its magic number: gzip, Zstandard, or as it is. Zstandard takes Node 22.15 or newer, or the
 * program `zstd`.
 * @param name for errors
 * @throws VmmError `ERR_ROOTFS` for damaged data, `ERR_MISSING_PROGRAM`
 */
export async function* decompressed(
  name: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = chunks[Symbol.asyncIterator]()
  let head: Buffer = Buffer.alloc(0)
  while (head.length < 4) {
    const { value, done } = await iterator.next()
    if (done) break
    head = Buffer.concat([head, value])
  }
  const all = rejoin(head, iterator)
  const starts = (magic: readonly number[]) => magic.every((byte, i) => head[i] === byte)
  try {
    if (starts(MAGIC.gzip)) yield* through(all, zlib.createGunzip())
    else if (starts(MAGIC.zstd)) yield* unzstd(all)
    else yield* all
  } catch (error) {
    const { code = '' } = error as { code?: string }
    if (/^Z_|^ERR_ZSTD|^ZSTD/.test(code)) throw badRootfs(name, 'damaged compressed data', error)
    throw error
  }
}

async function* rejoin(head: Buffer, rest: AsyncIterator<Uint8Array>) {
  try {
    if (head.length > 0) yield head as Uint8Array
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value
  } finally {
    await rest.return?.()
  }
}

async function* through(chunks: AsyncIterable<Uint8Array>, stream: NodeJS.ReadWriteStream) {
  const source = Readable.from(chunks)
  source.once('error', (error) => (stream as zlib.Gunzip).destroy(error))
  try {
    for await (const chunk of source.pipe(stream)) yield chunk as unknown as Uint8Array
  } finally {
    source.destroy()
  }
}

async function* unzstd(chunks: AsyncIterable<Uint8Array>) {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => zlib.Gunzip }
  if (createZstdDecompress) {
    yield* through(chunks, createZstdDecompress())
    return
  }
  const child = spawn('zstd', ['-dcq'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => reject(cannotRun('zstd', error)))
    child.once('close', resolve)
  })
  ended.catch(() => {})
  const source = Readable.from(chunks)
  let fault: unknown
  source.once('error', (error) => {
    fault = error
    child.stdin.destroy()
  })
  child.stdin.on('error', () => {})
  source.pipe(child.stdin)
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array
    const status = await ended
    if (fault) throw fault
    if (status !== 0) throw Object.assign(new Error(`zstd: status ${status}`), { code: 'ZSTD' })
  } finally {
    source.destroy()
    child.kill()
  }
}
