import { createHash } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type AssetOptions, cachedFolder, type Report } from './cache.js'
import { byName, unpackPackage } from './debian-package.js'
import { runProgram } from './program.js'

/** A program of a Debian package. */
export interface GuestProgram {
  readonly package: string
  /** Its path in the package: `usr/bin/fio`. */
  readonly path: string
}

/** Programs with all that they need besides a kernel, for a guest and for this machine, which has none of it installed. */
export interface GuestPrograms {
  /** The folder: `bin/NAME` for each program, which finds its libraries wherever the folder is mounted. */
  readonly folder: string
  /** The same as an ext4 image, to be attached read-only. */
  readonly image: string
}

const LOADER = 'ld-linux-x86-64.so.2'
/** Where Debian's packages keep libraries, and the one that keeps its own apart. */
const LIBRARY_FOLDERS = ['lib', 'usr/lib'].flatMap((lib) => [
  `${lib}/x86_64-linux-gnu`,
  `${lib}/x86_64-linux-gnu/ceph`,
])

/**
 * Fetches Debian packages and the libraries that they depend on, takes the programs out of them with the libraries
 * that they load, and keeps both in the cache. Nothing is installed.
 * @throws VmmError `ERR_ASSET` if a package cannot be fetched, `ERR_MISSING_PROGRAM` without apt, dpkg or mkfs.ext4
 */
export async function guestPrograms(
  programs: readonly GuestProgram[],
  { report = () => {} }: AssetOptions = {},
): Promise<GuestPrograms> {
  const key = createHash('sha256').update(JSON.stringify(programs)).digest('hex').slice(0, 16)
  const build = async (directory: string) => {
    const unpacked = await mkdtemp(join(dirname(directory), 'packages-'))
    const folder = join(directory, 'programs')
    try {
      const versions = await unpackWithLibraries(programs, unpacked, report)
      await mkdir(join(folder, 'bin'), { recursive: true })
      await mkdir(join(folder, 'lib'))
      for (const { path } of programs) await addProgram(join(unpacked, path), unpacked, folder)
      await makeImage(folder, join(directory, 'programs.img'))
      return versions
    } finally {
      await rm(unpacked, { recursive: true, force: true })
    }
  }
  const { path } = await cachedFolder(`programs-${key}`, build, { report })
  return { folder: join(path, 'programs'), image: join(path, 'programs.img') }
}

/** Of what a package depends on only libraries: the rest serves its installation. */
async function unpackWithLibraries(
  programs: readonly GuestProgram[],
  directory: string,
  report: Report,
): Promise<Record<string, string>> {
  const versions: Record<string, string> = {}
  const wanted = programs.map((program) => program.package)
  for (let name = wanted.shift(); name !== undefined; name = wanted.shift()) {
    if (name in versions) continue
    const record = await unpackPackage(name, byName(name), directory, report)
    versions[name] = record.version
    wanted.push(...record.depends.filter((depend) => /^(lib|zlib)/.test(depend)))
  }
  return versions
}

async function addProgram(program: string, unpacked: string, folder: string): Promise<void> {
  const libraries = LIBRARY_FOLDERS.map((path) => join(unpacked, path))
  const loader = await findFirst(libraries, LOADER)
  const listing = await runProgram(loader, [
    '--library-path',
    libraries.join(':'),
    '--list',
    program,
  ])
  // A line each: NAME => PATH (ADDRESS). The loader itself and the vDSO have no arrow.
  const loaded = [...listing.matchAll(/=> (\S+) \(0x/g)].map(([, path]) => path!)
  for (const path of [loader, ...loaded]) {
    await copyFile(path, join(folder, 'lib', basename(path)))
  }
  await chmod(join(folder, 'lib', LOADER), 0o755)
  const name = basename(program)
  await copyFile(program, join(folder, 'lib', name))
  const script = `#!/bin/sh
lib=\${0%/*}/../lib
exec "$lib/${LOADER}" --library-path "$lib" "$lib/${name}" "$@"
`
  await writeFile(join(folder, 'bin', name), script, { mode: 0o755 })
}

async function findFirst(folders: readonly string[], name: string): Promise<string> {
  for (const folder of folders) {
    const files = await readdir(folder).catch((): string[] => [])
    if (files.includes(name)) return join(folder, name)
  }
  return join(folders[0]!, name)
}

async function makeImage(folder: string, image: string): Promise<void> {
  const kibibytes = Number((await runProgram('du', ['-sk', folder])).split('\t')[0])
  // A quarter more for the file system's own tables.
  const size = `${Math.ceil((kibibytes * 1.25) / 1024) + 4}M`
  await runProgram('mkfs.ext4', [
    '-q',
    '-F',
    '-m',
    '0',
    '-O',
    '^has_journal',
    '-d',
    folder,
    image,
    size,
  ])
}
