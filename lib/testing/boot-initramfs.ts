import { readFile } from 'node:fs/promises'
import { busyboxAsset } from '../assets/busybox.js'
import { guestInitramfs } from '../assets/guest-initramfs.js'
import type { VirtualMachineOptions } from '../index.js'
import { guestInit } from '../initramfs/guest-init.js'
import { buildInitramfs, writeTree } from '../initramfs/initramfs.js'
import { type BootConfig, isKernelAsset } from './boot-options.js'

/** Where the guest finds the script of the option `run`. */
const SCRIPT = 'node-kvm/run'

/** What of a machine's options a boot test fills in. */
export async function guestOptions(config: BootConfig): Promise<VirtualMachineOptions> {
  const { kernel, files, run, machine } = config
  const script = run === undefined ? [] : [[SCRIPT, run] as const]
  const initrd = await initramfs(config, [...files, ...script])
  const exec = Buffer.from(`sh /${SCRIPT}`).toString('base64')
  const commandLine = machine.commandLine ?? 'console=ttyS0'
  return {
    ...machine,
    kernel: isKernelAsset(kernel) ? kernel.vmlinuz : kernel,
    ...(initrd === undefined ? {} : { initrd }),
    commandLine: run === undefined ? commandLine : `${commandLine} nodekvm.exec=${exec}`,
  }
}

/** Archives one after another: the kernel unpacks them all, later files over earlier ones. */
async function initramfs(
  config: BootConfig,
  files: BootConfig['files'],
): Promise<string | Uint8Array | undefined> {
  const base = await baseInitramfs(config, files.length > 0)
  if (base === undefined || files.length === 0) return base
  const first = typeof base === 'string' ? await readFile(base) : base
  const padding = new Uint8Array(-first.length & 3)
  const tree = files.map(([path, data]) => ({ type: 'file' as const, path, data, mode: 0o755 }))
  return Buffer.concat([first, padding, writeTree(tree)])
}

async function baseInitramfs(
  { kernel, modules, machine }: BootConfig,
  isNeeded: boolean,
): Promise<string | Uint8Array | undefined> {
  if (machine.initrd !== undefined) return machine.initrd
  if (isKernelAsset(kernel)) return await guestInitramfs(kernel, { modules })
  if (!isNeeded) return undefined
  return buildInitramfs({ init: guestInit(), busybox: await busyboxAsset() })
}
