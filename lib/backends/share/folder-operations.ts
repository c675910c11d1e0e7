import * as fs from 'node:fs'
import { promisify } from 'node:util'
import * as abi from './fuse-abi.js'
import {
  attrOut,
  direntOut,
  entryOut,
  FuseError,
  type FuseRequest,
  initOut,
  openOut,
  PAYLOAD_MAX,
  statfsOut,
} from './fuse-message.js'
import type { ShareHandles } from './share-handles.js'
import { isSame, type ShareNode, type ShareNodes } from './share-nodes.js'

const { O_ACCMODE, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY, O_TRUNC } = {
  ...fs.constants,
  O_ACCMODE: 3,
}
/** Never through a link, and never waiting for what is no regular file. */
const SAFE = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY

/** Of a mode that the guest sets: no file of the host's gets to run as its owner. */
const FILE_MODES = 0o777
const FOLDER_MODES = 0o1777

const MUTATING = new Set([
  ...[abi.FUSE_SETATTR, abi.FUSE_SYMLINK, abi.FUSE_MKNOD, abi.FUSE_MKDIR, abi.FUSE_UNLINK],
  ...[abi.FUSE_RMDIR, abi.FUSE_RENAME, abi.FUSE_RENAME2, abi.FUSE_LINK, abi.FUSE_WRITE],
  abi.FUSE_CREATE,
])

const read = promisify(fs.read)
const write = promisify(fs.write)

type Answer = Uint8Array | undefined | Promise<Uint8Array>
/** @returns the reply's body; `undefined` where there is no reply */
export type Operation = (request: FuseRequest, replyMax: number) => Answer

const NOTHING = new Uint8Array(0)

/** What the guest may do with a folder, by FUSE's opcodes. */
export class FolderOperations {
  readonly #nodes: ShareNodes
  readonly #handles: ShareHandles
  readonly #readOnly: boolean

  constructor(nodes: ShareNodes, handles: ShareHandles, readOnly: boolean) {
    this.#nodes = nodes
    this.#handles = handles
    this.#readOnly = readOnly
  }

  /** @throws FuseError for what there is not, or not where nothing may be changed */
  find(opcode: number): Operation {
    if (this.#readOnly && MUTATING.has(opcode)) throw new FuseError('EROFS')
    const operation = Object.hasOwn(this.#operations, opcode) ? this.#operations[opcode] : undefined
    if (!operation) throw new FuseError('ENOSYS')
    return operation
  }

  #node(request: FuseRequest): ShareNode {
    return this.#nodes.get(request.nodeId)
  }

  /** Where a request is to make or find something. */
  #target(
    request: FuseRequest,
    namesAt: number,
  ): { parent: ShareNode; name: string; path: Buffer } {
    const parent = this.#node(request)
    const [name = ''] = request.strings(namesAt, 1)
    return { parent, name, path: this.#nodes.pathIn(parent, name) }
  }

  #entry(parent: ShareNode, name: string): Uint8Array {
    const { node, status } = this.#nodes.lookup(parent, name)
    return entryOut(node.id, status)
  }

  readonly #operations: Readonly<Record<number, Operation>> = {
    [abi.FUSE_INIT]: (request) => initOut(request),
    [abi.FUSE_DESTROY]: () => NOTHING,
    [abi.FUSE_INTERRUPT]: () => undefined,
    [abi.FUSE_ACCESS]: () => NOTHING,
    [abi.FUSE_FLUSH]: () => NOTHING,
    [abi.FUSE_FSYNCDIR]: () => NOTHING,

