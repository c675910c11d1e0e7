import { createHash } from 'node:crypto'
import { stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { cachedFolder } from '../assets/cache.js'
import { detectBootProtocol } from '../boot/detect.js'
import { extractVmlinux } from '../boot/extract-vmlinux.js'
import { ImageFile } from '../boot/image-file.js'
import { linuxBzImage } from '../boot/linux-bzimage.js'
import type { MachineConfig } from './machine-config.js'

/**
 * The same configuration with the ELF kernel in place of the bzImage, if that is to be unpacked once.
 * @throws VmmError `ERR_KERNEL_IMAGE` for a file that is no kernel, or damaged; `ERR_ASSET` if the cache cannot be written
 */
export async function withKeptKernel(config: MachineConfig): Promise<MachineConfig> {
  const { decompress, kernel, flatBinary } = config
  if (decompress !== 'once') return config
  const kept = typeof kernel === 'string' && !flatBinary ? await keptVmlinux(kernel) : kernel
  return { ...config, kernel: kept, decompress: 'guest' }
}

/** The path of what is in a bzImage, or of the file itself if there is nothing to unpack here. */
export async function keptVmlinux(path: string): Promise<string> {
  // Before the file is opened: what changes later is not taken for what was unpacked.
  const version = await versionOf(path)
  const kernel = new ImageFile(path, 'kernel', 'ERR_KERNEL_IMAGE')
  try {
    if (detectBootProtocol(kernel) !== linuxBzImage) return path
    const source = resolve(path)
    const name = createHash('sha256').update(source).digest('hex').slice(0, 32)
    const unpack = async (directory: string) => {
      const vmlinux = extractVmlinux(kernel)
      if (vmlinux) await writeFile(join(directory, 'vmlinux'), vmlinux)
      return { source, version }
    }
    // One folder for each path, made anew when another file is there.
    const { path: folder, manifest } = await cachedFolder(`vmlinux/${name}`, unpack, {
      isCurrent: ({ notes }) => notes.version === version,
    })
    return manifest.files.vmlinux === undefined ? path : join(folder, 'vmlinux')
  } finally {
    kernel.close()
  }
}

/**
 * What changes when a file does, or another one takes its place; to look at its contents would take much of what is saved.
 * Not the inode, which is another one for each way to a shared file system. Empty if there is no file.
 */
async function versionOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => undefined)
  if (!found) return ''
  return [found.size, found.mtimeNs, found.ctimeNs].join(' ')
}
