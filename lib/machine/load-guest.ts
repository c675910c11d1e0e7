import { type AcpiOptions, buildAcpiTables } from '../arch/x86-64/acpi/acpi-tables.js'
import type { PciHostOptions } from '../arch/x86-64/acpi/pci-host.js'
import type { AffinityOptions } from '../arch/x86-64/acpi/srat.js'
import type { EntryState } from '../arch/x86-64/entry-state.js'
import {
  ACPI_PM_PORT,
  ACPI_START,
  CMOS_GSI,
  CMOS_PORT,
  COM1_GSI,
  COM1_PORT,
  hotMemoryRanges,
  IOAPIC_PINS,
  IOAPIC_START,
  MP_TABLE_START,
  PVPANIC_PORT,
  ramRanges,
  SCI_GSI,
} from '../arch/x86-64/layout.js'
import { buildMpTable } from '../arch/x86-64/mp-table.js'
import type { BootModule } from '../boot/boot-modules.js'
import type { BootProtocol } from '../boot/boot-protocol.js'
import { virtioMmioParameter } from '../boot/command-line.js'
import { detectBootProtocol } from '../boot/detect.js'
import { extractVmlinux } from '../boot/extract-vmlinux.js'
import { type FlatOptions, flatBinary } from '../boot/flat.js'
import { ImageFile } from '../boot/image-file.js'
import { linuxBzImage } from '../boot/linux-bzimage.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { blameOption } from './blame-option.js'
import { usesCommandLine } from './boot-options.js'
import { apicIds } from './cpu-options.js'
import type { DeviceSlot } from './device-slots.js'
import type { MachineConfig } from './machine-config.js'
import { nodeRanges } from './numa-options.js'

/** The files that a guest is started from, open. */
export interface GuestImages {
  /** `undefined` where a firmware is started. */
  readonly kernel: ImageFile | undefined
  readonly initrd: ImageFile | undefined
  readonly modules: readonly BootModule[]
  close(): void
}

/** The kernel in the form in which it is loaded: unpacked, if this process is to do that and it is packed. */
function openKernel(config: MachineConfig, source: string | Uint8Array): ImageFile {
  const kernel = new ImageFile(source, 'kernel', 'ERR_KERNEL_IMAGE')
  if (config.flatBinary) return kernel
  let unpacked: Uint8Array | undefined
  try {
    const protocol = detectBootProtocol(kernel)
    if (config.decompress === 'guest' || protocol !== linuxBzImage) return kernel
    unpacked = extractVmlinux(kernel)
  } catch (error) {
    kernel.close()
    throw error
  }
  if (unpacked === undefined) return kernel
  kernel.close()
  const vmlinux = new ImageFile(unpacked, 'kernel', 'ERR_KERNEL_IMAGE')
  detectBootProtocol(vmlinux)
  return vmlinux
}

/** @throws VmmError `ERR_KERNEL_IMAGE` or `ERR_INITRD` for a file that cannot be one */
export function openImages(config: MachineConfig): GuestImages {
  const opened: ImageFile[] = []
  const close = () => {
    for (const image of opened) image.close()
  }
  const open = (make: () => ImageFile) => {
    const image = make()
    opened.push(image)
    return image
  }
  try {
    const { kernel: kernelSource, initrd: source } = config
    const kernel =
      kernelSource === undefined ? undefined : open(() => openKernel(config, kernelSource))
    const initrd =
      source === undefined ? undefined : open(() => new ImageFile(source, 'initrd', 'ERR_INITRD'))
    const modules = config.modules.map(({ image: from, commandLine }, i) => {
      const image = open(() => new ImageFile(from, `modules[${i}]`, 'ERR_INITRD'))
      return { image, commandLine: commandLine ?? image.name }
    })
    return { kernel, initrd, modules, close }
  } catch (error) {
    close()
    throw error
  }
}

/** Where the guest finds its devices. */
export interface DevicePlaces {
  readonly virtioMmio: readonly DeviceSlot[]
  readonly pci: PciHostOptions | undefined
}