    [abi.FUSE_LOOKUP]: (request) => {
      const { parent, name } = this.#target(request, 0)
      return this.#entry(parent, name)
    },
    [abi.FUSE_FORGET]: (request) => {
      this.#nodes.forget(request.nodeId, request.u64(0))
      return undefined
    },
    [abi.FUSE_BATCH_FORGET]: (request) => {
      const count = Math.min(request.u32(0), Math.floor(request.body.length / 16))
      for (let i = 0; i < count; i++) {
        this.#nodes.forget(request.u64(8 + i * 16), request.u64(16 + i * 16))
      }
      return undefined
    },
    [abi.FUSE_GETATTR]: (request) => {
      const hasHandle = (request.u32(0) & abi.FUSE_GETATTR_FH) !== 0
      return attrOut(this.#status(this.#node(request), hasHandle ? request.u64(8) : undefined))
    },
    [abi.FUSE_SETATTR]: (request) => this.#setAttributes(request),
    [abi.FUSE_READLINK]: (request) =>
      fs.readlinkSync(this.#nodes.pathOf(this.#node(request)), 'buffer'),
    [abi.FUSE_STATFS]: (request) => this.#statfs(request),

    [abi.FUSE_MKDIR]: (request) => {
      const { parent, name, path } = this.#target(request, 8)
      fs.mkdirSync(path, { mode: request.u32(0) & ~request.u32(4) & FOLDER_MODES })
      return this.#entry(parent, name)
    },
    [abi.FUSE_MKNOD]: (request) => {
      const { parent, name, path } = this.#target(request, 16)
      const mode = request.u32(0)
      if ((mode & fs.constants.S_IFMT) !== fs.constants.S_IFREG) throw new FuseError('EPERM')
      fs.closeSync(fs.openSync(path, O_CREAT | O_EXCL | SAFE, mode & ~request.u32(8) & FILE_MODES))
      return this.#entry(parent, name)
    },
    [abi.FUSE_SYMLINK]: (request) => {
      const { parent, name, path } = this.#target(request, 0)
      const [, target = ''] = request.strings(0, 2)
      fs.symlinkSync(Buffer.from(target, 'latin1'), path)
      return this.#entry(parent, name)
    },
    [abi.FUSE_LINK]: (request) => {
      const { parent, name, path } = this.#target(request, 8)
      const from = this.#nodes.get(request.u64(0))
      // Of what is there now, which need not be what was looked up.
      fs.linkSync(this.#nodes.pathOf(from), path)
      return this.#entry(parent, name)
    },
    [abi.FUSE_UNLINK]: (request) => {
      const { parent, name, path } = this.#target(request, 0)
      this.#nodes.removing(parent, name, () => fs.unlinkSync(path))
      return NOTHING
    },
    [abi.FUSE_RMDIR]: (request) => {
      const { parent, name, path } = this.#target(request, 0)
      this.#nodes.removing(parent, name, () => fs.rmdirSync(path))
      return NOTHING
    },
    [abi.FUSE_RENAME]: (request) => this.#rename(request, 8),
    [abi.FUSE_RENAME2]: (request) => {
      // RENAME_NOREPLACE and RENAME_EXCHANGE take a system call that Node lacks.
      if (request.u32(8) !== 0) throw new FuseError('EINVAL')
      return this.#rename(request, 16)
    },

    [abi.FUSE_OPEN]: (request) => this.#open(request),
    [abi.FUSE_CREATE]: (request) => this.#create(request),
    [abi.FUSE_READ]: (request, replyMax) => this.#read(request, replyMax),
    [abi.FUSE_WRITE]: (request) => this.#write(request),
    [abi.FUSE_FSYNC]: (request) => {
      const sync = request.u32(8) & abi.FUSE_FSYNC_FDATASYNC ? fs.fdatasync : fs.fsync
      const file = this.#handles.file(request.u64(0))
      return this.#handles.use(file, async (fd) => {
        await promisify(sync)(fd)
        return NOTHING
      })
    },
    [abi.FUSE_RELEASE]: (request) => {
      this.#handles.releaseFile(request.u64(0))
      return NOTHING
    },
    [abi.FUSE_OPENDIR]: (request) => {
      const node = this.#node(request)
      this.#nodes.folderPath(node)
      return openOut(this.#handles.addFolder(node))
    },
    [abi.FUSE_READDIR]: (request, replyMax) => this.#readFolder(request, replyMax),
    [abi.FUSE_RELEASEDIR]: (request) => {
      this.#handles.releaseFolder(request.u64(0))
      return NOTHING
    },
  }

  /** By a handle where there is one: the file may have no name any more. */
  #status(node: ShareNode, handle?: number): fs.BigIntStats {
    const file = handle === undefined ? this.#handles.fileOf(node) : this.#handles.file(handle)
    return file ? fs.fstatSync(file.fd, { bigint: true }) : this.#nodes.status(node)
  }

