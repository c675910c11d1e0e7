import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { FileDisk } from '../../lib/index.js'
import { firmwareAsset, grubDisk, INIT_MARKER, kernelAsset } from '../../lib/testing.js'
import { Guest } from './guest.js'

it('OVMF starts GRUB from the EFI system partition of a disk, and GRUB starts Linux', async () => {
  const { ovmfCode, ovmfVariables } = await firmwareAsset()
  const variables = Uint8Array.from(readFileSync(ovmfVariables))
  const disk = await grubDisk(await kernelAsset('6.12'), { firmware: 'uefi' })
  await using guest = await Guest.start({
    firmware: { image: ovmfCode, variables },
    memory: '512M',
    disks: [new FileDisk(disk, { readOnly: true })],
  })
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  expect(guest.log).toContain('GRUB starts the kernel')
  expect(guest.log).toMatch(/efi: EFI v2\.\d+ by /)
  expect(guest.log).toContain(INIT_MARKER)
  expect(guest.log).not.toMatch(/ACPI Error|ACPI BIOS Error|ACPI Warning/)
  // What the firmware keeps from one start to the next; a process of the machine's own gives it back when it ends.
  await guest.vm.close()
  expect(Buffer.from(variables).equals(readFileSync(ovmfVariables))).toBe(false)
})
