import { createHash } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { VmmError } from '../errors.js'
import { downloadPackage } from './apt.js'
import { type AssetOptions, cachedFolder, type Report } from './cache.js'
import { fromPackageLists } from './debian-package.js'
import { DEBIAN_SUITE, debianRepository } from './debian-repository.js'
import { makeFileSystem } from './file-system.js'
import { type KernelFlavour, type KernelSeries, kernelPackage } from './kernel.js'
import { packageFiles } from './package-files.js'
import { runProgram } from './program.js'

/** Debian as debootstrap makes it, with a kernel of Debian's and the initrd of its own initramfs-tools. */
export interface DebianSystem {
  /** As `uname -r` prints it. */
  readonly version: string
  /** The path of the kernel, a bzImage. */
  readonly kernel: string
  /** The path of the initrd that the kernel's package had made. */
  readonly initrd: string
  /** An image with an ext4 file system, for `root=/dev/vda`, to be copied or laid under an overlay by who writes to it. */
  readonly disk: string
  /** A folder for an HTTP server: a Debian repository of the packages in the system, and of {@link DEBIAN_EXTRA}. */
  readonly repository: string
}

/** A package that is in the repository, not in the system. */
export const DEBIAN_EXTRA = 'hello'

/** What there is besides what every Debian has: an init, what a kernel's package needs, and what makes its initrd. */
const PACKAGES = [
  ...['systemd-sysv', 'udev', 'dbus', 'login', 'kmod', 'linux-base', 'initramfs-tools', 'zstd'],
  // Otherwise apt chooses usrmerge, and Perl with it.
  'usr-is-merged',
]
const REPOSITORY = ['?essential', '?priority(^required$)', 'apt', ...PACKAGES, DEBIAN_EXTRA]

/** A computer that asks for its address, and lets root in at its serial console without a password. */
const FILES: Readonly<Record<string, string>> = {
  'etc/hostname': 'debian\n',
  'etc/hosts': '127.0.0.1 localhost debian\n',
  'etc/fstab': '/dev/vda / ext4 defaults 0 1\n',
  'etc/apt/sources.list': '',
  'etc/systemd/network/wired.network':
    '[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n',
}
const SETUP = [
  'passwd --delete root',
  'systemctl enable systemd-networkd',
  // apt's own timers would hold its lock at any moment.
  'systemctl mask apt-daily.timer apt-daily-upgrade.timer',
]

/** Of other contents, a system is another one. */
const RECIPE = createHash('sha256')
  .update(JSON.stringify([PACKAGES, FILES, SETUP]))
  .digest('hex')
  .slice(0, 16)

/** Files that are lost when the machine dies now are made anew: each fsync costs more than the rest of the work. */
const DPKG_OPTIONS = { 'etc/dpkg/dpkg.cfg.d/unsafe-io': 'force-unsafe-io\n' }

/**
 * A Debian for this kernel, made on first use.
 * @throws VmmError `ERR_ASSET` if it cannot be made: by root only, as debootstrap changes its root folder
 */
export async function debianSystem(
  series: KernelSeries,
  flavour: KernelFlavour,
  options: AssetOptions = {},
): Promise<DebianSystem> {
  const { report = () => {} } = options
  const build = async (directory: string) => {
    mustBeRoot()
    const base = await debianRoot(options)
    const work = await mkdtemp(join(dirname(directory), 'system-'))
    try {
      return await makeSystem({ series, flavour, base, work, directory, report })
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  }
  const name = `debian/${RECIPE}-${series}-${flavour}`
  const { path, manifest } = await cachedFolder(name, build, { report })
  return {
    version: manifest.notes.version ?? '',
    kernel: join(path, 'vmlinuz'),
    initrd: join(path, 'initrd.img'),
    disk: join(path, 'disk.img'),
    repository: await repositoryOf(options),
  }
}

const repositoryOf = (options: AssetOptions) =>
  debianRepository('the packages of Debian', REPOSITORY, options)

/** A tar archive of what debootstrap makes, without a kernel. */
async function debianRoot(options: AssetOptions): Promise<string> {
  const { report = () => {} } = options
  const build = async (directory: string) => {
    const repository = await repositoryOf(options)
    const debootstrap = await packageFiles('debootstrap', ['usr/sbin/debootstrap'], options)
    const root = await mkdtemp(join(dirname(directory), 'root-'))
    try {
      report('making a Debian with debootstrap')
      await writeFiles(root, DPKG_OPTIONS)
      // What it mounts is gone with its namespace.
      await runProgram('unshare', [
        ...['--mount', 'env', `DEBOOTSTRAP_DIR=${join(debootstrap, 'usr/share/debootstrap')}`],
        ...['sh', join(debootstrap, 'usr/sbin/debootstrap'), '--no-check-gpg'],
        ...['--variant=minbase', `--include=${PACKAGES.join(',')}`],
        ...[DEBIAN_SUITE, root, `file://${repository}`],
      ])
      await writeFiles(root, FILES)
      for (const command of SETUP) await inRoot(root, ['sh', '-c', command])
      await runProgram('tar', ['-C', root, '--numeric-owner', '-cf', join(directory, TAR), '.'])
      return { repository }
    } finally {
      await rm(root, { recursive: true, force: true })
    }
  }
  const { path } = await cachedFolder(`debian/root-${RECIPE}`, build, { report })
  return join(path, TAR)
}

const TAR = 'root.tar'

interface SystemParts {
  readonly series: KernelSeries
  readonly flavour: KernelFlavour
  /** The archive of {@link debianRoot}. */
  readonly base: string
  readonly work: string
  readonly directory: string
  readonly report: Report
}

async function makeSystem(parts: SystemParts): Promise<Record<string, string>> {
  const { series, flavour, base, work, directory, report } = parts
  const root = join(work, 'root')
  await mkdir(root)
  await runProgram('tar', ['-C', root, '--numeric-owner', '-xf', base])
  const choose = kernelPackage(series, flavour)
  const what = `the kernel ${series} ${flavour}`
  const { record, file } = await fromPackageLists(what, report, async (lists) => {
    const record = await choose(lists)
    if (!record) return undefined
    report(`fetching ${record.name} (${(record.size / 1e6).toFixed(0)} MB)`)
    return { record, file: await downloadPackage(lists, record, work) }
  })
  report(`installing ${record.name}`)
  await rename(file, join(root, 'kernel.deb'))
  await inRoot(root, ['dpkg', '--install', '/kernel.deb'])
  await rm(join(root, 'kernel.deb'))
  const version = record.name.replace(/^linux-image-/, '')
  await copyFile(join(root, `boot/vmlinuz-${version}`), join(directory, 'vmlinuz'))
  await copyFile(join(root, `boot/initrd.img-${version}`), join(directory, 'initrd.img'))
  report('making its disk')
  await makeFileSystem(join(directory, 'disk.img'), root, { spareMiB: 128 })
  return { version, package: record.name, packageVersion: record.version, sha256: record.sha256 }
}

function mustBeRoot(): void {
  if (process.getuid?.() === 0) return
  throw new VmmError('ERR_ASSET', 'debootstrap makes a Debian for root only: run this as root once')
}

function inRoot(root: string, command: readonly string[]): Promise<string> {
  const environment = ['DEBIAN_FRONTEND=noninteractive', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin']
  return runProgram('unshare', ['--mount', 'chroot', root, 'env', ...environment, ...command])
}

async function writeFiles(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true })
    await writeFile(join(root, name), text)
  }
}
