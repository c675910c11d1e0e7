import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { ACPI_RSDP_FILE, acpiLoaderFiles } from '../arch/x86-64/acpi/table-loader.js'
import {
  COM1_PORT,
  FW_CFG_PORT,
  HIGH_MEMORY_START,
  LOW_ROM_SIZE,
  ROM_END,
} from '../arch/x86-64/layout.js'
import { E820_ENTRY_SIZE, E820_RAM, writeE820 } from '../boot/e820.js'
import { ImageFile } from '../boot/image-file.js'
import {
  FW_CFG_MAX_CPUS,
  FW_CFG_NB_CPUS,
  FW_CFG_NOGRAPHIC,
  FW_CFG_PORTS,
  FW_CFG_RAM_SIZE,
  FwCfg,
  type FwCfgItem,
} from '../devices/firmware/fw-cfg.js'
import { PFLASH_BLOCK, PflashCfi01 } from '../devices/firmware/pflash-cfi01.js'
import { ISA_BRIDGE_SLOT, IsaBridge } from '../devices/pci/isa-bridge.js'
import { VmmError } from '../errors.js'
import { KVM_CAP_READONLY_MEM } from '../kvm/abi/capabilities.js'
import { KVM_MEM_READONLY } from '../kvm/abi/memory.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { createGuestMemory, type MappedGuestMemory } from '../memory/mapping.js'
import { littleEndian } from '../util/bits.js'
import type { Cleanup } from '../util/cleanup.js'
import { type FirmwareConfig, ROM_MIN, ROM_SIZE_MAX } from './firmware-options.js'
import type { MachineConfig } from './machine-config.js'
import type { PciHost } from './pci-host.js'
import type { Platform } from './platform.js'

/** Memory slots far from those of RAM, which are numbered upwards from 0. */
const ROM_SLOT = 480
const VARIABLES_SLOT = 481

/** Numbers that grow take more bytes; a multiple of what a command of the loader has. */
const ACPI_FILE_SLACK = 512

/** A firmware in the machine. */
export interface Firmware {
  /** Puts what lies below 1 MiB there: at first, and after each reset. */
  load(memory: GuestMemory): void
}

/**
 * Puts a firmware below 4 GiB, its variables below it, and the device by which it learns what machine it is in.
 * @param parts.pci where firmware finds its bridge to ISA, if there is PCI
 * @param parts.acpi what the ACPI tables are to tell, asked when the firmware wants them
 * @throws VmmError `ERR_FIRMWARE` for files that cannot be one; KvmError
 */
export function attachFirmware(
  platform: Platform,
  config: MachineConfig & { firmware: FirmwareConfig },
  { pci, acpi }: { pci: PciHost | undefined; acpi: () => Parameters<typeof acpiLoaderFiles>[0] },
  cleanup: Cleanup,
): Firmware {
  const { vm, memory } = platform
  const { image, variables } = config.firmware
  if (vm.checkExtension(KVM_CAP_READONLY_MEM) === 0) {
    throw new VmmError('ERR_KVM_UNSUPPORTED', "this host's KVM lacks KVM_CAP_READONLY_MEM")
  }
  const code = readFirmware(image, 'firmware.image', ROM_MIN, ROM_SIZE_MAX)
  const start = ROM_END - code.length
  const rom = romAt(start, code.length, cleanup)
  rom.write(start, code)
  rom.register(vm, ROM_SLOT, KVM_MEM_READONLY)
  if (variables !== undefined) attachVariables(platform, variables, start, cleanup)
  pci?.bus.plug(new IsaBridge(), ISA_BRIDGE_SLOT)
  const fwCfg = new FwCfg({
    memory,
    items: {
      [FW_CFG_RAM_SIZE]: number(config.memory, 8),
      [FW_CFG_NOGRAPHIC]: number(1, 2),
      [FW_CFG_NB_CPUS]: number(config.cpus, 2),
      [FW_CFG_MAX_CPUS]: number(config.cpus, 2),
    },
    files: {
      'etc/e820': e820File(memory),
      // SeaBIOS shows what it would show on a screen on this serial port.
      'etc/sercon-port': number(COM1_PORT, 2),
      ...(config.acpi ? acpiFiles(acpi) : {}),
    },
  })
  platform.pio.attach(FW_CFG_PORT, FW_CFG_PORTS, fwCfg)
  platform.resettable.push(fwCfg)
  const low = code.subarray(-LOW_ROM_SIZE)
  return { load: (ram) => ram.write(HIGH_MEMORY_START - low.length, low) }
}

