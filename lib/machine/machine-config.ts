import type { CpuModel } from '../arch/x86-64/cpu-models.js'
import { apicId, type CpuTopology } from '../arch/x86-64/cpu-topology.js'
import { hotMemoryRanges, VIRTIO_MMIO_SLOTS } from '../arch/x86-64/layout.js'
import type { BlockBackend } from '../backends/block/block-backend.js'
import type { NetBackend } from '../backends/net/net-backend.js'
import type { FlatOptions } from '../boot/flat.js'
import { invalidOption } from '../errors.js'
import { type AttachedDevice, type AttachedDeviceConfig, checkAttach } from './attached-devices.js'
import {
  arrangeCpus,
  type CpuOptions,
  checkCpu,
  checkCpuAffinity,
  checkTopology,
  type TopologyOptions,
} from './cpu-options.js'
import {
  type AgentOptions,
  type BalloonOptions,
  checkAgent,
  checkBalloon,
  checkDisks,
  checkNets,
  checkShares,
  checkVirtioConsole,
  type DiskConfig,
  type DiskOptions,
  type NetConfig,
  type NetOptions,
  type ShareConfig,
  type ShareOptions,
  type VirtioConsoleDeviceOptions,
} from './device-options.js'
import { checkFirmware, type FirmwareConfig, type FirmwareOptions } from './firmware-options.js'
import { checkMemory, type MemoryBacking, type MemoryOptions } from './memory-options.js'
import {
  checkNodesFit,
  checkNuma,
  type NumaNode,
  type NumaNodeOptions,
  socketsOf,
} from './numa-options.js'
import * as check from './option-checks.js'
import { PCI_DEVICES_MAX } from './pci-slots.js'
import {
  checkPlatformDevices,
  type PlatformDeviceConfig,
  type PlatformDeviceOptions,
} from './platform-device-options.js'
import {
  checkVirtioMem,
  type VirtioMemConfig,
  type VirtioMemDeviceOptions,
} from './virtio-mem-options.js'
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
   * kernel inside, which takes it to init sooner; its kernel's addresses are then not randomized. Kernels packed by
   * anything but gzip, LZ4 and Zstandard are left to the guest either way. `'guest'` unless told.
   */
  decompress?: 'guest' | 'host'
  /** The initial RAM disk: a path or the bytes. */
  initrd?: string | Uint8Array
  /**
   * Files that are loaded besides the kernel, in this order, for kernels that are started by Multiboot or PVH. With
   * Multiboot an initrd is the first of them.
   */
  modules?: readonly (string | Uint8Array | ModuleOptions)[]
  /** The kernel's command line: ASCII without NUL and newline, as long as the kernel allows (2047 bytes for today's). */
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
  /** Disks in the order the guest sees them: the first is `/dev/vda`. Opened by `create`, closed with the machine. */
  disks?: readonly (BlockBackend | DiskOptions)[]
  /** Network backends in the order the guest sees them: the first is `eth0`. */
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
  /** Devices of the program's own. */
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
  /** How the guest learns of its virtio devices. `'auto'`, the default: by ACPI, or, if `commandLine` has `acpi=off`, by
   * `virtio_mmio.device=` parameters, for kernels that are built to take them. */
  discovery?: 'auto' | 'acpi' | 'command-line'
  /**
   * Where the machine runs. `'none'`: in this process. `'process'`: in a process of its own, in a jail, which has the
   * machine's files and descriptors and nothing else; see `docs/security.md`. What the environment variable
   * `NODE_KVM_ISOLATION` says, or `'none'`, unless told.
   */
  isolation?: 'none' | 'process'
  /** A name for errors and logs. */
  name?: string
  /** Gives up creating the machine when aborted; once it is created, ends it as `stop()` does. */
  signal?: AbortSignal
  /** Takes the machine's log: a logger of pino's, or what has its `debug`, `info`, `warn` and `error`. */
  log?: Log
}

/** A file that is loaded besides the kernel. */
export interface ModuleOptions {
  /** A path, or the bytes. */
  image: string | Uint8Array
  /** What the kernel is told of it: ASCII. The file's name unless told. */
  commandLine?: string
}

