/** Ports as the machines of `node-kvm run` have them. */
const COM1 = 0x3f8
const CMOS = 0x70
const I8042_STATUS = 0x64
const PCI_CONFIG_ADDRESS = 0xcf8
const PCI_CONFIG_DATA = 0xcfc
const ACPI_PM1_CNT = 0x604
const ACPI_PM_TIMER = 0x608
/** SLP_EN, and the SLP_TYP of S5. */
const POWER_OFF = 0x2000 | (5 << 10)

const SECTOR = 512
/** The setup sector, one of setup code, and two of the kernel, whose second begins at its 64-bit entry. */
const SIZE = 4 * SECTOR
const ENTRY = 3 * SECTOR

const le16 = (value: number) => [value & 0xff, value >> 8]
const le32 = (value: number) => [...le16(value & 0xffff), ...le16(value >>> 16)]
// Instructions of 64-bit mode: mov dx, imm16; mov al|eax, imm; in or out.
const movDx = (port: number) => [0x66, 0xba, ...le16(port)]
const outb = (port: number, value: number) => [...movDx(port), 0xb0, value, 0xee]
const outw = (port: number, value: number) => [...movDx(port), 0xb8, ...le32(value), 0x66, 0xef]
const outl = (port: number, value: number) => [...movDx(port), 0xb8, ...le32(value), 0xef]
const inb = (port: number) => [...movDx(port), 0xec]
const inl = (port: number) => [...movDx(port), 0xed]

/** What kernels do with the devices of every machine: the port is set up and written to, the time and a bus are read. */
const CODE = [
  ...[outb(COM1 + 1, 0), outb(COM1 + 3, 0x83), outb(COM1, 1), outb(COM1 + 1, 0), outb(COM1 + 3, 3)],
  ...[outb(COM1 + 2, 7), outb(COM1 + 4, 0xb), inb(COM1 + 2), inb(COM1 + 5), inb(COM1 + 6)],
  ...[outb(COM1 + 1, 2), outb(COM1, 0x0a), outb(COM1 + 1, 0)],
  ...[outb(CMOS, 0x0a), inb(CMOS + 1), outb(CMOS, 0), inb(CMOS + 1), inb(I8042_STATUS)],
  ...[outl(PCI_CONFIG_ADDRESS, 0x8000_0000), inl(PCI_CONFIG_DATA), inl(ACPI_PM_TIMER)],
  ...[outw(ACPI_PM1_CNT, POWER_OFF), [0xf4]], // hlt
].flat()

/** Fields of the setup header (Linux Documentation/arch/x86/boot.rst). */
const HEADER: readonly (readonly [offset: number, bytes: readonly number[]])[] = [
  [0x1f1, [1]], // setup_sects
  [0x1f4, le32((SIZE - 2 * SECTOR) / 16)], // syssize
  [0x1fe, le16(0xaa55)], // boot_flag
  [0x200, [0xeb, 0x6a]], // jump: to the end of the header
  [0x202, le32(0x5372_6448)], // header: 'HdrS'
  [0x206, le16(0x20f)], // version
  [0x211, [1]], // loadflags: LOADED_HIGH
  [0x22c, le32(0x7fff_ffff)], // initrd_addr_max
  [0x230, le32(0x20_0000)], // kernel_alignment
  [0x236, le16(1)], // xloadflags: XLF_KERNEL_64
  [0x238, le32(2047)], // cmdline_size
  [0x258, le32(0x100_0000)], // pref_address
  [0x260, le32(0x1000)], // init_size
]

/** A bzImage of a kernel of some instructions, which looks at the machine as any would, and powers it off. */
export function sampleGuest(): Uint8Array {
  const image = new Uint8Array(SIZE)
  for (const [offset, bytes] of HEADER) image.set(bytes, offset)
  image.set(CODE, ENTRY)
  return image
}
