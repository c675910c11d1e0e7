import { constants } from 'node:fs'
import { chmod, lstat, mkdir, opendir, readlink, symlink } from 'node:fs/promises'
import { VmmError } from '../errors.js'
import { copyFileIn, copyFileOut } from './copy-file.js'
import type { CopyOutOptions, CopyProgress } from './copy-options.js'
import { type DirectoryEntry, DirectoryEntryDecoder } from './directory-entries.js'
import {
  errnoOf,
  type GuestSide,
  inside,
  makeDirectory,
  makeLink,
  pathRequest,
  readFile,
  readLink,
} from './file-operations.js'
import { LIST } from './protocol.js'

/** Merges a folder of this machine's into the guest's. */
export async function copyTreeIn(
  guest: GuestSide,
  from: string,
  to: string,
  progress: CopyProgress,
): Promise<void> {
  await makeDirectory(guest, to, (await lstat(inside(from))).mode & 0o777)
  for await (const entry of await opendir(from)) {
    const [source, target] = [`${from}/${entry.name}`, `${to}/${entry.name}`]
    progress.meet(from)
    if (entry.isDirectory()) await copyTreeIn(guest, source, target, progress)
    else if (entry.isFile()) {
      // What has become a link since is not followed.
      await copyFileIn(guest, source, target, undefined, progress, constants.O_NOFOLLOW)
    } else {
      if (entry.isSymbolicLink()) await makeLink(guest, target, await readlink(source))
      progress.done(source, entry.isSymbolicLink() ? 'links' : 'skipped')
    }
  }
  progress.done(from, 'folders')
}

/**
 * Copies a folder of the guest's. Everything is made anew below `to`, which is not there yet: so nothing that the guest
 * has sent before, a link above all, is ever a part of a path that is written to.
 */
export async function copyTreeOut(
  guest: GuestSide,
  from: string,
  to: string,
  links: NonNullable<CopyOutOptions['links']>,
  progress: CopyProgress,
): Promise<void> {
  // Last: one that is not to be written to is written to before.
  const modes: [path: string, mode: number][] = []

  const copyFolder = async (source: string, target: string, depth: number): Promise<void> => {
    await mkdir(target, 0o700)
    const [entries, mode] = await list(guest, depth === 0 ? inside(source) : source, progress)
    modes.push([target, mode & 0o777])
    for (const { name, kind } of entries) {
      await copyEntry(`${source}/${name}`, `${target}/${name}`, kind, depth)
    }
    progress.done(source, 'folders')
  }

  const copyEntry = async (
    source: string,
    target: string,
    kind: DirectoryEntry['kind'],
    depth: number,
  ): Promise<void> => {
    if (kind === 'unknown') {
      await copyEntry(source, target, await kindOf(guest, source), depth)
    } else if (kind === 'folder') await copyFolder(source, target, depth + 1)
    else if (kind === 'file') await copyFileOut(guest, source, target, progress)
    else {
      const link = kind === 'link' && links !== 'skip' ? await readLink(guest, source) : undefined
      if (link === undefined) return progress.done(source, 'skipped')
      if (links === 'inside' && !staysInside(link, depth)) throw leadsOut(source, link)
      await symlink(link, target)
      progress.done(source, 'links')
    }
  }

  await copyFolder(from, to, 0)
  for (const [path, mode] of modes.reverse()) await chmod(path, mode)
}

/**
 * Whether a link leads to what is in the same tree, whatever other such links are on its way: it goes up at its
 * beginning only, where it is known what is above, and at most to the tree's own folder.
 * @param depth folders between the link and the tree's own
 */
export function staysInside(link: string, depth: number): boolean {
  const parts = link.split('/').filter((part) => part !== '' && part !== '.')
  const down = parts.findIndex((part) => part !== '..')
  const up = down < 0 ? parts.length : down
  return !link.startsWith('/') && up <= depth && !parts.slice(up).includes('..')
}

async function list(
  guest: GuestSide,
  path: string,
  progress: CopyProgress,
): Promise<[DirectoryEntry[], number]> {
  const decoder = new DirectoryEntryDecoder()
  const entries: DirectoryEntry[] = []
  let permissions = 0
  await readFile(guest, LIST, path, pathRequest(path), async (output, mode) => {
    permissions = mode
    for await (const chunk of output as AsyncIterable<Buffer>) {
      const more = checked(path, () => decoder.push(chunk))
      progress.meet(path, more.length)
      entries.push(...more)
    }
    checked(path, () => decoder.end())
  })
  return [entries, permissions]
}

function checked<T>(path: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    const { message } = error as Error
    throw new VmmError('ERR_GUEST_FILE', `${JSON.stringify(path)} cannot be copied: ${message}`, {
      value: path,
    })
  }
}

/** Where a file system does not say in its folders what is what. */
async function kindOf(
  guest: GuestSide,
  path: string,
): Promise<'file' | 'folder' | 'link' | 'other'> {
  if ((await readLink(guest, path)) !== undefined) return 'link'
  try {
    await readFile(guest, LIST, path, pathRequest(path), async (output) => void output.destroy())
  } catch (error) {
    return errnoOf(error) === 'ENOTDIR' ? 'file' : 'folder'
  }
  return 'folder'
}

function leadsOut(path: string, link: string): VmmError {
  const names = `${JSON.stringify(path)} -> ${JSON.stringify(link)}`
  const expected = "links that stay in the folder, or links: 'all' or 'skip'"
  const message = `${names}: a link that may lead out of what is copied: expected ${expected}`
  return new VmmError('ERR_GUEST_FILE', message, { option: 'links', value: link, expected })
}
