import { SDT_HEADER_SIZE, systemTable } from './sdt.js'

/** Bytes of a FADT of revision 6. */
export const FADT_SIZE = 276
const REVISION = 6
const MINOR_REVISION = 4

// Fixed ACPI Description Table: field offsets (ACPI 6.5, table 5.9).
const FIRMWARE_CTRL = 36
const DSDT = 40
const SCI_INT = 46
const PM1A_EVT_BLK = 56
const PM1A_CNT_BLK = 64
const PM_TMR_BLK = 76
const GPE0_BLK = 80
const PM1_EVT_LEN = 88
const PM1_CNT_LEN = 89
const PM_TMR_LEN = 91
const GPE0_BLK_LEN = 92
const P_LVL2_LAT = 96
const P_LVL3_LAT = 98
const CENTURY = 108
const IAPC_BOOT_ARCH = 109
const FLAGS = 112
const RESET_REG = 116
const RESET_VALUE = 128
const FADT_MINOR_VERSION = 131
const X_DSDT = 140
const X_PM1A_EVT_BLK = 148
const X_PM1A_CNT_BLK = 172
const X_PM_TMR_BLK = 208
const X_GPE0_BLK = 220

// Flags (table 5.10).
const WBINVD = 1 << 0
const PROC_C1 = 1 << 2
/** No sleep button among the fixed features. The power button is one, as PWR_BUTTON is clear. */
const SLP_BUTTON = 1 << 5
/** The RTC's alarm is not among the fixed features. */
const FIX_RTC = 1 << 6
const TMR_VAL_EXT = 1 << 8
const RESET_REG_SUP = 1 << 10
/** No display, keyboard or mouse of the machine's own. */
const HEADLESS = 1 << 12

// IA-PC boot architecture flags (table 5.11).
/** Devices that a user sees lie on ISA, such as a UART. */
const LEGACY_DEVICES = 1 << 0
const HAS_8042 = 1 << 1
const VGA_NOT_PRESENT = 1 << 2
const MSI_NOT_SUPPORTED = 1 << 3
const PCIE_ASPM_CONTROLS = 1 << 4
const CMOS_RTC_NOT_PRESENT = 1 << 5

/** Latencies above these say that there is no such state. */
const NO_C2 = 0xffff
const NO_C3 = 0xffff

const SYSTEM_IO = 1

/** Port addresses of ACPI's fixed hardware. */
export interface FixedHardware {
  /** PM1a event block, 4 bytes. */
  readonly event: number
  /** PM1a control block, 2 bytes. */
  readonly control: number
  /** PM timer, 4 bytes, 32 bits wide; left out if there is none. */
  readonly timer: number | undefined
  /** General-purpose event block 0, 2 bytes: 8 events' status and enable bits. */
  readonly gpe0: number
  /** Reset register, 1 byte, and what to write there. */
  readonly reset: number
  readonly resetValue: number
}

export interface FadtOptions {
  readonly dsdt: number
  readonly facs: number
  readonly sciGsi: number
  readonly hardware: FixedHardware
  /** Whether the guest should look for a keyboard controller. Looking takes it hundreds of port accesses. */
  readonly i8042: boolean
  /** Whether there are devices on ISA that a user sees, such as a UART. */
  readonly legacyDevices: boolean
  /** Whether MSI and MSI-X work, which without PCI is not asked. */
  readonly msi: boolean
  /** Whether there is a CMOS clock, with the century at index 0x32. */
  readonly rtc: boolean
}

/** Describes fixed hardware that is in ACPI mode from the start: there is no SMI command port. */
export function buildFadt(options: FadtOptions): Uint8Array {
  const { dsdt, facs, sciGsi, hardware, i8042, legacyDevices, msi, rtc } = options
  // Offsets are the table's own, as the specification has them; the header is put in front at the end.
  const table = new Uint8Array(FADT_SIZE)
  const view = new DataView(table.buffer)
  const { event, control, timer, gpe0, reset, resetValue } = hardware
  view.setUint32(FIRMWARE_CTRL, facs, true)
  view.setUint32(DSDT, dsdt, true)
  view.setBigUint64(X_DSDT, BigInt(dsdt), true)
  view.setUint16(SCI_INT, sciGsi, true)
  view.setUint32(PM1A_EVT_BLK, event, true)
  view.setUint8(PM1_EVT_LEN, 4)
  // An event block is two registers, of half its size each.
  setGenericAddress(view, X_PM1A_EVT_BLK, event, 4, 2)
  view.setUint32(PM1A_CNT_BLK, control, true)
  view.setUint8(PM1_CNT_LEN, 2)
  setGenericAddress(view, X_PM1A_CNT_BLK, control, 2)
  if (timer !== undefined) {
    view.setUint32(PM_TMR_BLK, timer, true)
    view.setUint8(PM_TMR_LEN, 4)
    setGenericAddress(view, X_PM_TMR_BLK, timer, 4)
  }
  view.setUint32(GPE0_BLK, gpe0, true)
  view.setUint8(GPE0_BLK_LEN, 2)
  setGenericAddress(view, X_GPE0_BLK, gpe0, 2, 1)
  setGenericAddress(view, RESET_REG, reset, 1)
  view.setUint8(RESET_VALUE, resetValue)
  view.setUint16(P_LVL2_LAT, NO_C2, true)
  view.setUint16(P_LVL3_LAT, NO_C3, true)
  view.setUint8(CENTURY, rtc ? 0x32 : 0)
  view.setUint16(
    IAPC_BOOT_ARCH,
    VGA_NOT_PRESENT |
      PCIE_ASPM_CONTROLS |
      (msi ? 0 : MSI_NOT_SUPPORTED) |
      (legacyDevices ? LEGACY_DEVICES : 0) |
      (i8042 ? HAS_8042 : 0) |
      (rtc ? 0 : CMOS_RTC_NOT_PRESENT),
    true,
  )
  view.setUint32(
    FLAGS,
    WBINVD |
      PROC_C1 |
      SLP_BUTTON |
      FIX_RTC |
      (timer === undefined ? 0 : TMR_VAL_EXT) |
      RESET_REG_SUP |
      (i8042 ? 0 : HEADLESS),
    true,
  )
  view.setUint8(FADT_MINOR_VERSION, MINOR_REVISION)
  return systemTable('FACP', REVISION, table.subarray(SDT_HEADER_SIZE))
}

/**
 * Generic Address Structure (ACPI 6.5, section 5.2.3.2).
 * @param accessBytes bytes of one access; those of the register unless told
 */
function setGenericAddress(
  view: DataView,
  offset: number,
  port: number,
  bytes: 1 | 2 | 4,
  accessBytes = bytes,
): void {
  view.setUint8(offset, SYSTEM_IO)
  view.setUint8(offset + 1, bytes * 8)
  view.setUint8(offset + 3, { 1: 1, 2: 2, 4: 3 }[accessBytes])
  view.setBigUint64(offset + 4, BigInt(port), true)
}

export const FACS_SIZE = 64

/** Firmware ACPI Control Structure (ACPI 6.5, section 5.2.10): empty, as nothing sleeps. Lies on a 64-byte boundary. */
export function buildFacs(): Uint8Array {
  const table = new Uint8Array(FACS_SIZE)
  const view = new DataView(table.buffer)
  table.set(new TextEncoder().encode('FACS'), 0)
  view.setUint32(4, FACS_SIZE, true)
  view.setUint8(32, 2)
  return table
}
