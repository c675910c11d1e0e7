import { expect, it } from 'vitest'
import { guestInitramfs, kernelAsset } from '../../lib/testing.js'
import { Guest } from './guest.js'

const MIB = 2 ** 20
const limits = { timeout: 100_000 }

it('a stock kernel has nodes, memory that comes and goes, and what KVM offers its guests', async () => {
  const asset = await kernelAsset('6.12')
  await using machine = await Guest.start({
    kernel: asset.vmlinuz,
    initrd: await guestInitramfs(asset, { agent: true, modules: ['virtio_mem', 'i6300esb'] }),
    commandLine: 'console=ttyS0 memhp_default_state=online_movable nodekvm.mode=none',
    agent: { startTimeout: 100_000 },
    cpus: 2,
    numa: [
      { cpus: [0], memory: '192M', distances: [10, 21] },
      { cpus: [1], memory: '128M', distances: [21, 10], host: { nodes: [0] } },
    ],
    virtioMem: { maxSize: '1G', node: 1 },
    devices: { watchdog: { model: 'i6300esb' } },
  })
  const { vm } = machine
  const shell = (script: string) => machine.shell(script)
  const nodes = await shell(`cd /sys/devices/system/node
    for node in node0 node1; do cat $node/cpulist $node/distance; done`)
  expect(nodes).toBe('0\n10 21\n1\n21 10\n')
  const inNode = async (node: number) => {
    const path = `/sys/devices/system/node/node${node}/meminfo`
    return Number(await shell(`awk '/MemTotal/ { print $4 }' ${path}`))
  }
  expect(await inNode(0)).toBeGreaterThan(100 * 1024)
  const before = await inNode(1)
  expect(before).toBeLessThan(128 * 1024)

  await vm.virtioMem!.resize('256M', limits)
  expect(vm.virtioMem!.plugged).toBe(256 * MIB)
  expect((await inNode(1)) - before).toBeGreaterThan(240 * 1024)
  await shell('mount -t tmpfs -o size=200M t /mnt && dd if=/dev/zero of=/mnt/a bs=1M count=128')
  await shell('umount /mnt')
  await vm.virtioMem!.resize(0, limits)
  expect(vm.virtioMem!.plugged).toBe(0)
  expect(await inNode(1)).toBeLessThan(128 * 1024)

  const said = await shell('dmesg')
  expect(said).toMatch(/x2apic/)
  expect(said).toMatch(/kvm-guest: APIC: eoi\(\) replaced with kvm_guest_apic_eoi_write/)
  expect(said).toMatch(/TSC deadline timer available/)
  expect(said).toMatch(/i6300ESB timer.*initialized/i)
  expect(said).not.toMatch(/ACPI (BIOS )?(Error|Warning)|Firmware Bug|BUG:/)
})
