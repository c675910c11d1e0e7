import {
  type Aml,
  device,
  eisaId,
  hexDigits,
  integer,
  join,
  method,
  name,
  pkg,
  returns,
  scope,
  serializedMethod,
} from './aml.js'
import * as code from './aml-code.js'
import {
  busNumbers,
  ioPorts,
  ioWindow,
  memoryWindow,
  type ResourceRange,
  resourceTemplate,
} from './aml-resources.js'
import { ECAM_BUS_SIZE, type EcamWindow } from './mcfg.js'

/** A PCI host bridge with one bus, as the DSDT tells of it. */
export interface PciHostOptions {
  readonly ecam: EcamWindow
  /** First port of configuration mechanism #1. */
  readonly configPort: number
  /** What the bridge passes on to the bus. */
  readonly memory: readonly ResourceRange[]
  readonly io: ResourceRange
  /** What INTA# of each slot raises. 32 of them. */
  readonly gsis: readonly number[]
  /** First of the {@link PCI_HOTPLUG_PORTS} ports that devices come and go by, and the slots in which they may. */
  readonly hotplugPort?: number | undefined
  readonly hotplugSlots?: readonly number[] | undefined
}

/** Ports that hot-plug takes: three double words. */
export const PCI_HOTPLUG_PORTS = 0xc
/** The general-purpose event that says that one of them has changed. */
export const PCI_HOTPLUG_GPE = 1

const CONFIG_PORTS = 8
const OSC_UUID = '33db4d5b-1ff7-401c-9657-7441c03dd766'
/** What the guest may control (PCI Firmware 3.3, table 4-6): PME, AER, PCIe capabilities; not hot-plug, which ACPI does. */
const OSC_CONTROL = 0x1c
// Status bits of _OSC's first double word (ACPI 6.5, table 6.12).
const OSC_UNRECOGNIZED_UUID = 0x04
const OSC_UNRECOGNIZED_REVISION = 0x08
const OSC_CAPABILITIES_MASKED = 0x10
// Values of Notify (ACPI 6.5, table 5.168).
const DEVICE_CHECK = 1
const EJECT_REQUEST = 3

/** `\_SB.PCI0`, to be put into `\_SB`, and what handles its events, to be put beside that. */
export function pciHost(options: PciHostOptions): { device: Aml; events: Aml } {
  const { ecam, configPort, memory, io, gsis, hotplugPort, hotplugSlots = [] } = options
  const buses = ecam.size / ECAM_BUS_SIZE
  const resources = resourceTemplate(
    busNumbers(0, buses - 1),
    ioPorts(configPort, CONFIG_PORTS),
    ioWindow({ start: 0, end: configPort }),
    ioWindow({ start: configPort + CONFIG_PORTS, end: io.end }),
    ...memory.map(memoryWindow),
  )
  const host = device(
    'PCI0',
    name('_HID', eisaId('PNP0A08')),
    name('_CID', eisaId('PNP0A03')),
    name('_SEG', integer(0)),
    name('_BBN', integer(0)),
    name('_UID', integer(0)),
    name('_CRS', resources),
    name('_PRT', pkg(...gsis.map(routing))),
    osc(),
    ...(hotplugPort === undefined ? [] : hotplug(hotplugPort, hotplugSlots)),
  )
  const events = hotplugPort === undefined ? [] : hotplugEvent()
  return { device: host, events }
}

/** `Package { every function of the slot, INTA#, no link device, GSI }` (ACPI 6.5, section 6.2.13). */
function routing(gsi: number, slot: number): Aml {
  const address = slot * 0x1_0000 + 0xffff
  return pkg(integer(address), integer(0), integer(0), integer(gsi))
}

/** Who controls what (ACPI 6.5, section 6.2.11): query and grant alike give back what the guest may have. */
function osc(): Aml {
  const status = code.reference('CDW1')
  const control = code.reference('CDW3')
  const granted = code.local(0)
  const fail = (bit: number) => code.or(status, integer(bit), status)
  return serializedMethod(
    '_OSC',
    4,
    code.createDwordField(code.argument(3), 0, 'CDW1'),
    code.when(
      code.equal(code.argument(0), code.uuid(OSC_UUID)),
      code.createDwordField(code.argument(3), 8, 'CDW3'),
      code.and(control, integer(OSC_CONTROL), granted),
      code.when(
        code.not(code.equal(code.argument(1), integer(1))),
        fail(OSC_UNRECOGNIZED_REVISION),
      ),
      code.when(code.not(code.equal(control, granted)), fail(OSC_CAPABILITIES_MASKED)),
      code.store(granted, control),
    ),
    code.otherwise(fail(OSC_UNRECOGNIZED_UUID)),
    returns(code.argument(3)),
  )
}

/**
 * A device for each slot, which the guest lets go by `_EJ0`, and a method that tells the guest of the slots whose bits
 * the first two ports show.
 */
function hotplug(port: number, slots: readonly number[]): Aml[] {
  const arrived = code.local(0)
  const leaving = code.local(1)
  const tell = (slot: number) => {
    const bit = integer(2 ** slot)
    return join(
      code.when(code.and(arrived, bit), code.notify(slotName(slot), DEVICE_CHECK)),
      code.when(code.and(leaving, bit), code.notify(slotName(slot), EJECT_REQUEST)),
    )
  }
  return [
    code.ioRegion('HPRG', port, PCI_HOTPLUG_PORTS),
    code.dwordField('HPRG', ['HPUP', 'HPDN', 'HPEJ']),
    ...slots.map((slot) =>
      device(
        slotName(slot),
        name('_ADR', integer(slot * 0x1_0000)),
        name('_SUN', integer(slot)),
        method('_EJ0', 1, code.store(integer(2 ** slot), code.reference('HPEJ'))),
      ),
    ),
    serializedMethod(
      'HPEV',
      0,
      code.store(code.reference('HPUP'), arrived),
      code.store(code.reference('HPDN'), leaving),
      ...slots.map(tell),
    ),
  ]
}

function hotplugEvent(): Aml {
  return scope('\\_GPE', method(`_E0${PCI_HOTPLUG_GPE}`, 0, code.reference('\\_SB.PCI0.HPEV')))
}

function slotName(slot: number): string {
  return `S${hexDigits(slot, 2)}`
}
