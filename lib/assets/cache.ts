import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { VmmError } from '../errors.js'
import { withLock } from './lock.js'
import { type Manifest, readManifest, readVerified, writeManifest } from './manifest.js'

/** What a long step is doing, in a few words for a person. */
export type Report = (text: string) => void

/** How an asset is fetched. */
export interface AssetOptions {
  /** Told of each step that takes long. */
  report?: Report
}

export interface CachedFolderOptions extends AssetOptions {
  /** Files whose checksums are verified now, at each use; others are when they are read. */
  verify?: (manifest: Manifest) => readonly string[]
  /** Whether the folder is what it should be now; one that is not is made anew. */
  isCurrent?: (manifest: Manifest) => boolean
}

/** A folder in the cache with the list of what it holds. */
export interface CachedFolder {
  readonly path: string
  readonly manifest: Manifest
}

/** A temporary folder older than this, in milliseconds, was left by a process that is gone. */
const ABANDONED_MS = 6 * 3600 * 1000

/** node-kvm's folder in the user's cache: `$XDG_CACHE_HOME/node-kvm`, else `~/.cache/node-kvm`. */
export function cacheDirectory(): string {
  const base = process.env.XDG_CACHE_HOME
  // The specification wants relative paths ignored.
  return join(base && isAbsolute(base) ? base : join(homedir(), '.cache'), 'node-kvm')
}

/**
 * The folder `name` of the cache, made by `build` in a temporary folder if it is not there or damaged, and moved to
 * its place as one step: it is there whole or not at all, even if several processes build it.
 *
 * @param build fills the empty folder it is given; returns what is to be noted in the manifest
 * @throws VmmError `ERR_ASSET` if the cache cannot be written
 */
export async function cachedFolder(
  name: string,
  build: (directory: string) => Promise<Record<string, string>>,
  { report = () => {}, verify = () => [], isCurrent = () => true }: CachedFolderOptions = {},
): Promise<CachedFolder> {
  const path = join(cacheDirectory(), name)
  const existing = await openFolder(path, verify, isCurrent)
  if (existing) return existing
  const temporary = join(cacheDirectory(), 'tmp')
  try {
    await mkdir(temporary, { recursive: true })
    await mkdir(dirname(path), { recursive: true })
  } catch (cause) {
    const message = `the cache folder ${cacheDirectory()} cannot be written`
    throw new VmmError('ERR_ASSET', message, { cause })
  }
  const waiting = () => report(`waiting for another process that makes ${name}`)
  return withLock(join(temporary, `${name.replaceAll('/', '_')}.lock`), waiting, async () => {
    const made = await openFolder(path, verify, isCurrent)
    if (made) return made
    await removeAbandoned(temporary)
    const work = await mkdtemp(join(temporary, 'build-'))
    try {
      const directory = join(work, 'new')
      await mkdir(directory)
      const manifest = await writeManifest(directory, await build(directory))
      await replace(path, directory, join(work, 'old'))
      return { path, manifest }
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  })
}

/** The folder if it is there, current and whole. */
async function openFolder(
  path: string,
  verify: (manifest: Manifest) => readonly string[],
  isCurrent: (manifest: Manifest) => boolean,
): Promise<CachedFolder | undefined> {
  const manifest = await readManifest(path)
  if (!manifest || !isCurrent(manifest)) return undefined
  try {
    for (const file of verify(manifest)) await readVerified({ path, manifest }, file)
    return { path, manifest }
  } catch {
    return undefined
  }
}

/** A folder cannot be renamed over one that is not empty: a damaged or old one moves aside first. */
async function replace(path: string, directory: string, aside: string): Promise<void> {
  await rename(path, aside).catch(async (error: NodeJS.ErrnoException) => {
    // overlayfs moves no folder that comes from a lower layer, such as a container's image.
    if (error.code === 'EXDEV') await rm(path, { recursive: true, force: true })
    else if (error.code !== 'ENOENT') throw error
  })
  await rename(directory, path)
}

async function removeAbandoned(temporary: string): Promise<void> {
  for (const name of await readdir(temporary)) {
    const path = join(temporary, name)
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    )
    if (age > ABANDONED_MS) await rm(path, { recursive: true, force: true })
  }
}
