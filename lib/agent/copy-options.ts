import { invalidOption, VmmError } from '../errors.js'
import type { LimitOptions } from './limit.js'

/** How files and folders are copied to and from a guest. */
export interface CopyOptions extends LimitOptions {
  /** Takes folders too, with all that is in them: `false` unless told. */
  recursive?: boolean
  /** Files, folders, links and whatever else is met at most: 100,000 unless told. */
  maxEntries?: number
  /** Bytes that the files have together at most: 16 GiB unless told. */
  maxBytes?: number
  /** Called as bytes and files pass; an exception ends the copying. */
  onProgress?: (progress: CopySummary & { readonly path: string }) => void
}

/** How {@link GuestAgent.copyIn} copies. */
export interface CopyInOptions extends CopyOptions {
  /** Permission bits of a file: its own unless told. What is in a folder keeps its own. */
  mode?: number
}

/** How {@link GuestAgent.copyOut} copies. */
export interface CopyOutOptions extends CopyOptions {
  /**
   * Symbolic links in a folder: `'inside'`, unless told, refuses those that may lead out of it, which are those that are
   * absolute and those with `..` beyond the folder or after a name; `'all'` keeps these too; `'skip'` leaves them out.
   */
  links?: 'inside' | 'all' | 'skip'
}

/** What has been copied. */
export interface CopySummary {
  /** Regular files. */
  readonly files: number
  /** Folders, the one that was named among them. */
  readonly folders: number
  /** Symbolic links. */
  readonly links: number
  /** What is neither of these, such as sockets and devices, and links that were left out. */
  readonly skipped: number
  /** Of the files. */
  readonly bytes: number
}

export const LINKS = ['inside', 'all', 'skip'] as const

const MAX_ENTRIES = 100_000
const MAX_BYTES = 16 * 2 ** 30

/** @throws VmmError `ERR_INVALID_OPTION` */
export function checkBound(option: string, value: number): void {
  if (Number.isInteger(value) && value >= 0) return
  throw invalidOption(option, value, 'a whole number of at least 0')
}

/** Counts what is copied, and keeps it within its bounds. */
export class CopyProgress {
  readonly #onProgress: CopyOptions['onProgress']
  readonly #maxEntries: number
  readonly #maxBytes: number
  readonly #counts = { files: 0, folders: 0, links: 0, skipped: 0, bytes: 0 }
  #entries = 0

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor({
    maxEntries = MAX_ENTRIES,
    maxBytes = MAX_BYTES,
    onProgress,
    recursive,
  }: CopyOptions) {
    checkBound('maxEntries', maxEntries)
    checkBound('maxBytes', maxBytes)
    if (recursive !== undefined && typeof recursive !== 'boolean') {
      throw invalidOption('recursive', recursive, 'true or false')
    }
    if (onProgress !== undefined && typeof onProgress !== 'function') {
      throw invalidOption('onProgress', onProgress, 'a function')
    }
    this.#maxEntries = maxEntries
    this.#maxBytes = maxBytes
    this.#onProgress = onProgress
  }

  get summary(): CopySummary {
    return { ...this.#counts }
  }

  /** There is so much more in `path`: before it is kept or looked at. */
  meet(path: string, count = 1): void {
    this.#entries += count
    if (this.#entries <= this.#maxEntries) return
    throw beyond(path, 'maxEntries', this.#maxEntries, 'files and folders')
  }

  /** Bytes have come. */
  take(path: string, bytes: number): void {
    this.#counts.bytes += bytes
    if (this.#counts.bytes > this.#maxBytes) throw beyond(path, 'maxBytes', this.#maxBytes, 'bytes')
    this.#report(path)
  }

  /** It is done with. */
  done(path: string, what: 'files' | 'folders' | 'links' | 'skipped'): void {
    this.#counts[what]++
    this.#report(path)
  }

  #report(path: string): void {
    this.#onProgress?.({ ...this.#counts, path })
  }
}

function beyond(path: string, option: string, value: number, what: string): VmmError {
  const message = `${JSON.stringify(path)}: more than ${value} ${what}`
  return new VmmError('ERR_MAX_BUFFER', message, { option, value })
}
