import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  AGENT_MODULES,
  AGENT_PATH,
  GUEST_MODULES,
  guestInit,
  OPTIONAL_GUEST_MODULES,
} from '../initramfs/guest-init.js'
import { buildInitramfs } from '../initramfs/initramfs.js'
import { resolveModules } from '../initramfs/module-order.js'
import { busyboxAsset } from './busybox.js'
import { type AssetOptions, cachedFolder } from './cache.js'
import { guestAgentAsset } from './guest-agent.js'
import type { KernelAsset } from './kernel.js'

/** What {@link guestInitramfs} takes. */
export interface GuestInitramfsOptions extends AssetOptions {
  /** Modules to load besides those for virtio on PCI and MMIO, block, net and ext4. */
  modules?: readonly string[]
  /** Whether the agent runs in the guest, for machines with the option `agent`. `false` unless told. */
  agent?: boolean
}

/**
 * The path of an initramfs for a guest of this kernel: busybox, the modules for virtio on PCI and MMIO, and an `/init` that does
 * what the command line says: see `guestInit`.
 * @throws VmmError `ERR_ASSET` if busybox cannot be fetched, `ERR_INVALID_OPTION` for a module that the kernel lacks
 */
export async function guestInitramfs(
  kernel: KernelAsset,
  options: GuestInitramfsOptions = {},
): Promise<string> {
  const { report = () => {}, modules: more = [], agent = false } = options
  const busybox = await busyboxAsset({ report })
  const init = guestInit()
  const names = [...GUEST_MODULES, ...(agent ? AGENT_MODULES : []), ...more]
  const program = agent ? await guestAgentAsset({ report }) : new Uint8Array(0)
  const key = createHash('sha256')
    .update(JSON.stringify([kernel.package.sha256, init, names, OPTIONAL_GUEST_MODULES]))
    .update(busybox)
    .update(program)
    .digest('hex')
    .slice(0, 16)
  const build = async (directory: string) => {
    report('building the initramfs')
    const modules = await resolveModules(kernel.modules, names, OPTIONAL_GUEST_MODULES)
    const files = agent
      ? [{ type: 'file' as const, path: AGENT_PATH, data: program, mode: 0o755 }]
      : []
    const image = buildInitramfs({ init, busybox, modules, files })
    await writeFile(join(directory, 'initrd.img'), image)
    return { kernel: kernel.version, modules: modules.map(({ name }) => name).join(' ') }
  }
  const name = `initramfs/${kernel.version}-${key}`
  const { path } = await cachedFolder(name, build, { report, verify: () => ['initrd.img'] })
  return join(path, 'initrd.img')
}
