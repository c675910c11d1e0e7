import { basename, dirname } from 'node:path'
import { expect, it } from 'vitest'
import { FileDisk, MemoryDisk } from '../../lib/index.js'
import { bootables, firmwareAsset, grubDisk, INIT_MARKER, kernelAsset } from '../../lib/testing.js'
import { Guest } from './guest.js'
import { defaultRoute, HostServer, noPasst, passtNetwork } from './passt-network.js'

it('SeaBIOS starts GRUB from a disk on PCI, and GRUB starts Linux', async () => {
  const { seabios } = await firmwareAsset()
  const disk = await grubDisk(await kernelAsset('6.12'))
  await using guest = await Guest.start({
    firmware: seabios,
    memory: '384M',
    disks: [new FileDisk(disk, { readOnly: true })],
  })
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  expect(guest.log).toContain('SeaBIOS (version')
  expect(guest.log).toContain('GRUB starts the kernel')
  expect(guest.log).toContain(INIT_MARKER)
  expect(guest.log).not.toMatch(/ACPI Error|ACPI BIOS Error|ACPI Warning/)
})

/** A disk of one sector with a script for iPXE. */
function scriptDisk(commands: readonly string[]): MemoryDisk {
  const sector = new Uint8Array(512).fill('\n'.charCodeAt(0))
  new TextEncoder().encodeInto(['#!ipxe', ...commands].join('\n'), sector)
  return new MemoryDisk(sector)
}

it.skipIf(noPasst)(
  'SeaBIOS and GRUB start iPXE, which gets an address, a script and a kernel from the host',
  async () => {
    const [{ seabios }, { ipxeDisk, memtest }] = [await firmwareAsset(), await bootables()]
    await using _route = await defaultRoute()
    const fetched = [
      'echo The host has this to say',
      `kernel ${basename(memtest)} nobench nopause console=ttyS0,115200`,
      'boot',
    ]
    await using server = await HostServer.start(dirname(memtest), {
      '/script': `#!ipxe\n${fetched.join('\n')}\n`,
    })
    await using guest = await Guest.start({
      firmware: seabios,
      memory: '128M',
      disks: [
        new FileDisk(ipxeDisk, { readOnly: true }),
        scriptDisk(['dhcp', `chain ${server.url}/script`]),
      ],
      nets: [passtNetwork()],
    })
    await guest.said('The host has this to say')
    await guest.said(/Status: Testing/)
    expect(guest.log).toContain('GRUB starts iPXE')
    expect(guest.log).toMatch(/iPXE \d/)
    expect(guest.log).toMatch(/Configuring \(net0 [\da-f:]+\)\.+ ok/)
    expect(server.asked).toEqual(['/script', `/${basename(memtest)}`])
  },
)
