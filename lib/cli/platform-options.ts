import { type Command, Option } from 'commander'
import type { PlatformDeviceOptions, VirtualMachineOptions } from '../index.js'
import {
  type NumaSpec,
  parseAffinitySpec,
  parseNumaSpec,
  parseVirtioMemSpec,
  parseWatchdogSpec,
  type VirtioMemSpec,
  type WatchdogSpec,
} from './platform-specs.js'

/** The options of `node-kvm run` for what the PC is: interrupt chips, nodes, memory that comes and goes, chips to ask for. */
export interface PlatformOptions {
  irqchip?: 'kernel' | 'split'
  cpuAffinity?: number[][]
  cpuNice?: number
  numa: NumaSpec[]
  virtioMem?: VirtioMemSpec
  debugcon?: string
  debugExit: boolean
  pvpanic: boolean
  testDevice: boolean
  vmGenerationId?: string | true
  watchdog?: WatchdogSpec
  packedQueues: boolean
  inOrderQueues: boolean
}

/** Adds the options to `node-kvm run`. */
export function addPlatformOptions(command: Command): Command {
  return command
    .option(
      '--debugcon <path>',
      'a debug console at port 0xE9, with a firmware at 0x402, written to this file',
    )
    .option('--debug-exit', 'a port, 0xF4, at which the guest ends with a code', false)
    .option('--pvpanic', 'a device by which the guest tells that its kernel has panicked', false)
    .option('--test-device', "QEMU's pc-testdev, which kvm-unit-tests ask for", false)
    .option(
      '--watchdog <model[,expire=what]>',
      'a watchdog: ib700, or i6300esb on PCI; when it expires stop, unless told, or reset',
      parseWatchdogSpec,
    )
    .option('--vm-generation-id [uuid]', 'a VM generation ID, random unless told')
    .addOption(
      new Option('--irqchip <where>', 'IOAPIC, PICs and PIT in KVM, or the IOAPIC here').choices([
        'kernel',
        'split',
      ]),
    )
    .option(
      '--cpu-affinity <lists>',
      'host CPUs for the thread of each vCPU: 0:1, or lists such as 0-1:2+4',
      parseAffinitySpec,
    )
    .option(
      '--cpu-nice <n>',
      "nice value of the vCPUs' threads above that of the thread with their devices, 0 to 19",
      Number,
    )
    .option(
      '--numa <size[,cpus=list][,distances=list][,host=list][,policy=policy]>',
      "a NUMA node of the guest's, such as 1G,cpus=0-1 (repeatable); without --memory that is their sum",
      (text: string, before: NumaSpec[]) => [...before, parseNumaSpec(text)],
      [],
    )
    .option(
      '--virtio-mem <max[,size=size][,block=size][,node=n]>',
      'memory that comes and goes, of which the guest has size at first',
      parseVirtioMemSpec,
    )
    .option('--packed-queues', 'offer packed virtqueues besides split ones', false)
    .option('--in-order-queues', 'offer VIRTIO_F_IN_ORDER on all devices but disks', false)
}

const KERNEL_DEBUG_PORT = 0xe9
const FIRMWARE_DEBUG_PORT = 0x402

/** What was given on the command line, and of the devices what a file says besides. */
export function platformMachineOptions(
  options: PlatformOptions,
  file: PlatformDeviceOptions | undefined,
  startsKernel: boolean,
): Partial<VirtualMachineOptions> {
  const { irqchip, cpuAffinity, cpuNice, numa, virtioMem, watchdog, vmGenerationId } = options
  return {
    ...(irqchip && { irqchip }),
    ...(cpuAffinity && { cpuAffinity }),
    ...(cpuNice !== undefined && { cpuNice }),
    ...(numa.length > 0 && { numa }),
    ...(virtioMem && { virtioMem }),
    ...(options.packedQueues && { packedQueues: true }),
    ...(options.inOrderQueues && { inOrderQueues: true }),
    devices: {
      ...file,
      ...(options.debugcon !== undefined && {
        debugcon: { port: startsKernel ? KERNEL_DEBUG_PORT : FIRMWARE_DEBUG_PORT },
      }),
      ...(options.debugExit && { debugExit: true }),
      ...(options.pvpanic && { pvpanic: true }),
      ...(options.testDevice && { testDevice: true }),
      ...(watchdog && { watchdog }),
      ...(vmGenerationId !== undefined && { vmGenerationId }),
    },
  }
}
