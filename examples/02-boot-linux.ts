// Boots a stock Debian kernel with a disk and, given the name of a TAP interface, a network card. The guest checks both
// and powers off. Needs a KVM that runs stock kernels; elsewhere: npx node-kvm host -- node dist/examples/02-boot-linux.js
import { copyFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeStopReason, FileDisk, Tap, VirtualMachine } from 'node-kvm'
import { ext4Image, guestInitramfs, kernelAsset } from 'node-kvm/testing'

const tap = process.argv[2]
const kernel = await kernelAsset('6.12')
const disk = join(tmpdir(), `boot-linux-${process.pid}.img`)
await copyFile(await ext4Image(), disk)
try {
  await using vm = await VirtualMachine.create({
    kernel: kernel.vmlinuz,
    initrd: await guestInitramfs(kernel),
    commandLine:
      'console=ttyS0 quiet nodekvm.mode=selfcheck nodekvm.ip=10.0.2.2/24 nodekvm.peer=10.0.2.1',
    memory: '256M',
    disks: [new FileDisk(disk)],
    nets: tap === undefined ? [] : [new Tap(tap)],
  })
  vm.console.output.pipe(process.stdout)
  await vm.start()
  console.log(describeStopReason(await vm.stopped))
} finally {
  await rm(disk)
}
