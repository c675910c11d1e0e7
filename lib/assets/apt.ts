import { existsSync } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { VmmError } from '../errors.js'
import { cacheDirectory, type Report } from './cache.js'
import { sha256OfFile } from './manifest.js'
import { runProgram } from './program.js'

/** One binary package as apt's verified package lists describe it. */
export interface PackageRecord {
  readonly name: string
  readonly version: string
  readonly sha256: string
  /** Bytes of the package file. */
  readonly size: number
  /** Names of the packages in `Depends`, the first of each set of alternatives. */
  readonly depends: readonly string[]
}

/** A set of package lists: the system's, or one of our own, which needs no root. */
export interface PackageLists {
  readonly name: string
  /** Options for apt-get and apt-cache. */
  readonly options: readonly string[]
  /** Fetches the lists, if they are our own and not there yet. */
  prepare(report: Report): Promise<void>
}

/** Debian's own, for what the system's sources lack: another release's kernel, or any kernel on Ubuntu. */
const DEBIAN_SUITES = ['debian bookworm', 'debian-security bookworm-security']
const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** Where to look for packages, in this order. */
export function packageLists(): PackageLists[] {
  const system = { name: "the system's package lists", options: [], prepare: async () => {} }
  const fresh = ownLists(
    "package lists fetched from the system's sources",
    'system',
    async () => [],
  )
  const debian = ownLists('package lists fetched from Debian', 'debian', async (directory) => {
    const mirror = process.env.NODE_KVM_DEBIAN_MIRROR ?? 'http://deb.debian.org'
    const sources = DEBIAN_SUITES.map(
      (suite) => `deb [signed-by=${DEBIAN_KEYRING}] ${mirror}/${suite} main\n`,
    )
    await writeFile(join(directory, 'sources.list'), sources.join(''))
    return [
      `Dir::Etc::SourceList=${join(directory, 'sources.list')}`,
      'Dir::Etc::SourceParts=/dev/null',
    ]
  })
  return existsSync(DEBIAN_KEYRING) ? [system, fresh, debian] : [system, fresh]
}

/** Lists in a folder of our own, so that they need no root and change nothing for anybody else. */
function ownLists(
  name: string,
  folder: string,
  sources: (directory: string) => Promise<string[]>,
): PackageLists {
  const directory = join(cacheDirectory(), 'apt', folder)
  const options: string[] = []
  const prepare = async (report: Report) => {
    await mkdir(join(directory, 'lists/partial'), { recursive: true })
    await mkdir(join(directory, 'cache/archives/partial'), { recursive: true })
    const settings = [
      `Dir::State::Lists=${join(directory, 'lists')}`,
      `Dir::Cache=${join(directory, 'cache')}`,
      ...(await sources(directory)),
      ...SETTINGS,
    ]
    options.splice(0, options.length, ...settings.flatMap((setting) => ['-o', setting]))
    report(`fetching ${name}`)
    await runProgram('apt-get', ['update', ...options])
  }
  return { name, options, prepare }
}

/** As root, apt would fetch as another user, who cannot write into our folders. */
const SETTINGS = ['APT::Sandbox::User=root', 'APT::Architecture=amd64']

/** What the lists say of the newest version of a package, undefined if they do not have it. */
export async function showPackage(
  lists: PackageLists,
  name: string,
): Promise<PackageRecord | undefined> {
  const text = await runProgram('apt-cache', [
    'show',
    '--no-all-versions',
    ...lists.options,
    name,
  ]).catch((error: VmmError) => {
    if (error.code === 'ERR_MISSING_PROGRAM') throw error
    return ''
  })
  const fields = parseStanza(text.split('\n\n')[0] ?? '')
  const { Package, Version, SHA256, Size, Depends = '' } = fields
  if (Package !== name || !Version || !SHA256) return undefined
  const depends = Depends.split(',').map(
    (alternatives) => alternatives.trim().split(/[\s|(:]/)[0] ?? '',
  )
  return { name, version: Version, sha256: SHA256, size: Number(Size), depends }
}

/**
 * Fetches a package file, without installing anything, and checks it against the lists.
 * @param directory an empty folder to put it in
 * @returns the file's path
 */
export async function downloadPackage(
  lists: PackageLists,
  record: PackageRecord,
  directory: string,
): Promise<string> {
  const settings = SETTINGS.flatMap((setting) => ['-o', setting])
  const which = `${record.name}=${record.version}`
  await runProgram('apt-get', ['download', ...settings, ...lists.options, which], {
    cwd: directory,
  })
  const file = (await readdir(directory)).find((name) => name.endsWith('.deb'))
  if (!file) throw new VmmError('ERR_ASSET', `apt-get download ${which} left no package file`)
  const path = join(directory, file)
  const digest = await sha256OfFile(path)
  if (digest === record.sha256) return path
  throw new VmmError('ERR_ASSET', `${file}: its SHA256 is ${digest}, not ${record.sha256}`, {
    value: digest,
    expected: record.sha256,
  })
}

/**
 * Fetches packages with all that they need, as if nothing were installed, and checks them against the lists. Nothing is
 * installed.
 * @param wanted names, or apt's patterns: `?essential`
 * @param directory an existing folder; the files go into `archives` in it
 */
export async function downloadClosure(
  lists: PackageLists,
  wanted: readonly string[],
  directory: string,
): Promise<void> {
  await mkdir(join(directory, 'archives/partial'), { recursive: true })
  await writeFile(join(directory, 'status'), '')
  const settings = [
    ...SETTINGS,
    `Dir::State::status=${join(directory, 'status')}`,
    'APT::Install-Recommends=false',
    // Only apt's own lock guards what others install meanwhile; nothing here is theirs.
    'Debug::NoLocking=true',
  ].flatMap((setting) => ['-o', setting])
  const archives = ['-o', `Dir::Cache::archives=${join(directory, 'archives')}`]
  await runProgram('apt-get', [
    ...['install', '--download-only', '--yes', '-qq'],
    ...settings,
    ...lists.options,
    ...archives,
    ...wanted,
  ])
}

/** The fields of a deb822 stanza; of folded ones the first line. */
function parseStanza(text: string): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const line of text.split('\n')) {
    const match = /^([\w-]+):\s*(.*)$/.exec(line)
    if (match?.[1]) fields[match[1]] = match[2] ?? ''
  }
  return fields
}