/** The options, checked and completed. */
export interface MachineConfig {
  /** {@link VirtualMachineOptions.kernel}. */
  readonly kernel: string | Uint8Array | undefined
  /** {@link VirtualMachineOptions.firmware}. */
  readonly firmware: FirmwareConfig | undefined
  /** {@link VirtualMachineOptions.flatBinary}. */
  readonly flatBinary: FlatOptions | undefined
  /** {@link VirtualMachineOptions.decompress}. */
  readonly decompress: 'guest' | 'host'
  /** {@link VirtualMachineOptions.initrd}. */
  readonly initrd: string | Uint8Array | undefined
  /** {@link VirtualMachineOptions.modules}. */
  readonly modules: readonly ModuleConfig[]
  /** {@link VirtualMachineOptions.commandLine}. */
  readonly commandLine: string
  /** Bytes. */
  readonly memory: number
  /** {@link VirtualMachineOptions.memoryBacking}. */
  readonly memoryBacking: MemoryBacking
  /** {@link VirtualMachineOptions.numa}. */
  readonly numa: readonly NumaNode[] | undefined
  /** {@link VirtualMachineOptions.cpus}. */
  readonly cpus: number
  /** {@link VirtualMachineOptions.topology}. */
  readonly topology: CpuTopology
  /** {@link VirtualMachineOptions.cpu}. */
  readonly cpu: CpuModel
  /** {@link VirtualMachineOptions.cpuAffinity}. */
  readonly cpuAffinity: readonly (readonly number[])[]
  /** {@link VirtualMachineOptions.disks}. */
  readonly disks: readonly DiskConfig[]
  /** {@link VirtualMachineOptions.nets}. */
  readonly nets: readonly NetConfig[]
  /** {@link VirtualMachineOptions.transport}. */
  readonly transport: 'pci' | 'mmio'
  /** {@link VirtualMachineOptions.packedQueues}. */
  readonly packedQueues: boolean
  /** {@link VirtualMachineOptions.inOrderQueues}. */
  readonly inOrderQueues: boolean
  /** {@link VirtualMachineOptions.rng}. */
  readonly rng: boolean
  /** {@link VirtualMachineOptions.vsock}. */
  readonly vsock: { readonly cid: number; readonly unixSocket: string | undefined } | undefined
  /** {@link VirtualMachineOptions.shares}. */
  readonly shares: readonly ShareConfig[]
  /** {@link VirtualMachineOptions.agent}. */
  readonly agent: { readonly startTimeout: number } | undefined
  /** {@link VirtualMachineOptions.virtioConsole}. */
  readonly virtioConsole: { readonly ports: readonly string[] } | undefined
  /** {@link VirtualMachineOptions.balloon}. */
  readonly balloon: { readonly deflateOnOom: boolean } | undefined
  /** {@link VirtualMachineOptions.virtioMem}. */
  readonly virtioMem: VirtioMemConfig | undefined
  /** {@link VirtualMachineOptions.irqchip}. */
  readonly irqchip: 'kernel' | 'split'
  /** {@link VirtualMachineOptions.devices}. */
  readonly devices: PlatformDeviceConfig
  /** {@link VirtualMachineOptions.attach}. */
  readonly attach: readonly AttachedDeviceConfig[]
  /** {@link VirtualMachineOptions.onReset}. */
  readonly onReset: 'stop' | 'restart'
  /** {@link VirtualMachineOptions.consoleBufferSize}. */
  readonly consoleBufferSize: number
  /** {@link VirtualMachineOptions.acpi}. */
  readonly acpi: boolean
  /** {@link VirtualMachineOptions.discovery}. */
  readonly discovery: 'auto' | 'acpi' | 'command-line'
  /** {@link VirtualMachineOptions.isolation}. */
  readonly isolation: 'none' | 'process'
  /** {@link VirtualMachineOptions.name}. */
  readonly name: string
  /** {@link VirtualMachineOptions.signal}. */
  readonly signal: AbortSignal | undefined
  /** {@link VirtualMachineOptions.log}. */
  readonly log: Log | undefined
}

export { MEMORY_MIN } from './memory-options.js'

const CID_DEFAULT = 3
const MEMORY_DEFAULT = 256 * 2 ** 20
/** By transport: what the guest has room for. */
const MAX_DEVICES = { mmio: VIRTIO_MMIO_SLOTS, pci: PCI_DEVICES_MAX }
/** sun_path of unix(7), less its NUL. */
const SOCKET_PATH_MAX = 107

const isLog = (given: unknown) =>
  typeof given === 'object' &&
  given !== null &&
  ['debug', 'info', 'warn', 'error'].every(
    (level) => typeof (given as Readonly<Record<string, unknown>>)[level] === 'function',
  )

const image = (what: string) =>
  check.value<string | Uint8Array>(`a path of ${what}, or its bytes`, (value) =>
    typeof value === 'string' ? value !== '' : value instanceof Uint8Array,
  )

const moduleShape = check.object({
  image: image('a module'),
  commandLine: check.optional(check.string),
})
/** A {@link ModuleOptions}, checked. */
export type ModuleConfig = Readonly<ReturnType<typeof moduleShape>>

