import { invalidOption } from '../errors.js'
import { readModuleInfo } from './module-info.js'

/** A kernel module, ready for `insmod`. */
export interface KernelModule {
  /** As `lsmod` shows it, with underscores. */
  readonly name: string
  /** The uncompressed object file. */
  readonly data: Uint8Array
}

/** The modules of one kernel: `lib/modules/VERSION` or something like it. */
export interface ModuleSource {
  /** Contents of `modules.order`, which every module's path is in, whether or not depmod ran. */
  readonly order: string
  /** Contents of `modules.builtin`. */
  readonly builtin: string
  /** The uncompressed bytes of a module, by its path in `modules.order`. */
  read(path: string): Promise<Uint8Array>
}

/**
 * The modules asked for and all that they depend on, each after what it depends on. What is built into the kernel is
 * left out. The dependencies are read from the modules themselves, as a kernel package that was only unpacked has no
 * `modules.dep`.
 *
 * @param names with dashes or underscores; one in `optional` may be missing from this kernel
 * @throws VmmError `ERR_INVALID_OPTION` for a module that this kernel does not have
 */
export async function resolveModules(
  source: ModuleSource,
  names: readonly string[],
  optional: readonly string[] = [],
): Promise<KernelModule[]> {
  const paths = new Map(lines(source.order).map((path) => [moduleName(path), path]))
  const builtin = new Set(lines(source.builtin).map(moduleName))
  // In the order of insertion, which a module ends after its dependencies.
  const resolved = new Map<string, KernelModule>()
  const open = new Set<string>()

  const resolve = async (name: string, needed: boolean): Promise<void> => {
    if (resolved.has(name) || builtin.has(name) || open.has(name)) return
    const path = paths.get(name)
    if (path === undefined) {
      if (needed) throw invalidOption('modules', name, 'a module of this kernel')
      return
    }
    open.add(name)
    const data = await source.read(path)
    const { depends, softDepends } = readModuleInfo(data)
    for (const other of softDepends.flatMap(meantBy)) await resolve(moduleName(other), false)
    for (const other of depends) await resolve(moduleName(other), true)
    resolved.set(name, { name, data })
  }
  for (const name of names) await resolve(moduleName(name), true)
  for (const name of optional) await resolve(moduleName(name), false)
  return [...resolved.values()]
}

/**
 * A soft dependency may be an alias, and the table of those is depmod's. But the generic implementation of an algorithm,
 * alias `crypto-crc32c`, is by custom called `crc32c_generic` or `crc32c`.
 */
function meantBy(dependency: string): string[] {
  const algorithm = /^crypto-(.+)$/.exec(dependency)?.[1]
  return algorithm === undefined ? [dependency] : [`${algorithm}_generic`, algorithm]
}

/** `kernel/net/9p/9pnet-virtio.ko.xz` and `9pnet-virtio` both give `9pnet_virtio`. */
export function moduleName(path: string): string {
  const base = path.slice(path.lastIndexOf('/') + 1)
  return base.replace(/\.ko(\.\w+)?$/, '').replaceAll('-', '_')
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}
