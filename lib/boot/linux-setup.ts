/**
 * Linux's setup header, as it stands in a bzImage's first sectors and, at the same offsets, in the zero page
 * (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"; zero-page.rst).
 */
export const SETUP_SECTS = 0x1f1
export const SYSSIZE = 0x1f4
export const BOOT_FLAG = 0x1fe
export const BOOT_FLAG_MAGIC = 0xaa55
/** The jump instruction whose operand tells where the header ends. */
export const JUMP_OFFSET = 0x201
export const HEADER = 0x202
export const HEADER_MAGIC = 0x53726448 // 'HdrS'
export const VERSION = 0x206
export const TYPE_OF_LOADER = 0x210
export const LOADFLAGS = 0x211
export const RAMDISK_IMAGE = 0x218
export const RAMDISK_SIZE = 0x21c
export const CMD_LINE_PTR = 0x228
export const INITRD_ADDR_MAX = 0x22c
export const KERNEL_ALIGNMENT = 0x230
export const RELOCATABLE_KERNEL = 0x234
export const XLOADFLAGS = 0x236
export const CMDLINE_SIZE = 0x238
export const PAYLOAD_OFFSET = 0x248
export const PAYLOAD_LENGTH = 0x24c
export const SETUP_DATA = 0x250
export const PREF_ADDRESS = 0x258
export const INIT_SIZE = 0x260

export const LOADED_HIGH = 0x01
export const XLF_KERNEL_64 = 0x01
export const UNDEFINED_LOADER = 0xff
/** The first version with XLOADFLAGS, and so with the 64-bit entry. */
export const VERSION_64BIT = 0x020c
/** Offset of the 64-bit entry point in the protected-mode kernel (boot.rst, "64-bit BOOT PROTOCOL"). */
export const ENTRY_64 = 0x200

// Zero page only.
export const ACPI_RSDP_ADDR = 0x070
export const E820_ENTRIES = 0x1e8
export const E820_TABLE = 0x2d0
export const SETUP_HEADER_START = 0x1f1
