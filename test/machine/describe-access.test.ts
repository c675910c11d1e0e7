import { expect, it } from 'vitest'
import { Bus } from '../../lib/bus/bus.js'
import { KVM_EXIT_IO_IN, KVM_EXIT_IO_OUT } from '../../lib/kvm/abi/exits.js'
import { describeExit } from '../../lib/machine/describe-access.js'
import { recorder } from '../helpers/run-loop-rig.js'
import { ioPage, mmioPage } from '../helpers/run-pages.js'

const pio = new Bus('pio')
const mmio = new Bus('mmio')
pio.attach(0x3f8, 8, { ...recorder(), name: 'uart0' })
mmio.attach(0xfee0_0000, 0x1000, { ...recorder(), name: 'apic' })
const io = (direction: number, size: number, port: number) =>
  ioPage({ direction, size, port, count: 1, dataOffset: 0x1000 })

it.each([
  ['uart0: read of 1 byte at offset 0x5', io(KVM_EXIT_IO_IN, 1, 0x3fd)],
  ['uart0: write of 2 bytes at offset 0x0', io(KVM_EXIT_IO_OUT, 2, 0x3f8)],
  ['apic: write of 4 bytes at offset 0xb0', mmioPage(0xfee0_00b0n, 4, true, 0n)],
  ['apic: read of 8 bytes at offset 0x20', mmioPage(0xfee0_0020n, 8, false, 0n)],
  ['a device that is gone: read of 4 bytes at offset 0x80', io(KVM_EXIT_IO_IN, 4, 0x80)],
])('tells of %s', (text, page) => {
  expect(describeExit(page, pio, mmio)).toBe(text)
})
