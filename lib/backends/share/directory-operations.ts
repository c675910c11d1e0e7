import * as fs from 'node:fs'
import * as abi from './fuse-abi.js'
import { direntOut, openOut, PAYLOAD_MAX } from './fuse-message.js'
import { NOTHING, type Operations } from './operation.js'
import type { FolderHandle, ShareHandles } from './share-handles.js'
import type { ShareNodes } from './share-nodes.js'

/** Opens folders, and lists what is in them. */
export function directoryOperations(nodes: ShareNodes, handles: ShareHandles): Operations {
  return {
    [abi.FUSE_OPENDIR]: (request) => {
      const node = nodes.get(request.nodeId)
      nodes.folderPath(node)
      return openOut(handles.addFolder(node))
    },
    [abi.FUSE_READDIR]: (request, replyMax) => {
      const handle = handles.folder(request.u64(0))
      const offset = request.u64(8)
      const room = Math.min(request.u32(16), replyMax, PAYLOAD_MAX)
      if (!handle.names || offset === 0) {
        handles.setNames(handle, namesIn(nodes.folderPath(handle.node)))
      }
      return entriesOf(handle.names ?? [], offset, room)
    },
    [abi.FUSE_FSYNCDIR]: () => NOTHING,
    [abi.FUSE_RELEASEDIR]: (request) => {
      handles.releaseFolder(request.u64(0))
      return NOTHING
    },
  }
}

type Names = NonNullable<FolderHandle['names']>

function namesIn(path: string): Names {
  const entries = fs.readdirSync(path, { encoding: 'buffer', withFileTypes: true })
  return (entries as unknown as fs.Dirent<Buffer>[]).map((entry) => ({
    name: entry.name,
    type: direntType(entry),
  }))
}

/** Those from an offset on that there is room for. */
function entriesOf(names: Names, offset: number, room: number): Uint8Array {
  const parts: Buffer[] = []
  let length = 0
  for (let i = offset; i < names.length; i++) {
    const { name, type } = names[i]!
    const entry = direntOut(name, type, i + 1)
    if (length + entry.length > room) break
    parts.push(entry)
    length += entry.length
  }
  return Buffer.concat(parts)
}

/** DT_* of dirent.h */
function direntType(entry: fs.Dirent<Buffer>): number {
  if (entry.isFile()) return 8
  if (entry.isDirectory()) return 4
  if (entry.isSymbolicLink()) return 10
  return 0
}
