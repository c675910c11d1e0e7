import { VIRTIO_MMIO_START } from '../../lib/arch/x86-64/layout.js'
import { VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from '../../lib/devices/virtio/abi.js'
import * as blk from '../../lib/devices/virtio/block/abi.js'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import { MemoryDisk, VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { until } from '../helpers/virtio-driver.js'
import { begin } from './exit-bench.js'
import { descriptorAt, Ring, script } from './ring.js'
import { Script } from './script.js'
import { CODE, ERRORS, HEAP, MEMORY, scriptGuest } from './script-guest.js'

export const LENGTH = 4096
const [OUT_HEADER, IN_HEADER, FLUSH_HEADER, STATUS] = [0, 0x10, 0x20, 0x30].map(
  (offset) => HEAP + 0x2_0000 + offset,
) as [number, number, number, number]
const [WRITTEN, READ, COUNTER, ROUNDS] = [
  HEAP + 0x3_0000,
  HEAP + 0x4_0000,
  HEAP + 0x2_0100,
  HEAP + 0x2_0200,
]

/**
 * A second machine in the process, whose guest writes 4 KiB to its disk, flushes, reads them back and compares them, over and over,
 * while others misbehave.
 */
export class Witness {
  private constructor(readonly vm: VirtualMachine) {}

  /**
   * @param options besides those of the guest; the first disk is what it writes to
   * @param before what the guest does before each round
   */
  static async start(
    options: Partial<VirtualMachineOptions> = {},
    before = new Script(),
  ): Promise<Witness> {
    const vm = await VirtualMachine.create({
      kernel: scriptGuest(),
      flatBinary: { mode: 'long', address: CODE },
      memory: MEMORY,
      transport: 'mmio',
      disks: [new MemoryDisk(2 ** 16)],
      ...options,
    })
    await vm.start()
    const { memory } = vm
    memory.write(WRITTEN, pattern())
    memory.dataView(OUT_HEADER, 4).setUint32(0, blk.VIRTIO_BLK_T_OUT, true)
    memory.dataView(FLUSH_HEADER, 4).setUint32(0, blk.VIRTIO_BLK_T_FLUSH, true)
    memory.dataView(COUNTER, 4).setUint32(0, 0xffff_ffff, true)
    begin(vm, script(before, setUp(), rounds()))
    const witness = new Witness(vm)
    await witness.expectProgress()
    return witness
  }

  /** Rounds so far, modulo 65,536. */
  get rounds(): number {
    return this.vm.memory.dataView(ROUNDS, 2).getUint16(0, true)
  }

  /** The guest goes on, and nothing that it read differed from what it wrote. */
  async expectProgress(): Promise<void> {
    const before = this.rounds
    await until(
      () => this.rounds !== before || this.vm.state !== 'running',
      'a round of the witness',
    )
    const errors = this.vm.memory.dataView(ERRORS, 4).getUint32(0, true)
    if (this.vm.state !== 'running' || errors > 0)
      throw new Error(`the other machine is ${this.vm.state}, with ${errors} errors`)
  }

  close(): Promise<void> {
    return this.vm.close()
  }
}

/** What is written, but for its first and last word, which count the rounds. */
export function pattern(): Uint8Array {
  const isCount = (i: number) => i < 2 || i >= LENGTH - 2
  return Uint8Array.from({ length: LENGTH }, (_, i) => (isCount(i) ? 0 : i * 7 + (i >> 8)))
}

const ring = new Ring(0, 16)
const register = (offset: number, value: number) =>
  new Script().store(VIRTIO_MMIO_START + offset, 4, value)

/**
 * What a driver does that is taken from its device with a request in flight: the device is reset, and the rings that it
 * is then given are new.
 */
export function unbind(): Script {
  return script(
    write(),
    register(mmio.VIRTIO_MMIO_STATUS, 0),
    new Script()
      .wait(VIRTIO_MMIO_START + mmio.VIRTIO_MMIO_STATUS, 4, 0)
      .store(Number(ring.driverArea), 4, 0)
      .store(Number(ring.deviceArea), 4, 0),
  )
}

/** Once a status of 15 has activated the device, later rounds find all of this frozen, and it is ignored. */
function setUp(): Script {
  return script(
    register(mmio.VIRTIO_MMIO_STATUS, 1),
    register(mmio.VIRTIO_MMIO_STATUS, 3),
    register(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1),
    register(mmio.VIRTIO_MMIO_DRIVER_FEATURES, 1),
    register(mmio.VIRTIO_MMIO_STATUS, 11),
    register(mmio.VIRTIO_MMIO_QUEUE_NUM, ring.size),
    register(mmio.VIRTIO_MMIO_QUEUE_DESC_LOW, Number(ring.descriptorArea)),
    register(mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW, Number(ring.driverArea)),
    register(mmio.VIRTIO_MMIO_QUEUE_USED_LOW, Number(ring.deviceArea)),
    register(mmio.VIRTIO_MMIO_QUEUE_READY, 1),
    register(mmio.VIRTIO_MMIO_STATUS, 15),
  )
}

function chain(header: number, data: number, flags: number): Script {
  const at = (index: number) => Number(ring.descriptorArea) + 16 * index
  return script(
    descriptorAt(at(0), header, 16, VIRTQ_DESC_F_NEXT, 1),
    descriptorAt(at(1), data, LENGTH, VIRTQ_DESC_F_NEXT | flags, 2),
    descriptorAt(at(2), STATUS, 1, VIRTQ_DESC_F_WRITE),
    new Script()
      .store(STATUS, 1, 0xee)
      .add16(Number(ring.driverArea) + 2, 1)
      .store(VIRTIO_MMIO_START + mmio.VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0),
  )
}

const write = () => chain(OUT_HEADER, WRITTEN, 0)

function rounds(): Script {
  const done = new Script().same16(Number(ring.deviceArea) + 2, Number(ring.driverArea) + 2)
  return script(
    new Script().add16(WRITTEN, 1).add16(WRITTEN + LENGTH - 2, 1),
    write(),
    done,
    chain(FLUSH_HEADER, WRITTEN, 0),
    done,
    chain(IN_HEADER, READ, VIRTQ_DESC_F_WRITE),
    done,
    new Script().compare(WRITTEN, READ, LENGTH).add16(ROUNDS, 1).loop(COUNTER),
  )
}