  #setAttributes(request: FuseRequest): Uint8Array {
    const node = this.#node(request)
    const valid = request.u32(0)
    const has = (bit: number) => (valid & bit) !== 0
    const given = has(abi.FATTR_FH) ? this.#handles.file(request.u64(8)) : undefined
    const status = given ? fs.fstatSync(given.fd, { bigint: true }) : this.#nodes.status(node)
    const uid = has(abi.FATTR_UID) && BigInt(request.u32(76)) !== status.uid
    if (uid || (has(abi.FATTR_GID) && BigInt(request.u32(80)) !== status.gid)) {
      throw new FuseError('EPERM')
    }
    const now = Date.now() / 1000
    const time = (at: number, nsAt: number, bit: number, nowBit: number, old: bigint) => {
      if (has(nowBit)) return now
      return has(bit) ? request.u64(at) + request.u32(nsAt) / 1e9 : Number(old) / 1e9
    }
    const times = [
      time(32, 56, abi.FATTR_ATIME, abi.FATTR_ATIME_NOW, status.atimeNs),
      time(40, 60, abi.FATTR_MTIME, abi.FATTR_MTIME_NOW, status.mtimeNs),
    ] as const
    const setsTimes = has(abi.FATTR_ATIME) || has(abi.FATTR_MTIME)
    const change = (fd: number) => {
      if (has(abi.FATTR_MODE)) {
        fs.fchmodSync(fd, request.u32(68) & (status.isDirectory() ? FOLDER_MODES : FILE_MODES))
      }
      if (has(abi.FATTR_SIZE)) fs.ftruncateSync(fd, request.u64(16))
      if (setsTimes) fs.futimesSync(fd, ...times)
      return attrOut(fs.fstatSync(fd, { bigint: true }))
    }
    if (given) return change(given.fd)
    if (status.isSymbolicLink()) {
      if (setsTimes) fs.lutimesSync(this.#nodes.pathOf(node), ...times)
      return attrOut(this.#nodes.status(node))
    }
    if (!status.isFile() && !status.isDirectory()) throw new FuseError('EPERM')
    return this.#withFile(node, has(abi.FATTR_SIZE) ? fs.constants.O_WRONLY : O_RDONLY, change)
  }

  #withFile<T>(node: ShareNode, flags: number, work: (fd: number) => T): T {
    const fd = this.#openNode(node, flags)
    try {
      return work(fd)
    } finally {
      fs.closeSync(fd)
    }
  }

