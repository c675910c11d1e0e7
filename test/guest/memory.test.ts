import { expect, it, onTestFailed } from 'vitest'
import { VirtualMachine } from '../../lib/index.js'
import { guestInitramfs, kernelAsset } from '../../lib/testing.js'

it('a stock kernel has nodes, memory that comes and goes, and what KVM offers its guests', async () => {
  const asset = await kernelAsset('6.12')
  await using vm = await VirtualMachine.create({
    kernel: asset.vmlinuz,
    initrd: await guestInitramfs(asset, { agent: true, modules: ['virtio_mem'] }),
    commandLine: 'console=ttyS0 memhp_default_state=online_movable nodekvm.mode=none',
    agent: true,
    numa: [
      { cpus: [0], memory: '192M', distances: [10, 21] },
      { cpus: [1], memory: '128M', distances: [21, 10], host: { nodes: [0] } },
    ],
    cpus: 2,
    virtioMem: { maxSize: '1G', node: 1 },
  })
  let log = ''
  onTestFailed(() => {
    process.stdout.write(`The guest's last words:\n${log.slice(-8000)}\n`)
  })
  vm.console.output.setEncoding('latin1').on('data', (text: string) => {
    log += text
  })
  await vm.start()
  const shell = async (script: string) => {
    const { stdout } = await vm.exec(['/bin/sh', '-c', script])
    return stdout.toString()
  }
  const nodes = await shell(`cd /sys/devices/system/node
    for node in node0 node1; do cat $node/cpulist $node/distance; done`)
  expect(nodes).toBe('0\n10 21\n1\n21 10\n')
  const inNode = (node: number) =>
    shell(`awk '/MemTotal/ { print $4 }' /sys/devices/system/node/node${node}/meminfo`).then(Number)
  expect(await inNode(0)).toBeGreaterThan(100 * 1024)
  const before = await inNode(1)
  expect(before).toBeLessThan(128 * 1024)

  await vm.virtioMem!.resize('384M', { timeout: 60_000 })
  expect(vm.virtioMem!.plugged).toBe(384 * 2 ** 20)
  const more = await inNode(1)
  expect(more - before).toBeGreaterThan(370 * 1024)
  await shell(
    'mount -t tmpfs -o size=300M tmpfs /mnt && dd if=/dev/zero of=/mnt/file bs=1M count=256',
  )
  await shell('umount /mnt')
  await vm.virtioMem!.resize(0, { timeout: 60_000 })
  expect(vm.virtioMem!.plugged).toBe(0)
  expect(await inNode(1)).toBe(before)

  const messages = await shell('dmesg')
  for (const offered of [
    /x2apic/i,
    /kvm-guest: stealtime: cpu 1/,
    /kvm-clock/,
    /PV EOI|pv.eoi|eoi_write/i,
    /async PF/i,
    /TSC deadline timer/i,
  ]) {
    expect.soft(messages).toMatch(offered)
  }
  expect(messages).not.toMatch(
    /ACPI (BIOS )?(Error|Warning)|Firmware Bug|BUG:|SRAT.*(fail|error|invalid)/i,
  )
  expect(await shell('cat /proc/cpuinfo')).toMatch(
    /x2apic.*tsc_deadline_timer|tsc_deadline_timer.*x2apic/,
  )
  process.stdout.write(messages)
})
