import { invalidOption, KvmError } from '../../errors.js'
import { nativeAddressSpace } from '../native-memory.js'
import type { BlockAttachment, BlockChannel } from './block-backend.js'
import { type DiskFile, fileFunctions } from './file-functions.js'
import { FlushGate, type FlushState } from './flush-gate.js'
import { JsChannel } from './js-channel.js'
import { NativeChannel } from './native-channel.js'

/** What moves a file's data. `auto`: io_uring where the kernel allows it and is right by it (not FUSE), else threads. */
export type BlockEngineChoice = 'auto' | 'io_uring' | 'threads' | 'js'

export const BLOCK_ENGINES: readonly BlockEngineChoice[] = ['auto', 'io_uring', 'threads', 'js']

/**
 * Requests of one open file by the engine chosen, or the best that there is for the guest memory at hand.
 * @throws VmmError `ERR_INVALID_OPTION` for a native engine and memory that no mapping backs
 * @throws KvmError if the kernel refuses an engine that was asked for by name
 */
export function newFileChannel(
  engine: BlockEngineChoice,
  file: DiskFile,
  attachment: BlockAttachment,
  flushState: FlushState,
): BlockChannel {
  const memory = engine === 'js' ? undefined : nativeAddressSpace(attachment.memory)
  if (memory === undefined) {
    if (engine !== 'auto' && engine !== 'js') {
      throw invalidOption('engine', engine, "'auto' or 'js' for guest memory that no mapping backs")
    }
    return new JsChannel('js', fileFunctions(file), attachment, flushState)
  }
  const make = (kind: 'io_uring' | 'threads') =>
    new NativeChannel(kind, file.fd, memory, attachment, new FlushGate(flushState))
  if (engine === 'threads') return make('threads')
  try {
    return make('io_uring')
  } catch (error) {
    if (engine === 'auto' && error instanceof KvmError) return make('threads')
    throw error
  }
}
