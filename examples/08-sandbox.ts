// Runs a script that nobody trusts: in a machine of its own, with a limit to its memory and its time, and without a
// network. Needs a KVM that runs stock kernels; elsewhere: npx node-kvm host -- node dist/examples/08-sandbox.js
import { VirtualMachine } from 'node-kvm'
import { guestInitramfs, kernelAsset } from 'node-kvm/testing'

const untrusted = process.argv[2] ?? 'echo "I am $(id -u) on $(uname -s)"; while :; do :; done'

const kernel = await kernelAsset('6.12')
await using vm = await VirtualMachine.create({
  kernel: kernel.vmlinuz,
  initrd: await guestInitramfs(kernel, { agent: true }),
  commandLine: 'quiet panic=-1 nodekvm.mode=none',
  memory: '128M',
  agent: true,
})
vm.console.output.resume()
await vm.start()
try {
  const { stdout, stderr, exitCode, signal } = await vm.exec(['sh', '-c', untrusted], {
    uid: 1000,
    gid: 1000,
    timeout: 10_000,
  })
  console.log({ stdout: String(stdout), stderr: String(stderr), exitCode, signal })
} catch (error) {
  console.log(`it was ended: ${(error as Error).message}`)
}
