import type { BusDevice } from '../../bus/bus-device.js'
import type { IrqLine } from '../../interrupt/irq-line.js'
import { readLittleEndian } from '../../util/bits.js'

// QEMU's pc-testdev (hw/misc/pc-testdev.c), which kvm-unit-tests ask for: where each part of it lies.
export const TESTDEV_IOPORT = 0xe0
export const TESTDEV_FLUSH_PORT = 0xe4
export const TESTDEV_IOPORT_BYTE = 0xe8
/** Ports of each of these three parts. */
export const TESTDEV_PORTS = 4
export const TESTDEV_IRQ_PORT = 0x2000
export const TESTDEV_IRQ_LINES = 24
export const TESTDEV_IOMEM = 0xff00_0000
export const TESTDEV_IOMEM_SIZE = 0x1_0000

/** Bytes that read back what was written, by accesses of any width. */
class TestdevBytes implements BusDevice {
  readonly name: string
  protected readonly bytes: Uint8Array<ArrayBuffer>

  constructor(name: string, size: number) {
    this.name = name
    this.bytes = new Uint8Array(size)
  }

  reset(): void {
    this.bytes.fill(0)
  }

  read(offset: number, width: 1 | 2 | 4): number {
    return readLittleEndian(this.bytes, offset, width)
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    writeLittleEndian(this.bytes, offset, width, value)
  }
}

/** A register of 4 bytes. */
export class TestdevIoport extends TestdevBytes {
  constructor() {
    super('testdev-ioport', TESTDEV_PORTS)
  }
}

/**
 * A guest-physical address written here has the monitor drop its mapping of that page. KVM keeps its own tables in step,
 * so that a guest sees no difference: nothing is to be done.
 */
export class TestdevFlush implements BusDevice {
  readonly name = 'testdev-flush'

  read(_offset: number, width: 1 | 2 | 4): number {
    return 2 ** (8 * width) - 1
  }

  write(): void {}
}

/** A port for each of the interrupt lines 0 to 23: other than 0 asserts the line, 0 deasserts it. */
export class TestdevIrq implements BusDevice {
  readonly name = 'testdev-irq'
  readonly #line: (gsi: number) => IrqLine
  readonly #lines = new Map<number, IrqLine>()

  /** @param line gives the line of a GSI when the guest first uses it */
  constructor(line: (gsi: number) => IrqLine) {
    this.#line = line
  }

  reset(): void {
    for (const line of this.#lines.values()) line.deassert()
  }

  read(_offset: number, width: 1 | 2 | 4): number {
    return 2 ** (8 * width) - 1
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    let line = this.#lines.get(offset)
    if (line === undefined) {
      line = this.#line(offset)
      this.#lines.set(offset, line)
    }
    if (value === 0) line.deassert()
    else line.assert()
  }
}

/** 64 KiB behind which there is no memory slot: every access is an MMIO exit. */
export class TestdevIomem extends TestdevBytes {
  readonly #view = new DataView(this.bytes.buffer)

  constructor() {
    super('testdev-iomem', TESTDEV_IOMEM_SIZE)
  }

  read64(offset: number): bigint {
    return this.#view.getBigUint64(offset, true)
  }

  write64(offset: number, value: bigint): void {
    this.#view.setBigUint64(offset, value, true)
  }
}

function writeLittleEndian(bytes: Uint8Array, offset: number, width: number, value: number): void {
  for (let i = 0; i < width; i++) bytes[offset + i] = value >>> (8 * i)
}
