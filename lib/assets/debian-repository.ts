import { createHash } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { downloadClosure, showPackage } from './apt.js'
import { type AssetOptions, cachedFolder } from './cache.js'
import { fromPackageLists } from './debian-package.js'
import { kernelPackage } from './kernel.js'
import { sha256OfFile } from './manifest.js'
import { runProgram } from './program.js'

/** The only suite of a {@link debianRepository}. */
export const DEBIAN_SUITE = 'stable'
/** Where its list of packages is, below `dists/SUITE`. */
const PACKAGES = 'main/binary-amd64/Packages'

/**
 * The path of a folder that is a Debian repository, of packages with all that they need: for debootstrap, and for apt in
 * a guest if an HTTP server shows it. It is not signed: what is in it was checked by this machine's apt.
 * @param name of the folder in the cache
 * @param wanted names of packages, or apt's patterns
 * @throws VmmError `ERR_ASSET`, `ERR_MISSING_PROGRAM` without apt or dpkg
 */
export async function debianRepository(
  name: string,
  wanted: readonly string[],
  { report = () => {} }: AssetOptions = {},
): Promise<string> {
  const key = createHash('sha256').update(JSON.stringify(wanted)).digest('hex').slice(0, 16)
  const build = async (directory: string) => {
    const work = await mkdtemp(join(dirname(directory), 'repository-'))
    try {
      await fromPackageLists(name, report, async (lists) => {
        // Ubuntu has other kernels: its packages would make another system.
        if (!(await kernelPackage('6.1', 'cloud-amd64')(lists))) return undefined
        report(`fetching ${name}`)
        await downloadClosure(lists, wanted, work)
        return showPackage(lists, 'base-files')
      })
      await mkdir(join(directory, 'pool'))
      const archives = join(work, 'archives')
      const packages = (await readdir(archives)).filter((file) => file.endsWith('.deb'))
      for (const file of packages) {
        // A colon, of a version's epoch, is escaped in apt's names, and would be so again in a URL.
        await copyFile(join(archives, file), join(directory, 'pool', file.replaceAll('%3a', '-')))
      }
      await writeLists(directory)
      return { packages: packages.join(' ') }
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  }
  const { path } = await cachedFolder(`debian/repository-${key}`, build, {
    report,
    verify: () => [`dists/${DEBIAN_SUITE}/${PACKAGES}`],
  })
  return path
}

/** `Packages`, which lists what is in `pool`, and `Release`, which lists that list (wiki.debian.org/DebianRepository/Format). */
async function writeLists(directory: string): Promise<void> {
  const stanzas: string[] = []
  for (const file of (await readdir(join(directory, 'pool'))).sort()) {
    const path = join(directory, 'pool', file)
    const control = await runProgram('dpkg-deb', ['--field', path])
    const { size } = await stat(path)
    stanzas.push(
      `${control.trimEnd()}\nFilename: pool/${file}\nSize: ${size}\nSHA256: ${await sha256OfFile(path)}\n\n`,
    )
  }
  const suite = join(directory, 'dists', DEBIAN_SUITE)
  const list = join(suite, PACKAGES)
  await mkdir(dirname(list), { recursive: true })
  await writeFile(list, stanzas.join(''))
  const fields = {
    Origin: 'node-kvm',
    Suite: DEBIAN_SUITE,
    Codename: DEBIAN_SUITE,
    Architectures: 'amd64',
    Components: 'main',
    Date: new Date().toUTCString(),
    SHA256: `\n ${await sha256OfFile(list)} ${(await readFile(list)).length} ${PACKAGES}`,
  }
  const lines = Object.entries(fields).map(([field, value]) => `${field}: ${value}\n`)
  await writeFile(join(suite, 'Release'), lines.join(''))
}
