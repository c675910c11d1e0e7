import { guestInitramfs, kernelAsset } from '../../lib/testing.js'
import type { GuestSpec } from './peers.js'

const MEMORY_MIB = 256

/** The guest that every monitor of a comparison boots: Debian's 6.12 cloud kernel, our initramfs, one vCPU. */
export async function benchmarkGuest(parameters: string): Promise<GuestSpec> {
  const kernel = await kernelAsset('6.12', 'cloud-amd64')
  return {
    kernel: kernel.vmlinuz,
    initrd: await guestInitramfs(kernel),
    commandLine: `console=ttyS0 quiet nokaslr ${parameters}`,
    memoryMiB: MEMORY_MIB,
  }
}

/** A shell script for the guest's init. */
export const execParameter = (script: string): string =>
  `nodekvm.exec=${Buffer.from(script).toString('base64')}`
