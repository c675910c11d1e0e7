import * as fs from 'node:fs'
import { FILE_MODES, FOLDER_MODES } from './attribute-operations.js'
import * as abi from './fuse-abi.js'
import { entryOut, FuseError, type FuseRequest } from './fuse-message.js'
import { NOTHING, type Operation, type Operations } from './operation.js'
import { SAFE_FLAGS, type ShareNode, type ShareNodes } from './share-nodes.js'

/** Where a request is to make or find something. */
export interface Target {
  readonly parent: ShareNode
  readonly name: string
  readonly path: Buffer
}

/** @param namesAt where in the request's body the name is */
export function target(nodes: ShareNodes, request: FuseRequest, namesAt: number): Target {
  const parent = nodes.get(request.nodeId)
  const [name = ''] = request.strings(namesAt, 1)
  return { parent, name, path: nodes.pathIn(parent, name) }
}

/** What is done to names in folders. */
export function nameOperations(nodes: ShareNodes): Operations {
  const entry = ({ parent, name }: Target): Uint8Array => {
    const { node, status } = nodes.lookup(parent, name)
    return entryOut(node.id, status)
  }
  const making =
    (namesAt: number, make: (request: FuseRequest, path: Buffer) => void): Operation =>
    (request) => {
      const place = target(nodes, request, namesAt)
      make(request, place.path)
      return entry(place)
    }
  const removing =
    (remove: (path: Buffer) => void): Operation =>
    (request) => {
      const { parent, name, path } = target(nodes, request, 0)
      nodes.removing(parent, name, () => remove(path))
      return NOTHING
    }
  const rename = (request: FuseRequest, namesAt: number): Uint8Array => {
    const from = nodes.get(request.nodeId)
    const to = nodes.get(request.u64(0))
    const [name = '', newName = ''] = request.strings(namesAt, 2)
    const path = nodes.pathIn(from, name)
    const newPath = nodes.pathIn(to, newName)
    nodes.removing(to, newName, () => fs.renameSync(path, newPath))
    nodes.renamed(to, newName)
    return NOTHING
  }
  return {
    [abi.FUSE_LOOKUP]: (request) => entry(target(nodes, request, 0)),
    [abi.FUSE_FORGET]: (request) => {
      nodes.forget(request.nodeId, request.u64(0))
      return undefined
    },
    [abi.FUSE_BATCH_FORGET]: (request) => {
      const count = Math.min(request.u32(0), Math.floor(request.body.length / 16))
      for (let i = 0; i < count; i++) {
        nodes.forget(request.u64(8 + i * 16), request.u64(16 + i * 16))
      }
      return undefined
    },
    [abi.FUSE_READLINK]: (request) =>
      fs.readlinkSync(nodes.pathOf(nodes.get(request.nodeId)), 'buffer'),
    [abi.FUSE_MKDIR]: making(8, (request, path) => {
      fs.mkdirSync(path, { mode: request.u32(0) & ~request.u32(4) & FOLDER_MODES })
    }),
    [abi.FUSE_MKNOD]: making(16, (request, path) => {
      const { O_CREAT, O_EXCL, S_IFMT, S_IFREG } = fs.constants
      const mode = request.u32(0)
      if ((mode & S_IFMT) !== S_IFREG) throw new FuseError('EPERM')
      const flags = O_CREAT | O_EXCL | SAFE_FLAGS
      fs.closeSync(fs.openSync(path, flags, mode & ~request.u32(8) & FILE_MODES))
    }),
    [abi.FUSE_SYMLINK]: making(0, (request, path) => {
      const [, destination = ''] = request.strings(0, 2)
      fs.symlinkSync(Buffer.from(destination, 'latin1'), path)
    }),
    [abi.FUSE_LINK]: making(8, (request, path) => {
      const from = nodes.get(request.u64(0))
      // Of what is there now, which need not be what was looked up.
      fs.linkSync(nodes.pathOf(from), path)
    }),
    [abi.FUSE_UNLINK]: removing((path) => fs.unlinkSync(path)),
    [abi.FUSE_RMDIR]: removing((path) => fs.rmdirSync(path)),
    [abi.FUSE_RENAME]: (request) => rename(request, 8),
    [abi.FUSE_RENAME2]: (request) => {
      // RENAME_NOREPLACE and RENAME_EXCHANGE take a system call that Node lacks.
      if (request.u32(8) !== 0) throw new FuseError('EINVAL')
      return rename(request, 16)
    },
  }
}
