import { describe, expect, it } from 'vitest'
import { bootables } from '../../lib/testing.js'
import { Guest } from './guest.js'

/** The text mode's screen: 80 by 25 characters, an attribute behind each. */
const SCREEN = { address: 0xb8000, columns: 80, rows: 25 } as const

function screen({ vm }: Guest): string {
  const { address, columns, rows } = SCREEN
  const cells = vm.memory.view(address, columns * rows * 2)
  const line = (row: number) =>
    Array.from({ length: columns }, (_, i) => String.fromCharCode(cells[(row * columns + i) * 2]!))
  return Array.from({ length: rows }, (_, row) => line(row).join('').trimEnd()).join('\n')
}

describe("what Debian's packages have to start a PC with, besides Linux", () => {
  it('Memtest86+ tests the memory, on its serial console and on its screen', async () => {
    const { memtest } = await bootables()
    await using guest = await Guest.start({
      kernel: memtest,
      commandLine: 'nobench nopause console=ttyS0,115200',
      // A kind that processes share: its screen is looked at from here, wherever the machine is.
      memory: { size: '64M', kind: 'memfd' },
    })
    await guest.said(/Status: Testing/)
    // Tests that are over before its display is drawn anew, every two seconds, are never named there.
    await guest.said(/#\d+ +\[\w/)
    await guest.said('Memtest86+ v')
    await guest.said('Errors: 0')
    // Between two tests some of it is blank.
    await expect.poll(() => screen(guest)).toMatch(/Memtest86\+ v[\s\S]*of 63.*MB[\s\S]*Errors: 0/)
  })

  it("Xen's hypervisor starts by Multiboot and says on its console that it has no domain 0", async () => {
    const { xen } = await bootables()
    await using guest = await Guest.start({
      kernel: xen,
      commandLine: 'console=com1 com1=115200,8n1 noreboot',
      memory: '256M',
    })
    await guest.said('Manual reset required')
    expect(guest.log).toMatch(/\(XEN\) Xen version \d/)
    expect(guest.log).toContain('(XEN) Bootloader: node-kvm')
    expect(guest.log).toContain('(XEN) Command line: console=com1 com1=115200,8n1 noreboot')
    expect(guest.log).toContain('dom0 kernel not specified')
  })
})
