import { HIGH_MEMORY_START } from '../arch/x86-64/layout.js'
import { hex, isPowerOfTwo } from '../util/bits.js'
import type { ImageFile } from './image-file.js'
import * as setup from './linux-setup.js'

/** The setup header's fields that loading depends on, each read once and checked. */
export interface SetupHeader {
  /** The header itself, from offset 0x1f1 on, for the zero page. */
  readonly bytes: Uint8Array
  /** Where the protected-mode kernel lies in the image. */
  readonly kernelOffset: number
  readonly kernelSize: number
  readonly loadAddress: number
  /** Bytes that the kernel needs from `loadAddress` on to unpack itself, as it does before it looks at the memory map. */
  readonly memoryNeeded: number
  /** Last address that the initrd may have. */
  readonly initrdMax: number
  /** Bytes of command line, without the closing NUL. */
  readonly commandLineLimit: number
  /** The compressed kernel within the protected-mode kernel; 0 and 0 if the header does not say. */
  readonly payloadOffset: number
  readonly payloadLength: number
}

const SECTOR = 512
const PARAGRAPH = 16
/** The setup header ends before this whatever the jump over it says (zero-page.rst: edd_mbr_sig_buffer follows). */
const HEADER_LIMIT = 0x290

/**
 * Reads a bzImage's setup header (Linux Documentation/arch/x86/boot.rst, "Details of Header Fields").
 * @throws VmmError `ERR_KERNEL_IMAGE` naming the field, its value and what was expected
 */
export function parseSetupHeader(kernel: ImageFile): SetupHeader {
  const head = kernel.read(0, HEADER_LIMIT)
  if (head.length < setup.INIT_SIZE + 4) {
    const needed = setup.INIT_SIZE + 4
    throw kernel.error(
      `is cut off in its setup header, at ${head.length} bytes`,
      head.length,
      `at least ${needed}`,
    )
  }
  const view = new DataView(head.buffer)
  const check = (name: string, value: number, accepted: boolean, expected: string): number => {
    if (accepted) return value
    throw kernel.error(`has ${name} ${hex(value)} in its setup header`, value, expected)
  }
  const u32 = (offset: number) => view.getUint32(offset, true)

  const bootFlag = view.getUint16(setup.BOOT_FLAG, true)
  check('boot_flag', bootFlag, bootFlag === setup.BOOT_FLAG_MAGIC, hex(setup.BOOT_FLAG_MAGIC))
  const version = view.getUint16(setup.VERSION, true)
  check('version', version, version >= setup.VERSION_64BIT, '0x20c or later, with a 64-bit entry')
  const loadFlags = view.getUint8(setup.LOADFLAGS)
  check('loadflags', loadFlags, (loadFlags & setup.LOADED_HIGH) !== 0, 'LOADED_HIGH (0x1) set')
  const xloadFlags = view.getUint16(setup.XLOADFLAGS, true)
  const is64Bit = (xloadFlags & setup.XLF_KERNEL_64) !== 0
  check('xloadflags', xloadFlags, is64Bit, 'XLF_KERNEL_64 (0x1) set: a kernel for x86-64')
  const end = setup.HEADER + view.getUint8(setup.JUMP_OFFSET)
  check('an end at', end, end >= setup.INIT_SIZE + 4, `${hex(setup.INIT_SIZE + 4)} or later`)

  // 0 means 4, for reasons of history (boot.rst, setup_sects).
  const kernelOffset = ((view.getUint8(setup.SETUP_SECTS) || 4) + 1) * SECTOR
  const kernelSize = kernel.size - kernelOffset
  // A file may end within the last of them.
  const sizeExpected = Math.max((u32(setup.SYSSIZE) - 1) * PARAGRAPH + 1, setup.ENTRY_64 + 1)
  if (kernelSize < sizeExpected) {
    throw kernel.error(
      `is cut off: it has ${kernel.size} bytes`,
      kernel.size,
      `at least ${kernelOffset + sizeExpected}, as its setup header says`,
    )
  }

  const alignment = u32(setup.KERNEL_ALIGNMENT)
  const isAligned = isPowerOfTwo(alignment) && alignment >= 0x1000 && alignment <= 2 ** 30
  check('kernel_alignment', alignment, isAligned, 'a power of two from 2^12 to 2^30')
  // The preferred address: there the kernel need not move itself, and it unpacks nowhere lower. Boot page tables end at 4 GiB.
  const loadAddress = Number(view.getBigUint64(setup.PREF_ADDRESS, true))
  check(
    'pref_address',
    loadAddress,
    loadAddress >= HIGH_MEMORY_START && loadAddress < 2 ** 32 && loadAddress % alignment === 0,
    `a multiple of kernel_alignment from 1 MiB to 4 GiB`,
  )
  const initSize = u32(setup.INIT_SIZE)
  check('init_size', initSize, initSize > 0, 'more than 0')
  return {
    bytes: head.subarray(setup.SETUP_HEADER_START, Math.min(end, head.length)),
    kernelOffset,
    kernelSize,
    loadAddress,
    memoryNeeded: Math.max(initSize, kernelSize),
    initrdMax: u32(setup.INITRD_ADDR_MAX),
    commandLineLimit: u32(setup.CMDLINE_SIZE),
    payloadOffset: u32(setup.PAYLOAD_OFFSET),
    payloadLength: u32(setup.PAYLOAD_LENGTH),
  }
}
