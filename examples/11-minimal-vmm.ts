// A machine monitor of one's own that boots Linux: memory, interrupt controllers, a serial port, a keyboard controller to
// reboot by, one vCPU. Needs a KVM that runs stock kernels; elsewhere:
// npx node-kvm host -- node dist/examples/11-minimal-vmm.js
import {
  Bus,
  ConsoleInput,
  ConsoleOutput,
  detectBootProtocol,
  enterAt,
  I8042,
  I8042_PORTS,
  ImageFile,
  IoctlIrqLine,
  RunLoop,
  setUpVcpu,
  UART_PORTS,
  Uart16550A,
} from 'node-kvm/devices'
import { createGuestMemory, Kvm } from 'node-kvm/kvm'
import { guestInitramfs, kernelAsset } from 'node-kvm/testing'

const [path, initrdPath] = process.argv.slice(2)
const asset = path === undefined ? await kernelAsset('6.1') : undefined
const kernel = new ImageFile(asset?.vmlinuz ?? path!, 'kernel', 'ERR_KERNEL_IMAGE')
const initramfs = asset ? await guestInitramfs(asset) : initrdPath
const initrd =
  initramfs === undefined ? undefined : new ImageFile(initramfs, 'initrd', 'ERR_INITRD')

using kvm = Kvm.open()
using vm = kvm.createVm()
vm.setIdentityMapAddr(0xfeff_c000) // where KVM on Intel may put four pages of its own
vm.setTssAddr(0xfeff_d000)
vm.createIrqchip()
vm.createPit2()
const memory = createGuestMemory([{ guestAddress: 0, size: 256 * 2 ** 20 }])
memory.register(vm)

const pio = new Bus('pio')
const output = new ConsoleOutput()
const uart = new Uart16550A({ irq: new IoctlIrqLine(vm, 4), output, input: new ConsoleInput() })
pio.attach(0x3f8, UART_PORTS, uart)

let end = (_why: string): void => {}
const ended = new Promise<string>((resolve) => {
  end = resolve
})
pio.attach(0x60, I8042_PORTS, new I8042({ onReset: () => end('the guest rebooted') }))
using loop = new RunLoop({ pio, mmio: new Bus('mmio'), onEnd: ({ detail }) => end(detail) })
using vcpu = vm.createVcpu(0)
const topology = { sockets: 1, cores: 1, threads: 1 }
setUpVcpu(vcpu, { vcpu: 0, vcpus: 1, topology }, kvm.getSupportedCpuid())
const commandLine = ['console=ttyS0 acpi=off reboot=k panic=-1 nodekvm.mode=reboot']
const guest = { memory, kernel, initrd, modules: [], commandLine, rsdp: undefined }
enterAt(vcpu, detectBootProtocol(kernel).load(guest))
loop.addVcpu(vcpu)

output.pipe(process.stdout)
loop.run()
console.log(await ended)
loop.close()
memory.close()