/** Puts the kernel and the tables that describe the machine into its memory, and tells where it starts. */
export function loadGuest(
  config: MachineConfig,
  { kernel, initrd, modules }: GuestImages & { kernel: ImageFile },
  memory: GuestMemory,
  places: DevicePlaces,
): EntryState {
  const byCommandLine = usesCommandLine(config)
  const protocol = config.flatBinary ? flatBinaryOf(config.flatBinary) : detectBootProtocol(kernel)
  const told = byCommandLine ? { ...places, virtioMmio: [] } : places
  if (!config.acpi) writeMpTable(config, memory)
  return protocol.load({
    memory,
    kernel,
    initrd,
    modules,
    commandLine: [
      config.commandLine,
      ...(byCommandLine ? places.virtioMmio.map(virtioMmioParameter) : []),
    ],
    rsdp: config.acpi ? writeAcpiTables(config, memory, told) : undefined,
  })
}

function flatBinaryOf(options: FlatOptions): BootProtocol {
  try {
    return flatBinary(options)
  } catch (error) {
    throw blameOption('flatBinary', error)
  }
}

function cpusOf({ cpus, topology }: MachineConfig): { apicId: number }[] {
  return apicIds(cpus, topology).map((apicId) => ({ apicId }))
}

/** Every interrupt but that of the second PIC, which is the first one's cascade. */
const MP_GSIS = Array.from({ length: IOAPIC_PINS }, (_, gsi) => gsi).filter((gsi) => gsi !== 2)

function writeMpTable(config: MachineConfig, memory: GuestMemory): void {
  const table = buildMpTable({
    address: MP_TABLE_START,
    cpus: cpusOf(config),
    ioapic: { address: IOAPIC_START },
    gsis: MP_GSIS,
  })
  memory.write(MP_TABLE_START, table)
}

/** What the ACPI tables of a machine tell. */
export function acpiOptions(
  config: MachineConfig,
  places: DevicePlaces,
): Omit<AcpiOptions, 'address'> {
  return {
    cpus: cpusOf(config),
    ioapic: { id: 0, address: IOAPIC_START, gsiBase: 0 },
    pics: config.irqchip === 'kernel',
    sciGsi: SCI_GSI,
    pmBase: ACPI_PM_PORT,
    uarts: [{ port: COM1_PORT, gsi: COM1_GSI }],
    rtc: { port: CMOS_PORT, gsi: CMOS_GSI },
    ...places,
    pvpanic: config.devices.pvpanic && PVPANIC_PORT,
    vmGenerationId: config.devices.vmGenerationId,
    affinity: affinityOf(config),
  }
}

/** Without nodes all is in one, if the guest is to hear of memory that may come. */
function affinityOf(config: MachineConfig): AffinityOptions | undefined {
  const { memory, virtioMem, numa } = config
  if (virtioMem === undefined && numa === undefined) return undefined
  const nodeOf = (cpu: number) => numa?.findIndex(({ cpus }) => cpus.includes(cpu)) ?? 0
  const hot = virtioMem ? hotMemoryRanges(memory, virtioMem.maxSize) : []
  return {
    cpus: cpusOf(config).map((cpu, index) => ({ ...cpu, node: nodeOf(index) })),
    memory: [
      ...nodeRanges(ramRanges(memory), numa ?? [{ memory }]),
      ...hot.map((range) => ({ ...range, node: virtioMem!.node, hotPluggable: true })),
    ],
    distances: numa?.map(({ distances }) => distances),
  }
}

/** Writes the ACPI tables and returns the RSDP's address. */
function writeAcpiTables(config: MachineConfig, memory: GuestMemory, places: DevicePlaces): number {
  const { rsdpAddress, pieces } = buildAcpiTables({
    ...acpiOptions(config, places),
    address: ACPI_START,
  })
  for (const { address, bytes } of pieces) memory.write(address, bytes)
  return rsdpAddress
}
