import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { showPackage } from './apt.js'
import { bootDisk } from './boot-disk.js'
import { type AssetOptions, cachedFolder } from './cache.js'
import { type Choose, unpackPackage } from './debian-package.js'
import { packageFiles } from './package-files.js'

/** What Debian's packages have, besides Linux, that a PC can be started with. */
export interface Bootables {
  /** Memtest86+, by Linux's boot protocol. */
  readonly memtest: string
  /** Xen's hypervisor, by Multiboot; its domain 0 is the first module. */
  readonly xen: string
  /** A disk for a BIOS whose GRUB starts iPXE with the script in the first sector of the second disk. */
  readonly ipxeDisk: string
}

const MEMTEST = 'boot/memtest86+x64.bin'
const IPXE = 'boot/ipxe.lkrn'

/**
 * Memtest86+, Xen and iPXE as Debian has them.
 * @throws VmmError `ERR_ASSET`, `ERR_MISSING_PROGRAM`
 */
export async function bootables(options: AssetOptions = {}): Promise<Bootables> {
  const memtest = await packageFiles('memtest86+', [MEMTEST], options)
  const ipxe = await packageFiles('ipxe', [IPXE], options)
  const ipxeDisk = await bootDisk(
    {
      firmware: 'bios',
      files: { 'ipxe.lkrn': join(ipxe, IPXE) },
      commands: ['echo GRUB starts iPXE', 'linux16 /ipxe.lkrn', 'initrd16 (hd1)0+1', 'boot'],
      modules: ['linux16'],
    },
    options,
  )
  return { memtest: join(memtest, MEMTEST), xen: await xen(options), ipxeDisk }
}

/** Its packages are named by version; the one that stands for them is not. */
const newestXen: Choose = async (lists) => {
  const system = await showPackage(lists, 'xen-system-amd64')
  const name = system?.depends.find((depend) => /^xen-hypervisor-[\d.]+-amd64$/.test(depend))
  return name === undefined ? undefined : showPackage(lists, name)
}

async function xen({ report = () => {} }: AssetOptions): Promise<string> {
  const build = async (directory: string) => {
    const files = await mkdtemp(join(dirname(directory), 'package-'))
    const record = await unpackPackage("Xen's hypervisor", newestXen, files, report)
    const image = (await readdir(join(files, 'boot'))).find((name) => name.endsWith('.gz'))
    const packed = await readFile(join(files, 'boot', image ?? 'xen.gz'))
    await writeFile(join(directory, 'xen'), gunzipSync(packed))
    await rm(files, { recursive: true, force: true })
    return { package: record.name, packageVersion: record.version, sha256: record.sha256 }
  }
  const { path } = await cachedFolder('xen', build, { report, verify: () => ['xen'] })
  return join(path, 'xen')
}
