import type { BlockBackend } from '../backends/block/block-backend.js'
import type { NetBackend } from '../backends/net/net-backend.js'
import type { FlatOptions } from '../boot/flat.js'
import type { AttachedDevice } from './attached-devices.js'
import type { ModuleOptions } from './boot-options.js'
import type { CpuOptions, TopologyOptions } from './cpu-options.js'
import type {
  AgentOptions,
  BalloonOptions,
  DiskOptions,
  NetOptions,
  ShareOptions,
  VirtioConsoleDeviceOptions,
} from './device-options.js'
import type { FirmwareOptions } from './firmware-options.js'
import type { MemoryOptions } from './memory-options.js'
import type { NumaNodeOptions } from './numa-options.js'
import type { PlatformDeviceOptions } from './platform-device-options.js'
import type { VirtioMemDeviceOptions } from './virtio-mem-options.js'
import type { Log } from './vm-log.js'

/** What {@link VirtualMachine.create} takes. Read once, when `create` is called. */
export interface VirtualMachineOptions {
  /**
   * The kernel: a path or the bytes. A Linux bzImage, an ELF `vmlinux`, or a Multiboot kernel; told apart by
   * their magic numbers. Either this or `firmware` is needed.
   */
  kernel?: string | Uint8Array
  /**
   * A firmware to start in place of a kernel, which loads what it finds on the disks: a path, the bytes, or more.
   * It shows on the serial console what it would show on a screen if it is SeaBIOS.
   */
  firmware?: string | Uint8Array | FirmwareOptions
  /**
   * Takes the kernel for bare machine code, which has no magic number: what the processor is in at its first instruction
   * (`mode`), and where the file and that instruction lie (`address`, `entry`). ESI points to the command line.
   */
  flatBinary?: FlatOptions
  /**
   * Who unpacks a bzImage: the guest, as it does on any machine, or this process. `'host'` starts the guest at the ELF
   * kernel inside, whose addresses are then not randomized; unless it is packed by gzip that takes JavaScript a second or
   * more, in which this thread does nothing else. `'once'` does it for a kernel that is given as a path, and keeps what
   * comes out in the user's cache folder until that file changes: from the second time on the guest comes to init without
   * unpacking. Kernels packed by anything but gzip, LZ4 and Zstandard are left to the guest. `'guest'` unless told.
   */
  decompress?: 'guest' | 'host' | 'once'
  /** The initial RAM disk: a path or the bytes. None unless told. */
  initrd?: string | Uint8Array
  /**
   * Files that are loaded besides the kernel, in this order, for kernels that are started by Multiboot or PVH. With
   * Multiboot an initrd is the first of them.
   */
  modules?: readonly (string | Uint8Array | ModuleOptions)[]
  /**
   * The kernel's command line: ASCII without NUL and newline, as long as the kernel allows (2047 bytes for today's). Empty
   * unless told.
   */
  commandLine?: string
  /**
   * Bytes, or text such as `'256M'`; a multiple of 4096 from 16 MiB to the host's memory. `'256M'` unless told. As an
   * object, with what of the host's memory is behind it.
   */
  memory?: number | string | MemoryOptions
  /** vCPUs, from 1 to what KVM reports as KVM_CAP_MAX_VCPUS. What `topology` says, or 1, unless told. */
  cpus?: number
  /**
   * NUMA nodes of the guest's, which ACPI tells of. None unless told. Without `memory` that is the sum of theirs; without
   * `topology` each is a socket, if they have as many vCPUs each, in order.
   * @example
   * ```ts
   * const numa = [
   *   { cpus: [0, 1], memory: '1G', host: { nodes: [0] } },
   *   { cpus: [2, 3], memory: '1G', host: { nodes: [1] } },
   * ]
   * ```
   */
  numa?: readonly NumaNodeOptions[]
  /** How the guest sees its vCPUs: one socket with a core for each unless told. Its product is `cpus`. */
  topology?: TopologyOptions
  /** What the guest's processors are: `'host'`, all that the host has, unless told. */
  cpu?: CpuOptions
  /**
   * The host CPUs that the threads of the vCPUs may run on: `[[0], [1]]` pins the first vCPU to CPU 0, the second to 1.
   * One list for each vCPU; an empty one leaves that vCPU to the host, as all are unless told.
   */
  cpuAffinity?: readonly (readonly number[])[]
  /**
   * By how much the nice value of the vCPUs' threads is above that of this one, 0 to 19: 0 unless told. Where guests have
   * more to do than there are host CPUs, this thread, which serves the devices of all its machines, then comes before them
   * and not after. Other programs of the same control group come before them as well.
   */
  cpuNice?: number
  /**
   * Disks in the order the guest sees them: the first is `/dev/vda`. Opened by `create`, closed with the machine. None
   * unless told.
   */
  disks?: readonly (BlockBackend | DiskOptions)[]
  /** Network backends in the order the guest sees them: the first is `eth0`. None unless told. */
  nets?: readonly (NetBackend | NetOptions)[]
  /**
   * How the guest reaches its devices. `'pci'`: by a PCI bus, as on any PC, where they can be plugged in and out while it
   * runs; every distribution's kernel has the driver. `'mmio'`: by windows that ACPI or the command line tells of, which
   * takes a guest to init sooner. `'pci'` unless told, but `'mmio'` where devices are told of by the command line:
   * with `acpi: false`, `discovery: 'command-line'`, or `acpi=off` in `commandLine`.
   */
  transport?: 'pci' | 'mmio'
  /** Offer packed virtqueues besides split ones, for drivers that know them. `false` unless told. */
  packedQueues?: boolean
  /**
   * Offer VIRTIO_F_IN_ORDER on the devices that use buffers in order anyway, which are all but disks, for drivers that
   * know it: several buffers go back by one ring entry. `false` unless told.
   */
  inOrderQueues?: boolean
  /** A virtio entropy device, which gives the guest the host's random numbers. None unless told. */
  rng?: boolean
  /** A virtio socket device: see {@link VirtualMachine.vsock}. None unless told. */
  vsock?: {
    /** The guest's context ID, from 3 to 4294967294. 3 unless told. */
    cid?: number
    /**
     * The path of a Unix socket to make, by Firecracker's convention: `CONNECT <port>\n` written to it reaches the guest,
     * and connections of the guest to port N reach who listens on `<path>_N`. Removed with the machine.
     */
    unixSocket?: string
  }
  /** Folders of this machine's for the guest, each a virtio-fs device. None unless told. */
  shares?: readonly ShareOptions[]
  /**
   * Runs programs in the guest and copies files, by the agent that `guestInitramfs({ agent: true })` or an installed one
   * runs there: see {@link VirtualMachine.exec}. Brings a socket device along. None unless told.
   */
  agent?: boolean | AgentOptions
  /** A virtio console besides the serial one: see {@link VirtualMachine.virtioConsole}. None unless told. */
  virtioConsole?: VirtioConsoleDeviceOptions
  /** A memory balloon: see {@link VirtualMachine.balloon}. None unless told. */
  balloon?: BalloonOptions
  /**
   * Memory that comes and goes while the guest runs, besides `memory`: see {@link VirtualMachine.virtioMem}. None unless
   * told. The guest needs the driver virtio_mem.
   */
  virtioMem?: VirtioMemDeviceOptions
  /**
   * Who has the interrupt controllers but the local APICs, which are KVM's. `'kernel'`: KVM has IOAPIC, PICs and PIT.
   * `'split'`: this process has the IOAPIC, and there are no PICs and no PIT, so less of the host's kernel is within the
   * guest's reach; for guests that learn of that from ACPI, such as Linux. `'kernel'` unless told.
   */
  irqchip?: 'kernel' | 'split'
  /** Devices that a PC may have besides: a debug console, a watchdog and the like. None unless told. */
  devices?: PlatformDeviceOptions
  /** Devices of the program's own. None unless told. */
  attach?: readonly AttachedDevice[]
  /**
   * What a guest's reboot does: ends the machine as `{ kind: 'reset' }`, or starts it anew as {@link VirtualMachine.reset}
   * does. `'stop'` unless told.
   */
  onReset?: 'stop' | 'restart'
  /** The serial console. */
  console?: {
    /** Bytes of output kept for a reader that is behind; beyond them output is lost, and counted. 1 MiB unless told. */
    bufferSize?: number | string
  }
  /**
   * Whether there are ACPI tables. Without them processors and interrupts are told of by an MP table, devices by
   * `virtio_mmio.device=` parameters, and a guest has to know by itself how to power off. `true` unless told.
   */
  acpi?: boolean
  /**
   * How the guest learns of its virtio devices. `'auto'`, the default: by ACPI, or, if `commandLine` has `acpi=off`, by
   * `virtio_mmio.device=` parameters, for kernels that are built to take them.
   */
  discovery?: 'auto' | 'acpi' | 'command-line'
  /**
   * Where the machine runs. `'none'`: in this process. `'process'`: in a process of its own, in a jail, which has the
   * machine's files and descriptors and nothing else; see `docs/security.md`. What the environment variable
   * `NODE_KVM_ISOLATION` says, or `'none'`, unless told.
   */
  isolation?: 'none' | 'process'
  /** A name for errors and logs. `'vm'` unless told. */
  name?: string
  /** Gives up creating the machine when aborted; once it is created, ends it as `stop()` does. */
  signal?: AbortSignal
  /** Takes the machine's log: a logger of pino's, or what has its `debug`, `info`, `warn` and `error`. */
  log?: Log
}
