import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { FileDisk, Tap } from '../../lib/index.js'
import { INIT_MARKER, KERNEL_SERIES } from '../../lib/testing.js'
import { TapInterface } from '../helpers/tap-interface.js'
import { StockGuest, stockKernel, temporaryDisk } from './stock-guest.js'

const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

describe.each(KERNEL_SERIES)('a stock %s kernel', (series) => {
  it('reads and writes its disk, reaches the host and powers off', async () => {
    using disk = await temporaryDisk()
    const before = sha256(disk.path)
    const tap = new TapInterface()
    try {
      const guestAddress = tap.hostAddress.replace(/\.1$/, '.2')
      await using guest = await StockGuest.start(
        `nodekvm.mode=selfcheck nodekvm.ip=${guestAddress}/24 nodekvm.peer=${tap.hostAddress}`,
        { series, disks: [new FileDisk(disk.path)], nets: [new Tap(tap.name)] },
      )
      expect(await guest.ended()).toEqual({ kind: 'shutdown' })
      const { asset } = await stockKernel(series)
      expect(guest.log).toContain(`node-kvm: check kernel ok ${asset.version}`)
      expect(guest.log).toContain('node-kvm: check disk ok 1 MiB written and read back')
      expect(guest.log).toMatch(/node-kvm: check net ok .*3 packets received/)
      expect(guest.log).not.toMatch(/ACPI Error|ACPI BIOS Error|ACPI Warning|Firmware Bug/)
      expect(guest.vm.console.output.lost).toBe(0)
    } finally {
      tap.remove()
    }
    expect(sha256(disk.path)).not.toBe(before)
  })
})

it('a guest that reboots ends as reset', async () => {
  await using guest = await StockGuest.start('nodekvm.mode=reboot', { series: '6.1' })
  expect(await guest.ended()).toEqual({ kind: 'reset' })
  expect(guest.log).toContain(INIT_MARKER)
})
