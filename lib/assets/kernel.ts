import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { VmmError } from '../errors.js'
import type { ModuleSource } from '../initramfs/module-order.js'
import { showPackage } from './apt.js'
import { type AssetOptions, type CachedFolder, cachedFolder, type Report } from './cache.js'
import { type Choose, unpackPackage } from './debian-package.js'
import { decompressModule } from './decompress.js'
import { readVerified } from './manifest.js'

/** The flavours of stock kernels that {@link kernelAsset} knows. */
export const KERNEL_FLAVOURS = ['cloud-amd64', 'amd64', 'rt-amd64'] as const
/** `cloud-amd64` is small and meant for virtual machines; `amd64` has every driver, and 9p; `rt-amd64` is preemptible. */
export type KernelFlavour = (typeof KERNEL_FLAVOURS)[number]

/** The series of stock kernels that {@link kernelAsset} knows. */
export const KERNEL_SERIES = ['6.12', '6.1'] as const
/** A series of stock kernels: `'6.12'`. */
export type KernelSeries = (typeof KERNEL_SERIES)[number]

/** A stock Debian kernel in the cache, checked when it was fetched and again now. */
export interface KernelAsset {
  /** As `uname -r` prints it: `'6.12.117+deb12-cloud-amd64'`. */
  readonly version: string
  /** Path of the bzImage. */
  readonly vmlinuz: string
  /** What the kernel calls `/lib/modules/VERSION`. */
  readonly modulesDirectory: string
  /** The kernel's modules, decompressed and checked as they are read. */
  readonly modules: ModuleSource
  /** Debian's package and its version. */
  readonly package: { readonly name: string; readonly version: string; readonly sha256: string }
}

/**
 * A stock Debian kernel, fetched with apt on first use and taken out of its package without being installed.
 * @throws VmmError `ERR_ASSET` if it cannot be fetched, `ERR_MISSING_PROGRAM` where there is no apt
 */
export async function kernelAsset(
  series: KernelSeries,
  flavour: KernelFlavour = 'cloud-amd64',
  options: AssetOptions = {},
): Promise<KernelAsset> {
  const { report = () => {} } = options
  const what = `linux-${series}-${flavour}`
  const folder = await cachedFolder(
    what,
    (directory) => fetchKernel(what, kernelPackage(series, flavour), directory, report),
    { report, verify: () => ['vmlinuz', 'modules/modules.order', 'modules/modules.builtin'] },
  )
  return describeKernel(folder)
}

/** The packages that stand for the newest kernel of a series: in a release of that series, and in an older one. */
export function kernelPackage(series: KernelSeries, flavour: KernelFlavour): Choose {
  // 6.1.0-56-amd64, 6.12.117+deb12-amd64; cloud-amd64 ends in amd64 too.
  const wanted = new RegExp(
    `^linux-image-${series.replace('.', '\\.')}\\.[\\w.+]+(-\\d+)?-${flavour}$`,
  )
  return async (lists) => {
    for (const meta of [`linux-image-${series}-${flavour}`, `linux-image-${flavour}`]) {
      const image = (await showPackage(lists, meta))?.depends.find((name) => wanted.test(name))
      if (image !== undefined) return showPackage(lists, image)
    }
    return undefined
  }
}

/** Leaves `vmlinuz`, `config` and `modules/` in the folder. */
async function fetchKernel(
  what: string,
  choose: Choose,
  directory: string,
  report: Report,
): Promise<Record<string, string>> {
  const files = await mkdtemp(join(dirname(directory), 'package-'))
  const record = await unpackPackage(`the Debian kernel ${what}`, choose, files, report)
  const version = record.name.replace(/^linux-image-/, '')
  await rename(join(files, `boot/vmlinuz-${version}`), join(directory, 'vmlinuz'))
  await rename(join(files, `boot/config-${version}`), join(directory, 'config'))
  // Newer releases have no /lib of their own.
  const modules = ['lib', 'usr/lib'].map((lib) => join(files, lib, 'modules', version))
  await rename(
    modules.find((path) => existsSync(path)) ?? join(files, 'lib/modules'),
    join(directory, 'modules'),
  )
  await rm(files, { recursive: true, force: true })
  return { package: record.name, packageVersion: record.version, sha256: record.sha256, version }
}

async function describeKernel(folder: CachedFolder): Promise<KernelAsset> {
  const {
    version = '',
    package: name = '',
    packageVersion = '',
    sha256 = '',
  } = folder.manifest.notes
  const text = async (file: string) => Buffer.from(await readVerified(folder, file)).toString()
  return {
    version,
    vmlinuz: join(folder.path, 'vmlinuz'),
    modulesDirectory: join(folder.path, 'modules'),
    modules: {
      order: await text('modules/modules.order'),
      builtin: await text('modules/modules.builtin'),
      read: (path) => readModule(folder, path),
    },
    package: { name, version: packageVersion, sha256 },
  }
}

/** `modules.order` has the plain names, whatever the files are compressed with. */
async function readModule(folder: CachedFolder, path: string): Promise<Uint8Array> {
  const plain = `modules/${path.replace(/\.ko(\.\w+)?$/, '.ko')}`
  const name = ['', '.xz', '.gz', '.zst']
    .map((end) => plain + end)
    .find((name) => name in folder.manifest.files)
  if (name === undefined) {
    throw new VmmError('ERR_ASSET', `${join(folder.path, plain)} is not there, compressed or plain`)
  }
  return decompressModule(name, await readVerified(folder, name))
}
