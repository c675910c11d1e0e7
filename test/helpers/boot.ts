import type { EntryState } from '../../lib/arch/x86-64/entry-state.js'
import type { BootProtocol } from '../../lib/boot/boot-protocol.js'
import { detectBootProtocol } from '../../lib/boot/detect.js'
import { ImageFile } from '../../lib/boot/image-file.js'
import { VmmError } from '../../lib/errors.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { guestRam } from './guest-ram.js'

export const MIB = 2 ** 20

export interface BootOptions {
  memory?: GuestMemory | number
  initrd?: string | Uint8Array
  commandLine?: readonly string[]
  rsdp?: number
  modules?: readonly { image: Uint8Array; commandLine: string }[]
  protocol?: BootProtocol
}

/** Loads an image as a machine does, and gives what it is then. */
export function boot(
  image: string | Uint8Array,
  options: BootOptions = {},
): { memory: GuestMemory; entry: EntryState } {
  const { memory = 32 * MIB } = options
  const ram = typeof memory === 'number' ? guestRam(memory) : memory
  const kernel = new ImageFile(image, 'kernel', 'ERR_KERNEL_IMAGE')
  try {
    const protocol = options.protocol ?? detectBootProtocol(kernel)
    const initrd =
      options.initrd === undefined
        ? undefined
        : new ImageFile(options.initrd, 'initrd', 'ERR_INITRD')
    const entry = protocol.load({
      memory: ram,
      kernel,
      initrd,
      modules: (options.modules ?? []).map(({ image, commandLine }) => ({
        image: new ImageFile(image, 'modules', 'ERR_INITRD'),
        commandLine,
      })),
      commandLine: options.commandLine ?? [],
      rsdp: options.rsdp,
    })
    return { memory: ram, entry }
  } finally {
    kernel.close()
  }
}

/** The error that something raises, checked to be of our own kind and complete. */
export function failureOf(action: () => unknown): VmmError {
  try {
    action()
  } catch (error) {
    if (!(error instanceof VmmError)) throw error
    for (const part of [error.option, error.expected]) {
      if (part === undefined || !error.message.includes(part)) {
        throw new Error(`incomplete error: ${error.message}`, { cause: error })
      }
    }
    return error
  }
  throw new Error('nothing was raised')
}