/** Made when the firmware turns to one of them: by then it has placed what they tell of. */
function acpiFiles(acpi: () => Parameters<typeof acpiLoaderFiles>[0]): Record<string, FwCfgItem> {
  const sizes = Object.entries(acpiLoaderFiles(acpi()))
  return Object.fromEntries(
    sizes.map(([name, { length }]): [string, FwCfgItem] => {
      const size = length + (name === ACPI_RSDP_FILE ? 0 : ACPI_FILE_SLACK)
      return [name, { size, read: () => acpiLoaderFiles(acpi())[name]! }]
    }),
  )
}

function romAt(guestAddress: number, size: number, cleanup: Cleanup): MappedGuestMemory {
  return cleanup.own(
    createGuestMemory([{ guestAddress, size }], { kind: 'anonymous', name: 'guest-rom' }),
  )
}

/** The whole file, checked to be of a size that a ROM can have. */
function readFirmware(
  source: string | Uint8Array,
  option: string,
  least: number,
  most: number,
): Uint8Array {
  const file = new ImageFile(source, option, 'ERR_FIRMWARE')
  try {
    const { size } = file
    if (size >= least && size <= most && size % PFLASH_BLOCK === 0) return file.read(0, size)
    const expected = `a multiple of ${PFLASH_BLOCK} bytes from ${least} to ${most}`
    throw file.error(`has ${size} bytes`, size, expected)
  } finally {
    file.close()
  }
}

/** The flash with the variables, which end where the code begins, as OVMF's two files are meant to lie. */
function attachVariables(
  platform: Platform,
  source: string | Uint8Array,
  end: number,
  cleanup: Cleanup,
): void {
  const { vm, mmio, resettable } = platform
  const bytes = readFirmware(
    source,
    'firmware.variables',
    PFLASH_BLOCK,
    ROM_SIZE_MAX - (ROM_END - end),
  )
  const file = typeof source === 'string' ? openForWriting(source, bytes.length, cleanup) : -1
  const start = end - bytes.length
  const flash = romAt(start, bytes.length, cleanup)
  flash.write(start, bytes)
  flash.register(vm, VARIABLES_SLOT, KVM_MEM_READONLY)
  const contents = flash.view(start, bytes.length)
  const device = new PflashCfi01({
    bytes: contents,
    onArrayMode: (array) => {
      if (array) flash.register(vm, VARIABLES_SLOT, KVM_MEM_READONLY)
      else vm.setUserMemoryRegion({ slot: VARIABLES_SLOT, guestAddress: start, size: 0 })
    },
    onChange: (offset, length) => {
      const changed = contents.subarray(offset, offset + length)
      if (file >= 0) writeAll(file, changed, offset)
      // Bytes of the program's own are its copy of the variables.
      else if (typeof source !== 'string') source.set(changed, offset)
    },
  })
  mmio.attach(start, bytes.length, device)
  resettable.push(device)
  cleanup.defer(() => device.flush())
}

function openForWriting(path: string, size: number, cleanup: Cleanup): number {
  let file: number
  try {
    file = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  } catch (cause) {
    throw new VmmError(
      'ERR_FIRMWARE',
      `firmware.variables: ${(cause as Error).message}; expected a file that may be written`,
      { option: 'firmware.variables', value: path, expected: 'a file that may be written', cause },
    )
  }
  cleanup.defer(() => closeSync(file))
  // What was read is what is to be written to.
  if (fstatSync(file).size === size && readSync(file, new Uint8Array(1), 0, 1, 0) === 1) return file
  throw new VmmError('ERR_FIRMWARE', 'firmware.variables: the file has changed meanwhile', {
    option: 'firmware.variables',
    value: path,
    expected: 'a file that nobody else changes',
  })
}

function writeAll(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done, bytes.length - done, position + done)
  }
}

/** All RAM, also what e820Map() keeps from a kernel below 1 MiB: firmware makes its own map of that. */
function e820File({ ram }: GuestMemory): Uint8Array {
  const file = new Uint8Array(ram.length * E820_ENTRY_SIZE)
  const entries = ram.map(({ guestAddress: address, size }) => ({
    address,
    size,
    type: E820_RAM,
  }))
  writeE820(new DataView(file.buffer), 0, entries)
  return file
}

const number = (value: number, bytes: number) => Uint8Array.from(littleEndian(value, bytes))
