import { describe, expect, it } from 'vitest'
import { ConfigSpace } from '../../../../lib/devices/pci/config-space.js'
import { VIRTIO_PCI_WINDOW } from '../../../../lib/devices/virtio/transport/virtio-pci-abi.js'
import {
  PciCfgAccess,
  pciCfgCapability,
} from '../../../../lib/devices/virtio/transport/virtio-pci-cfg.js'

const AT = 0x40
const BAR = AT + 4
const OFFSET = AT + 8
const LENGTH = AT + 12
const DATA = AT + 16

/** The capability in a configuration space, over a window of plain memory; `heard` are the accesses to that. */
function rig() {
  const config = new ConfigSpace()
  const { body, writable } = pciCfgCapability()
  for (const [i, byte] of body.entries()) config.define(AT + 2 + i, 1, byte, writable[i])
  const heard: string[] = []
  const memory = new DataView(new ArrayBuffer(VIRTIO_PCI_WINDOW.size))
  const access = new PciCfgAccess(config, AT, {
    name: 'window',
    read: (offset, width) => {
      heard.push(`read ${width} at ${offset}`)
      return memory.getUint32(offset & ~3, true) & (2 ** (8 * width) - 1)
    },
    write: (offset, width, value) => heard.push(`write ${width} at ${offset}: ${value}`),
  })
  const write = (offset: number, width: 1 | 2 | 4, value: number) => {
    config.write(offset, width, value)
    access.written(offset, width)
  }
  const read = (offset: number, width: 1 | 2 | 4) => {
    access.reading(offset, width)
    return config.get(offset, width)
  }
  return { config, heard, memory, read, write }
}

describe('the window by configuration space', () => {
  it('is as wide as the length says, whichever part of the data is read', () => {
    const { heard, memory, read, write } = rig()
    memory.setUint32(0x14, 0x1234_5678, true)
    write(OFFSET, 4, 0x14)
    write(LENGTH, 4, 2)
    expect([read(DATA, 4), read(DATA + 1, 1)]).toEqual([0x5678, 0x56])
    write(DATA, 2, 0xabcd)
    expect(heard).toEqual(['read 2 at 20', 'read 2 at 20', 'write 2 at 20: 43981'])
  })

  it('is not touched by other registers', () => {
    const { heard, read, write } = rig()
    write(LENGTH, 4, 4)
    read(OFFSET, 4)
    read(DATA + 4, 4)
    write(DATA + 2, 4, 1) // beyond the end of the field
    expect(heard).toEqual([])
  })

  it.each([
    ['another window', 1, 0, 4],
    ['a length of no access', 0, 0, 3],
    ['a length of 0', 0, 0, 0],
    ['a misaligned access', 0, 2, 4],
    ['an access beyond the window', 0, VIRTIO_PCI_WINDOW.size, 4],
    ['an access far beyond the window', 0, 0xffff_fffc, 4],
  ])('has nothing for %s', (_name, bar, offset, length) => {
    const { heard, read, write } = rig()
    write(BAR, 1, bar)
    write(OFFSET, 4, offset)
    write(LENGTH, 4, length)
    expect(read(DATA, 4)).toBe(0)
    write(DATA, 4, 1)
    expect(heard).toEqual([])
  })
})
