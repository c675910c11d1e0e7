import {
  hotMemoryRanges,
  VIRTIO_MMIO_START,
  VIRTIO_MMIO_STRIDE,
} from '../../lib/arch/x86-64/layout.js'
import { MemoryDisk } from '../../lib/backends/block/memory-disk.js'
import { VirtualSwitch } from '../../lib/backends/net/virtual-switch.js'
import type { VirtualMachineOptions } from '../../lib/machine/machine-options.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import type { Script } from './script.js'
import { CODE, MEMORY, scriptGuest } from './script-guest.js'

/** The devices of a bench in the order of their slots. */
export const SLOTS = [
  'block',
  'readOnly',
  'net',
  'rng',
  'vsock',
  'console',
  'balloon',
  'mem',
] as const
export type DeviceName = (typeof SLOTS)[number]
export const DISK_SIZE = 2 ** 20
/** Bytes that may be plugged in, of which half may be plugged. */
export const HOT_MEMORY_SIZE = 2 ** 25
export const HOT_MEMORY_START = hotMemoryRanges(MEMORY, HOT_MEMORY_SIZE)[0]!.guestAddress

/** Where cases are played: on a machine, through exits of its processor, or without KVM. */
export interface Bench {
  readonly form: 'exits' | 'memory'
  readonly memory: GuestMemory
  /** Warnings so far, one for each time that a device stopped for what its driver did. */
  readonly warnings: { device: string; reason: string }[]
  /** Frames that the network card has sent. */
  readonly frames: Uint8Array[]
  /** Plays a script; gives what it loaded. */
  run(script: Script): Promise<bigint[]>
  close(): Promise<void>
}

/** The first address of a device's registers. */
export function windowOf(name: DeviceName): number {
  return VIRTIO_MMIO_START + SLOTS.indexOf(name) * VIRTIO_MMIO_STRIDE
}

/** A machine with every device, and what its network card has sent. */
export function benchMachine(): { options: VirtualMachineOptions; frames: Uint8Array[] } {
  const frames: Uint8Array[] = []
  const network = new VirtualSwitch()
  network.on('frame', (frame) => {
    if (frames.length < 64) frames.push(Uint8Array.from(frame))
  })
  const options: VirtualMachineOptions = {
    kernel: scriptGuest(),
    flatBinary: { mode: 'long', address: CODE },
    memory: MEMORY,
    transport: 'mmio',
    disks: [new MemoryDisk(DISK_SIZE), new MemoryDisk(DISK_SIZE, { readOnly: true })],
    nets: [network.port()],
    rng: true,
    vsock: {},
    virtioConsole: {},
    balloon: {},
    virtioMem: { maxSize: HOT_MEMORY_SIZE, size: HOT_MEMORY_SIZE / 2 },
    packedQueues: true,
  }
  return { options, frames }
}
