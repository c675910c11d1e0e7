import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type AssetOptions, cachedFolder } from './cache.js'
import { byName, unpackPackage } from './debian-package.js'
import { readVerified } from './manifest.js'

/**
 * The static busybox of Debian's busybox-static, fetched on first use and taken out of its package without being
 * installed.
 * @throws VmmError `ERR_ASSET` if it cannot be fetched, `ERR_MISSING_PROGRAM` where there is no apt
 */
export async function busyboxAsset(options: AssetOptions = {}): Promise<Uint8Array> {
  const { report = () => {} } = options
  const build = async (directory: string) => {
    const files = await mkdtemp(join(dirname(directory), 'package-'))
    const record = await unpackPackage('busybox', byName('busybox-static'), files, report)
    const paths = ['bin/busybox', 'usr/bin/busybox'].map((path) => join(files, path))
    await copyFile(paths.find((path) => existsSync(path)) ?? paths[0]!, join(directory, 'busybox'))
    await rm(files, { recursive: true, force: true })
    return { package: record.name, packageVersion: record.version, sha256: record.sha256 }
  }
  const folder = await cachedFolder('busybox', build, { report, verify: () => ['busybox'] })
  return readVerified(folder, 'busybox')
}
