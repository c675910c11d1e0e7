import type { FlatOptions } from '../boot/flat.js'
import { invalidOption } from '../errors.js'
import type { MachineConfig } from './machine-config.js'
import * as check from './option-checks.js'

/** A file that is loaded besides the kernel. */
export interface ModuleOptions {
  /** A path, or the bytes. */
  image: string | Uint8Array
  /** What the kernel is told of it: ASCII. The file's name unless told. */
  commandLine?: string
}

/** An image that is loaded: a file's path, or what is in it. */
export const image = (what: string) =>
  check.value<string | Uint8Array>(`a path of ${what}, or its bytes`, (value) =>
    typeof value === 'string' ? value !== '' : value instanceof Uint8Array,
  )

const moduleShape = check.object({
  image: image('a module'),
  commandLine: check.optional(check.string),
})
/** A {@link ModuleOptions}, checked. */
export type ModuleConfig = Readonly<ReturnType<typeof moduleShape>>

export const checkModules = check.list('an array of modules', (given, name) => {
  const isImage = typeof given === 'string' || given instanceof Uint8Array
  return moduleShape(isImage ? { image: given } : given, name)
})

const flatShape = check.object({
  mode: check.oneOf('real', 'protected', 'long'),
  address: check.optional(check.integer(0)),
  entry: check.optional(check.integer(0)),
})
export const checkFlat: check.Check<FlatOptions> = (given, name) => {
  const { mode, address, entry } = flatShape(given, name)
  return { mode, ...(address !== undefined && { address }), ...(entry !== undefined && { entry }) }
}

/** What a machine is started from. */
type Start = Pick<
  MachineConfig,
  'kernel' | 'firmware' | 'flatBinary' | 'initrd' | 'commandLine' | 'modules' | 'devices'
>

/** Either a kernel or a firmware, with what goes with it. */
export function checkStart(config: Start): void {
  const { kernel, firmware, commandLine, modules, devices } = config
  if (firmware === undefined) {
    if (kernel === undefined) {
      throw invalidOption('kernel', kernel, 'a path of a kernel image, or its bytes; or firmware')
    }
    return
  }
  const { flatBinary, initrd } = config
  const without = {
    ...{ kernel, flatBinary, initrd },
    commandLine: commandLine || undefined,
    modules: modules.length > 0 ? modules : undefined,
    'devices.vmGenerationId': devices.vmGenerationId,
  }
  for (const [option, value] of Object.entries(without)) {
    if (value !== undefined) throw invalidOption(option, value, 'none with a firmware')
  }
}

/** Whether the guest is to learn of its devices by `virtio_mmio.device=` parameters. A firmware takes none. */
export function usesCommandLine({
  firmware,
  acpi,
  discovery,
  commandLine,
}: Pick<MachineConfig, 'firmware' | 'acpi' | 'discovery' | 'commandLine'>): boolean {
  if (firmware) return false
  if (!acpi || discovery === 'command-line') return true
  return discovery === 'auto' && /(^|\s)acpi=off(\s|$)/.test(commandLine)
}
