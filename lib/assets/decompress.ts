import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import xz from 'xz-decompress'
import { VmmError } from '../errors.js'

/**
 * A kernel module as the kernel takes it, whatever its file is compressed with, by the file's ending: `.ko` (as in
 * Debian's 6.1), `.ko.xz` (6.12), `.ko.gz`.
 * @throws VmmError `ERR_ASSET` if it cannot be decompressed
 */
export async function decompressModule(name: string, bytes: Uint8Array): Promise<Uint8Array> {
  try {
    if (name.endsWith('.ko')) return bytes
    if (name.endsWith('.xz')) return await unxz(bytes)
    if (name.endsWith('.gz')) return await promisify(gunzip)(bytes)
  } catch (cause) {
    throw new VmmError('ERR_ASSET', `${name} cannot be decompressed`, { option: name, cause })
  }
  throw new VmmError('ERR_ASSET', `${name} is compressed in a way that is not known here`, {
    option: name,
    expected: 'a file that ends in .ko, .ko.xz or .ko.gz',
  })
}

async function unxz(bytes: Uint8Array): Promise<Uint8Array> {
  const compressed = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream()
  const chunks: Uint8Array[] = []
  for await (const chunk of new xz.XzReadableStream(compressed as ReadableStream<Uint8Array>))
    chunks.push(chunk)
  return Buffer.concat(chunks)
}
