import { join } from 'node:path'
import { type AssetOptions, cachedFolder } from './cache.js'
import { byName, unpackPackage } from './debian-package.js'

/**
 * The folder of a Debian package's files, fetched on first use and unpacked without being installed.
 * @param verify paths in the package of the files that are used: their checksums are looked at each time
 * @throws VmmError `ERR_ASSET` if it cannot be fetched, `ERR_MISSING_PROGRAM` where there is no apt
 */
export async function packageFiles(
  name: string,
  verify: readonly string[],
  { report = () => {} }: AssetOptions = {},
): Promise<string> {
  const build = async (directory: string) => {
    const record = await unpackPackage(name, byName(name), directory, report)
    return { package: record.name, packageVersion: record.version, sha256: record.sha256 }
  }
  const folder = await cachedFolder(`package-${name}`, build, { report, verify: () => verify })
  return folder.path
}

/** Firmware of Debian's packages seabios and ovmf, by path. */
export interface FirmwareAsset {
  /** For a PC with PCI. */
  readonly seabios: string
  /** For one without. */
  readonly seabiosMicrovm: string
  /** Path of OVMF's code, for option `firmware`. */
  readonly ovmfCode: string
  /** What a machine's own file of variables is a copy of at first. */
  readonly ovmfVariables: string
}

const SEABIOS = ['usr/share/seabios/bios-256k.bin', 'usr/share/seabios/bios-microvm.bin'] as const
const OVMF = ['usr/share/OVMF/OVMF_CODE_4M.fd', 'usr/share/OVMF/OVMF_VARS_4M.fd'] as const

/**
 * SeaBIOS and OVMF as Debian has them.
 * @throws VmmError `ERR_ASSET`, `ERR_MISSING_PROGRAM`
 */
export async function firmwareAsset(options: AssetOptions = {}): Promise<FirmwareAsset> {
  const seabios = await packageFiles('seabios', SEABIOS, options)
  const ovmf = await packageFiles('ovmf', OVMF, options)
  return {
    seabios: join(seabios, SEABIOS[0]),
    seabiosMicrovm: join(seabios, SEABIOS[1]),
    ovmfCode: join(ovmf, OVMF[0]),
    ovmfVariables: join(ovmf, OVMF[1]),
  }
}
