import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { VirtualMachineOptions } from '../../lib/index.js'
import {
  ext4Image,
  guestInitramfs,
  type KernelAsset,
  type KernelSeries,
  kernelAsset,
} from '../../lib/testing.js'
import { Guest } from './guest.js'

/** A stock kernel's kernel and initramfs. */
export async function stockKernel(
  series: KernelSeries = '6.12',
): Promise<{ asset: KernelAsset; kernel: string; initrd: string }> {
  const asset = await kernelAsset(series)
  return { asset, kernel: asset.vmlinuz, initrd: await guestInitramfs(asset) }
}

/** `nodekvm.exec=` for a shell script. */
export const exec = (script: string) => `nodekvm.exec=${Buffer.from(script).toString('base64')}`

/**
 * For scripts: waits for the console to be sent. What the kernel prints, as when it powers off or restarts, would come in
 * the middle of it.
 */
export const SENT = 'stty opost'

/**
 * For scripts: sends so many packets to `address` and tells how many came back. One at a time: once one has come back,
 * ping gives the last a second, whatever it is told.
 */
export const ping = (count: number, address: string) =>
  `n=0; for i in $(seq ${count}); do ping -c 1 -W 100 ${address} >/dev/null && n=$((n + 1)); done; echo "$n of ${count} came back"`

/** For scripts: waits until a test of the shell's holds, for two minutes at most. */
export const waitFor = (test: string) =>
  `for i in $(seq 1200); do ${test} && break; sleep 0.1; done`

/** A machine with a stock kernel. */
export const StockGuest = {
  async start(
    commandLine: string,
    { series, ...options }: Partial<VirtualMachineOptions> & { series?: KernelSeries } = {},
  ): Promise<Guest> {
    const { kernel, initrd } = await stockKernel(series)
    return Guest.start({ kernel, initrd, commandLine: `console=ttyS0 ${commandLine}`, ...options })
  },
}

/** A folder of its own, with a copy of an empty ext4 image. */
export async function temporaryDisk(): Promise<{ path: string; folder: string } & Disposable> {
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-guest-'))
  const path = join(folder, 'disk.img')
  copyFileSync(await ext4Image(), path)
  return {
    path,
    folder,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Shell for a guest: writes blocks of 64 KiB to /dev/vda and reads them back in the background, until there is /done. */
export const diskRounds = (blocks: number): string => `
  ( i=0
    while [ ! -e /done ]; do
      dd if=/dev/urandom of=/tmp/a bs=64k count=${blocks} 2> /dev/null
      dd if=/tmp/a of=/dev/vda bs=64k conv=fsync 2> /dev/null || echo "write failed"
      echo 3 > /proc/sys/vm/drop_caches
      dd if=/dev/vda bs=64k count=${blocks} 2> /dev/null | cmp - /tmp/a || echo "other data"
      i=$((i + 1))
    done
    echo "rounds: $i" ) &`
