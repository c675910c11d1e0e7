import { attributeOperations } from './attribute-operations.js'
import { directoryOperations } from './directory-operations.js'
import { fileOperations } from './file-operations.js'
import * as abi from './fuse-abi.js'
import { FuseError, initOut } from './fuse-message.js'
import { nameOperations } from './name-operations.js'
import { NOTHING, type Operation, type Operations } from './operation.js'
import type { ShareHandles } from './share-handles.js'
import type { ShareNodes } from './share-nodes.js'

const MUTATING = new Set([
  ...[abi.FUSE_SETATTR, abi.FUSE_SYMLINK, abi.FUSE_MKNOD, abi.FUSE_MKDIR, abi.FUSE_UNLINK],
  ...[abi.FUSE_RMDIR, abi.FUSE_RENAME, abi.FUSE_RENAME2, abi.FUSE_LINK, abi.FUSE_WRITE],
  abi.FUSE_CREATE,
])

const connectionOperations: Operations = {
  [abi.FUSE_INIT]: (request) => initOut(request),
  [abi.FUSE_DESTROY]: () => NOTHING,
  [abi.FUSE_INTERRUPT]: () => undefined,
}

/** What the guest may do with a folder, by FUSE's opcodes. */
export class FolderOperations {
  readonly #operations: Operations
  readonly #readOnly: boolean

  constructor(nodes: ShareNodes, handles: ShareHandles, readOnly: boolean) {
    this.#readOnly = readOnly
    this.#operations = {
      ...connectionOperations,
      ...nameOperations(nodes),
      ...attributeOperations(nodes, handles),
      ...fileOperations(nodes, handles, readOnly),
      ...directoryOperations(nodes, handles),
    }
  }

  /** @throws FuseError for what there is not, or not where nothing may be changed */
  find(opcode: number): Operation {
    if (this.#readOnly && MUTATING.has(opcode)) throw new FuseError('EROFS')
    const operation = Object.hasOwn(this.#operations, opcode) ? this.#operations[opcode] : undefined
    if (!operation) throw new FuseError('ENOSYS')
    return operation
  }
}
