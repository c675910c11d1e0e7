// What a guest makes the host do, as a table that is brought up to date while it boots. Needs a KVM that runs stock
// kernels; elsewhere: npx node-kvm host -- node dist/examples/10-live-exits.js
import { VirtualMachine } from 'node-kvm'
import { guestInitramfs, kernelAsset } from 'node-kvm/testing'

const kernel = await kernelAsset('6.12')
await using vm = await VirtualMachine.create({
  kernel: kernel.vmlinuz,
  initrd: await guestInitramfs(kernel),
  commandLine: 'console=ttyS0 nodekvm.mode=poweroff',
})
vm.console.output.resume()
await vm.start()

const show = () => {
  if (process.stdout.isTTY) process.stdout.write('\x1b[H\x1b[J')
  console.log(`state: ${vm.state}`)
  console.table(
    vm.stats().exits.map(({ reason, count, synchronous, nanoseconds }) => ({
      reason,
      count,
      'answered here': synchronous,
      'ms in all': Math.round(nanoseconds / 1e6),
    })),
  )
}
const timer = setInterval(show, 1000)
await vm.stopped
clearInterval(timer)
show()
