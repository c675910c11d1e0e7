import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import {
  type DiskOptions,
  FileDisk,
  Passt,
  readMachineFile,
  Tap,
  type VirtualMachineOptions,
} from '../index.js'
import { type PlatformOptions, platformMachineOptions } from './platform-options.js'
import type {
  CpuSpec,
  CpusSpec,
  DiskSpec,
  GdbSpec,
  MemorySpec,
  ModuleSpec,
  NetSpec,
  ShareSpec,
} from './specs.js'

/** The options of `node-kvm run`. */
export interface RunOptions extends PlatformOptions {
  config?: string
  rootfs?: string
  name?: string
  json: boolean
  kernel?: string
  firmware?: string
  firmwareVariables?: string
  initrd?: string
  append: string
  decompress: 'guest' | 'host' | 'once'
  flat?: 'real' | 'protected' | 'long'
  module: ModuleSpec[]
  onReset: 'stop' | 'restart'
  isolation?: 'none' | 'process'
  acpi: boolean
  transport: 'pci' | 'mmio'
  memory: MemorySpec
  cpus: CpusSpec
  cpu?: CpuSpec
  disk: DiskSpec[]
  net: NetSpec[]
  share: ShareSpec[]
  rng: boolean
  agent: boolean
  vsock?: string
  timeout?: number
  stats: boolean
  gdb?: GdbSpec
  gdbWait: boolean
  metrics?: { host?: string; port: number }
  trace?: string
  emulate: 'auto' | 'always' | 'never'
}

/** What the configuration file says, and above it what was given on the command line. */
export async function machineOptions(
  options: RunOptions,
  command: Command,
): Promise<VirtualMachineOptions & { disks: readonly DiskOptions[] }> {
  const file = options.config === undefined ? undefined : await readMachineFile(options.config)
  const given = (name: keyof RunOptions) =>
    file === undefined || command.getOptionValueSource(name) !== 'default'
  const memoryOfNodes =
    options.numa.length > 0 && command.getOptionValueSource('memory') === 'default'
  const startsKernel = (options.firmware ?? file?.firmware) === undefined
  const disks = options.disk.map(({ path, readOnly, queues = 1 }) => ({
    backend: new FileDisk(path, { readOnly }),
    queues,
  }))
  return {
    ...file,
    ...startOptions(options),
    ...(options.initrd === undefined ? {} : { initrd: options.initrd }),
    ...(startsKernel && given('append') && { commandLine: options.append }),
    ...(given('decompress') && { decompress: options.decompress }),
    ...(options.flat === undefined ? {} : { flatBinary: { mode: options.flat } }),
    ...(options.module.length > 0 && { modules: options.module }),
    ...(given('onReset') && { onReset: options.onReset }),
    ...(options.isolation !== undefined && { isolation: options.isolation }),
    ...platformMachineOptions(options, file?.devices, startsKernel),
    ...(given('acpi') && { acpi: options.acpi }),
    // The machine has another default where devices are told of by the command line.
    ...(command.getOptionValueSource('transport') !== 'default' && {
      transport: options.transport,
    }),
    ...(given('memory') && !memoryOfNodes && { memory: options.memory }),
    ...(given('rng') && { rng: options.rng }),
    ...(options.agent && { agent: true }),
    ...(options.vsock === undefined ? {} : { vsock: { unixSocket: options.vsock } }),
    ...(given('cpus') && options.cpus),
    ...(options.cpu && { cpu: options.cpu }),
    ...(options.name === undefined ? {} : { name: options.name }),
    shares: [...(file?.shares ?? []), ...options.share],
    disks: [...((file?.disks ?? []) as readonly DiskOptions[]), ...disks],
    nets: [...(file?.nets ?? []), ...options.net.map(netBackend)],
  }
}

/** What the machine starts, if the command line says so. */
function startOptions(options: RunOptions): Partial<VirtualMachineOptions> {
  const { kernel, firmware: image, firmwareVariables: variables } = options
  return {
    ...(kernel === undefined ? {} : { kernel }),
    ...(image === undefined
      ? {}
      : { firmware: { image, ...(variables === undefined ? {} : { variables }) } }),
  }
}

/** Folders in which a guest may change something: those of files that it writes, and those that it shares. */
export function writableFolders(
  machine: Pick<VirtualMachineOptions, 'shares'> & { disks: readonly DiskOptions[] },
  { debugcon, firmwareVariables }: RunOptions,
): string[] {
  // Both a file and the command line have disks of this kind alone.
  const disks = machine.disks.map(({ backend }) => backend as FileDisk)
  const files = [
    ...disks.filter(({ readOnly }) => !readOnly).map(({ path }) => path),
    ...[debugcon, firmwareVariables].filter((path) => path !== undefined),
  ]
  const shares = (machine.shares ?? []).filter(({ readOnly }) => !readOnly)
  const folders = [
    ...files.map((path) => dirname(resolve(path))),
    ...shares.map(({ path }) => resolve(path)),
  ]
  return [...new Set(folders)]
}

function netBackend(spec: NetSpec): Tap | Passt {
  if (spec.kind === 'passt') {
    const { kind: _, ...options } = spec
    return new Passt(options)
  }
  const { kind: _, tap, ...options } = spec
  return new Tap(tap, options)
}
