import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VIRTIO_F_RING_RESET, VIRTIO_F_VERSION_1 } from '../../../../lib/devices/virtio/abi.js'
import { VirtioPciTransport } from '../../../../lib/devices/virtio/transport/virtio-pci.js'
import * as abi from '../../../../lib/devices/virtio/transport/virtio-pci-abi.js'
import { EchoDevice } from '../../../helpers/echo-device.js'
import { turns, until } from '../../../helpers/virtio-driver.js'
import { SLOT, VirtioPciRig, WINDOW } from '../../../helpers/virtio-pci-driver.js'

const rigOf = (queueSizes = [16]) => new VirtioPciRig(new EchoDevice({ queueSizes }))

/** Gives the device a chain, and waits until it has come back. */
async function exchange(rig: VirtioPciRig<EchoDevice>, queue = 0): Promise<void> {
  const ring = rig.queues[queue]!
  ring.add([{ address: 0x8000, length: 64, writable: true }])
  rig.kick(queue)
  await until(() => ring.deviceUsedIdx === ring.availIdx, 'a chain')
}

describe('a virtio-pci device', () => {
  it('is a modern one with its capabilities in configuration space', () => {
    const { pci, capability } = rigOf()
    expect(pci.read(SLOT, 0)).toBe(((0x1040 + 42) << 16) | 0x1af4)
    expect(pci.read(SLOT, 8)).toBe(0xff00_0001)
    const rig = rigOf()
    const types = [1, 2, 3, 4, 5].map((type) => capability.call(rig, type))
    expect(new Set(types).size).toBe(5)
    for (const at of types) expect(rig.pci.read(SLOT, at + 4, 1)).toBe(0)
  })

  it('works on its queues, with a vector for each', async () => {
    const rig = rigOf([16, 16])
    rig.enableMsix()
    rig.start()
    expect(rig.status).toBe(15)
    await exchange(rig, 1)
    expect(rig.sent).toEqual([0, 1, 0])
    await exchange(rig, 0)
    expect(rig.sent).toEqual([1, 1, 0])
    rig.device.context!.configChanged()
    expect(rig.sent).toEqual([1, 1, 1])
    expect(rig.pin).toBe(false)
    expect(rig.isr).toBe(abi.VIRTIO_PCI_ISR_CONFIG)
  })

  it('uses its pin without MSI-X, until the status has been read', async () => {
    const rig = rigOf()
    rig.start()
    await exchange(rig)
    expect(rig.pin).toBe(true)
    expect(rig.isr).toBe(abi.VIRTIO_PCI_ISR_QUEUE)
    expect(rig.pin).toBe(false)
    expect(rig.isr).toBe(0)
    rig.device.context!.configChanged()
    expect(rig.pin).toBe(true)
    expect(rig.isr).toBe(abi.VIRTIO_PCI_ISR_CONFIG)
  })

  it('raises nothing for a vector that there is not, which reads back as none', async () => {
    const rig = rigOf()
    rig.enableMsix()
    rig.start()
    rig.write(abi.VIRTIO_PCI_COMMON_Q_SELECT, 2, 0)
    for (const vector of [2, 0x7fff, 0xffff]) {
      rig.write(abi.VIRTIO_PCI_COMMON_Q_MSIX, 2, vector)
      expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_MSIX, 2)).toBe(0xffff)
      rig.write(abi.VIRTIO_PCI_COMMON_MSIX, 2, vector)
      expect(rig.read(abi.VIRTIO_PCI_COMMON_MSIX, 2)).toBe(0xffff)
    }
    await exchange(rig)
    expect(rig.sent).toEqual([0, 0])
  })

  it('freezes queues at DRIVER_OK, but for their vectors', () => {
    const rig = rigOf()
    rig.start()
    rig.write(abi.VIRTIO_PCI_COMMON_Q_SELECT, 2, 0)
    const registers = [abi.VIRTIO_PCI_COMMON_Q_DESCLO, abi.VIRTIO_PCI_COMMON_Q_USEDHI]
    const before = registers.map((register) => rig.read(register, 4))
    for (const register of registers) rig.write(register, 4, 0x1234)
    rig.write(abi.VIRTIO_PCI_COMMON_Q_SIZE, 2, 4)
    rig.write(abi.VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0)
    expect(registers.map((register) => rig.read(register, 4))).toEqual(before)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_SIZE, 2)).toBe(16)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_ENABLE, 2)).toBe(1)
    rig.write(abi.VIRTIO_PCI_COMMON_Q_MSIX, 2, 1)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_MSIX, 2)).toBe(1)
  })

  it('has no queue beyond its last', () => {
    const rig = rigOf()
    expect(rig.read(abi.VIRTIO_PCI_COMMON_NUMQ, 2)).toBe(1)
    for (const select of [1, 0xffff]) {
      rig.write(abi.VIRTIO_PCI_COMMON_Q_SELECT, 2, select)
      expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_SIZE, 2)).toBe(0)
      expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_MSIX, 2)).toBe(0xffff)
      rig.write(abi.VIRTIO_PCI_COMMON_Q_MSIX, 2, 0)
      rig.write(abi.VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1)
      rig.write(abi.VIRTIO_PCI_COMMON_Q_RESET, 2, 1)
    }
    rig.pci.mmio.write(rig.structure(abi.VIRTIO_PCI_CAP_NOTIFY_CFG) + 4, 2, 1)
    expect(rig.device.notifications).toBe(0)
    expect(rig.errors).toEqual([])
  })

  it('forgets vectors and queues when its driver resets it', () => {
    const rig = rigOf()
    rig.start()
    rig.status = 0
    expect(rig.status).toBe(0)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_MSIX, 2)).toBe(0xffff)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_MSIX, 2)).toBe(0xffff)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_ENABLE, 2)).toBe(0)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_GF, 4)).toBe(0)
  })

  it('resets one queue, while the others go on', async () => {
    const rig = rigOf([16, 16])
    rig.enableMsix()
    rig.negotiate(VIRTIO_F_RING_RESET)
    for (const queue of [0, 1]) rig.setUpQueue(queue, 16)
    rig.status |= 4
    await exchange(rig, 0)
    rig.write(abi.VIRTIO_PCI_COMMON_Q_SELECT, 2, 0)
    rig.write(abi.VIRTIO_PCI_COMMON_Q_RESET, 2, 1)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_RESET, 2)).toBe(0)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_Q_ENABLE, 2)).toBe(0)
    await exchange(rig, 1)
    rig.setUpQueue(0, 8)
    await exchange(rig, 0)
    expect(rig.sent).toEqual([2, 1, 0])
  })

  it('is reset with the machine, once its I/O is done', async () => {
    const rig = rigOf()
    rig.start()
    let done = () => {}
    rig.device.draining = new Promise((resolve) => {
      done = resolve
    })
    let resolved = false
    const reset = rig.transport.reset().then(() => {
      resolved = true
    })
    await turns(2)
    expect(resolved).toBe(false)
    done()
    await reset
    expect(rig.pci.mmio.find(WINDOW)).toBeUndefined()
    expect(rig.pci.read(SLOT, 0x10)).toBe(0)
  })

  it('tells where its queues are kicked, while a driver is at work', () => {
    const rig = rigOf()
    rig.pci.write(SLOT, 0x04, 2, 0)
    rig.pci.write(SLOT, 0x04, 2, 2)
    expect(rig.moves).toEqual([])
    rig.start()
    rig.pci.write(SLOT, 0x10, 4, 0xd000_0000)
    expect(rig.moves).toEqual([WINDOW, undefined, 0xd000_0000])
    rig.pci.write(SLOT, 0x10, 4, WINDOW)
    rig.status = 0
    expect(rig.moves.slice(3)).toEqual([undefined, WINDOW, undefined])
    rig.start()
    rig.pci.bus.unplug(rig.transport)
    expect(rig.moves.slice(6)).toEqual([WINDOW, undefined])
  })

  it('finishes what it was doing while its window is moved, hidden and put over another', async () => {
    const rig = rigOf()
    rig.enableMsix()
    rig.start()
    rig.device.hold = true
    const ring = rig.queues[0]!
    ring.add([{ address: 0x8000, length: 64, writable: true }])
    rig.kick(0)
    await until(() => rig.device.seen.length === 1, 'the chain')
    for (const address of [0, 0xfec0_0000, 0x8000, 0xffff_8000]) {
      rig.pci.write(SLOT, 0x10, 4, address)
      rig.pci.write(SLOT, 0x04, 2, 0)
      rig.pci.write(SLOT, 0x04, 2, 2)
    }
    rig.device.finish(0, [rig.device.seen[0]!.id])
    expect(ring.deviceUsedIdx).toBe(1)
    expect(rig.sent).toEqual([1, 0])
    rig.pci.write(SLOT, 0x10, 4, WINDOW)
    rig.device.hold = false
    await exchange(rig)
    expect(rig.sent).toEqual([2, 0])
  })

  it('takes no more queues than its window has room for', () => {
    const queueSizes = Array.from({ length: abi.VIRTIO_PCI_QUEUES_MAX }, () => 16)
    expect(() => rigOf(queueSizes)).not.toThrow()
    const { memory } = rigOf()
    const device = new EchoDevice({ queueSizes: [...queueSizes, 16] })
    expect(() => new VirtioPciTransport(device, { memory })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
    )
  })
})

