import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { FILE_MODES } from './attribute-operations.js'
import * as abi from './fuse-abi.js'
import { entryOut, FuseError, type FuseRequest, openOut, PAYLOAD_MAX } from './fuse-message.js'
import { target } from './name-operations.js'
import { NOTHING, type Operations } from './operation.js'
import type { ShareHandles } from './share-handles.js'
import { isSame, SAFE_FLAGS, type ShareNodes } from './share-nodes.js'

const { O_RDONLY, O_CREAT, O_EXCL, O_TRUNC } = fs.constants
const O_ACCMODE = 3

const read = promisify(fs.read)
const write = promisify(fs.write)

/** Opens files, and reads and writes what is open. */
export function fileOperations(
  nodes: ShareNodes,
  handles: ShareHandles,
  readOnly: boolean,
): Operations {
  /** Of those that the guest gives, the access: the others are its kernel's business. */
  const flagsOf = (given: number): number => {
    const access = given & O_ACCMODE
    if (access === O_ACCMODE) throw new FuseError('EINVAL')
    if (readOnly && access !== O_RDONLY) throw new FuseError('EROFS')
    return access
  }
  return {
    [abi.FUSE_OPEN]: (request) => {
      const flags = flagsOf(request.u32(0))
      const node = nodes.get(request.nodeId)
      handles.checkRoom()
      const fd = nodes.open(node, flags)
      if (!fs.fstatSync(fd).isFile()) {
        fs.closeSync(fd)
        throw new FuseError('EACCES')
      }
      return openOut(handles.addFile(node, fd))
    },
    [abi.FUSE_CREATE]: (request) => {
      const { parent, name, path } = target(nodes, request, 16)
      handles.checkRoom()
      const flags = flagsOf(request.u32(0)) | (request.u32(0) & (O_EXCL | O_TRUNC)) | O_CREAT
      const mode = request.u32(4) & ~request.u32(8) & FILE_MODES
      const fd = fs.openSync(path, flags | SAFE_FLAGS, mode)
      try {
        if (!fs.fstatSync(fd).isFile()) throw new FuseError('EACCES')
        const { node, status } = nodes.lookup(parent, name)
        if (!isSame(node, fs.fstatSync(fd, { bigint: true }))) throw new FuseError('ESTALE')
        const entry = entryOut(node.id, status)
        return Buffer.concat([entry, openOut(handles.addFile(node, fd))])
      } catch (error) {
        fs.closeSync(fd)
        throw error
      }
    },
    [abi.FUSE_READ]: (request, replyMax) => readFile(handles, request, replyMax),
    [abi.FUSE_WRITE]: (request) => writeFile(handles, request),
    [abi.FUSE_FLUSH]: () => NOTHING,
    [abi.FUSE_FSYNC]: (request) => {
      const sync = request.u32(8) & abi.FUSE_FSYNC_FDATASYNC ? fs.fdatasync : fs.fsync
      return handles.use(handles.file(request.u64(0)), async (fd) => {
        await promisify(sync)(fd)
        return NOTHING
      })
    },
    [abi.FUSE_RELEASE]: (request) => {
      handles.releaseFile(request.u64(0))
      return NOTHING
    },
  }
}

function readFile(
  handles: ShareHandles,
  request: FuseRequest,
  replyMax: number,
): Promise<Uint8Array> {
  const file = handles.file(request.u64(0))
  const offset = request.u64(8)
  const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(request.u32(16), replyMax, PAYLOAD_MAX)))
  return handles.use(file, async (fd) => {
    const { bytesRead } = await read(fd, bytes, 0, bytes.length, offset)
    return bytes.subarray(0, bytesRead)
  })
}

function writeFile(handles: ShareHandles, request: FuseRequest): Promise<Uint8Array> {
  const file = handles.file(request.u64(0))
  const offset = request.u64(8)
  const size = request.u32(16)
  const data = request.body.subarray(40)
  if (size > data.length || size > PAYLOAD_MAX) throw new FuseError('EINVAL')
  return handles.use(file, async (fd) => {
    const { bytesWritten } = await write(fd, data, 0, size, offset)
    const bytes = Buffer.alloc(8)
    bytes.writeUInt32LE(bytesWritten, 0)
    return bytes
  })
}
