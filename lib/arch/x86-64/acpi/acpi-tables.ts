import { invalidOption } from '../../../errors.js'
import { alignUp } from '../../../util/bits.js'
import {
  ACPI_GPE0,
  ACPI_PM_TIMER,
  ACPI_PM1_CONTROL,
  ACPI_PM1_EVENT,
  ACPI_RESET,
  ACPI_SIZE,
  LAPIC_START,
} from '../layout.js'
import { buildDsdt, type MemoryDevice, type PortDevice } from './dsdt.js'
import { buildFacs, buildFadt } from './fadt.js'
import { buildMadt, type MadtOptions } from './madt.js'
import { buildMcfg } from './mcfg.js'
import type { PciHostOptions } from './pci-host.js'
import { buildRsdp, buildXsdt, RSDP_SIZE, xsdtSize } from './rsdp.js'
import { type AffinityOptions, buildSlit, buildSrat } from './srat.js'

/** What the tables tell the guest of. */
export interface AcpiOptions {
  /** Guest-physical address of the RSDP, on a 16-byte boundary; the tables follow it. */
  readonly address: number
  /** Bytes that there are from `address` on; {@link ACPI_SIZE} unless told. */
  readonly space?: number
  readonly cpus: MadtOptions['cpus']
  readonly ioapic: MadtOptions['ioapic']
  readonly pics?: MadtOptions['pics']
  readonly sciGsi: number
  /** First port of ACPI's fixed hardware, whose register blocks layout.ts has. */
  readonly pmBase: number
  /** Whether the PM timer is announced; it is unless told. */
  readonly pmTimer?: boolean
  readonly uarts: readonly PortDevice[]
  readonly rtc?: PortDevice
  /** Whether the guest should look for a keyboard controller; not unless told. */
  readonly i8042?: boolean
  readonly virtioMmio: readonly MemoryDevice[]
  /** Port of the paravirtual panic device, if there is one. */
  readonly pvpanic?: number | undefined
  /** A VM generation ID of 16 bytes, which is put beside the tables. */
  readonly vmGenerationId?: Uint8Array | undefined
  /** The PCI host bridge, if there is one. */
  readonly pci?: PciHostOptions | undefined
  /** NUMA nodes, and memory that may come later; neither is told of unless given. */
  readonly affinity?: AffinityOptions | undefined
}

/** Bytes for guest memory. */
export interface MemoryPiece {
  readonly address: number
  readonly bytes: Uint8Array
}

/** SLP_TYP and RESET_VALUE that the PM device answers to. */
export const S5_SLEEP_TYPE = 5
export const ACPI_RESET_VALUE = 1
/** Ports of ACPI's fixed hardware, from `pmBase` on. */
export const ACPI_PM_PORT_COUNT = 0x10

const FACS_ALIGNMENT = 64
const TABLE_ALIGNMENT = 16

/**
 * RSDP, XSDT, FADT, FACS, DSDT, MADT, with PCI MCFG, and what there is to say of nodes: SRAT and SLIT.
 * @throws VmmError `ERR_INVALID_OPTION` if they need more room than there is: too many vCPUs
 */
export function buildAcpiTables(options: AcpiOptions): {
  rsdpAddress: number
  pieces: MemoryPiece[]
} {
  const { address, cpus, ioapic, sciGsi, pmBase, uarts, rtc, virtioMmio, pci } = options
  const pieces: MemoryPiece[] = []
  let next = address + RSDP_SIZE
  const reserve = (size: number, alignment = TABLE_ALIGNMENT): number => {
    const at = alignUp(next, alignment)
    next = at + size
    return at
  }
  const place = (bytes: Uint8Array, at = reserve(bytes.length)): number => {
    pieces.push({ address: at, bytes })
    return at
  }

  const { affinity } = options
  const others = [
    ...(pci ? [buildMcfg(pci.ecam)] : []),
    ...(affinity ? [buildSrat(affinity)] : []),
    ...(affinity?.distances ? [buildSlit(affinity.distances)] : []),
  ]
  const xsdtAddress = reserve(xsdtSize(2 + others.length))
  const facs = buildFacs()
  const facsAddress = place(facs, reserve(facs.length, FACS_ALIGNMENT))
  const { pvpanic, vmGenerationId } = options
  const dsdtAddress = place(
    buildDsdt({
      cpus: cpus.length,
      motherboard: [{ port: pmBase, count: ACPI_PM_PORT_COUNT }],
      uarts,
      rtc,
      virtioMmio,
      pvpanic,
      vmGenerationId: vmGenerationId && place(vmGenerationId),
      pci,
      s5SleepType: S5_SLEEP_TYPE,
    }),
  )
  const fadtAddress = place(
    buildFadt({
      dsdt: dsdtAddress,
      facs: facsAddress,
      sciGsi,
      hardware: {
        event: pmBase + ACPI_PM1_EVENT,
        control: pmBase + ACPI_PM1_CONTROL,
        timer: (options.pmTimer ?? true) ? pmBase + ACPI_PM_TIMER : undefined,
        gpe0: pmBase + ACPI_GPE0,
        reset: pmBase + ACPI_RESET,
        resetValue: ACPI_RESET_VALUE,
      },
      i8042: options.i8042 ?? false,
      legacyDevices: uarts.length > 0,
      msi: pci !== undefined,
      rtc: rtc !== undefined,
    }),
  )
  const madtAddress = place(
    buildMadt({ localApicAddress: LAPIC_START, cpus, ioapic, sciGsi, pics: options.pics }),
  )
  const otherAddresses = others.map((table) => place(table))
  place(buildXsdt([fadtAddress, madtAddress, ...otherAddresses]), xsdtAddress)
  place(buildRsdp(xsdtAddress), address)

  const space = options.space ?? ACPI_SIZE
  if (next > address + space) {
    throw invalidOption('cpus', cpus.length, `fewer: their ACPI tables have ${space} bytes`)
  }
  return { rsdpAddress: address, pieces }
}
