import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { IOAPIC_START, MMIO_HOLE_START } from '../../lib/arch/x86-64/layout.js'
import { VIRTIO_PCI_VENDOR_ID } from '../../lib/devices/virtio/transport/virtio-pci-abi.js'
import { SLOTS } from './bench.js'
import { portCases } from './cases/ports.js'
import { exitBench } from './exit-bench.js'
import { script } from './ring.js'
import { Script } from './script.js'
import { HEAP, MEMORY } from './script-guest.js'

const CONFIG_ADDRESS = 0xcf8
const CONFIG_DATA = 0xcfc
const WIDTHS = [1, 2, 4, 8] as const
/** A byte of all ones for each of `width`. */
const ones = (width: number) => 2n ** BigInt(8 * width) - 1n

describe('on PCI, which is where devices are unless told', () => {
  let bench: Awaited<ReturnType<typeof exitBench>>
  beforeAll(async () => {
    bench = await exitBench({ transport: 'pci' })
  })
  afterAll(() => bench?.close())

  /** The identity of every slot, by configuration mechanism #1. */
  const slots = () =>
    bench.run(
      script(
        ...Array.from({ length: 32 }, (_, slot) =>
          new Script()
            .out(CONFIG_ADDRESS, 4, (0x8000_0000 | (slot << 11)) >>> 0)
            .in(CONFIG_DATA, 4),
        ),
      ),
    )

  it.each(portCases.filter(({ id }) => id === 'PORT-05').map((one) => [one.title, one] as const))(
    'PORT-05 %s',
    async (_title, one) => {
      const before = await slots()
      const virtio = before.filter((id) => Number(id & 0xffffn) === VIRTIO_PCI_VENDOR_ID)
      expect(virtio).toHaveLength(SLOTS.length)
      bench.memory.fill(HEAP, MEMORY - HEAP, 0x5a)
      await one.play(bench)
      expect(bench.vm.state).toBe('running')
      expect(await slots()).toEqual(before)
      const heap = bench.memory.view(HEAP, MEMORY - HEAP)
      expect(heap.every((byte) => byte === 0x5a)).toBe(true)
    },
    60_000,
  )

  /** Behind the first bus's configuration space, the devices' windows, and up to the interrupt controllers. */
  const holes = [
    [MMIO_HOLE_START + 0x10_0000, 0xc000_0000],
    [0xc100_0000, IOAPIC_START],
    [0xfef0_0000, 0xfefe_0000],
  ] as const
  it.each(WIDTHS)('PORT-06 memory that is neither RAM nor a device, by %i bytes', async (width) => {
    const before = await slots()
    const pages = holes.flatMap(([start, end]) => {
      const count = Math.min(200, (end - start) / 0x1000)
      const step = Math.floor((end - start) / count / 0x1000) * 0x1000
      return Array.from({ length: count }, (_, i) => start + i * step + (i % 2) * (0x1000 - width))
    })
    const read = await bench.run(script(...pages.map((at) => new Script().load(at, width))))
    expect(read.every((value) => value === ones(width))).toBe(true)
    for (const value of [0, ones(width)]) {
      await bench.run(script(...pages.map((at) => new Script().store(at, width, value))))
    }
    expect(bench.vm.state).toBe('running')
    expect(bench.warnings).toEqual([])
    expect(await slots()).toEqual(before)
  })
})
