import { constants, createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { CopyProgress } from './copy-options.js'
import { type GuestSide, pathRequest, readFile, writeFile } from './file-operations.js'
import { READ } from './protocol.js'

/** @param flags of open(2), besides those for reading */
export async function copyFileIn(
  guest: GuestSide,
  from: string,
  to: string,
  mode: number | undefined,
  progress: CopyProgress,
  flags = 0,
): Promise<void> {
  await using source = await open(from, constants.O_RDONLY | flags)
  const status = await source.stat()
  const content = createReadStream('', { fd: source, autoClose: false })
  await writeFile(guest, to, content, mode ?? status.mode & 0o777, counting(from, progress))
  progress.done(from, 'files')
}

/** @param to what is not there yet */
export async function copyFileOut(
  guest: GuestSide,
  from: string,
  to: string,
  progress: CopyProgress,
): Promise<void> {
  await readFile(guest, READ, from, pathRequest(from), async (output, mode) => {
    await using target = await open(to, 'wx', 0o600)
    await pipeline(output, counting(from, progress), async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) await target.write(chunk)
    })
    await target.chmod(mode & 0o777)
  })
  progress.done(from, 'files')
}

function counting(path: string, progress: CopyProgress): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        progress.take(path, chunk.length)
        done(null, chunk)
      } catch (error) {
        done(error as Error)
      }
    },
  })
}
