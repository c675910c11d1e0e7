import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { collect, guestMemories, openFds, threads } from '../helpers/process-state.js'
import { kernel, powerOff, print } from '../machine/tiny-guest.js'

/** A machine whose guest says a byte and powers off. */
export function create(options: Partial<VirtualMachineOptions> = {}): Promise<VirtualMachine> {
  return VirtualMachine.create({ kernel: kernel(print('x'), powerOff), memory: '32M', ...options })
}

/** What a machine takes of the process: descriptors, threads, mappings of guest memory. */
export const held = () => [openFds(), threads(), guestMemories()] as const

/**
 * What of that there is more than `before`, once what was dropped has been collected: the kernel ends an idle worker of
 * an io_uring when it likes, so there may be less.
 */
export async function heldMoreThan(before: readonly number[]): Promise<readonly number[]> {
  const more = () => held().map((number, i) => Math.max(0, number - (before[i] ?? 0)))
  await collect(() => more().every((number) => number === 0))
  return more()
}

/** KiB of this process that are its own, after a collection: without guests' memory that was given back. */
export async function residentKib(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return process.memoryUsage().rss / 1024
}
