import { COMMAND_LINE_SIZE, COMMAND_LINE_START, HIGH_MEMORY_START } from '../arch/x86-64/layout.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { BootProtocol, BootRequest } from './boot-protocol.js'
import { encodeCommandLine } from './command-line.js'
import type { ImageFile } from './image-file.js'
import { placeInitrd } from './initrd.js'
import { linuxEntry64 } from './linux-entry.js'
import * as setup from './linux-setup.js'
import { writeZeroPage } from './zero-page.js'

/** Offset of the 64-bit entry point in the protected-mode kernel (boot.rst, "64-bit BOOT PROTOCOL"). */
const ENTRY_64 = 0x200
const SECTOR = 512
const HEAD = 0x1000

/** The setup header's fields that loading depends on, each read once and checked. */
interface SetupHeader {
  readonly bytes: Uint8Array
  readonly kernelOffset: number
  readonly kernelSize: number
  readonly loadAddress: number
  readonly memoryNeeded: number
  readonly initrdMax: number
  readonly commandLineLimit: number
}

/** A bzImage by the 64-bit boot protocol, version 2.12 and later. */
export const linuxBzImage: BootProtocol = {
  name: 'Linux bzImage',

  recognizes(head) {
    return (
      head.length >= setup.HEADER + 4 &&
      view(head).getUint32(setup.HEADER, true) === setup.HEADER_MAGIC
    )
  },

  load({ memory, kernel, initrd, commandLine, rsdp }: BootRequest) {
    const header = parseHeader(kernel, memory)
    const line = encodeCommandLine(
      commandLine,
      Math.min(header.commandLineLimit, COMMAND_LINE_SIZE - 1),
    )
    kernel.readInto(memory.view(header.loadAddress, header.kernelSize), header.kernelOffset)
    const initrdRange =
      initrd &&
      placeInitrd(memory, initrd, header.loadAddress + header.memoryNeeded, header.initrdMax)
    memory.write(COMMAND_LINE_START, line)
    writeZeroPage(memory, header.bytes, {
      commandLineAddress: COMMAND_LINE_START,
      initrd: initrdRange,
      rsdp,
    })
    return linuxEntry64(memory, header.loadAddress + ENTRY_64)
  },
}

function parseHeader(kernel: ImageFile, memory: GuestMemory): SetupHeader {
  const head = kernel.read(0, HEAD)
  const end = head.length > setup.JUMP_OFFSET ? setup.HEADER + head[setup.JUMP_OFFSET]! : 0
  if (head.length < setup.INIT_SIZE + 4)
    throw kernel.error(
      `the setup header is cut off at ${head.length} bytes`,
      head.length,
      'a whole bzImage',
    )
  const field = view(head)
  check(
    kernel,
    'boot_flag',
    field.getUint16(setup.BOOT_FLAG, true),
    (value) => value === setup.BOOT_FLAG_MAGIC,
    '0xaa55',
  )
  const version = check(
    kernel,
    'version',
    field.getUint16(setup.VERSION, true),
    (value) => value >= setup.VERSION_64BIT,
    '0x20c (2.12) or later',
  )
  check(
    kernel,
    'loadflags',
    field.getUint8(setup.LOADFLAGS),
    (value) => (value & setup.LOADED_HIGH) !== 0,
    'LOADED_HIGH',
  )
  check(
    kernel,
    'xloadflags',
    field.getUint16(setup.XLOADFLAGS, true),
    (value) => (value & setup.XLF_KERNEL_64) !== 0,
    'XLF_KERNEL_64',
  )
  check(
    kernel,
    'header length',
    end,
    (value) => value >= setup.INIT_SIZE + 4 && value <= head.length,
    `at least ${setup.INIT_SIZE + 4} for version 0x${version.toString(16)}`,
  )

  // 0 means 4, for reasons of history (boot.rst, setup_sects).
  const kernelOffset = ((field.getUint8(setup.SETUP_SECTS) || 4) + 1) * SECTOR
  const kernelSize = kernel.size - kernelOffset
  if (kernelSize <= ENTRY_64)
    throw kernel.error(
      'the image ends before the kernel proper',
      kernel.size,
      `more than ${kernelOffset + ENTRY_64} bytes`,
    )
  const initSize = check(
    kernel,
    'init_size',
    field.getUint32(setup.INIT_SIZE, true),
    (value) => value > 0,
    'a size',
  )
  const loadAddress = chooseLoadAddress(kernel, field)
  const memoryNeeded = Math.max(initSize, kernelSize)
  if (memory.findRegion(loadAddress, memoryNeeded) === undefined) {
    throw kernel.error(
      `the kernel needs ${memoryNeeded} bytes from 0x${loadAddress.toString(16)} on`,
      memoryNeeded,
      `as much in the guest's ${memory.size} bytes of memory`,
    )
  }
  return {
    bytes: head.subarray(setup.SETUP_HEADER_START, end),
    kernelOffset,
    kernelSize,
    loadAddress,
    memoryNeeded,
    initrdMax: field.getUint32(setup.INITRD_ADDR_MAX, true),
    commandLineLimit: field.getUint32(setup.CMDLINE_SIZE, true),
  }
}

/** Where the kernel would like to be: it then need not move itself. Below 4 GiB, where the boot page tables reach. */
function chooseLoadAddress(kernel: ImageFile, field: DataView): number {
  const preferred = Number(field.getBigUint64(setup.PREF_ADDRESS, true))
  const alignment = field.getUint32(setup.KERNEL_ALIGNMENT, true)
  check(
    kernel,
    'kernel_alignment',
    alignment,
    (value) => value >= 0x1000 && value <= 2 ** 30 && (value & (value - 1)) === 0,
    'a power of 2 from 4096 to 2^30',
  )
  return check(
    kernel,
    'pref_address',
    preferred,
    (value) => value >= HIGH_MEMORY_START && value < 2 ** 32 && value % alignment === 0,
    'a multiple of kernel_alignment from 1 MiB to 4 GiB',
  )
}

function check(
  kernel: ImageFile,
  field: string,
  value: number,
  accept: (value: number) => boolean,
  expected: string,
): number {
  if (accept(value)) return value
  throw kernel.error(`the setup header's ${field} is 0x${value.toString(16)}`, value, expected)
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
