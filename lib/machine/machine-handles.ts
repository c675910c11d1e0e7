import type { GuestAgent } from '../agent/guest-agent.js'
import type { VmConsole } from './console.js'
import type {
  VmBalloon,
  VmDebugConsole,
  VmDisk,
  VmNet,
  VmVirtioConsole,
  VmVsock,
} from './device-handles.js'
import type { VmVirtioMem } from './virtio-mem.js'

/** What a program holds of a machine's devices, in whichever process they are; {@link VirtualMachine} says what each is. */
export interface MachineHandles {
  readonly console: VmConsole
  readonly disks: readonly VmDisk[]
  readonly nets: readonly VmNet[]
  readonly vsock: VmVsock | undefined
  readonly agent: GuestAgent | undefined
  readonly virtioConsole: VmVirtioConsole | undefined
  readonly balloon: VmBalloon | undefined
  readonly virtioMem: VmVirtioMem | undefined
  readonly debugcon: VmDebugConsole | undefined
}