  /** Opens what was looked up, and nothing that has come in its place. */
  #openNode(node: ShareNode, flags: number): number {
    const path = node.parent ? this.#nodes.pathOf(node) : this.#nodes.folderPath(node)
    const fd = fs.openSync(path, flags | (node.parent ? SAFE : 0))
    try {
      if (!isSame(node, fs.fstatSync(fd, { bigint: true }))) throw new FuseError('ESTALE')
      return fd
    } catch (error) {
      fs.closeSync(fd)
      throw error
    }
  }

  #statfs(request: FuseRequest): Uint8Array {
    const status = fs.statfsSync(this.#nodes.folderPath(this.#nodes.get(abi.FUSE_ROOT_ID)))
    this.#node(request)
    return statfsOut(status)
  }

  #rename(request: FuseRequest, namesAt: number): Uint8Array {
    const from = this.#node(request)
    const to = this.#nodes.get(request.u64(0))
    const [name = '', newName = ''] = request.strings(namesAt, 2)
    const path = this.#nodes.pathIn(from, name)
    const newPath = this.#nodes.pathIn(to, newName)
    this.#nodes.removing(to, newName, () => fs.renameSync(path, newPath))
    this.#nodes.renamed(to, newName)
    return NOTHING
  }

  #open(request: FuseRequest): Uint8Array {
    const flags = this.#flags(request.u32(0))
    const node = this.#node(request)
    this.#handles.checkRoom()
    const fd = this.#openNode(node, flags)
    if (!fs.fstatSync(fd).isFile()) {
      fs.closeSync(fd)
      throw new FuseError('EACCES')
    }
    return openOut(this.#handles.addFile(node, fd))
  }

  #create(request: FuseRequest): Uint8Array {
    const { parent, name, path } = this.#target(request, 16)
    this.#handles.checkRoom()
    const flags = this.#flags(request.u32(0)) | (request.u32(0) & (O_EXCL | O_TRUNC)) | O_CREAT
    const fd = fs.openSync(path, flags | SAFE, request.u32(4) & ~request.u32(8) & FILE_MODES)
    try {
      if (!fs.fstatSync(fd).isFile()) throw new FuseError('EACCES')
      const { node, status } = this.#nodes.lookup(parent, name)
      if (!isSame(node, fs.fstatSync(fd, { bigint: true }))) throw new FuseError('ESTALE')
      const entry = entryOut(node.id, status)
      return Buffer.concat([entry, openOut(this.#handles.addFile(node, fd))])
    } catch (error) {
      fs.closeSync(fd)
      throw error
    }
  }

  /** Of those that the guest gives, the access: the others are its kernel's business. */
  #flags(given: number): number {
    const access = given & O_ACCMODE
    if (access === O_ACCMODE) throw new FuseError('EINVAL')
    if (this.#readOnly && access !== O_RDONLY) throw new FuseError('EROFS')
    return access
  }

  #read(request: FuseRequest, replyMax: number): Promise<Uint8Array> {
    const file = this.#handles.file(request.u64(0))
    const offset = request.u64(8)
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(request.u32(16), replyMax, PAYLOAD_MAX)))
    return this.#handles.use(file, async (fd) => {
      const { bytesRead } = await read(fd, bytes, 0, bytes.length, offset)
      return bytes.subarray(0, bytesRead)
    })
  }

  #write(request: FuseRequest): Promise<Uint8Array> {
    const file = this.#handles.file(request.u64(0))
    const offset = request.u64(8)
    const size = request.u32(16)
    const data = request.body.subarray(40)
    if (size > data.length || size > PAYLOAD_MAX) throw new FuseError('EINVAL')
    return this.#handles.use(file, async (fd) => {
      const { bytesWritten } = await write(fd, data, 0, size, offset)
      const bytes = Buffer.alloc(8)
      bytes.writeUInt32LE(bytesWritten, 0)
      return bytes
    })
  }

  #readFolder(request: FuseRequest, replyMax: number): Uint8Array {
    const handle = this.#handles.folder(request.u64(0))
    const offset = request.u64(8)
    const room = Math.min(request.u32(16), replyMax, PAYLOAD_MAX)
    if (!handle.names || offset === 0) {
      const path = this.#nodes.folderPath(handle.node)
      const entries = fs.readdirSync(path, { encoding: 'buffer', withFileTypes: true })
      this.#handles.setNames(
        handle,
        (entries as unknown as fs.Dirent<Buffer>[]).map((entry) => ({
          name: entry.name,
          type: direntType(entry),
        })),
      )
    }
    const parts: Buffer[] = []
    let length = 0
    for (let i = offset; i < (handle.names?.length ?? 0); i++) {
      const { name, type } = handle.names![i]!
      const entry = direntOut(name, type, i + 1)
      if (length + entry.length > room) break
      parts.push(entry)
      length += entry.length
    }
    return Buffer.concat(parts)
  }
}

/** DT_* of dirent.h */
function direntType(entry: fs.Dirent<Buffer>): number {
  if (entry.isFile()) return 8
  if (entry.isDirectory()) return 4
  if (entry.isSymbolicLink()) return 10
  return 0
}
