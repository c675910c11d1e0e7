import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cachedFolder, type Report } from '../../lib/assets/cache.js'
import { type GuestPrograms, guestPrograms } from '../../lib/assets/guest-programs.js'
import { buildInitramfs } from '../../lib/initramfs/initramfs.js'
import { resolveModules } from '../../lib/initramfs/module-order.js'
import { keptVmlinux } from '../../lib/machine/kept-kernel.js'
import { guestInitramfs, kernelAsset, writeCpio } from '../../lib/testing.js'
import { nativeProgram } from './native-program.js'
import type { GuestSpec } from './peers.js'

const MEMORY_MIB = 256
const VSOCK_MODULE = 'vmw_vsock_virtio_transport'

/** The guest that every monitor of a comparison boots: Debian's 6.12 cloud kernel, our initramfs, one vCPU. */
export async function benchmarkGuest(parameters: string): Promise<GuestSpec> {
  const kernel = await kernelAsset('6.12', 'cloud-amd64')
  return spec(kernel.vmlinuz, await guestInitramfs(kernel), parameters)
}

/** The same with `/bin/net-peer` and the module for vsock. */
export async function networkGuest(parameters: string, report?: Report): Promise<GuestSpec> {
  const kernel = await kernelAsset('6.12', 'cloud-amd64')
  const base = await guestInitramfs(kernel, { modules: [VSOCK_MODULE] })
  const program = await netPeer(['-static'])
  const key = createHash('sha256').update(`${base}\n${program}`).digest('hex').slice(0, 16)
  const build = async (directory: string) => {
    report?.('building the initramfs of the network benchmarks')
    const data = await readFile(program)
    const more = writeCpio([{ type: 'file', path: 'bin/net-peer', data, mode: 0o755 }])
    // The kernel unpacks one archive after the other.
    await writeFile(join(directory, 'initrd.img'), Buffer.concat([await readFile(base), more]))
    return { base, program }
  }
  const { path } = await cachedFolder(`bench/initramfs-${key}`, build)
  return spec(kernel.vmlinuz, join(path, 'initrd.img'), parameters)
}

/**
 * A guest that comes up soon and takes little, for many of them: the same kernel, unpacked, and an initramfs of
 * `growth-guest` and the modules of virtio-mmio, disks and cards.
 */
export async function growthGuest(report?: Report): Promise<GuestSpec> {
  const kernel = await kernelAsset('6.12', 'cloud-amd64')
  const program = await nativeProgram('growth-guest', ['-static'])
  const key = createHash('sha256').update(`${kernel.package.sha256}\n${program}`).digest('hex')
  const build = async (directory: string) => {
    report?.('building the guest of the benchmark growth')
    const modules = await resolveModules(
      kernel.modules,
      ['virtio_blk', 'virtio_net'],
      ['virtio_mmio'],
    )
    const init = await readFile(program)
    await writeFile(join(directory, 'initrd.img'), buildInitramfs({ init, modules }))
    return { kernel: kernel.version, program }
  }
  const { path } = await cachedFolder(`bench/growth-${key.slice(0, 16)}`, build)
  return spec(await keptVmlinux(kernel.vmlinuz), join(path, 'initrd.img'), '')
}

function spec(kernel: string, initrd: string, parameters: string): GuestSpec {
  const commandLine = `console=ttyS0 quiet nokaslr ${parameters}`
  return { kernel, initrd, commandLine, memoryMiB: MEMORY_MIB }
}

/** `net-peer`, for a guest with `-static`. */
export const netPeer = (flags: readonly string[] = []) => nativeProgram('net-peer', flags)

/** fio and iperf3. */
export const programs = (report?: Report): Promise<GuestPrograms> =>
  guestPrograms(
    [
      { package: 'fio', path: 'usr/bin/fio' },
      { package: 'iperf3', path: 'usr/bin/iperf3' },
    ],
    report ? { report } : {},
  )

/** Puts everything into the cache: in the emulated host nothing can be fetched. */
export async function prepareAssets(report: Report): Promise<void> {
  await keptVmlinux((await benchmarkGuest('')).kernel)
  await networkGuest('', report)
  await growthGuest(report)
  await netPeer()
  await programs(report)
}

/** A shell script for the guest's init. */
export const execParameter = (script: string): string =>
  `nodekvm.exec=${Buffer.from(script).toString('base64')}`

/** For a guest's script: where it finds the programs, of a disk with their image. */
export const mountPrograms = (disk: string) =>
  `mkdir -p /programs && mount -t ext4 -o ro ${disk} /programs`
