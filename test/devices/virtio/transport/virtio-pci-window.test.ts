import { describe, expect, it } from 'vitest'
import { VirtioPciWindow } from '../../../../lib/devices/virtio/transport/virtio-pci-window.js'

/** A window of two structures that note what reaches them and read as their number. */
function rig() {
  const heard: string[] = []
  const structures = [1, 2].map((number) => ({
    name: `structure${number}`,
    read: (offset: number, width: number) => {
      heard.push(`${number}: read ${width} at ${offset}`)
      return number * 0x100 + offset
    },
    write: (offset: number, width: number, value: number) =>
      void heard.push(`${number}: write ${width} at ${offset}: ${value}`),
  }))
  const counters = { ignoredReads: 0, ignoredWrites: 0 }
  return { window: new VirtioPciWindow('device', structures, {}, counters), counters, heard }
}

describe('a window of structures', () => {
  it('has one in each page', () => {
    const { window, heard, counters } = rig()
    expect([window.read(0x0ffc, 4), window.read(0x1000, 1)]).toEqual([0x10fc, 0x200])
    window.write(0x1002, 2, 7)
    expect(heard).toEqual(['1: read 4 at 4092', '2: read 1 at 0', '2: write 2 at 2: 7'])
    expect(counters).toEqual({ ignoredReads: 0, ignoredWrites: 0 })
  })

  it('reads as all ones where there is none, and ignores writes', () => {
    const { window, heard, counters } = rig()
    expect([1, 2, 4].map((width) => window.read(0x2000, width as 1 | 2 | 4))).toEqual([
      0xff, 0xffff, 0xffff_ffff,
    ])
    window.write(0x7ffc, 4, 1)
    expect(heard).toEqual([])
    expect(counters).toEqual({ ignoredReads: 3, ignoredWrites: 1 })
  })

  it('takes 8 bytes as twice 4, where they are aligned', () => {
    const { window, heard } = rig()
    expect(window.read64(0x1008)).toBe(0x0000_020c_0000_0208n)
    window.write64(0x1008, 0x1_0000_0002n)
    expect(heard.slice(2)).toEqual(['2: write 4 at 8: 2', '2: write 4 at 12: 1'])
    heard.length = 0
    expect(window.read64(0x1004)).toBe(2n ** 64n - 1n)
    window.write64(0x1004, 0n)
    expect(heard).toEqual([])
  })
})