describe('accesses', () => {
  it.each([
    [abi.VIRTIO_PCI_COMMON_STATUS, 4],
    [abi.VIRTIO_PCI_COMMON_STATUS, 2],
    [abi.VIRTIO_PCI_COMMON_Q_SELECT, 4],
    [abi.VIRTIO_PCI_COMMON_Q_DESCLO + 1, 4],
    [abi.VIRTIO_PCI_COMMON_SIZE, 4],
  ] as const)('to the common structure at %i do nothing with %i bytes', (register, width) => {
    const rig = rigOf()
    rig.write(register, width, 1)
    expect(rig.read(register, width)).toBe(2 ** (8 * width) - 1)
    expect(rig.status).toBe(0)
  })

  it('may read a part of a register, as iPXE does, and write none', () => {
    const rig = rigOf()
    rig.negotiate()
    for (const select of [0, 1]) {
      rig.write(abi.VIRTIO_PCI_COMMON_DFSELECT, 4, select)
      const features = rig.read(abi.VIRTIO_PCI_COMMON_DF, 4)
      expect(rig.read(abi.VIRTIO_PCI_COMMON_DF, 2)).toBe(features & 0xffff)
      expect(rig.read(abi.VIRTIO_PCI_COMMON_DF + 2, 2)).toBe(features >>> 16)
      expect(rig.read(abi.VIRTIO_PCI_COMMON_DF + 3, 1)).toBe(features >>> 24)
    }
    rig.write(abi.VIRTIO_PCI_COMMON_DFSELECT, 2, 0)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_DFSELECT, 4)).toBe(1)
    expect(rig.read(abi.VIRTIO_PCI_COMMON_DF + 3, 2)).toBe(0xffff)
  })

  it('of 8 bytes are two of 4', () => {
    const rig = rigOf()
    rig.negotiate()
    const common = rig.structure(abi.VIRTIO_PCI_CAP_COMMON_CFG)
    const descriptors = common + abi.VIRTIO_PCI_COMMON_Q_DESCLO
    rig.pci.mmio.write64(descriptors, 0x1_2345_6780n)
    expect(rig.pci.mmio.read64(descriptors)).toBe(0x1_2345_6780n)
    expect(rig.pci.mmio.read64(descriptors + 4)).toBe(2n ** 64n - 1n)
    rig.pci.mmio.write64(descriptors + 4, 0n)
    expect(rig.pci.mmio.read64(descriptors)).toBe(0x1_2345_6780n)
  })

  it('to the configuration of the device have the width that they have', () => {
    const rig = rigOf()
    const config = rig.structure(abi.VIRTIO_PCI_CAP_DEVICE_CFG)
    expect(rig.pci.mmio.read(config, 4)).toBe(0x1312_1110)
    expect(rig.pci.mmio.read(config + 5, 1)).toBe(0x15)
    rig.negotiate()
    rig.pci.mmio.write(config + 2, 2, 0xbeef)
    expect(rig.device.configWrites).toEqual([[2, 2, 0xbeef]])
  })

  it('of all widths and values everywhere never throw', () => {
    const where = fc.nat(abi.VIRTIO_PCI_WINDOW.size - 1)
    const width = fc.constantFrom(1, 2, 4) as fc.Arbitrary<1 | 2 | 4>
    const access = fc.tuple(where, width, fc.nat(0xffff_ffff), fc.boolean())
    fc.assert(
      fc.property(fc.array(access, { maxLength: 100 }), (accesses) => {
        const rig = rigOf()
        for (const [offset, bytes, value, config] of accesses) {
          if (config) rig.pci.write(SLOT, offset % 256, bytes, value)
          else rig.pci.mmio.write(WINDOW + offset, bytes, value)
          rig.pci.mmio.read(WINDOW + offset, bytes)
          rig.pci.read(SLOT, offset % 256, bytes)
        }
        expect(rig.errors).toEqual([])
        expect(rig.pci.read(SLOT, 0, 2)).toBe(0x1af4)
      }),
    )
  })
})

