import type { CpuModel } from '../arch/x86-64/cpu-models.js'
import type { CpuTopology } from '../arch/x86-64/cpu-topology.js'
import { VIRTIO_MMIO_SLOTS } from '../arch/x86-64/layout.js'
import type { FlatOptions } from '../boot/flat.js'
import { invalidOption } from '../errors.js'
import { type AttachedDeviceConfig, checkAttach } from './attached-devices.js'
import {
  checkFlat,
  checkModules,
  checkStart,
  image,
  type ModuleConfig,
  usesCommandLine,
} from './boot-options.js'
import { arrangeCpus, checkCpu, checkCpuAffinity, checkTopology } from './cpu-options.js'
import {
  checkAgent,
  checkBalloon,
  checkDisks,
  checkNets,
  checkShares,
  checkVirtioConsole,
  type DiskConfig,
  type NetConfig,
  type ShareConfig,
} from './device-options.js'
import { checkFirmware, type FirmwareConfig } from './firmware-options.js'
import type { VirtualMachineOptions } from './machine-options.js'
import { checkMemory, type MemoryBacking } from './memory-options.js'
import { checkNodesFit, checkNuma, type NumaNode, socketsOf } from './numa-options.js'
import * as check from './option-checks.js'
import { PCI_DEVICES_MAX } from './pci-slots.js'
import { checkPlatformDevices, type PlatformDeviceConfig } from './platform-device-options.js'
import { checkVirtioMem, type VirtioMemConfig } from './virtio-mem-options.js'
import type { Log } from './vm-log.js'

/** The options, checked and completed. */
export interface MachineConfig {
  /** {@link VirtualMachineOptions.kernel}. */
  readonly kernel: string | Uint8Array | undefined
  /** {@link VirtualMachineOptions.firmware}. */
  readonly firmware: FirmwareConfig | undefined
  /** {@link VirtualMachineOptions.flatBinary}. */
  readonly flatBinary: FlatOptions | undefined
  /** {@link VirtualMachineOptions.decompress}. */
  readonly decompress: 'guest' | 'host' | 'once'
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
  /** {@link VirtualMachineOptions.cpuNice}. */
  readonly cpuNice: number
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
    flatBinary: check.optional(checkFlat),
    decompress: check.withDefault(check.oneOf('guest', 'host', 'once'), 'guest'),
    initrd: check.optional(image('an initrd')),
    modules: check.withDefault(checkModules, []),
    commandLine: check.withDefault(check.string, ''),
    memory: check.optional(checkMemory),
    numa: check.optional(checkNuma),
    cpus: check.optional(check.integer(1)),
    topology: check.optional(checkTopology),
    cpu: check.withDefault(checkCpu, 'host'),
    cpuAffinity: check.withDefault(checkCpuAffinity, []),
    cpuNice: check.withDefault(check.integer(0, 19), 0),
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
