import { type CpioEntry, writeCpio } from './cpio.js'
import type { KernelModule } from './module-order.js'

/** What {@link buildInitramfs} takes. */
export interface InitramfsOptions {
  /** The text of `/init`, the first process: a script for `/bin/sh`, or another program's bytes. */
  init: string | Uint8Array
  /** A static busybox, which becomes `/bin/busybox` and `/bin/sh`. */
  busybox?: Uint8Array
  /** In the order to load them in: `/modules/NAME.ko`, and their names, a line each, in `/modules/order`. */
  modules?: readonly KernelModule[]
  /** Anything else. Directories that are not named are made. Of two entries with one path the later counts. */
  files?: readonly CpioEntry[]
}

/** Where `/init` finds its modules, and the list of them. */
export const MODULES_DIRECTORY = 'modules'

/**
 * An initramfs for any kernel, uncompressed, since that unpacks fastest and the kernel takes either.
 * The same options give the same bytes.
 * @throws VmmError `ERR_INVALID_OPTION` for a path that cannot be in an archive
 */
export function buildInitramfs(options: InitramfsOptions): Uint8Array {
  const { init, busybox, modules = [], files = [] } = options
  const entries: CpioEntry[] = [
    // The kernel opens /dev/console for /init before anything can be mounted.
    { type: 'character', path: 'dev/console', major: 5, minor: 1 },
    { type: 'file', path: 'init', data: init, mode: 0o755 },
  ]
  if (busybox) {
    entries.push(
      { type: 'file', path: 'bin/busybox', data: busybox, mode: 0o755 },
      { type: 'symlink', path: 'bin/sh', target: 'busybox' },
    )
  }
  if (modules.length > 0) {
    const order = modules.map(({ name }) => `${name}\n`).join('')
    entries.push({ type: 'file', path: `${MODULES_DIRECTORY}/order`, data: order })
    for (const { name, data } of modules) {
      entries.push({ type: 'file', path: `${MODULES_DIRECTORY}/${name}.ko`, data })
    }
  }
  return writeTree([...entries, ...files])
}

/** An archive of these entries and the directories that lead to them; of two with one path the later counts. */
export function writeTree(entries: readonly CpioEntry[]): Uint8Array {
  return writeCpio(withDirectories(entries))
}

/** Parents before children, each path once. */
function withDirectories(entries: readonly CpioEntry[]): CpioEntry[] {
  const all = new Map<string, CpioEntry>()
  for (const entry of entries) {
    const path = entry.path.replace(/^\/+/, '')
    const parts = path.split('/')
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = parts.slice(0, depth).join('/')
      if (!all.has(parent)) all.set(parent, { type: 'directory', path: parent })
    }
    all.set(path, { ...entry, path })
  }
  return [...all.values()]
}
