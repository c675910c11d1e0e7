// Two Linux guests on one virtual switch, which is in this process: no privileges, no interfaces of the host. One pings
// the other. Needs a KVM that runs stock kernels; elsewhere: npx node-kvm host -- node dist/examples/07-two-machines.js
import { VirtualMachine, VirtualSwitch } from 'node-kvm'
import { bootTest, guestInitramfs, kernelAsset } from 'node-kvm/testing'

const network = new VirtualSwitch()
const kernel = await kernelAsset('6.12')

await using server = await VirtualMachine.create({
  kernel: kernel.vmlinuz,
  initrd: await guestInitramfs(kernel),
  commandLine: 'nodekvm.mode=none nodekvm.ip=10.0.0.2/24',
  nets: [network.port()],
})
server.console.output.resume()
await server.start()

await using client = await bootTest({
  kernel,
  commandLine: 'console=ttyS0 quiet nodekvm.ip=10.0.0.1/24',
  nets: [network.port()],
  run: 'until ping -c 1 -W 1 10.0.0.2 >/dev/null; do :; done; ping -c 3 10.0.0.2',
})
client.vm.console.output.pipe(process.stdout)
const { exitCode } = await client.passed()
console.log(`ping ended with ${exitCode}`)
