import { expect } from 'vitest'
import { OverlayDisk } from '../../lib/index.js'
import {
  DEBIAN_EXTRA,
  DEBIAN_SUITE,
  debianSystem,
  type KernelFlavour,
  type KernelSeries,
} from '../../lib/testing.js'
import { Guest } from './guest.js'
import { defaultRoute, HostServer, passtNetwork } from './passt-network.js'

/**
 * Boots a Debian to its login prompt, logs in, has apt fetch and install a package from the host, and shuts it down from
 * inside.
 */
export async function bootDebian(series: KernelSeries, flavour: KernelFlavour): Promise<void> {
  const system = await debianSystem(series, flavour)
  await using _route = await defaultRoute()
  await using server = await HostServer.start(system.repository)
  await using guest = await Guest.start({
    kernel: system.kernel,
    initrd: system.initrd,
    commandLine: 'root=/dev/vda console=ttyS0 quiet',
    memory: '1G',
    disks: [new OverlayDisk(system.disk)],
    nets: [passtNetwork()],
  })
  const { input } = guest.vm.console
  await guest.said(/^debian login: /m)
  input.write('root\n')
  await guest.said('root@debian:~# ')
  const script = `
    uname -r
    echo 'deb [trusted=yes] ${server.url} ${DEBIAN_SUITE} main' >/etc/apt/sources.list
    apt-get -q update && apt-get -qy install ${DEBIAN_EXTRA} && ${DEBIAN_EXTRA}
    echo "failed: [$(systemctl --failed --plain --no-legend)]"
    systemctl poweroff`
  input.write(`${script.trim().replaceAll(/\n */g, '; ')}\n`)
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  const lines = guest.log.split(/[\r\n]+/)
  for (const line of [system.version, 'Hello, world!', 'failed: []']) expect(lines).toContain(line)
  expect(guest.log).not.toMatch(/ACPI Error|ACPI BIOS Error|ACPI Warning|Firmware Bug/)
  expect(server.asked).toContain(`/dists/${DEBIAN_SUITE}/Release`)
}
