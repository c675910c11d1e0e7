import { expect, it } from 'vitest'
import { FileDisk, MemoryDisk, Tap, type VirtualMachine, VirtualSwitch } from '../../lib/index.js'
import { guestInitramfs, kernelAsset } from '../../lib/testing.js'
import { TapInterface } from '../helpers/tap-interface.js'
import { Guest } from './guest.js'
import { ping, StockGuest, temporaryDisk, waitFor } from './stock-guest.js'

const VHOST_HOST = '10.211.0.1'
const VHOST_GUEST = '10.211.0.2'

it('a stock kernel has disk, network and sockets on PCI, and takes devices and lets them go while it runs', async () => {
  using disk = await temporaryDisk()
  const asset = await kernelAsset('6.12')
  await using machine = await Guest.start({
    kernel: asset.vmlinuz,
    initrd: await guestInitramfs(asset, { agent: true }),
    commandLine: 'console=ttyS0 quiet nodekvm.mode=none',
    transport: 'pci',
    agent: { startTimeout: 170_000 },
    disks: [new FileDisk(disk.path)],
    nets: [new VirtualSwitch().port()],
  })
  const { vm } = machine
  const shell = (script: string) => machine.shell(script)
  const interrupts = await shell(
    'mount /dev/vda /mnt && ls -d /mnt/lost+found; cat /proc/interrupts',
  )
  expect(interrupts).toContain('/mnt/lost+found')
  for (const vector of ['virtio0-req.0', 'virtio1-input.0', 'virtio2-rx']) {
    expect(interrupts).toMatch(new RegExp(`PCI-MSI.*${vector.replace('.', '\\.')}`))
  }

  const network = new VirtualSwitch()
  for (const round of [1, 2]) {
    const [added, card] = [
      await vm.plugDisk(new MemoryDisk(2 ** 20 * round)),
      await vm.plugNet(network.port()),
    ]
    const seen = `
      ${waitFor('[ -e /sys/block/vdb/size ] && [ -e /sys/class/net/eth1 ]')}
      cat /sys/block/vdb/size
      dd if=/dev/urandom of=/tmp/data bs=64k count=8 2>/dev/null
      dd if=/tmp/data of=/dev/vdb bs=64k conv=fsync 2>/dev/null
      echo 3 >/proc/sys/vm/drop_caches
      dd if=/dev/vdb bs=64k count=8 2>/dev/null | cmp - /tmp/data && echo the same
      ip link set eth1 up
      ${waitFor('[ "$(cat /sys/class/net/eth1/carrier)" = 1 ]')}
      cat /sys/class/net/eth1/carrier`
    expect(await shell(seen)).toBe(`${2048 * round}\nthe same\n1\n`)
    await Promise.all([vm.unplug(added), vm.unplug(card)])
    expect(await shell('ls /sys/block /sys/class/net')).not.toMatch(/vdb|eth1/)
    expect([vm.disks.length, vm.nets.length]).toEqual([1, 1])
  }
  await pingByVhost(vm, shell)
  expect(machine.log).not.toMatch(/ACPI Error|ACPI BIOS Error|ACPI Warning|Firmware Bug|BUG:|Oops/)
  expect(machine.log).not.toMatch(/pci.*(fail|error|can't|no space)|virtio.*(fail|error)/i)
})

/** A card that the host's kernel serves: kicks and messages pass by this process. */
async function pingByVhost(
  vm: VirtualMachine,
  shell: (script: string) => Promise<string>,
): Promise<void> {
  const tap = new Tap('nkv%d', { create: true, vhost: 'auto', address: `${VHOST_HOST}/24` })
  const card = await vm.plugNet(tap)
  if (vm.pid !== process.pid) {
    console.log('vhost-net is not tested: it is not for cards of a machine in a process of its own')
  } else if (!card.vhost) console.log('vhost-net is not tested: /dev/vhost-net cannot be used')
  const there = waitFor('[ -e /sys/class/net/eth1 ]')
  const up = `${there}; ip address add ${VHOST_GUEST}/24 dev eth1; ip link set eth1 up`
  expect(await shell(`${up}; ${ping(3, VHOST_HOST)}`)).toBe('3 of 3 came back\n')
  await vm.pause()
  await vm.resume()
  expect(await shell(ping(2, VHOST_HOST))).toBe('2 of 2 came back\n')
  // Of a machine in another process they are exact while it is paused.
  await vm.pause()
  expect(card.counters.txFrames).toBeGreaterThanOrEqual(5)
  expect(card.counters.rxBuffers).toBeGreaterThanOrEqual(5)
  const raised = vm.stats().devices.find(({ name }) => name === card.name)!.counters.interrupts!
  if (card.vhost) expect(raised).toBeLessThan(8)
  await vm.resume()
  await vm.unplug(card)
}

it('a stock kernel without MSI uses the interrupt pins', async () => {
  using disk = await temporaryDisk()
  const tap = new TapInterface()
  try {
    const { host, guest: address, prefix } = tap.network
    await using guest = await StockGuest.start(
      `pci=nomsi nodekvm.mode=selfcheck nodekvm.ip=${address}/${prefix} nodekvm.peer=${host}`,
      {
        series: '6.1',
        transport: 'pci',
        disks: [new FileDisk(disk.path)],
        nets: [new Tap(tap.name)],
      },
    )
    expect(await guest.ended()).toEqual({ kind: 'shutdown' })
    expect(guest.log).toContain('node-kvm: check disk ok 1 MiB written and read back')
    expect(guest.log).toMatch(/node-kvm: check net ok .*3 packets received/)
    expect(guest.log).not.toMatch(/irq \d+: nobody cared|ACPI Error|Firmware Bug/)
  } finally {
    tap.remove()
  }
})
