import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as pci from '../../../lib/devices/pci/abi.js'
import type { Msix } from '../../../lib/devices/pci/msix.js'
import { PciDevice } from '../../../lib/devices/pci/pci-device.js'
import { identity, PciRig } from '../../helpers/pci-rig.js'

const SLOT = 3
const CAPABILITY = 0x40

/** A device with three vectors, its table at 0 of the first window and its pending bits behind it. */
function rigWithMsix(): { rig: PciRig; device: PciDevice; msix: Msix } {
  const rig = new PciRig()
  const device = new PciDevice('a', { ...identity, interruptPin: true })
  const msix = device.addMsix({ vectors: 3, bar: 0, tableOffset: 0, pbaOffset: 0x800 })
  rig.bus.plug(device, SLOT)
  return { rig, device, msix }
}

const flags = (rig: PciRig, value: number) =>
  rig.write(SLOT, CAPABILITY + pci.PCI_MSIX_FLAGS, 2, value)
const ON = pci.PCI_MSIX_FLAGS_ENABLE
const ALL = pci.PCI_MSIX_FLAGS_MASKALL

function message(msix: Msix, vector: number, data: number): void {
  const entry = vector * pci.PCI_MSIX_ENTRY_SIZE
  msix.table.write(entry + pci.PCI_MSIX_ENTRY_LOWER_ADDR, 4, 0xfee0_0000)
  msix.table.write(entry + pci.PCI_MSIX_ENTRY_DATA, 4, data)
}
const mask = (msix: Msix, vector: number, masked: boolean) =>
  msix.table.write(
    vector * pci.PCI_MSIX_ENTRY_SIZE + pci.PCI_MSIX_ENTRY_VECTOR_CTRL,
    4,
    masked ? 1 : 0,
  )

describe('MSI-X', () => {
  it('tells the guest of its table', () => {
    const { rig } = rigWithMsix()
    expect(rig.read(SLOT, CAPABILITY)).toBe(0x0002_0011)
    expect(rig.read(SLOT, CAPABILITY + pci.PCI_MSIX_TABLE)).toBe(0)
    expect(rig.read(SLOT, CAPABILITY + pci.PCI_MSIX_PBA)).toBe(0x800)
    rig.write(SLOT, CAPABILITY, 4, 0xffff_ffff)
    expect(rig.read(SLOT, CAPABILITY)).toBe(0xc002_0011)
  })

  it('sends nothing while it is off, and the message that is in the table once it is on', () => {
    const { rig, msix } = rigWithMsix()
    message(msix, 1, 0x41)
    mask(msix, 1, false)
    msix.raise(1)
    expect(rig.messages[1]!.sent).toEqual([])
    flags(rig, ON)
    msix.raise(1)
    expect(rig.messages[1]!.sent).toEqual(['0:fee00000:41'])
  })

  it('keeps what is raised while it is masked in a pending bit, and sends it once', () => {
    const { rig, msix } = rigWithMsix()
    flags(rig, ON)
    message(msix, 2, 0x42)
    msix.raise(2)
    msix.raise(2)
    expect(msix.pendingBits.read(0, 4)).toBe(4)
    mask(msix, 2, false)
    expect(rig.messages[2]!.sent).toEqual(['0:fee00000:42'])
    expect(msix.pendingBits.read(0, 4)).toBe(0)
    flags(rig, ON | ALL)
    msix.raise(2)
    expect(rig.messages[2]!.sent).toHaveLength(1)
    flags(rig, ON)
    expect(rig.messages[2]!.sent).toHaveLength(2)
  })

  it('does not let the pin be used while it is on', () => {
    const { rig, device } = rigWithMsix()
    device.setIntx(true)
    const line = rig.lines[SLOT % rig.lines.length]!
    expect(line.level).toBe(true)
    flags(rig, ON)
    expect(line.level).toBe(false)
    flags(rig, 0)
    expect(line.level).toBe(true)
  })

  it('routes a message that changes while it is not masked', () => {
    const { rig, msix } = rigWithMsix()
    flags(rig, ON)
    mask(msix, 0, false)
    message(msix, 0, 0x51)
    message(msix, 0, 0x52)
    expect(rig.messages[0]!.routes.at(-1)).toBe('0:fee00000:52')
  })

  it.each([1, 2])('ignores accesses to its table of %i bytes, and at odd offsets', (bytes) => {
    const { msix } = rigWithMsix()
    const width = bytes as 1 | 2
    msix.table.write(0, width, 0)
    msix.table.write(2, 4, 0)
    msix.table.write(0x7fc, 4, 0)
    expect(msix.table.read(0, width)).toBe(2 ** (8 * width) - 1)
    expect(msix.table.read(2, 4)).toBe(0xffff_ffff)
    expect(msix.table.read(0x7fc, 4)).toBe(0)
    expect(msix.table.read(pci.PCI_MSIX_ENTRY_VECTOR_CTRL, 4)).toBe(1)
  })

  it('does not let the guest write pending bits, nor anyone raise a vector that there is not', () => {
    const { rig, msix } = rigWithMsix()
    flags(rig, ON)
    msix.pendingBits.write(0, 4, 0xffff_ffff)
    for (const vector of [3, 64, 0xffff]) msix.raise(vector)
    expect(msix.pendingBits.read(0, 4)).toBe(0)
  })

  it('forgets all at a reset and gives its lines back when it is pulled out', () => {
    const { rig, device, msix } = rigWithMsix()
    flags(rig, ON)
    message(msix, 0, 1)
    msix.raise(0)
    void device.reset()
    expect(msix.enabled).toBe(false)
    expect(msix.pendingBits.read(0, 4)).toBe(0)
    expect(msix.table.read(0, 4)).toBe(0)
    expect(msix.table.read(pci.PCI_MSIX_ENTRY_VECTOR_CTRL, 4)).toBe(1)
    rig.bus.unplug(device)
    expect(rig.messages.every(({ closed }) => closed)).toBe(true)
  })

  it('loses no interrupt and invents none, however it is masked', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('raise' as const), vector: fc.nat(2) }),
      fc.record({ kind: fc.constant('mask' as const), vector: fc.nat(2), on: fc.boolean() }),
      fc.record({ kind: fc.constant('all' as const), on: fc.boolean() }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { rig, msix } = rigWithMsix()
        flags(rig, ON)
        const waiting = new Set<number>()
        const expected = [0, 0, 0]
        const masked = [true, true, true]
        let all = false
        for (const step of steps) {
          if (step.kind === 'raise') {
            msix.raise(step.vector)
            waiting.add(step.vector)
          } else if (step.kind === 'mask') {
            mask(msix, step.vector, step.on)
            masked[step.vector] = step.on
          } else {
            flags(rig, ON | (step.on ? ALL : 0))
            all = step.on
          }
          for (const vector of [...waiting]) {
            if (all || masked[vector]) continue
            waiting.delete(vector)
            expected[vector]!++
          }
          expect(rig.messages.map(({ sent }) => sent.length)).toEqual(expected)
          expect(msix.pendingBits.read(0, 4)).toBe(
            [...waiting].reduce((bits, vector) => bits | (1 << vector), 0),
          )
        }
      }),
    )
  })
})
