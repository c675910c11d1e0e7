import { invalidOption } from '../../errors.js'
import { FolderOperations } from './folder-operations.js'
import { OUT_HEADER_SIZE } from './fuse-abi.js'
import { errorReply, FuseError, FuseRequest, reply } from './fuse-message.js'
import type { ShareBackend } from './share-backend.js'
import { ShareHandles } from './share-handles.js'
import { ShareNodes } from './share-nodes.js'

export interface SharedFolderOptions {
  /** The guest can change nothing. `false` unless told. */
  readOnly?: boolean
}

/**
 * A folder of this machine's for a guest, as a FUSE server in this process.
 *
 * The guest sees what is in the folder and nothing else: symbolic links are the guest's to follow, in its own tree.
 * What it makes belongs to who runs this process, who must be allowed to do it; it can give nothing away, make no
 * devices, and set no set-user-ID bits. Names and attributes are looked up at once, data is read and written in the
 * background.
 */
export class SharedFolder implements ShareBackend {
  readonly path: string
  readonly readOnly: boolean
  readonly #handles = new ShareHandles()
  #nodes: ShareNodes | undefined
  #operations: FolderOperations | undefined

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(path: string, options: SharedFolderOptions = {}) {
    if (typeof path !== 'string' || path === '' || path.includes('\0')) {
      throw invalidOption('path', path, 'the path of a folder')
    }
    this.path = path
    this.readOnly = options.readOnly ?? false
  }

  /** @throws VmmError `ERR_INVALID_OPTION` if it is no folder that can be opened */
  async open(): Promise<void> {
    try {
      this.#nodes = new ShareNodes(this.path)
      this.#operations = new FolderOperations(this.#nodes, this.#handles, this.readOnly)
    } catch {
      throw invalidOption('path', this.path, 'the path of a folder that can be opened')
    }
  }

  async close(): Promise<void> {
    this.#handles.reset()
    await this.#handles.idle()
    this.#nodes?.close()
    this.#nodes = undefined
    this.#operations = undefined
  }

  reset(): void {
    this.#handles.reset()
    this.#nodes?.reset()
  }

  handle(bytes: Buffer, replyMax: number): Buffer | undefined | Promise<Buffer> {
    let unique = 0n
    try {
      const request = new FuseRequest(bytes)
      unique = request.unique
      if (!this.#operations) throw new FuseError('EIO')
      const operation = this.#operations.find(request.opcode)
      const answer = operation(request, replyMax - OUT_HEADER_SIZE)
      if (answer === undefined) return undefined
      if (!(answer instanceof Promise)) return fitting(unique, answer, replyMax)
      return answer.then(
        (body) => fitting(unique, body, replyMax),
        (error: unknown) => errorReply(unique, error),
      )
    } catch (error) {
      return errorReply(unique, error)
    }
  }
}

function fitting(unique: bigint, body: Uint8Array, replyMax: number): Buffer {
  const bytes = reply(unique, body)
  return bytes.length <= replyMax ? bytes : errorReply(unique, new FuseError('EIO'))
}
