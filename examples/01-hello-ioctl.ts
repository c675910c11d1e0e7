// A whole virtual machine monitor on the raw KVM API. It runs a guest of seven instructions in real mode, which prints a
// line through a port and halts. Needs no kernel image, no disk, and any /dev/kvm, a software one too.
import {
  createGuestMemory,
  KVM_EXIT_HLT,
  KVM_EXIT_INTR,
  KVM_EXIT_IO,
  Kvm,
  VmmError,
} from 'node-kvm/kvm'

const CODE = 0x1000
const MESSAGE = 0x1100
const CONSOLE_PORT = 0xe9
const guest = Uint8Array.of(
  ...[0xbe, MESSAGE & 0xff, MESSAGE >> 8], //     mov si, MESSAGE
  ...[0xac], //                             next: lodsb
  ...[0x84, 0xc0], //                             test al, al
  ...[0x74, 0x04], //                             jz done
  ...[0xe6, CONSOLE_PORT], //                     out CONSOLE_PORT, al
  ...[0xeb, 0xf7], //                             jmp next
  ...[0xf4], //                             done: hlt
)

using kvm = Kvm.open()
using vm = kvm.createVm()
const memory = createGuestMemory([{ guestAddress: 0, size: 0x10000 }])
memory.register(vm)
memory.write(CODE, guest)
memory.write(MESSAGE, new TextEncoder().encode('Hello from the guest!\n\0'))

using vcpu = vm.createVcpu(0)
const sregs = vcpu.getSregs() // the state after reset: real mode, but far up at 0xfffffff0
sregs.cs.base = 0n
sregs.cs.selector = 0
vcpu.setSregs(sregs)
vcpu.setRegs({ rip: BigInt(CODE), rflags: 2n })

let exits = 0
for (let reason = vcpu.run(); reason !== KVM_EXIT_HLT; reason = vcpu.run()) {
  const { runPage } = vcpu
  exits++
  if (reason === KVM_EXIT_IO && runPage.ioPort === CONSOLE_PORT && !runPage.ioIsIn) {
    process.stdout.write(String.fromCharCode(runPage.ioData()))
  } else if (reason !== KVM_EXIT_INTR) {
    throw new VmmError('ERR_GUEST', `unexpected exit: ${JSON.stringify(runPage.exit())}`)
  }
}
console.log(`halted after ${exits} exits, rip ${vcpu.getRegs().rip.toString(16)}`)
memory.close()
