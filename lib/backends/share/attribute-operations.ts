import * as fs from 'node:fs'
import * as abi from './fuse-abi.js'
import { attrOut, FuseError, type FuseRequest, statfsOut } from './fuse-message.js'
import { NOTHING, type Operations } from './operation.js'
import type { ShareHandles } from './share-handles.js'
import type { ShareNode, ShareNodes } from './share-nodes.js'

/** Of a mode that the guest sets: no file of the host's gets to run as its owner. */
export const FILE_MODES = 0o777
export const FOLDER_MODES = 0o1777

/** What is asked and changed of files apart from their names and contents. */
export function attributeOperations(nodes: ShareNodes, handles: ShareHandles): Operations {
  return {
    [abi.FUSE_ACCESS]: () => NOTHING,
    [abi.FUSE_GETATTR]: (request) => {
      const hasHandle = (request.u32(0) & abi.FUSE_GETATTR_FH) !== 0
      const node = nodes.get(request.nodeId)
      return attrOut(statusOf(nodes, handles, node, hasHandle ? request.u64(8) : undefined))
    },
    [abi.FUSE_SETATTR]: (request) => setAttributes(nodes, handles, request),
    [abi.FUSE_STATFS]: (request) => {
      const status = fs.statfsSync(nodes.folderPath(nodes.get(abi.FUSE_ROOT_ID)))
      nodes.get(request.nodeId)
      return statfsOut(status)
    },
  }
}

/** By a handle where there is one: the file may have no name any more. */
function statusOf(
  nodes: ShareNodes,
  handles: ShareHandles,
  node: ShareNode,
  handle?: number,
): fs.BigIntStats {
  const file = handle === undefined ? handles.fileOf(node) : handles.file(handle)
  return file ? fs.fstatSync(file.fd, { bigint: true }) : nodes.status(node)
}

function setAttributes(nodes: ShareNodes, handles: ShareHandles, request: FuseRequest): Uint8Array {
  const node = nodes.get(request.nodeId)
  const valid = request.u32(0)
  const has = (bit: number) => (valid & bit) !== 0
  const given = has(abi.FATTR_FH) ? handles.file(request.u64(8)) : undefined
  const status = given ? fs.fstatSync(given.fd, { bigint: true }) : nodes.status(node)
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
    if (setsTimes) fs.lutimesSync(nodes.pathOf(node), ...times)
    return attrOut(nodes.status(node))
  }
  if (!status.isFile() && !status.isDirectory()) throw new FuseError('EPERM')
  const { O_RDONLY, O_WRONLY } = fs.constants
  const fd = nodes.open(node, has(abi.FATTR_SIZE) ? O_WRONLY : O_RDONLY)
  try {
    return change(fd)
  } finally {
    fs.closeSync(fd)
  }
}
