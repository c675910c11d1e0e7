import { invalidOption } from '../errors.js'
import { isPowerOfTwo } from '../util/bits.js'
import { formatByteSize } from '../util/byte-size.js'
import * as check from './option-checks.js'

/** A machine's memory device: see {@link VirtualMachine.virtioMem}. Sizes are bytes, or text such as `'2G'`. */
export interface VirtioMemDeviceOptions {
  /** What the guest may have besides `memory` at most: a multiple of `blockSize`, up to 128 GiB. */
  maxSize: number | string
  /** What it is asked to plug at first: a multiple of `blockSize`, up to `maxSize`. 0 unless told. */
  size?: number | string
  /** What comes and goes together: a power of two from 2 MiB to 1 GiB. 2 MiB unless told. */
  blockSize?: number | string
  /** In which node of the option `numa` it is. 0 unless told. */
  node?: number
}

/** A {@link VirtioMemDeviceOptions}, checked and completed. */
export interface VirtioMemConfig {
  /** Bytes that may be plugged. */
  readonly maxSize: number
  /** Bytes asked for at first. */
  readonly size: number
  /** Bytes. */
  readonly blockSize: number
  /** A node of the option `numa`. */
  readonly node: number
}

const MIB = 2 ** 20
/** 128 memory slots of 1 GiB. */
const HOT_MEMORY_MAX = 2 ** 37
const BLOCK_MIN = 2 * MIB
const BLOCK_MAX = 2 ** 30

const shape = check.object({
  maxSize: check.byteSize(
    () => `from 2 MiB to ${formatByteSize(HOT_MEMORY_MAX)}, such as '4G'`,
    (bytes) => bytes >= BLOCK_MIN && bytes <= HOT_MEMORY_MAX,
  ),
  size: check.withDefault(
    check.byteSize(
      () => "bytes, or text such as '1G'",
      (bytes) => bytes >= 0,
    ),
    0,
  ),
  blockSize: check.withDefault(
    check.byteSize(
      () => 'a power of two from 2 MiB to 1 GiB',
      (bytes) => isPowerOfTwo(bytes) && bytes >= BLOCK_MIN && bytes <= BLOCK_MAX,
    ),
    BLOCK_MIN,
  ),
  node: check.withDefault(check.integer(0), 0),
})

export const checkVirtioMem: check.Check<VirtioMemConfig> = (given, name) => {
  const config = shape(given, name)
  const { maxSize, size, blockSize } = config
  const blocks = `a multiple of blockSize, which is ${formatByteSize(blockSize)}`
  if (maxSize % blockSize !== 0) throw invalidOption(`${name}.maxSize`, maxSize, blocks)
  if (size % blockSize !== 0 || size > maxSize) {
    throw invalidOption(`${name}.size`, size, `${blocks}, of at most maxSize`)
  }
  return config
}
