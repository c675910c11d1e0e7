import type { Readable } from 'node:stream'
import { VmmError } from '../errors.js'

/**
 * All that comes from a stream.
 * @param name names the stream, in the error
 * @param option sets how many bytes that may be at most
 * @throws VmmError `ERR_MAX_BUFFER` if there are more
 */
export async function collect(
  name: string,
  stream: Readable,
  option: string,
  most: number,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length <= most) continue
    throw new VmmError('ERR_MAX_BUFFER', `${name}: more than ${most} bytes`, {
      option,
      value: most,
    })
  }
  return Buffer.concat(chunks)
}
