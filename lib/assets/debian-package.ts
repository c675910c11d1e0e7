import { mkdtemp, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { VmmError } from '../errors.js'
import {
  downloadPackage,
  type PackageLists,
  type PackageRecord,
  packageLists,
  showPackage,
} from './apt.js'
import type { Report } from './cache.js'
import { runProgram } from './program.js'

/** Which package is wanted: the first that `choose` returns, asked with one set of package lists after the other. */
export type Choose = (lists: PackageLists) => Promise<PackageRecord | undefined>

/** A package of this very name. */
export function byName(name: string): Choose {
  return (lists) => showPackage(lists, name)
}

/**
 * Asks one set of package lists after the other until one has what is wanted.
 * @param what it is called in messages
 * @param use returns undefined if the lists do not have it
 * @throws VmmError `ERR_ASSET` if none of them has it or it could not be fetched
 */
export async function fromPackageLists<T>(
  what: string,
  report: Report,
  use: (lists: PackageLists) => Promise<T | undefined>,
): Promise<T> {
  const failures: string[] = []
  for (const lists of packageLists()) {
    try {
      await lists.prepare(report)
      const result = await use(lists)
      if (result !== undefined) return result
      failures.push(`${lists.name}: none there`)
    } catch (error) {
      if (!(error instanceof VmmError) || error.code !== 'ERR_ASSET') throw error
      failures.push(`${lists.name}: ${error.message}`)
    }
  }
  throw new VmmError('ERR_ASSET', `${what} could not be fetched\n${failures.join('\n')}`)
}

/**
 * Fetches a Debian package, checks it, and unpacks it without installing it.
 *
 * @param what it is called in messages
 * @param directory an existing folder; the package's files are unpacked below it
 * @throws VmmError `ERR_ASSET` if no package lists have it or none of them could be fetched
 */
export function unpackPackage(
  what: string,
  choose: Choose,
  directory: string,
  report: Report,
): Promise<PackageRecord> {
  return fromPackageLists(what, report, async (lists) => {
    const record = await choose(lists)
    return record && unpack(lists, record, directory, report)
  })
}

async function unpack(
  lists: PackageLists,
  record: PackageRecord,
  directory: string,
  report: Report,
): Promise<PackageRecord> {
  const download = await mkdtemp(join(dirname(directory), 'download-'))
  try {
    const megabytes = (record.size / 1e6).toFixed(0)
    report(`fetching ${record.name} ${record.version} (${megabytes} MB)`)
    const file = await downloadPackage(lists, record, download)
    report(`unpacking ${record.name}`)
    await runProgram('dpkg-deb', ['-x', file, directory])
    return record
  } finally {
    await rm(download, { recursive: true, force: true })
  }
}
