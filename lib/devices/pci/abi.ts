/** Constants of the PCI Local Bus Specification 3.0, with the names of Linux's headers. */

// 6.1, figure 6-1: the header of type 0
export const PCI_VENDOR_ID = 0x00
export const PCI_DEVICE_ID = 0x02
export const PCI_COMMAND = 0x04
export const PCI_STATUS = 0x06
export const PCI_CLASS_REVISION = 0x08
export const PCI_CACHE_LINE_SIZE = 0x0c
export const PCI_HEADER_TYPE = 0x0e
export const PCI_BASE_ADDRESS_0 = 0x10
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c
export const PCI_SUBSYSTEM_ID = 0x2e
export const PCI_CAPABILITY_LIST = 0x34
export const PCI_INTERRUPT_LINE = 0x3c
export const PCI_INTERRUPT_PIN = 0x3d
/** Where capabilities may begin. */
export const PCI_STD_HEADER_SIZEOF = 0x40

/** Base address registers of a header of type 0. */
export const PCI_STD_NUM_BARS = 6

// 6.2.2: the command register
export const PCI_COMMAND_IO = 0x0001
export const PCI_COMMAND_MEMORY = 0x0002
export const PCI_COMMAND_MASTER = 0x0004
export const PCI_COMMAND_PARITY = 0x0040
export const PCI_COMMAND_SERR = 0x0100
export const PCI_COMMAND_INTX_DISABLE = 0x0400

// 6.2.3: the status register
export const PCI_STATUS_INTERRUPT = 0x0008
export const PCI_STATUS_CAP_LIST = 0x0010

// 6.2.5.1: base address registers
export const PCI_BASE_ADDRESS_SPACE_IO = 0x01
export const PCI_BASE_ADDRESS_MEM_TYPE_64 = 0x04
export const PCI_BASE_ADDRESS_MEM_PREFETCH = 0x08

// Appendix H: capability ids
export const PCI_CAP_ID_VNDR = 0x09
export const PCI_CAP_ID_MSIX = 0x11

// 6.8.2: the MSI-X capability and its table
export const PCI_MSIX_FLAGS = 2
export const PCI_MSIX_FLAGS_QSIZE = 0x07ff
export const PCI_MSIX_FLAGS_MASKALL = 0x4000
export const PCI_MSIX_FLAGS_ENABLE = 0x8000
export const PCI_MSIX_TABLE = 4
export const PCI_MSIX_PBA = 8
export const PCI_CAP_MSIX_SIZEOF = 12
export const PCI_MSIX_ENTRY_SIZE = 16
export const PCI_MSIX_ENTRY_LOWER_ADDR = 0
export const PCI_MSIX_ENTRY_UPPER_ADDR = 4
export const PCI_MSIX_ENTRY_DATA = 8
export const PCI_MSIX_ENTRY_VECTOR_CTRL = 12
export const PCI_MSIX_ENTRY_CTRL_MASKBIT = 1

// Appendix D: class codes, with the programming interface
export const PCI_CLASS_STORAGE_SCSI = 0x01_0000
export const PCI_CLASS_NETWORK_ETHERNET = 0x02_0000
export const PCI_CLASS_NETWORK_OTHER = 0x02_8000
export const PCI_CLASS_BRIDGE_HOST = 0x06_0000
export const PCI_CLASS_BRIDGE_ISA = 0x06_0100
export const PCI_CLASS_COMMUNICATION_OTHER = 0x07_8000
/** Base system peripheral, of no kind that has a code. */
export const PCI_CLASS_SYSTEM_OTHER = 0x08_8000
/** Fits no class. */
export const PCI_CLASS_OTHERS = 0xff_0000

/** Devices on a bus; a device here has one function. */
export const PCI_SLOTS = 32
/** Bytes of configuration space that mechanism #1 reaches, and all that a conventional device has. */
export const PCI_CFG_SPACE_SIZE = 256
/** Bytes of each function in the ECAM window (PCI Express Base 7.2.2). */
export const PCI_CFG_SPACE_EXP_SIZE = 4096
