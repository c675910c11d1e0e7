import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { collect, guestMemories, openFds, threads } from '../helpers/process-state.js'
import { kernel, powerOff, print } from '../machine/tiny-guest.js'

/** A machine whose guest says a byte and powers off. */
export function create(options: Partial<VirtualMachineOptions> = {}): Promise<VirtualMachine> {
  return VirtualMachine.create({ kernel: kernel(print('x'), powerOff), memory: '32M', ...options })
}

/** What a machine takes of the process: descriptors, threads, mappings of guest memory. */
export const held = () => [openFds(), threads(), guestMemories()] as const

/** The same once what was dropped has been collected. */
export async function heldAfterCollection(like: readonly number[]): Promise<readonly number[]> {
  await collect(() => held().join() === like.join())
  return held()
}

/** KiB of this process that are its own, after a collection: without guests' memory that was given back. */
export async function residentKib(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return process.memoryUsage().rss / 1024
}
