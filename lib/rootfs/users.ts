import { INLINE_MAX } from './erofs-image.js'
import type { FileTree } from './file-tree.js'
import { badRootfs } from './rootfs-error.js'

/** The numbers of an image's `User`: `name`, `uid`, `name:group`, `uid:gid`; root's if it is empty. */
export function resolveUser(tree: FileTree, user: string): { uid: number; gid: number } {
  const [name = '', group] = user.split(':')
  if (name === '') return { uid: 0, gid: 0 }
  const found = table(tree, 'etc/passwd').find(([entry, , uid]) => entry === name || uid === name)
  const uid = number(name) ?? number(found?.[2])
  const gid =
    group === undefined
      ? (number(found?.[3]) ?? 0)
      : (number(group) ?? number(table(tree, 'etc/group').find(([entry]) => entry === group)?.[2]))
  if (uid === undefined || gid === undefined) {
    throw badRootfs(user, `a user or group that its /etc/passwd and /etc/group lack`)
  }
  return { uid, gid }
}

/** Of files that are kept in memory: those of images are that small. */
function table(tree: FileTree, path: string): string[][] {
  const node = tree.find(path)
  if (node?.type !== 'file' || !('inline' in node.content)) return []
  return node.content.inline
    .toString('utf8', 0, INLINE_MAX)
    .split('\n')
    .map((line) => line.split(':'))
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined
}