describe('the window in configuration space', () => {
  const access = (rig: VirtioPciRig<EchoDevice>, offset: number, length: number, bar = 0) => {
    const at = rig.capability(abi.VIRTIO_PCI_CAP_PCI_CFG)
    rig.pci.write(SLOT, at + 4, 1, bar)
    rig.pci.write(SLOT, at + 8, 4, offset)
    rig.pci.write(SLOT, at + 12, 4, length)
    return at + 16
  }

  it('reads and writes registers', () => {
    const rig = rigOf()
    const data = access(rig, abi.VIRTIO_PCI_COMMON_STATUS, 1)
    rig.pci.write(SLOT, data, 1, 1)
    expect(rig.status).toBe(1)
    expect(rig.pci.read(SLOT, data, 1)).toBe(1)
    expect(rig.pci.read(SLOT, access(rig, abi.VIRTIO_PCI_COMMON_NUMQ, 2), 2)).toBe(1)
  })

  it('works with memory disabled, as firmware without room for a window uses it', () => {
    const rig = rigOf()
    const data = access(rig, abi.VIRTIO_PCI_COMMON_STATUS, 1)
    rig.pci.write(SLOT, 0x04, 2, 0)
    rig.pci.write(SLOT, data, 1, 1)
    expect(rig.pci.read(SLOT, data, 1)).toBe(1)
  })

  it.each([
    ['a length of 0', 0x14, 0, 0],
    ['a length of 3', 0x14, 3, 0],
    ['a length of 8', 0x10, 8, 0],
    ['a length of 2^32 - 1', 0x14, 0xffff_ffff, 0],
    ['another window', 0x14, 1, 7],
    ['an offset past the end', abi.VIRTIO_PCI_WINDOW.size, 1, 0],
    ['an end past the end', abi.VIRTIO_PCI_WINDOW.size - 2, 4, 0],
    ['an offset that is not aligned', 0x13, 2, 0],
  ])('does nothing for %s', (_, offset, length, bar) => {
    const rig = rigOf()
    const data = access(rig, offset, length, bar)
    rig.pci.write(SLOT, data, 1, 1)
    rig.pci.write(SLOT, data, 4, 0xffff_ffff)
    rig.pci.read(SLOT, data, 4)
    expect(rig.status).toBe(0)
    expect(rig.errors).toEqual([])
  })
})

it('VERSION_1 is offered', () => {
  const rig = rigOf()
  rig.write(abi.VIRTIO_PCI_COMMON_DFSELECT, 4, 1)
  expect(rig.read(abi.VIRTIO_PCI_COMMON_DF, 4) & (1 << (VIRTIO_F_VERSION_1 - 32))).toBeTruthy()
})