const checkModules = check.list('an array of modules', (given, name) => {
  const isImage = typeof given === 'string' || given instanceof Uint8Array
  return moduleShape(isImage ? { image: given } : given, name)
})

const flatShape = check.object({
  mode: check.oneOf('real', 'protected', 'long'),
  address: check.optional(check.integer(0)),
  entry: check.optional(check.integer(0)),
})
const flatOptions: check.Check<FlatOptions> = (given, name) => {
  const { mode, address, entry } = flatShape(given, name)
  return { mode, ...(address !== undefined && { address }), ...(entry !== undefined && { entry }) }
}

const isolationKind = check.oneOf('none', 'process')
const isolation: typeof isolationKind = (given, name) => {
  const { NODE_KVM_ISOLATION: usual } = process.env
  if (given !== undefined || !usual) return isolationKind(given ?? 'none', name)
  return isolationKind(usual, 'NODE_KVM_ISOLATION')
}

const checkOptions = check.object(
  {
    kernel: check.optional(image('a kernel image')),
    firmware: check.optional(checkFirmware),
    flatBinary: check.optional(flatOptions),
    decompress: check.withDefault(check.oneOf('guest', 'host'), 'guest'),
    initrd: check.optional(image('an initrd')),
    modules: check.withDefault(checkModules, []),
    commandLine: check.withDefault(check.string, ''),
    memory: check.optional(checkMemory),
    numa: check.optional(checkNuma),
    cpus: check.optional(check.integer(1)),
    topology: check.optional(checkTopology),
    cpu: check.withDefault(checkCpu, 'host'),
    cpuAffinity: check.withDefault(checkCpuAffinity, []),
    disks: check.withDefault(checkDisks, []),
    nets: check.withDefault(checkNets, []),
    transport: check.optional(check.oneOf('pci', 'mmio')),
    packedQueues: check.withDefault(check.boolean, false),
    inOrderQueues: check.withDefault(check.boolean, false),
    rng: check.withDefault(check.boolean, false),
    vsock: check.optional(
      check.object({
        cid: check.withDefault(check.integer(3, 2 ** 32 - 2), CID_DEFAULT),
        unixSocket: check.optional(
          check.value<string>(
            'the path of a socket, of 1 to 107 bytes',
            (path) =>
              typeof path === 'string' && path !== '' && Buffer.byteLength(path) <= SOCKET_PATH_MAX,
          ),
        ),
      }),
    ),
    shares: check.withDefault(checkShares, []),
    agent: check.optional(checkAgent),
    virtioConsole: check.optional(checkVirtioConsole),
    balloon: check.optional(checkBalloon),
    virtioMem: check.optional(checkVirtioMem),
    irqchip: check.withDefault(check.oneOf('kernel', 'split'), 'kernel'),
    devices: check.withDefault(checkPlatformDevices, {}),
    attach: check.withDefault(checkAttach, []),
    onReset: check.withDefault(check.oneOf('stop', 'restart'), 'stop'),
    console: check.withDefault(
      check.object({
        bufferSize: check.withDefault(
          check.byteSize(
            () => "from 4 KiB to 1 GiB, such as '1M'",
            (bytes) => bytes >= 4096 && bytes <= 2 ** 30,
          ),
          '1M',
        ),
      }),
      {},
    ),
    acpi: check.withDefault(check.boolean, true),
    discovery: check.withDefault(check.oneOf('auto', 'acpi', 'command-line'), 'auto'),
    isolation,
    name: check.withDefault(check.string, 'vm'),
    signal: check.optional(check.abortSignal),
    log: check.optional(
      check.value<Log>('a logger with debug, info, warn and error, such as pino makes', isLog),
    ),
  },
  { topLevel: true },
)

/**
 * Checks what can be checked without the host's KVM and without opening anything.
 * @throws VmmError `ERR_INVALID_OPTION` naming the first option at fault (`disks[1]`), its value and what was expected.
 */
