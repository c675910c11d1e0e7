import { expect, it } from 'vitest'
import { CustomDisk, VirtualMachine } from '../../lib/index.js'
import { until } from '../helpers/virtio-driver.js'
import * as guest from './tiny-guest.js'

const RINGS = [0x100_0000, 0x110_0000]

it('several disks that never answer are waited for at the same time when their machine closes', async () => {
  let asked = 0
  const givenUp: number[] = []
  const disks = RINGS.map(
    () =>
      new CustomDisk({
        size: 1 << 20,
        read: (_offset, _length, signal) => {
          asked++
          signal.addEventListener('abort', () => givenUp.push(performance.now()))
          return new Promise(() => {})
        },
      }),
  )
  const areas = RINGS.map((at) => ({
    size: 16,
    descriptorArea: at,
    driverArea: at + 0x1000,
    deviceArea: at + 0x2000,
  }))
  const kernel = guest.kernel(...areas.map((area, slot) => guest.startDevice(slot, area)))
  const vm = await VirtualMachine.create({ kernel, memory: '32M', transport: 'mmio', disks })
  for (const { descriptorArea, driverArea } of areas) {
    // VIRTIO_BLK_T_IN of sector 0: a header of zeroes, 512 bytes, and a status.
    const parts = [
      [0x120_0000, 16, 1],
      [0x120_1000, 512, 3],
      [0x120_2000, 1, 2],
    ] as const
    for (const [i, [address, length, flags]] of parts.entries()) {
      const view = vm.memory.dataView(descriptorArea + 16 * i, 16)
      view.setBigUint64(0, BigInt(address), true)
      view.setUint32(8, length, true)
      view.setUint16(12, flags, true)
      view.setUint16(14, i + 1, true)
    }
    vm.memory.dataView(driverArea + 2, 2).setUint16(0, 1, true)
  }
  await vm.start()
  await until(() => asked === 2, 'the reads')
  const start = performance.now()
  await vm.close()
  // One after the other the second would have been waited for as long as the first.
  expect(givenUp).toHaveLength(RINGS.length)
  const [first, second] = givenUp as [number, number]
  expect(second - first).toBeLessThan((first - start) / 2)
})
