import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheDirectory, cachedFolder, type Report } from '../assets/cache.js'
import { guestInitramfs } from '../assets/guest-initramfs.js'
import { type KernelSeries, kernelAsset } from '../assets/kernel.js'
import { FileDisk } from '../backends/block/file-disk.js'
import { invalidOption } from '../errors.js'
import { ROOTFS_MODULES } from '../initramfs/guest-init.js'
import type { VirtualMachineOptions } from '../machine/machine-options.js'
import { buildRootfsImage, type RootfsProcess } from './build-image.js'
import { badRootfs } from './rootfs-error.js'

/** What a root file system is made of. */
export interface RootfsOptions {
  /** Series of the Debian kernel to run it with, fetched on first use: `'6.12'` unless told. */
  kernel?: KernelSeries
  /** Bytes that its image may have: 64 GiB unless told. */
  maxBytes?: number
  /** Told of long steps, in a few words. */
  report?: Report
}

/** A root file system and a kernel for it. */
export interface Rootfs extends AsyncDisposable {
  /** Options for {@link VirtualMachine.create}, for one machine; others may be added. */
  readonly machine: Pick<
    VirtualMachineOptions,
    'kernel' | 'initrd' | 'commandLine' | 'disks' | 'agent'
  >
  /** What its image says should run in it: for {@link VirtualMachine.exec}. */
  readonly process: RootfsProcess
}

const BYTES_MAX = 64 * 2 ** 30
/** Of another format than this, an image in the cache is made anew. */
const FORMAT = 1

/**
 * Makes a folder or a container image the root file system of a machine that has a kernel of its own and the agent, so
 * that programs run in it as in a container. The guest sees it as a read-only disk under a file system in memory: what
 * it writes is gone with the machine, and any number of machines can share an image.
 *
 * @param path a folder; a tar archive of one (also gzip, Zstandard); or an OCI image, as a folder or as an archive that
 *   `docker save` or `skopeo copy … oci-archive:` made
 * @throws VmmError `ERR_ROOTFS` for what cannot be used: among others, paths that lead out of it, and links to nothing;
 *   `ERR_INVALID_OPTION`, `ERR_ASSET`, `ERR_MISSING_PROGRAM`
 * @example
 * ```ts
 * await using rootfs = await openRootfs('alpine.tar')
 * await using vm = await VirtualMachine.create({ ...rootfs.machine, memory: '512M' })
 * await vm.start()
 * console.log((await vm.exec(['cat', '/etc/os-release'], rootfs.process)).stdout)
 * ```
 */
export async function openRootfs(path: string, options: RootfsOptions = {}): Promise<Rootfs> {
  const { kernel: series = '6.12', maxBytes = BYTES_MAX, report = () => {} } = options
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1) {
    throw invalidOption('maxBytes', maxBytes, 'a whole number of at least 1')
  }
  const source = await realpath(path).catch((cause: Error) => {
    throw badRootfs(path, cause.message, cause)
  })
  const status = await stat(source, { bigint: true })
  if (!status.isFile() && !status.isDirectory())
    throw badRootfs(path, 'neither a file nor a folder')
  const kernel = await kernelAsset(series, 'cloud-amd64', { report })
  const initrd = await guestInitramfs(kernel, { agent: true, modules: ROOTFS_MODULES, report })
  const made = status.isDirectory()
    ? await imageOfFolder(source, maxBytes, report)
    : await imageOfArchive(source, status, maxBytes, report)
  return {
    machine: {
      kernel: kernel.vmlinuz,
      initrd,
      // The console is for what goes wrong; a panic ends the machine.
      commandLine: 'console=ttyS0 quiet panic=-1 nodekvm.mode=rootfs',
      disks: [new FileDisk(join(made.folder, IMAGE), { readOnly: true })],
      agent: true,
    },
    process: JSON.parse(await readFile(join(made.folder, PROCESS), 'utf8')) as RootfsProcess,
    [Symbol.asyncDispose]: made.dispose,
  }
}

const IMAGE = 'rootfs.erofs'
const PROCESS = 'process.json'

interface Made {
  folder: string
  dispose(): Promise<void>
}

/** A folder may change at any time: its image is made each time and removed afterwards. */
async function imageOfFolder(source: string, maxBytes: number, report: Report): Promise<Made> {
  const temporary = join(cacheDirectory(), 'tmp')
  await mkdir(temporary, { recursive: true })
  const folder = await mkdtemp(join(temporary, 'rootfs-'))
  const dispose = () => rm(folder, { recursive: true, force: true })
  try {
    await build(source, 'folder', folder, maxBytes, report)
    return { folder, dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function imageOfArchive(
  source: string,
  { size, mtimeNs, ctimeNs }: { size: bigint; mtimeNs: bigint; ctimeNs: bigint },
  maxBytes: number,
  report: Report,
): Promise<Made> {
  const state = [FORMAT, source, size, mtimeNs, ctimeNs].join('\0')
  const key = createHash('sha256').update(state).digest('hex').slice(0, 16)
  const make = async (directory: string) => {
    await build(source, 'archive', directory, maxBytes, report)
    return { source }
  }
  const { path } = await cachedFolder(`rootfs/${key}`, make, { report })
  return { folder: path, dispose: async () => {} }
}

async function build(
  source: string,
  kind: 'folder' | 'archive',
  directory: string,
  maxBytes: number,
  report: Report,
): Promise<void> {
  report('making an image of the root file system')
  const process = await buildRootfsImage(source, kind, join(directory, IMAGE), maxBytes)
  await writeFile(join(directory, PROCESS), JSON.stringify(process))
}