export function parseConfig(options: VirtualMachineOptions): MachineConfig {
  const { console, ...checked } = checkOptions(options, 'options')
  const { agent } = checked
  const vsock = checked.vsock ?? (agent && { cid: CID_DEFAULT, unixSocket: undefined })
  const transport = checked.transport ?? (usesCommandLine(checked) ? 'mmio' : 'pci')
  const config = { ...checked, vsock, transport }
  const { rng, virtioConsole, balloon, virtioMem, numa } = config
  const others = Object.entries({ rng, vsock, virtioConsole, balloon, virtioMem })
    .filter(([, wanted]) => wanted)
    .map(([option]) => option)
  const maxDevices = MAX_DEVICES[config.transport]
  const { disks, nets, shares } = config
  if (disks.length + nets.length + shares.length + others.length > maxDevices) {
    const all = ['disks', 'nets', ...(shares.length > 0 ? ['shares'] : []), ...others]
    throw invalidOption(
      'disks',
      config.disks,
      `${all.slice(0, -1).join(', ')} and ${all.at(-1)} together to be at most ${maxDevices}`,
    )
  }
  checkStart(config)
  if (config.irqchip === 'split' && (!config.acpi || config.firmware)) {
    throw invalidOption('irqchip', 'split', "'kernel' with a firmware, and where acpi is false")
  }
  const { watchdog } = config.devices
  if (watchdog?.model === 'i6300esb' && transport !== 'pci') {
    const expected = "'ib700' where devices are not on PCI"
    throw invalidOption('devices.watchdog.model', watchdog.model, expected)
  }
  if (!config.acpi && config.discovery === 'acpi') {
    throw invalidOption('discovery', 'acpi', "'command-line' or 'auto' where acpi is false")
  }
  const { cpus, topology } = arrangeCpus(
    config.cpus,
    config.topology ?? (numa && socketsOf(numa, config.cpus)),
  )
  if (config.cpuAffinity.length > 0 && config.cpuAffinity.length !== cpus) {
    const expected = `a list of host CPUs for each of the ${cpus} vCPUs`
    throw invalidOption('cpuAffinity', config.cpuAffinity, expected)
  }
  const whole = numa?.reduce((sum, { memory }) => sum + memory, 0) ?? MEMORY_DEFAULT
  const { size, ...memoryBacking } = config.memory ?? checkMemory(whole, 'memory')
  const { locked, kind } = memoryBacking
  for (const [option, wanted] of Object.entries({ balloon, virtioMem })) {
    if (wanted && (locked || kind.startsWith('hugetlb'))) {
      const expected = 'none, as locked memory and huge pages cannot be given back'
      throw invalidOption(option, wanted, expected)
    }
  }
  if (numa) checkNodesFit(numa, { cpus, memory: size })
  checkAffinity(config)
  return {
    ...config,
    ...{ cpus, topology, memory: size, memoryBacking },
    consoleBufferSize: console.bufferSize,
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

/** What nodes and memory that comes later go with. */
function checkAffinity({
  acpi,
  numa,
  virtioMem,
  memory,
}: Omit<ReturnType<typeof checkOptions>, 'console'>): void {
  if (!acpi && (numa || virtioMem)) {
    const option = numa ? 'numa' : 'virtioMem'
    throw invalidOption(option, numa ?? virtioMem, 'none where acpi is false, which tells of it')
  }
  if (memory?.numa && numa?.some(({ host }) => host)) {
    throw invalidOption('memory.numa', memory.numa, 'none where numa says where memory comes from')
  }
  const nodes = numa?.length ?? 1
  if (virtioMem && virtioMem.node >= nodes) {
    throw invalidOption('virtioMem.node', virtioMem.node, `a node below ${nodes}`)
  }
}

/** Either a kernel or a firmware, with what goes with it. */
function checkStart(config: Omit<ReturnType<typeof checkOptions>, 'console'>): void {
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

/**
 * Checks the options against what this host's KVM allows.
 * @param maxVcpuId KVM_CAP_MAX_VCPU_ID: ids, which are APIC ids, are below it
 * @throws VmmError `ERR_INVALID_OPTION`
 */
export function checkLimits(config: MachineConfig, maxVcpus: number, maxVcpuId = maxVcpus): void {
  const { cpus, topology } = config
  if (cpus > maxVcpus) {
    const expected = `at most ${maxVcpus}, which is what this host's KVM allows`
    throw invalidOption('cpus', cpus, expected)
  }
  if (apicId(cpus - 1, topology) >= maxVcpuId) {
    const expected = `APIC ids below ${maxVcpuId}, which is what this host's KVM allows`
    throw invalidOption('topology', topology, expected)
  }
}

/**
 * Checks that memory lies where this host's processors reach it.
 * @param bits of a guest-physical address
 * @throws VmmError `ERR_INVALID_OPTION`
 */
export function checkAddressable(
  { memory, virtioMem }: Pick<MachineConfig, 'memory' | 'virtioMem'>,
  bits: number,
): void {
  const last = virtioMem && hotMemoryRanges(memory, virtioMem.maxSize).at(-1)
  if (last === undefined || last.guestAddress + last.size <= 2 ** bits) return
  const expected = `less: this host's processors have ${bits} address bits, and it ends above them`
  throw invalidOption('virtioMem.maxSize', virtioMem?.maxSize, expected)
}
